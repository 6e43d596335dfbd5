// Singular value decomposition A = U·diag(σ)·Vᵀ of a square n×n matrix, n ≤ 128, by one-sided Jacobi rotations, by one workgroup.
// The pairs of columns of a round are disjoint and are rotated at once, in the order of a round-robin tournament. The matrix is
// scaled to a largest entry of 1 for the rotations. 9n³ flops a sweep; 6 to 10 sweeps.
#import jacobi
#import hestenes_start
#import hestenes_pair
#import hestenes_order

const WIDTH: u32 = 256u;
const TEAM: u32 = 8u;
const SWEEPS: u32 = 20u;

struct Params {
  n: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read_write> work: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> rotation: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> norms: array<f32>;
@group(0) @binding(5) var<storage, read_write> u: array<f32>;
@group(0) @binding(6) var<storage, read_write> values: array<f32>;
@group(0) @binding(7) var<storage, read_write> v: array<f32>;

var<workgroup> partial: array<f32, WIDTH>;
var<workgroup> rotated: u32;

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
  let n = params.n;
  let players = n + n % 2u;
  let quads = (n + 3u) / 4u;
  var largest = 0.0;
  for (var e = lane; e < n * n; e += WIDTH) { largest = max(largest, abs(a[e])); }
  partial[lane] = largest;
  workgroupBarrier();
  for (var i = 0u; i < WIDTH; i++) { largest = max(largest, partial[i]); }
  let scale = select(1.0, largest, largest > 0.0);
  for (var e = lane; e < n * quads; e += WIDTH) { start_column(e % n, e / n, n, scale); }
  storageBarrier();
  workgroupBarrier();
  for (var sweep = 0u; sweep < SWEEPS; sweep++) {
    var changed = 0.0;
    for (var round = 0u; round + 1u < players; round++) {
      for (var base = 0u; base < players / 2u; base += WIDTH / TEAM) {
        let index = base + lane / TEAM;
        let pair = pair_of(index, round, players);
        if (rotate_pair(pair.x, pair.y, index < players / 2u && pair.y < n, lane, quads)) { changed = 1.0; }
      }
      storageBarrier();
      workgroupBarrier();
    }
    partial[lane] = changed;
    workgroupBarrier();
    if (lane == 0u) {
      rotated = 0u;
      for (var i = 0u; i < WIDTH; i++) { rotated += u32(partial[i]); }
    }
    if (workgroupUniformLoad(&rotated) == 0u) { break; }
  }
  order_triplets(lane, n, scale);
}

// Whether QR factorisations by Cholesky are accurate, judged by R of AᵀA = RᵀR (n×n) and its inverse, a workgroup a matrix. state[k] becomes 1 where both
// are finite, no column is dependent, and ‖R̂⁻¹‖² ≤ limit·n for R̂ = R with columns of norm 1; otherwise 0. With AGAIN it stays 0 where it was.
// With limit 4 and state 1, A·R⁻¹·R is A and a second pass makes the columns orthonormal, both to rounding (Yamamoto et al. 2015, CholeskyQR2).
// Comparisons go by bits, because WGSL lets a compiler assume that values are finite. n² read a matrix.
#import index

const WIDTH: u32 = 64u;
const AGAIN: bool = false;

struct Params {
  n: u32,
  // how many matrices there are
  count: u32,
  limit: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> r: array<f32>;
@group(0) @binding(2) var<storage, read> inverse: array<f32>;
@group(0) @binding(3) var<storage, read_write> state: array<u32>;

var<workgroup> sums: array<f32, WIDTH>;
var<workgroup> failed: array<u32, WIDTH>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let b = flat_workgroup(group, groups);
  if (b >= params.count) { return; }
  let n = params.n;
  let base = b * n * n;
  var sum = 0.0;
  var bad = 0u;
  for (var j = lane; j < n; j += WIDTH) {
    var length = 0.0;
    var row = 0.0;
    for (var k = 0u; k <= j; k++) { length += r[base + k * n + j] * r[base + k * n + j]; }
    for (var k = j; k < n; k++) { row += inverse[base + j * n + k] * inverse[base + j * n + k]; }
    let term = length * row;
    let bits = bitcast<u32>(term);
    // for a column that is neither dependent nor infinite a term is finite and at least 1
    if (bits < 0x3f000000u || bits > 0x7f000000u) { bad = 1u; } else { sum += term; }
  }
  sums[lane] = sum;
  failed[lane] = bad;
  workgroupBarrier();
  if (lane == 0u) {
    for (var i = 1u; i < WIDTH; i++) {
      sum += sums[i];
      bad |= failed[i];
    }
    var good = bad == 0u && sum <= params.limit * f32(n);
    if (AGAIN) { good = good && state[b] == 1u; }
    state[b] = select(0u, 1u, good);
  }
}

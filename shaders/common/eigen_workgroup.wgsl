// Eigenvalues and eigenvectors of a symmetric n×n matrix, n ≤ 128, by two-sided cyclic Jacobi rotations, by one workgroup. The
// pairs of rows of a round are disjoint and are turned at once, in the order of a round-robin tournament.
// The importing file declares `work` (players×players with players = n rounded up to even), which is rotated to a diagonal, and
// `rotation` (an unsorted vector a row, in vec4s).
// An invocation turns 2×2 blocks, the rows of one pair by the columns of another, so that a round has two steps: first all
// angles, then all blocks. 6n³ flops a sweep; 6 to 9 sweeps.
#import jacobi
#import eigen
#import eigen_order

const WIDTH: u32 = 256u;
// invocations side by side along a row
const ACROSS: u32 = 16u;
const SWEEPS: u32 = 16u;
const MOST_PAIRS: u32 = 64u;

struct Params {
  n: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read_write> values: array<f32>;
// n×n, one eigenvector a column, largest eigenvalue first
@group(0) @binding(3) var<storage, read_write> vectors: array<f32>;

var<workgroup> turns: array<vec4<f32>, MOST_PAIRS>;
var<workgroup> partial: array<f32, WIDTH>;
var<workgroup> rotated: u32;

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
  let n = params.n;
  let players = n + n % 2u;
  let pairs = players / 2u;
  let across = lane % ACROSS;
  let down = lane / ACROSS;
  var largest = 0.0;
  for (var e = lane; e < n * n; e += WIDTH) { largest = max(largest, abs(a[e])); }
  partial[lane] = largest;
  workgroupBarrier();
  for (var i = 0u; i < WIDTH; i++) { largest = max(largest, partial[i]); }
  let scale = select(1.0, largest, largest > 0.0);
  for (var e = lane; e < players * players; e += WIDTH) {
    let row = e / players;
    let column = e % players;
    var value = 0.0;
    if (row < n && column < n) { value = 0.5 * (a[row * n + column] / scale) + 0.5 * (a[column * n + row] / scale); }
    work[e] = value;
  }
  let quads = (players + 3u) / 4u;
  for (var e = lane; e < players * quads; e += WIDTH) {
    let row = e / quads;
    rotation[e] = select(vec4<f32>(0.0), vec4<f32>(1.0), vec4<u32>(0u, 1u, 2u, 3u) + 4u * (e % quads) == vec4<u32>(row));
  }
  storageBarrier();
  workgroupBarrier();
  let columns = (pairs + 1u) / 2u;
  let rows = pairs + 1u - pairs % 2u;
  for (var sweep = 0u; sweep < SWEEPS; sweep++) {
    var changed = 0.0;
    for (var round = 0u; round + 1u < players; round++) {
      for (var index = lane; index < pairs; index += WIDTH) {
        let turn = eigen_turn(index, round, players);
        if (turn.x != 0.0) { changed = 1.0; }
        turns[index] = turn;
      }
      workgroupBarrier();
      for (var row = down; row < rows; row += WIDTH / ACROSS) {
        for (var column = across; column < columns; column += ACROSS) {
          let at = block_of(row, column, pairs);
          turn_block(turns[at.x], turns[at.y], at.x == at.y, players);
        }
      }
      for (var index = down; index < pairs; index += WIDTH / ACROSS) {
        let turn = turns[index];
        if (turn.x != 0.0) {
          for (var k = across; k < quads; k += ACROSS) { turn_vectors(turn, k, quads); }
        }
      }
      storageBarrier();
      workgroupBarrier();
    }
    partial[lane] = changed;
    workgroupBarrier();
    if (lane == 0u) {
      rotated = 0u;
      // only the first `pairs` lanes had a pair
      for (var i = 0u; i < min(WIDTH, pairs); i++) { rotated += u32(partial[i]); }
    }
    if (workgroupUniformLoad(&rotated) == 0u) { break; }
  }
  order_eigen(lane, n, players, scale);
}

// The orthonormal polar factors P_k = U_k·V_kᵀ of matrices Z_k = U_k·Σ_k·V_kᵀ (rows×R each, K of them), by one-sided Jacobi rotations
// of the columns of Z_k (Hestenes 1958), one workgroup a matrix. Matrix k has its numbers in the first heights[k] rows; the others are
// zero, and stay zero in P_k.
// `work` has of every matrix R rows of `rows` numbers: the columns of Z·V, then of U.
// `rotation` holds V_k as the call before left it (its row i is column i of V_k; zeros stand for the identity). Rotations go on from there:
// where Z_k has changed little they are soon done. A step of Newton's iteration takes away what rotations rounded in V_k.
// Columns of Z_k·V_k that are zero get a column in U_k all the same, orthonormal to the others.
// Cost: 2·rows·R² flops, 6·rows·R² + 6·R³ a sweep, 1 to 10 sweeps, 6·R³ and 2·rows·R².
#import polar

const WIDTH: u32 = 64u;
const TEAM: u32 = 8u;

var<workgroup> dots: array<vec3<f32>, WIDTH>;
var<workgroup> rotated: u32;

// Makes columns p and q orthogonal where `present`; returns whether that took a rotation.
fn rotate_columns(first: u32, turned: u32, p: u32, q: u32, present: bool, lane: u32) -> bool {
  let member = lane % TEAM;
  let m = params.rows;
  let n = params.rank;
  var sums = vec3<f32>(0.0);
  if (present) {
    for (var k = member; k < m; k += TEAM) {
      let x = work[first + p * m + k];
      let y = work[first + q * m + k];
      sums += vec3<f32>(x * x, y * y, x * y);
    }
  }
  if (TEAM > 1u) {
    dots[lane] = sums;
    workgroupBarrier();
    sums = vec3<f32>(0.0);
    for (var k = 0u; k < TEAM; k++) { sums += dots[lane - member + k]; }
    workgroupBarrier();
  }
  if (!present || abs(sums.z) <= max(ORTHOGONAL * sqrt(sums.x) * sqrt(sums.y), 1e-37)) { return false; }
  let turn = jacobi_turn(sums.x, sums.y, sums.z);
  for (var k = member; k < m; k += TEAM) {
    let x = work[first + p * m + k];
    let y = work[first + q * m + k];
    work[first + p * m + k] = x - turn.x * (y + turn.y * x);
    work[first + q * m + k] = y + turn.x * (x - turn.y * y);
  }
  for (var k = member; k < n; k += TEAM) {
    let x = rotation[turned + p * n + k];
    let y = rotation[turned + q * n + k];
    rotation[turned + p * n + k] = x - turn.x * (y + turn.y * x);
    rotation[turned + q * n + k] = y + turn.x * (x - turn.y * y);
  }
  return true;
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let matrix = group.x + group.y * groups.x;
  if (matrix >= params.count) { return; }
  let m = params.rows;
  let n = params.rank;
  let first = matrix * n * m;
  let turned = matrix * n * n;
  let height = select(heights[select(matrix, 0u, FULL)], m, FULL);
  var sums = vec3<f32>(0.0);
  for (var e = lane; e < n * m; e += WIDTH) { sums.x = max(sums.x, abs(z[first + e])); }
  for (var e = lane; e < n * n; e += WIDTH) { sums.y += abs(rotation[turned + e]); }
  dots[lane] = sums;
  workgroupBarrier();
  for (var k = 0u; k < WIDTH; k++) { sums = vec3<f32>(max(sums.x, dots[k].x), sums.y + dots[k].y, 0.0); }
  let scale = scale_of(sums.x);
  let isFresh = sums.y == 0.0;
  for (var e = lane; e < n * n; e += WIDTH) {
    if (isFresh) { rotation[turned + e] = select(0.0, 1.0, e / n == e % n); }
  }
  storageBarrier();
  workgroupBarrier();
  for (var e = lane; e < n * m; e += WIDTH) {
    let i = e / m;
    let d = e % m;
    var value = 0.0;
    for (var k = 0u; k < n; k++) { value += z[first + d * n + k] * scale * rotation[turned + i * n + k]; }
    work[first + e] = value;
  }
  storageBarrier();
  workgroupBarrier();
  let players = n + n % 2u;
  for (var sweep = 0u; sweep < SWEEPS; sweep++) {
    var changed = 0.0;
    for (var round = 0u; round + 1u < players; round++) {
      for (var base = 0u; base < players / 2u; base += WIDTH / TEAM) {
        let index = base + lane / TEAM;
        let pair = pair_of(index, round, players);
        if (rotate_columns(first, turned, pair.x, pair.y, index < players / 2u && pair.y < n, lane)) { changed = 1.0; }
      }
      storageBarrier();
      workgroupBarrier();
    }
    dots[lane].z = changed;
    workgroupBarrier();
    if (lane == 0u) {
      rotated = 0u;
      for (var k = 0u; k < WIDTH; k++) { rotated += u32(dots[k].z); }
    }
    if (workgroupUniformLoad(&rotated) == 0u) { break; }
  }
  // V ← (3·V − V·VᵀV) / 2: every rotation has rounded it
  for (var i = lane; i < n; i += WIDTH) {
    for (var j = 0u; j < n; j++) { out[first + i * n + j] = 1.5 * rotation[turned + i * n + j]; }
    for (var k = 0u; k < n; k++) {
      var inner = 0.0;
      for (var j = 0u; j < n; j++) { inner += rotation[turned + i * n + j] * rotation[turned + k * n + j]; }
      for (var j = 0u; j < n; j++) { out[first + i * n + j] -= 0.5 * inner * rotation[turned + k * n + j]; }
    }
  }
  storageBarrier();
  workgroupBarrier();
  for (var e = lane; e < n * n; e += WIDTH) { rotation[turned + e] = out[first + e]; }
  storageBarrier();
  workgroupBarrier();
  // work: from Z·V to U; `out` holds until the end which columns are zero
  for (var i = lane; i < n; i += WIDTH) {
    var square = 0.0;
    for (var d = 0u; d < m; d++) { square += work[first + i * m + d] * work[first + i * m + d]; }
    let inverse = select(1.0 / sqrt(max(square, 1e-37)), 0.0, square < 1e-30);
    for (var d = 0u; d < m; d++) { work[first + i * m + d] *= inverse; }
    out[first + i] = inverse;
  }
  storageBarrier();
  workgroupBarrier();
  if (lane == 0u) {
    for (var i = 0u; i < n; i++) {
      if (out[first + i] == 0.0) { complete(first, m, 1u, i, height); }
    }
  }
  storageBarrier();
  workgroupBarrier();
  for (var e = lane; e < m * n; e += WIDTH) {
    let d = e / n;
    let r = e % n;
    var value = 0.0;
    for (var i = 0u; i < n; i++) { value += work[first + i * m + d] * rotation[turned + i * n + r]; }
    out[first + e] = value;
  }
}

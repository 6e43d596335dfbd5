// The rotations of polar, for processors: an invocation takes a matrix, and needs no barrier. `turned` is Z·V, with V as `rotation` has it: as the call
// before left it (row i is column i; zeros stand for the identity, and Z for Z·V). `rotation` gets V, and `out` gets U: P = U·Vᵀ.
// WIDTH matrices lie side by side in `work`, so that lanes read what is next to each other: of each matrix R columns of Z·V, then of U, `rows`
// numbers each, and behind them the R columns of V.
// Cost: 6·rows·R² + 6·R³ flops a sweep, and 6·R³.
#import index
#import polar

const WIDTH: u32 = 8u;
// rotations are over after a sweep in which columns had cosines below this: a sweep squares them
const NEARLY: f32 = 2e-4;

@group(0) @binding(6) var<storage, read> turned: array<f32>;

// Rotates two columns of `length` numbers.
fn rotate(p: u32, q: u32, length: u32, turn: vec2<f32>) {
  for (var k = 0u; k < length * WIDTH; k += WIDTH) {
    let x = work[p + k];
    let y = work[q + k];
    work[p + k] = x - turn.x * (y + turn.y * x);
    work[q + k] = y + turn.x * (x - turn.y * y);
  }
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let place = flat_workgroup(group, groups);
  let matrix = place * WIDTH + lane;
  if (matrix >= params.count) { return; }
  let m = params.rows;
  let n = params.rank;
  let start = matrix * n * m;
  let square_at = matrix * n * n;
  let height = select(heights[select(matrix, 0u, FULL)], m, FULL);
  // columns of Z·V and of V lie so far apart
  let column = m * WIDTH;
  let side = n * WIDTH;
  let first = place * WIDTH * n * (m + n) + lane;
  let second = first + n * column;
  var total = 0.0;
  for (var e = 0u; e < n * n; e++) {
    let value = rotation[square_at + e];
    total += abs(value);
    work[second + e * WIDTH] = value;
  }
  let is_fresh = total == 0.0;
  if (is_fresh) {
    for (var i = 0u; i < n; i++) { work[second + i * side + i * WIDTH] = 1.0; }
  }
  var largest = 0.0;
  for (var d = 0u; d < m; d++) {
    for (var i = 0u; i < n; i++) {
      let at = start + d * n + i;
      var value = turned[at];
      if (is_fresh) { value = z[at]; }
      largest = max(largest, abs(value));
      work[first + i * column + d * WIDTH] = value;
    }
  }
  let scale = scale_of(largest);
  for (var e = 0u; e < n * column; e += WIDTH) { work[first + e] *= scale; }
  for (var sweep = 0u; sweep < SWEEPS; sweep++) {
    var most = 0.0;
    for (var p = 0u; p + 1u < n; p++) {
      for (var q = p + 1u; q < n; q++) {
        let at = first + p * column;
        let other = first + q * column;
        var sums = vec3<f32>(0.0);
        for (var k = 0u; k < height * WIDTH; k += WIDTH) {
          let x = work[at + k];
          let y = work[other + k];
          sums += vec3<f32>(x * x, y * y, x * y);
        }
        let norms = sqrt(sums.x) * sqrt(sums.y);
        if (abs(sums.z) <= max(ORTHOGONAL * norms, 1e-37)) { continue; }
        most = max(most, abs(sums.z) / norms);
        let turn = jacobi_turn(sums.x, sums.y, sums.z);
        rotate(at, other, height, turn);
        rotate(second + p * side, second + q * side, n, turn);
      }
    }
    if (most < NEARLY) { break; }
  }
  // V ← (3·V − V·VᵀV) / 2: every rotation has rounded it
  for (var i = 0u; i < n; i++) {
    for (var j = 0u; j < n; j++) { rotation[square_at + i * n + j] = 1.5 * work[second + i * side + j * WIDTH]; }
    for (var k = 0u; k < n; k++) {
      var inner = 0.0;
      for (var j = 0u; j < n * WIDTH; j += WIDTH) { inner += work[second + i * side + j] * work[second + k * side + j]; }
      for (var j = 0u; j < n; j++) { rotation[square_at + i * n + j] -= 0.5 * inner * work[second + k * side + j * WIDTH]; }
    }
  }
  // from Z·V to U; the first numbers of V's columns hold until the end which columns are zero
  for (var i = 0u; i < n; i++) {
    let at = first + i * column;
    var square = 0.0;
    for (var d = 0u; d < m * WIDTH; d += WIDTH) { square += work[at + d] * work[at + d]; }
    let inverse = select(1.0 / sqrt(max(square, 1e-37)), 0.0, square < 1e-30);
    for (var d = 0u; d < m * WIDTH; d += WIDTH) { work[at + d] *= inverse; }
    work[second + i * side] = inverse;
  }
  for (var i = 0u; i < n; i++) {
    if (work[second + i * side] == 0.0) { complete(first, column, WIDTH, i, height); }
  }
  for (var d = 0u; d < m; d++) {
    for (var i = 0u; i < n; i++) { out[start + d * n + i] = work[first + i * column + d * WIDTH]; }
  }
}

// R and R⁻¹ of a symmetric positive matrix G + ridge·(mean diagonal)·I = RᵀR, R upper triangular, n×n, a workgroup a matrix.
// Step k subtracts multiples of row k from the rows below it; the same steps turn the identity into R⁻ᵀ.
// With UNIT the factorisation sees G with a unit diagonal, as if the columns whose Gram matrix G is had norm 1. The results are
// still those of G itself: R·diag(norms) and diag(norms)⁻¹·R⁻¹.
// A pivot that is not clearly positive marks a column that depends on columns to its left: its row of R and its column of R⁻¹
// are zero, so that products with R⁻¹ drop the column and stay finite.
// The importing file declares `r` and `inverse`, which hold the work, `work_of`, where that of a matrix begins there, and `publish`, which is called
// at the end.
// Cost: n³/3 flops for R, n³/3 for R⁻¹; one barrier a column.
#import index
#import gram_entry
#import mean_diagonal

const WIDTH: u32 = 256u;
// invocations side by side along a row
const ACROSS: u32 = 32u;

struct Params {
  n: u32,
  ridge: f32,
  // a pivot at or below this fraction of its diagonal element counts as zero
  threshold: f32,
  // how many matrices there are
  count: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> g: array<f32>;

// where the work of the matrix begins in `r` and `inverse`
var<private> place: u32;

// √pivot of row k; 0 for a pivot that is not clearly positive.
fn root_of(k: u32, ridge: f32) -> f32 {
  return root_of_pivot(r[place + k * params.n + k], abs(entry(k, k)) + ridge, params.threshold);
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let b = flat_workgroup(group, groups);
  if (b >= params.count) { return; }
  let n = params.n;
  matrix = b * n * n;
  place = work_of(matrix);
  let across = lane % ACROSS;
  let down = lane / ACROSS;
  let ridge = params.ridge * mean_diagonal(lane);
  for (var e = lane; e < n * n; e += WIDTH) {
    let row = e / n;
    let column = e % n;
    // the elimination works in the upper half of r
    var value = 0.0;
    if (row <= column) { value = entry(row, column); }
    if (row == column) { value += ridge; }
    r[place + e] = value;
    inverse[place + e] = select(0.0, 1.0, row == column);
  }
  storageBarrier();
  workgroupBarrier();
  for (var k = 0u; k < n; k++) {
    let root = root_of(k, ridge);
    let factor = select(1.0 / max(root * root, 1e-37), 0.0, root == 0.0);
    // G[i, j] -= G[k, i] / pivot · G[k, j] for k < i ≤ j
    for (var i = k + 1u + down; i < n; i += WIDTH / ACROSS) {
      let multiplier = r[place + k * n + i] * factor;
      for (var j = i + across; j < n; j += ACROSS) { r[place + i * n + j] -= multiplier * r[place + k * n + j]; }
    }
    for (var j = down; j <= k; j += WIDTH / ACROSS) {
      let multiplier = inverse[place + j * n + k] * factor;
      for (var i = k + 1u + across; i < n; i += ACROSS) { inverse[place + j * n + i] -= multiplier * r[place + k * n + i]; }
    }
    storageBarrier();
    workgroupBarrier();
  }
  // row i of R and column i of R⁻¹ are divided by √pivot; the pivots follow, because the divisions read them
  for (var e = lane; e < n * n; e += WIDTH) {
    let row = e / n;
    let column = e % n;
    if (row < column) { r[place + e] = divided(r[place + e], root_of(row, ridge)) * norm_of(column); }
    if (row <= column) { inverse[place + e] = divided(divided(inverse[place + e], root_of(column, ridge)), norm_of(row)); }
  }
  storageBarrier();
  workgroupBarrier();
  for (var i = lane; i < n; i += WIDTH) { r[place + i * n + i] = root_of(i, ridge) * norm_of(i); }
  publish(lane, n);
}

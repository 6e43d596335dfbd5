// A block on the diagonal of a Cholesky factorisation by blocks, in workgroup memory, by one workgroup: R_kk in its upper half, R_kk⁻ᵀ
// strictly below; the diagonal of that is one over the diagonal of R_kk.
// Step k subtracts multiples of row k from the rows below it; the same steps turn the identity into R_kk⁻ᵀ. One barrier a column.
// A pivot that is not clearly positive marks a column that depends on columns to its left: its rows of R and of R⁻ᵀ are zero.
#import pivot

const WIDTH: u32 = 64u;
// invocations side by side along a row
const ACROSS: u32 = 32u;
const BLOCK: u32 = 32u;

struct Params {
  // elements of a row of the work
  stride: u32,
  // first row of the block
  first: u32,
  // a pivot at or below this fraction of its diagonal element counts as zero
  threshold: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> diagonals: array<f32>;
@group(0) @binding(2) var<storage, read_write> work: array<f32>;

var<workgroup> cells: array<f32, BLOCK * BLOCK>;

fn root_of(k: u32) -> f32 { return root_of_pivot(cells[k * BLOCK + k], diagonals[params.first + k], params.threshold); }

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
  let corner = params.first * params.stride + params.first;
  for (var e = lane; e < BLOCK * BLOCK; e += WIDTH) {
    let row = e / BLOCK;
    let column = e % BLOCK;
    cells[e] = select(0.0, work[corner + row * params.stride + column], row <= column);
  }
  workgroupBarrier();
  let across = lane % ACROSS;
  let down = lane / ACROSS;
  for (var k = 0u; k < BLOCK - 1u; k++) {
    let root = root_of(k);
    let factor = select(1.0 / max(root * root, 1e-37), 0.0, root == 0.0);
    for (var i = k + 1u + down; i < BLOCK; i += WIDTH / ACROSS) {
      let multiplier = cells[k * BLOCK + i] * factor;
      for (var j = across; j < BLOCK; j += ACROSS) {
        // the diagonal of R⁻ᵀ is 1 until rows are divided by their roots
        let above = select(cells[k * BLOCK + j], 1.0, j == k);
        if (j <= k || j >= i) { cells[i * BLOCK + j] -= multiplier * above; }
      }
    }
    workgroupBarrier();
  }
  let beyond = params.stride * params.stride + params.first;
  for (var e = lane; e < BLOCK * BLOCK; e += WIDTH) {
    let row = e / BLOCK;
    let column = e % BLOCK;
    let root = root_of(row);
    let value = select(cells[e], 1.0, row == column);
    let quotient = divided(value, root);
    work[corner + row * params.stride + column] = select(select(0.0, quotient, row < column), root, row == column);
    work[beyond + row * params.stride + column] = select(0.0, quotient, row >= column);
  }
}

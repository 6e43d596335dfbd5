// The work of a Cholesky factorisation by blocks: the upper half of G + ridge·(mean diagonal)·I, and zeros below, in N×N with N ≥ n, a
// multiple of a block; the rows from n on are those of the identity. `diagonals` gets what pivots are compared with.
// ROWS rows a workgroup, each of which adds up the diagonal for itself. n² reads, N² writes.
#import index
#import gram_entry
#import mean_diagonal

const WIDTH: u32 = 64u;
const ROWS: u32 = 8u;

struct Params {
  n: u32,
  // N
  stride: u32,
  ridge: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read_write> work: array<f32>;
@group(0) @binding(3) var<storage, read_write> diagonals: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let n = params.n;
  let ridge = params.ridge * mean_diagonal(lane);
  let first = flat_workgroup(group, groups) * ROWS;
  for (var row = first; row < min(first + ROWS, params.stride); row++) {
    for (var column = lane; column < params.stride; column += WIDTH) {
      var value = 0.0;
      if (row <= column && column < n) { value = entry(row, column); }
      if (row == column) {
        diagonals[row] = select(1.0, abs(value) + ridge, row < n);
        value = select(1.0, value + ridge, row < n);
      }
      work[row * params.stride + column] = value;
    }
  }
}

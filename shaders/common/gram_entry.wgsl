// Entries of a symmetric n×n matrix G as a factorisation sees them: with UNIT as if the columns whose Gram matrix G is had norm 1.
// The importing file declares `g` and a param n.
#import pivot

const UNIT: bool = false;

// where the matrix begins in `g`
var<private> matrix: u32;

// with UNIT the norm of column i, otherwise 1
fn norm_of(i: u32) -> f32 {
  if (UNIT) { return sqrt(max(g[matrix + i * params.n + i], 0.0)); }
  return 1.0;
}

// G[row, column], the mean of both halves, so that an asymmetry by rounding averages out.
fn entry(row: u32, column: u32) -> f32 {
  let value = 0.5 * (g[matrix + row * params.n + column] + g[matrix + column * params.n + row]);
  if (UNIT) { return divided(divided(value, norm_of(row)), norm_of(column)); }
  return value;
}

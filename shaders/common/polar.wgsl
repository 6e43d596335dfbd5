// What polar and polar_lanes share: their call, how far rotations go, and the columns that rotations leave zero.
#import jacobi
#import power_of_two

const SWEEPS: u32 = 20u;
// whether all rows are in use, and heights is not looked at
const FULL: bool = false;
// columns whose cosine is below this count as orthogonal: it is the rounding error of a dot product
const ORTHOGONAL: f32 = 2e-7;

struct Params {
  count: u32,
  rows: u32,
  rank: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> z: array<f32>;
@group(0) @binding(2) var<storage, read> heights: array<u32>;
// of every matrix, R columns of Z·V, then of U; each kernel says how they lie
@group(0) @binding(3) var<storage, read_write> work: array<f32>;
@group(0) @binding(4) var<storage, read_write> rotation: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

// Makes column i of U, which is zero, orthonormal to those that are not: from the unit vector of the row in which they have least.
// Columns begin `column` numbers apart, from `first` on; the numbers of one lie `step` apart.
fn complete(first: u32, column: u32, step: u32, i: u32, height: u32) {
  let end = height * step;
  let at = first + i * column;
  var most = -1.0;
  var chosen = 0u;
  for (var d = 0u; d < end; d += step) {
    var rest = 1.0;
    for (var j = 0u; j < params.rank; j++) {
      let value = work[first + j * column + d];
      rest -= value * value;
    }
    if (rest > most) {
      most = rest;
      chosen = d;
    }
  }
  work[at + chosen] = 1.0;
  for (var again = 0u; again < 2u; again++) {
    for (var j = 0u; j < params.rank; j++) {
      if (j == i) { continue; }
      let other = first + j * column;
      var inner = 0.0;
      for (var d = 0u; d < end; d += step) { inner += work[at + d] * work[other + d]; }
      for (var d = 0u; d < end; d += step) { work[at + d] -= inner * work[other + d]; }
    }
    var square = 0.0;
    for (var d = 0u; d < end; d += step) { square += work[at + d] * work[at + d]; }
    let inverse = 1.0 / sqrt(max(square, 1e-37));
    for (var d = 0u; d < end; d += step) { work[at + d] *= inverse; }
  }
}

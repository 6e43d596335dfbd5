// Brings the columns of up to 8 matrices (rows×R each) to norm 1. They lie in `stack`, and become factors at the same places of `factors`.
// Their Gram matrices are the sums of `parts`, which hals_update or column_grams wrote: workgroup by workgroup as here.
// Writes the Gram matrices of the unit columns into rows of `grams`, and into `weights` the products over the matrices of the norms.
// A column of zeros stays zero; where KEEP, the factor keeps the column that it has, and the weight is 0.
// Where LAST (one matrix, the last mode of a sweep) it also writes `values`, four parts of `step` numbers: ‖X‖² − ‖X − X̂‖² begins the first
// two, Σ_r norms[r]² stands second in the second, −1 begins the third, and ‖X − X̂‖² the fourth. With APPEND they become the next row
// of `trace` as well, a ring of `trace_rows` rows of 4·step values.
// Cost: every element read and written; every workgroup reads the diagonals of its matrix' parts, the first of each matrix all.
#import ahead

const WIDTH: u32 = 32u;
// at least R
const MOST: u32 = 32u;
const KEEP: bool = false;
const LAST: bool = false;
const APPEND: bool = false;

struct Params {
  rank: u32,
  chunk: u32,
  count: u32,
  // workgroups of all matrices
  groups: u32,
  // between rows of `grams`
  stride: u32,
  step: u32,
  trace_rows: u32,
  squared_norm: f32,
  // of each matrix: its rows, where it begins, and its row of `grams`
  rows: array<vec4<u32>, 2>,
  starts: array<vec4<u32>, 2>,
  modes: array<vec4<u32>, 2>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> stack: array<f32>;
@group(0) @binding(2) var<storage, read> parts: array<f32>;
@group(0) @binding(3) var<storage, read_write> factors: array<f32>;
@group(0) @binding(4) var<storage, read_write> grams: array<f32>;
@group(0) @binding(5) var<storage, read_write> weights: array<f32>;
@group(0) @binding(6) var<storage, read_write> values: array<f32>;
@group(0) @binding(7) var<storage, read_write> trace: array<f32>;
@group(0) @binding(8) var<storage, read_write> counter: array<u32>;

var<workgroup> norms: array<f32, MOST>;

fn groups_of(index: u32) -> u32 {
  return (params.rows[index / 4u][index % 4u] + params.chunk - 1u) / params.chunk;
}

// The value at an offset of a part, summed over `count` parts.
fn part_sum(first: u32, count: u32, offset: u32) -> f32 {
  let size = params.rank * params.rank + 1u;
  var sum = 0.0;
  for (var p = 0u; p < count; p += AHEAD) {
    var taken: array<f32, AHEAD>;
    for (var u = 0u; u < AHEAD; u++) {
      let value = parts[(first + min(p + u, count - 1u)) * size + offset];
      taken[u] = select(0.0, value, p + u < count);
    }
    for (var u = 0u; u < AHEAD; u++) { sum += taken[u]; }
  }
  return sum;
}

fn norm_of(first: u32, count: u32, r: u32) -> f32 {
  return sqrt(max(part_sum(first, count, r * params.rank + r), 0.0));
}

// x / norm; 0 where the norm is 0.
fn divided(x: f32, norm: f32) -> f32 {
  return select(x / max(norm, 1e-37), 0.0, norm == 0.0);
}

// The element of a factor in column r, as it will be.
fn unit_at(e: u32, r: u32) -> f32 {
  if (KEEP && norms[r] == 0.0) { return factors[e]; }
  return divided(stack[e], norms[r]);
}

@compute @workgroup_size(WIDTH)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let n = params.rank;
  var index = 0u;
  var place = group.x;
  for (; index + 1u < params.count; index++) {
    if (place < groups_of(index)) { break; }
    place -= groups_of(index);
  }
  let rows = params.rows[index / 4u][index % 4u];
  let start = params.starts[index / 4u][index % 4u];
  let first = group.x - place;
  let count = groups_of(index);
  for (var r = lane; r < n; r += WIDTH) { norms[r] = norm_of(first, count, r); }
  workgroupBarrier();
  let last = min((place + 1u) * params.chunk, rows);
  for (var e = place * params.chunk * n + lane; e < last * n; e += WIDTH) {
    let norm = norms[e % n];
    if (!(KEEP && norm == 0.0)) { factors[start + e] = divided(stack[start + e], norm); }
  }
  if (place > 0u) { return; }
  let row = params.modes[index / 4u][index % 4u] * params.stride;
  for (var e = lane; e < n * n; e += WIDTH) {
    let i = e / n;
    let j = e % n;
    var value = 0.0;
    if (KEEP && min(norms[i], norms[j]) == 0.0) {
      for (var k = 0u; k < rows; k++) { value += unit_at(start + k * n + i, i) * unit_at(start + k * n + j, j); }
    } else {
      value = divided(divided(part_sum(first, count, e), norms[i]), norms[j]);
    }
    grams[row + e] = value;
  }
  if (group.x > 0u) { return; }
  for (var r = lane; r < n; r += WIDTH) {
    var weight = norms[r];
    var next = count;
    for (var other = 1u; other < params.count; other++) {
      weight *= norm_of(next, groups_of(other), r);
      next += groups_of(other);
    }
    weights[r] = weight;
  }
  if (LAST && lane == 0u) {
    let gain = part_sum(0u, count, n * n);
    var terms = 0.0;
    for (var r = 0u; r < n; r++) { terms += norms[r] * norms[r]; }
    let told = array<f32, 5>(gain, gain, terms, -1.0, params.squared_norm - gain);
    for (var k = 0u; k < 5u; k++) {
      let at = (k - select(0u, 1u, k > 1u)) * params.step + select(0u, 1u, k == 2u);
      values[at] = told[k];
      if (APPEND) { trace[counter[0] % params.trace_rows * 4u * params.step + at] = told[k]; }
    }
    if (APPEND) { counter[0] += 1u; }
  }
}

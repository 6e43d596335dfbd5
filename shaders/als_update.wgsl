// The update of an ALS factor, first half: A = M·V⁻¹ with V the Hadamard product of the other modes' Gram matrices (each R×R, at
// multiples of `stride` in `grams`), R ≤ MOST, by V + ridge·(mean diagonal)·I = RᵀR, as cholesky.wgsl has it: columns that
// depend on those before them are dropped. Every workgroup factorises V for itself and solves `chunk` rows; it leaves what
// its rows add to AᵀA and to ⟨M, A⟩ in `parts`, R·R + 1 values each.
// flops 2·rows·R·(2·R + R) and R³ a workgroup; one barrier a column.
const WIDTH: u32 = 256u;
const MOST: u32 = 32u;

struct Params {
  rows: u32,
  rank: u32,
  modes: u32,
  mode: u32,
  stride: u32,
  chunk: u32,
  ridge: f32,
  // pivots at or below this part of their own diagonal element count as zero
  threshold: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> product: array<f32>;
@group(0) @binding(2) var<storage, read> grams: array<f32>;
@group(0) @binding(3) var<storage, read_write> factor: array<f32>;
@group(0) @binding(4) var<storage, read_write> parts: array<f32>;

const SIDE: u32 = MOST * MOST;
// V, then RᵀR's rows above the diagonal, then R⁻¹
var<workgroup> upper: array<f32, SIDE>;
// R⁻ᵀ
var<workgroup> lower: array<f32, SIDE>;
var<workgroup> own_gram: array<f32, SIDE>;
var<workgroup> diagonal: array<f32, MOST>;
// some rows of M, then of A
var<workgroup> rows: array<f32, 256>;
var<workgroup> half_solved: array<f32, 256>;
var<workgroup> inner: array<f32, WIDTH>;

@compute @workgroup_size(WIDTH)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let n = params.rank;
  let size = n * n;
  for (var e = lane; e < size; e += WIDTH) {
    var v = 1.0;
    for (var m = 0u; m < params.modes; m++) {
      if (m != params.mode) { v *= grams[m * params.stride + e]; }
    }
    upper[e] = v;
    lower[e] = select(0.0, 1.0, e / n == e % n);
    own_gram[e] = 0.0;
  }
  workgroupBarrier();
  var trace = 0.0;
  for (var i = 0u; i < n; i++) { trace += upper[i * n + i]; }
  let ridge = params.ridge * trace / f32(n);
  workgroupBarrier();
  for (var i = lane; i < n; i += WIDTH) {
    diagonal[i] = abs(upper[i * n + i]) + ridge;
    upper[i * n + i] += ridge;
  }
  workgroupBarrier();
  // row k taken off the rows below it; what is done to V is done to I, which becomes R⁻ᵀ
  for (var k = 0u; k < n; k++) {
    let factor_k = inverse_pivot(k, n);
    for (var e = lane; e < (n - 1u - k) * n; e += WIDTH) {
      let i = k + 1u + e / n;
      let j = e % n;
      let multiplier = upper[k * n + i] * factor_k;
      if (j >= i) { upper[i * n + j] -= multiplier * upper[k * n + j]; }
      if (j <= k) { lower[i * n + j] -= multiplier * lower[k * n + j]; }
    }
    workgroupBarrier();
  }
  for (var e = lane; e < size; e += WIDTH) { lower[e] *= sqrt(inverse_pivot(e / n, n)); }
  workgroupBarrier();
  for (var e = lane; e < size; e += WIDTH) { upper[e] = lower[e % n * n + e / n]; }
  let first = group.x * params.chunk;
  let last = min(first + params.chunk, params.rows);
  let height = 256u / n;
  var product_inner = 0.0;
  for (var row = first; row < last; row += height) {
    let count = min(height, last - row) * n;
    for (var e = lane; e < count; e += WIDTH) { rows[e] = product[row * n + e]; }
    workgroupBarrier();
    for (var e = lane; e < count; e += WIDTH) {
      let i = e / n * n;
      let j = e % n;
      var sum = 0.0;
      for (var k = 0u; k < n; k++) { sum += rows[i + k] * upper[k * n + j]; }
      half_solved[e] = sum;
    }
    workgroupBarrier();
    for (var e = lane; e < count; e += WIDTH) {
      let i = e / n * n;
      let j = e % n;
      var sum = 0.0;
      for (var k = 0u; k < n; k++) { sum += half_solved[i + k] * lower[k * n + j]; }
      product_inner += rows[e] * sum;
      rows[e] = sum;
      factor[row * n + e] = sum;
    }
    workgroupBarrier();
    for (var e = lane; e < size; e += WIDTH) {
      var sum = 0.0;
      for (var i = 0u; i < count; i += n) { sum += rows[i + e / n] * rows[i + e % n]; }
      own_gram[e] += sum;
    }
    workgroupBarrier();
  }
  let base = group.x * (size + 1u);
  for (var e = lane; e < size; e += WIDTH) { parts[base + e] = own_gram[e]; }
  inner[lane] = product_inner;
  for (var width = WIDTH / 2u; width > 0u; width /= 2u) {
    workgroupBarrier();
    if (lane < width) { inner[lane] += inner[lane + width]; }
  }
  if (lane == 0u) { parts[base + size] = inner[0]; }
}

// 1 ÷ pivot k; 0 where it is not clearly positive.
fn inverse_pivot(k: u32, n: u32) -> f32 {
  let pivot = upper[k * n + k];
  let dependent = !(pivot > params.threshold * diagonal[k]) || diagonal[k] == 0.0;
  return select(1.0 / max(pivot, 1e-37), 0.0, dependent);
}

// The O(n) part of step k of tridiagonalisation of a symmetric A (n×n, rows of `stride`), by one workgroup (Golub & Van Loan,
// section 8.3). It first finishes step k − 1: w = τ·p − (τ²/2)(pᵀv)·v from the parts of p = A·v; rank_two_update then turns A into
// A − v·wᵀ − w·vᵀ. Then it takes row k of the updated matrix: its diagonal element, and the reflection v that turns the rest of
// the row into one element, the off-diagonal. `scalars` has rows of `stride`: diagonal, off-diagonal, τ. state[0] counts the steps.
#import sum_lanes
#import reflector

const WIDTH: u32 = 256u;

struct Params {
  n: u32,
  stride: u32,
  // rows of A that one part of p sums over
  chunk: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> matrix: array<f32>;
@group(0) @binding(2) var<storage, read> parts: array<f32>;
@group(0) @binding(3) var<storage, read_write> v: array<f32>;
@group(0) @binding(4) var<storage, read_write> w: array<f32>;
@group(0) @binding(5) var<storage, read_write> scalars: array<f32>;
@group(0) @binding(6) var<storage, read_write> state: array<u32>;

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
  let n = params.n;
  let stride = params.stride;
  let k = state[0];
  let row = k * stride;
  let begin = (k / WIDTH) * WIDTH + lane;
  var tau = 0.0;
  var products = 0.0;
  if (k > 0u) {
    tau = scalars[2u * stride + k - 1u];
    let count = (n - k + params.chunk - 1u) / params.chunk;
    for (var j = begin; j < stride; j += WIDTH) {
      var p = 0.0;
      if (j >= k && j < n) {
        for (var c = 0u; c < count; c++) { p += parts[c * stride + j]; }
      }
      w[j] = p;
      products += p * v[row - stride + j];
    }
  }
  let half = 0.5 * tau * sum_lanes(lane, products);
  if (k > 0u) {
    for (var j = begin; j < stride; j += WIDTH) { w[j] = tau * (w[j] - half * v[row - stride + j]); }
  }
  storageBarrier();
  workgroupBarrier();
  let at_k = w[k];
  var below = 0.0;
  for (var j = begin; j < stride; j += WIDTH) {
    var x = 0.0;
    if (j >= k && j < n) {
      x = matrix[row + j];
      if (tau != 0.0) { x -= w[j] + at_k * v[row - stride + j]; }
    }
    v[row + j] = x;
    if (j > k + 1u) { below += x * x; }
  }
  below = sum_lanes(lane, below);
  storageBarrier();
  workgroupBarrier();
  let diagonal = v[row + k];
  var alpha = 0.0;
  if (k + 1u < n) { alpha = v[row + k + 1u]; }
  let reflection = reflector_of(alpha, below);
  storageBarrier();
  workgroupBarrier();
  for (var j = lane; j < stride; j += WIDTH) {
    var value = 0.0;
    if (reflection.y != 0.0) {
      if (j > k + 1u) { value = v[row + j] * reflection.z; }
      if (j == k + 1u) { value = 1.0; }
    }
    v[row + j] = value;
  }
  if (lane == 0u) {
    scalars[k] = diagonal;
    scalars[stride + k] = reflection.x;
    scalars[2u * stride + k] = reflection.y;
    state[0] = k + 1u;
  }
}

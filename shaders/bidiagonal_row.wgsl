// The row half of step k of bidiagonalisation, by one workgroup; bidiagonal_column is the column half and describes `scalars`.
// It adds up the parts of Aᵀu to y = τ·Aᵀu. Then it takes row k of A − u·yᵀ right of the diagonal and computes the reflection v
// that turns that row into a multiple of the first unit vector: the off-diagonal element. Last it computes s = yᵀv.
// Reads (n − k)/chunk parts of n − k elements, row k of A, y and v.
#import sum_lanes
#import reflector

const WIDTH: u32 = 256u;

struct Params {
  n: u32,
  stride: u32,
  // rows of A that one part of Aᵀu sums over
  chunk: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> matrix: array<f32>;
@group(0) @binding(2) var<storage, read> parts: array<f32>;
@group(0) @binding(3) var<storage, read> state: array<u32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<storage, read_write> v: array<f32>;
@group(0) @binding(6) var<storage, read_write> scalars: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
  let n = params.n;
  let stride = params.stride;
  let k = max(state[0], 1u) - 1u;
  let row = k * stride;
  let tau = scalars[2u * stride + k];
  let count = (n - k + params.chunk - 1u) / params.chunk;
  var below = 0.0;
  var first = 0.0;
  for (var j = lane; j < stride; j += WIDTH) {
    var value = 0.0;
    var y_j = 0.0;
    if (j > k && j < n) {
      for (var c = 0u; c < count; c++) { y_j += parts[c * stride + j]; }
      y_j *= tau;
      value = matrix[row + j] - y_j;
      if (j > k + 1u) { below += value * value; } else { first = value; }
    }
    y[j] = y_j;
    v[row + j] = value;
  }
  below = sum_lanes(lane, below);
  let alpha = sum_lanes(lane, first);
  let reflection = reflector_of(alpha, below);
  var products = 0.0;
  for (var j = lane; j < stride; j += WIDTH) {
    var value = 0.0;
    if (reflection.y != 0.0) {
      if (j > k + 1u) { value = v[row + j] * reflection.z; }
      if (j == k + 1u) { value = 1.0; }
    }
    v[row + j] = value;
    products += y[j] * value;
  }
  products = sum_lanes(lane, products);
  if (lane == 0u) {
    scalars[stride + k] = reflection.x;
    scalars[3u * stride + k] = reflection.y;
    scalars[4u * stride] = products;
  }
}

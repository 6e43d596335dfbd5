// The column half of step k of bidiagonalisation (Golub & Kahan 1965) of A (n×n, rows of `stride`), by one workgroup.
// It first finishes step k − 1: x = τ·(t − u·s) with t = A·v and s = yᵀv; rank_two_update later turns A into A − u·yᵀ − x·vᵀ.
// Then it takes column k of the updated matrix, from row k down, and computes the reflection u that turns that column into a
// multiple of the first unit vector: the diagonal element. bidiagonal_row is the row half.
// `scalars` has rows of `stride`: diagonal, off-diagonal, τ of the column reflections, τ of the row reflections, and s.
// state[0] counts the steps. O(n) read and written, and column k of A.
#import sum_lanes
#import reflector

const WIDTH: u32 = 256u;

struct Params {
  n: u32,
  stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> matrix: array<f32>;
@group(0) @binding(2) var<storage, read> t: array<f32>;
@group(0) @binding(3) var<storage, read> y: array<f32>;
@group(0) @binding(4) var<storage, read> v: array<f32>;
@group(0) @binding(5) var<storage, read_write> x: array<f32>;
@group(0) @binding(6) var<storage, read_write> u: array<f32>;
@group(0) @binding(7) var<storage, read_write> scalars: array<f32>;
@group(0) @binding(8) var<storage, read_write> state: array<u32>;

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
  let n = params.n;
  let stride = params.stride;
  let k = state[0];
  let row = k * stride;
  var y_k = 0.0;
  var v_k = 0.0;
  var tau = 0.0;
  var s = 0.0;
  if (k > 0u) {
    y_k = y[k];
    v_k = v[row - stride + k];
    tau = scalars[3u * stride + k - 1u];
    s = scalars[4u * stride];
  }
  var below = 0.0;
  var top = 0.0;
  for (var i = lane; i < stride; i += WIDTH) {
    var value = 0.0;
    if (i >= k && i < n) {
      value = matrix[i * stride + k];
      if (k > 0u) {
        let u_i = u[row - stride + i];
        let x_i = tau * (t[i] - u_i * s);
        x[i] = x_i;
        value -= u_i * y_k + x_i * v_k;
      }
      if (i > k) { below += value * value; } else { top = value; }
    }
    u[row + i] = value;
  }
  below = sum_lanes(lane, below);
  let alpha = sum_lanes(lane, top);
  let reflection = reflector_of(alpha, below);
  for (var i = lane; i < stride; i += WIDTH) {
    var value = 0.0;
    if (reflection.y != 0.0) {
      if (i > k) { value = u[row + i] * reflection.z; }
      if (i == k) { value = 1.0; }
    }
    u[row + i] = value;
  }
  if (lane == 0u) {
    scalars[k] = reflection.x;
    scalars[2u * stride + k] = reflection.y;
    state[0] = k + 1u;
  }
}

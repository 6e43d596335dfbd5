// The half of a step of bidiagonalisation that makes a column's reflection, by one workgroup (Golub & Kahan 1965). It ends the
// step before: x = τ·(t − u·s) with t = A·v and s = yᵀv, with which A is to become A − u·yᵀ − x·vᵀ. Then column k of that, from
// row k down, gives the diagonal, and the reflection u that takes it there. scalars has rows of `stride`: diagonal,
// off-diagonal, τ of columns, τ of rows, and s. state counts the steps.
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

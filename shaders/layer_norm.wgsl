// out = weight·x̂ + bias with x̂ = (x − mean)·scale, scale = 1/√(variance + ε), where each row of rows×extent has its own mean and
// (biased) variance, and each column a weight and, with BIAS, a bias.
// BACKWARD: out = scale·(g − Σg/extent − x̂·Σ(g·x̂)/extent) with g = weight·dy, and products = x̂·dy, whose sums over rows are the
// gradient of the weight.
// LANES invocations a row. x read three times, BACKWARD four times and dy twice; out (and products) written once.
#import index

const WIDTH: u32 = 64u;
const LANES: u32 = 1u;
const BACKWARD: bool = false;
const BIAS: bool = true;

struct Params {
  rows: u32,
  extent: u32,
  epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
// the bias, or dy
@group(0) @binding(3) var<storage, read> other: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
@group(0) @binding(5) var<storage, read_write> products: array<f32>;

#import rows

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = (flat_workgroup(group, groups) * WIDTH + lane) / LANES;
  // invocations behind the last row take part in the barriers, and write nothing
  let extent = select(0u, params.extent, row < params.rows);
  let base = row * params.extent;
  let start = lane % LANES;
  let share = 1.0 / f32(params.extent);
  var sum = 0.0;
  for (var i = start; i < extent; i += LANES) { sum += x[base + i]; }
  let mean = row_sum(lane, sum) * share;
  var squares = 0.0;
  for (var i = start; i < extent; i += LANES) {
    let difference = x[base + i] - mean;
    squares += difference * difference;
  }
  let scale = 1.0 / sqrt(row_sum(lane, squares) * share + params.epsilon);
  if (BACKWARD) {
    var of_gradient = 0.0;
    var of_products = 0.0;
    for (var i = start; i < extent; i += LANES) {
      let gradient = weight[i] * other[base + i];
      of_gradient += gradient;
      of_products += gradient * (x[base + i] - mean) * scale;
    }
    let mean_gradient = row_sum(lane, of_gradient) * share;
    let mean_product = row_sum(lane, of_products) * share;
    for (var i = start; i < extent; i += LANES) {
      let at = base + i;
      let normal = (x[at] - mean) * scale;
      out[at] = scale * (weight[i] * other[at] - mean_gradient - normal * mean_product);
      products[at] = normal * other[at];
    }
    return;
  }
  for (var i = start; i < extent; i += LANES) {
    let value = weight[i] * (x[base + i] - mean) * scale;
    if (BIAS) { out[base + i] = value + other[i]; } else { out[base + i] = value; }
  }
}

// out[i, j, k, l] = alpha·Σ_{s, t} a[…]·b[…] + beta·out[i, j, k, l]: two tensors contracted over up to two indices. Where an entry of a and of b lies
// follows from a stride for each of the six indices. Each invocation makes one entry, which reads a and b once for each term of its sum.
#import index

const WIDTH: u32 = 64u;

struct Params {
  size: u32,
  extent_1: u32,
  extent_2: u32,
  extent_3: u32,
  outer: u32,
  inner: u32,
  a_0: u32,
  a_1: u32,
  a_2: u32,
  a_3: u32,
  a_outer: u32,
  a_inner: u32,
  b_0: u32,
  b_1: u32,
  b_2: u32,
  b_3: u32,
  b_outer: u32,
  b_inner: u32,
  alpha: f32,
  beta: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let e = flat_workgroup(group, groups) * WIDTH + lane;
  if (e >= params.size) { return; }
  var rest = e;
  let i_3 = rest % params.extent_3;
  rest /= params.extent_3;
  let i_2 = rest % params.extent_2;
  rest /= params.extent_2;
  let i_1 = rest % params.extent_1;
  let i_0 = rest / params.extent_1;
  var row_a = i_0 * params.a_0 + i_1 * params.a_1 + i_2 * params.a_2 + i_3 * params.a_3;
  var row_b = i_0 * params.b_0 + i_1 * params.b_1 + i_2 * params.b_2 + i_3 * params.b_3;
  var sum = 0.0;
  for (var s = 0u; s < params.outer; s++) {
    // a sum a row, so that long sums round less
    var part = 0.0;
    var at_a = row_a;
    var at_b = row_b;
    for (var t = 0u; t < params.inner; t++) {
      part += a[at_a] * b[at_b];
      at_a += params.a_inner;
      at_b += params.b_inner;
    }
    sum += part;
    row_a += params.a_outer;
    row_b += params.b_outer;
  }
  if (params.beta == 0.0) {
    out[e] = params.alpha * sum;
  } else {
    out[e] = params.alpha * sum + params.beta * out[e];
  }
}

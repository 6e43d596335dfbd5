// Multiply-adds in registers: measures the adapter's peak rate. A round is 32 multiply-adds in eight independent chains of vec4s,
// and the loop loads nothing. 64·rounds flops an invocation.
#import index

const WIDTH: u32 = 64u;
// fma(), or a product and a sum that the compiler may fuse: software adapters may emulate fma(), which is slow
const FUSED: bool = true;

struct Params {
  rounds: u32,
  factor: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

fn step(x: vec4<f32>, a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
  if (FUSED) { return fma(x, a, b); }
  return x * a + b;
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(group, groups) * WIDTH + lane;
  // the factor is a param, so that no compiler folds it; below 1 it keeps the values finite
  let a = vec4<f32>(params.factor);
  let b = vec4<f32>(f32(lane) * 1e-3);
  // eight variables, because software adapters keep an array in memory
  var c0 = b;
  var c1 = b + 1.0;
  var c2 = b + 2.0;
  var c3 = b + 3.0;
  var c4 = b + 4.0;
  var c5 = b + 5.0;
  var c6 = b + 6.0;
  var c7 = b + 7.0;
  for (var round = 0u; round < params.rounds; round++) {
    c0 = step(c0, a, b);
    c1 = step(c1, a, b);
    c2 = step(c2, a, b);
    c3 = step(c3, a, b);
    c4 = step(c4, a, b);
    c5 = step(c5, a, b);
    c6 = step(c6, a, b);
    c7 = step(c7, a, b);
  }
  let sum = ((c0 + c1) + (c2 + c3)) + ((c4 + c5) + (c6 + c7));
  out[i] = (sum.x + sum.y) + (sum.z + sum.w);
}

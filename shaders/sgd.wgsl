// Stochastic gradient descent with momentum, as PyTorch has it: v = μv + g, w −= rate·v, or with NESTEROV w −= rate·(g + μv).
// weight_decay·w is added to g. One dispatch updates all `size` parameters of a network, four an invocation.
// Cost: gradient, w and v read once; w and v written once.
#import index

const WIDTH: u32 = 64u;
const NESTEROV: bool = false;

struct Params {
  size: u32,
  rate: f32,
  momentum: f32,
  weight_decay: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gradient: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> weights: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> velocity: array<vec4<f32>>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(group, groups) * WIDTH + lane;
  if (4u * i >= params.size) { return; }
  let g = gradient[i] + params.weight_decay * weights[i];
  let v = params.momentum * velocity[i] + g;
  velocity[i] = v;
  // the last vec4 may reach behind the parameters: the elements there do not change
  let is_parameter = vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.size);
  let step = params.rate * select(v, g + params.momentum * v, NESTEROV);
  weights[i] -= select(vec4<f32>(), step, is_parameter);
}

// Where bit i of `bits` is WHERE: out[i] = alpha·x[i] + beta·out[i]. Elsewhere: out[i] = gamma·out[i]. In place. What a factor of 0 stands
// before is not looked at, so that it may be NaN. Cost: x and out read once, out written once, and a bit an entry.
#import index

const WIDTH: u32 = 64u;
const WHERE: u32 = 1u;

struct Params {
  size: u32,
  alpha: f32,
  beta: f32,
  gamma: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> bits: array<u32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(group, groups) * WIDTH + lane;
  if (i >= params.size) { return; }
  let is_here = ((bits[i / 32u] >> (i % 32u)) & 1u) == WHERE;
  let scale = select(params.gamma, params.beta, is_here);
  if (!is_here && scale == 1.0) { return; }
  var value = 0.0;
  if (is_here && params.alpha != 0.0) { value = params.alpha * x[i]; }
  if (scale != 0.0) { value += scale * out[i]; }
  out[i] = value;
}

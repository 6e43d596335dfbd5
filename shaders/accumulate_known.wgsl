// Where x[i] is not MISSING: out[i] = alpha·x[i] + beta·out[i]. Elsewhere: out[i] = gamma·out[i]. In place. What a factor of 0 stands
// before is not looked at, so that it may be NaN; x is compared by its bits for the same reason. Cost: x and out read once, out written once.
#import index
#import missing

const WIDTH: u32 = 64u;

struct Params {
  size: u32,
  alpha: f32,
  beta: f32,
  gamma: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(group, groups) * WIDTH + lane;
  if (i >= params.size) { return; }
  let is_known = x[i] != bitcast<u32>(MISSING);
  let scale = select(params.gamma, params.beta, is_known);
  if (!is_known && scale == 1.0) { return; }
  var value = 0.0;
  if (is_known && params.alpha != 0.0) { value = params.alpha * bitcast<f32>(x[i]); }
  if (scale != 0.0) { value += scale * out[i]; }
  out[i] = value;
}

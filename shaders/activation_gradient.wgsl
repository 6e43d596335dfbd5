// dx[i] = dy[i]·f′ for an activation f. f′ is computed from f's output for the activations up to tanh, and from f's input for the
// others: `saved` is the one that is needed. By vec4s; size read twice, written once.
#import index
#import activations

const WIDTH: u32 = 64u;

struct Params {
  size: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> saved: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>;

fn slope(v: f32) -> f32 {
  if (ACTIVATION == 1u) { return select(0.0, 1.0, v > 0.0); }
  if (ACTIVATION == 2u) { return select(LEAK, 1.0, v > 0.0); }
  if (ACTIVATION == 3u) { return v * (1.0 - v); }
  if (ACTIVATION == 4u) { return 1.0 - v * v; }
  if (ACTIVATION == 5u) {
    let share = logistic(v);
    return share * (1.0 + v * (1.0 - share));
  }
  if (ACTIVATION == 6u) { return normal_share(v) + v * 0.3989422804 * exp(-min(0.5 * v * v, 80.0)); }
  if (ACTIVATION == 7u) {
    let t = bounded_tanh(gelu_angle(v));
    // beyond 10 the tanh is 1 in f32, and its slope 0
    let bound = clamp(v, -10.0, 10.0);
    return 0.5 * (1.0 + t) + 0.5 * bound * (1.0 - t * t) * 0.7978845608 * (1.0 + 0.134145 * bound * bound);
  }
  if (ACTIVATION == 8u) { return select(v / 3.0 + 0.5, select(0.0, 1.0, v > 0.0), abs(v) >= 3.0); }
  return 1.0;
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(group, groups) * WIDTH + lane;
  if (4u * i >= params.size) { return; }
  let v = saved[i];
  let slopes = vec4<f32>(slope(v.x), slope(v.y), slope(v.z), slope(v.w));
  // a slope of 0 lets nothing through, not even what is not finite
  let values = select(slopes * dy[i], vec4<f32>(), slopes == vec4<f32>());
  if (4u * i + 4u <= params.size) {
    dx[i] = values;
  } else {
    // the last vec4 may reach behind dx: the elements there do not change
    for (var k = 0u; 4u * i + k < params.size; k++) { dx[i][k] = values[k]; }
  }
}

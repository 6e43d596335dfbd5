// out[i] = byte i of x / 255, four bytes an invocation. size bytes read, four times as many written.
#import index

const WIDTH: u32 = 64u;

struct Params {
  size: u32,
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
  let word = flat_workgroup(group, groups) * WIDTH + lane;
  if (4u * word >= params.size) { return; }
  let v = unpack4x8unorm(x[word]);
  for (var i = 0u; i < min(4u, params.size - 4u * word); i++) { out[4u * word + i] = v[i]; }
}

// Where state[2] is `choice`, which a line search has written there: out = x. Else `out` stays. Reads and writes 1 number an element.
#import index

const WIDTH: u32 = 64u;
alias scalar = f32;

struct Params {
  size: u32,
  choice: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>;
@group(0) @binding(2) var<storage, read> state: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<scalar>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(group, groups) * WIDTH + lane;
  if (i < params.size && state[2] == params.choice) { out[i] = x[i]; }
}

// mttkrp_subgroup that reads X by vec4s: inner and its chunks, or with TRANSPOSED rows, must be multiples of 4.
// flops 2·size·R; reads X R/ROWS times, from memory once.
enable subgroups;
#import subgroup_mttkrp

const VECTORS: bool = true;

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;

// four neighbouring rows, with TRANSPOSED
fn x_at(at: vec4<u32>) -> vec4<f32> {
  return x[at.x / 4u];
}

fn x_along(at: u32) -> vec4<f32> {
  return x[at / 4u];
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  mttkrp(flat_workgroup(group, groups), lane);
}

// MTTKRP (common/mttkrp) for software adapters: a subgroup sums a tile (common/subgroup_tile). Any shape.
// flops 2·size·R; reads X R/ROWS times, from memory once.
enable subgroups;
#import subgroup_mttkrp

const VECTORS: bool = false;

@group(0) @binding(1) var<storage, read> x: array<f32>;

fn x_at(at: vec4<u32>) -> vec4<f32> {
  return vec4<f32>(x[at.x], x[at.y], x[at.z], x[at.w]);
}

fn x_along(at: u32) -> vec4<f32> {
  return vec4<f32>(x[at], x[at + 1u], x[at + 2u], x[at + 3u]);
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  mttkrp(flat_workgroup(group, groups), lane);
}

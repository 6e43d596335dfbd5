// MTTKRP (common/mttkrp) for software adapters: a subgroup sums a tile (common/subgroup_tile). Any shape.
// flops 2·size·R; reads X R/ROWS times, from memory once.
enable subgroups;
#import subgroup_mttkrp

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  mttkrp(flat_workgroup(group, groups), lane);
}

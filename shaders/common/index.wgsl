// The flat number of a workgroup in a dispatch that grid1d (src/gpu/kernel.ts) folded into x and y. No variable is called
// `workgroup` or `private`, because wgsl_reflect takes the names of address spaces for keywords.

fn flat_workgroup(group: vec3<u32>, groups: vec3<u32>) -> u32 {
  return group.x + group.y * groups.x;
}

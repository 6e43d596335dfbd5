// Flattens a dispatch that grid1d (src/gpu/kernel.ts) folded into x and y.

fn flat_workgroup(workgroup: vec3<u32>, workgroups: vec3<u32>) -> u32 {
  return workgroup.x + workgroup.y * workgroups.x;
}

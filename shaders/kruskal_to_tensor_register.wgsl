// out[i, j, …, k] = Σ_r λ_r A[i, r]·B[j, r]·…·C[k, r], the tensor of a Kruskal tensor (DIFFERENCE: X minus it). Every invocation
// computes a 4×4 tile of the last two modes. flops 2·size·R; writes size, reads the factors through the cache.
#import kruskal_register
#import kruskal_to_tensor

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let tile = flat_workgroup(group, groups) * 64u + local;
  if (tile >= tile_count()) { return; }
  let place = place_of(tile);
  store_rows(place, 0u, kruskal_tile(place));
}

// kruskal_to_tensor_register for software adapters: a subgroup computes a tile (common/subgroup_tile).
// flops 2·size·R; writes size, reads factors through the cache.
enable subgroups;
#import kruskal_subgroup
#import kruskal_to_tensor

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let tile = flat_workgroup(group, groups);
  if (tile >= tile_count()) { return; }
  let place = place_of(tile, lane);
  let values = kruskal_tile(place, lane);
  store_rows(place, 0u, values.rows0);
  if (ROWS > 4u) { store_rows(place, 4u, values.rows4); }
  if (ROWS > 8u) { store_rows(place, 8u, values.rows8); }
  if (ROWS > 12u) { store_rows(place, 12u, values.rows12); }
}

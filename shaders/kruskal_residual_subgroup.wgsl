// kruskal_residual_register for software adapters: a subgroup sums a tile (common/subgroup_tile). flops 2·size·R; reads X once.
enable subgroups;
#import kruskal_subgroup
#import kruskal_residual

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let flat = flat_workgroup(group, groups);
  let tiles = tile_count();
  var sum = 0.0;
  for (var tile = flat; tile < tiles; tile += groups.x * groups.y) {
    let place = place_of(tile, lane);
    let values = kruskal_tile(place, lane);
    var squared = squares(place, 0u, values.rows0);
    if (ROWS > 4u) { squared += squares(place, 4u, values.rows4); }
    if (ROWS > 8u) { squared += squares(place, 8u, values.rows8); }
    if (ROWS > 12u) { squared += squares(place, 12u, values.rows12); }
    sum += squared;
  }
  let all = subgroupAdd(sum);
  if (lane == 0u) { out[flat] = all; }
}

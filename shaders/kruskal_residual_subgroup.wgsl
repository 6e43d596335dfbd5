// kruskal_residual_register by subgroups (common/subgroup_tile), for software adapters. flops 2·size·R; reads X once.
enable subgroups;
#import kruskal_subgroup

@group(0) @binding(7) var<storage, read> x: array<f32>;
@group(0) @binding(8) var<storage, read_write> out: array<f32>;

// Σ (X − X̂)² over four rows of a tile
fn squares(place: Place, offset: u32, values: mat4x4<f32>) -> f32 {
  var sum = 0.0;
  for (var i = 0u; i < 4u && place.row + offset + i < params.middle; i++) {
    let at = (place.o * params.middle + place.row + offset + i) * params.last + place.column;
    var line = 0.0;
    for (var j = 0u; j < 4u && place.column + j < params.last; j++) {
      let difference = x[at + j] - values[i][j];
      line += difference * difference;
    }
    sum += line;
  }
  return sum;
}

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

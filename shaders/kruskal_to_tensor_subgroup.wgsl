// kruskal_to_tensor_register by subgroups (common/subgroup_tile), for software adapters.
// flops 2·size·R; writes size, reads factors through the cache.
enable subgroups;
#import kruskal_subgroup

// whether X minus that is wanted instead
const DIFFERENCE: bool = false;

@group(0) @binding(7) var<storage, read_write> out: array<f32>;
@group(0) @binding(8) var<storage, read> x: array<f32>;

fn store_rows(place: Place, offset: u32, values: mat4x4<f32>) {
  for (var i = 0u; i < 4u && place.row + offset + i < params.middle; i++) {
    let at = (place.o * params.middle + place.row + offset + i) * params.last + place.column;
    for (var j = 0u; j < 4u && place.column + j < params.last; j++) {
      var value = values[i][j];
      if (DIFFERENCE) { value = x[at + j] - value; }
      out[at + j] = value;
    }
  }
}

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

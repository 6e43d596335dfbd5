// A tile of ROWS×(4·LANES) (middle×last) of a Kruskal tensor, which one subgroup computes: a lane holds four columns of the last
// mode and receives the middle factor's rows from the other lanes. 8·ROWS·LANES·rank flops a tile.
#import kruskal
#import subgroup_tile

fn tile_count() -> u32 {
  return params.outer * ((params.middle + ROWS - 1u) / ROWS) * ((params.last + 4u * LANES - 1u) / (4u * LANES));
}

fn place_of(tile: u32, lane: u32) -> Place {
  let tile_columns = (params.last + 4u * LANES - 1u) / (4u * LANES);
  let tile_rows = (params.middle + ROWS - 1u) / ROWS;
  let rest = tile / tile_columns;
  return Place(rest / tile_rows, rest % tile_rows * ROWS, (tile % tile_columns * LANES + lane) * 4u);
}

fn middle_of(at: vec4<u32>) -> vec4<f32> {
  if (!MIDDLE) { return vec4<f32>(1.0); }
  var left = vec4<f32>(middle_factor[at.x]);
  if (ROWS > LANES) { left.y = middle_factor[at.y]; }
  if (ROWS > 2u * LANES) { left.z = middle_factor[at.z]; }
  if (ROWS > 3u * LANES) { left.w = middle_factor[at.w]; }
  return left;
}

fn kruskal_tile(place: Place, lane: u32) -> Tile {
  let places = vec4<u32>(place.row + lane) + vec4<u32>(0u, 1u, 2u, 3u) * LANES;
  let rows = min(places, vec4<u32>(params.middle - 1u)) * params.rank;
  let columns = min(vec4<u32>(place.column) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.last - 1u)) * params.rank;
  let at = outer_at(place.o);
  var sums: Tile;
  for (var r = 0u; r < params.rank; r++) {
    let ib = columns + vec4<u32>(r);
    let right = vec4<f32>(last_factor[ib.x], last_factor[ib.y], last_factor[ib.z], last_factor[ib.w]);
    sums = accumulate(sums, weight_of(at, r) * middle_of(rows + vec4<u32>(r)), right);
  }
  return sums;
}

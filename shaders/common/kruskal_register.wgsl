// A 4×4 tile (middle×last) of a Kruskal tensor, which one invocation computes in registers. 2·16·rank flops a tile.
#import kruskal

fn tile_count() -> u32 {
  return params.outer * ((params.middle + 3u) / 4u) * ((params.last + 3u) / 4u);
}

fn place_of(tile: u32) -> Place {
  let tile_columns = (params.last + 3u) / 4u;
  let tile_rows = (params.middle + 3u) / 4u;
  let rest = tile / tile_columns;
  return Place(rest / tile_rows, rest % tile_rows * 4u, tile % tile_columns * 4u);
}

fn kruskal_tile(place: Place) -> mat4x4<f32> {
  let rows = min(vec4<u32>(place.row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.middle - 1u)) * params.rank;
  let columns = min(vec4<u32>(place.column) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.last - 1u)) * params.rank;
  let at = outer_at(place.o);
  var sum0 = vec4<f32>();
  var sum1 = vec4<f32>();
  var sum2 = vec4<f32>();
  var sum3 = vec4<f32>();
  for (var r = 0u; r < params.rank; r++) {
    let ib = columns + vec4<u32>(r);
    let values = vec4<f32>(last_factor[ib.x], last_factor[ib.y], last_factor[ib.z], last_factor[ib.w]);
    let right = weight_of(at, r) * values;
    if (MIDDLE) {
      let ia = rows + vec4<u32>(r);
      sum0 += middle_factor[ia.x] * right;
      sum1 += middle_factor[ia.y] * right;
      sum2 += middle_factor[ia.z] * right;
      sum3 += middle_factor[ia.w] * right;
    } else {
      sum0 += right;
    }
  }
  return mat4x4<f32>(sum0, sum1, sum2, sum3);
}

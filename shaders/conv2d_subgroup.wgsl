// conv2d (common/conv2d) for software adapters: a subgroup sums a tile of ROWS outputs by 4·LANES positions
// (common/subgroup_tile). flops 2·size of out·C·KH·KW; a row of TAPS taps takes ROWS·TAPS/LANES + TAPS + 3 loads a lane for
// 4·ROWS·TAPS multiplications.
enable subgroups;
#import conv2d
#import subgroup_tile

// the weights of this lane's outputs
fn weights_of(at: vec4<i32>) -> vec4<f32> {
  var left = vec4<f32>(w[u32(at.x)]);
  if (ROWS > LANES) { left.y = w[u32(at.y)]; }
  if (ROWS > 2u * LANES) { left.z = w[u32(at.z)]; }
  if (ROWS > 3u * LANES) { left.w = w[u32(at.w)]; }
  return left;
}

fn store_rows(place: Place, first: u32, last: u32, row: u32, sums: mat4x4<f32>) {
  if (row > last) { return; }
  store(place, first + row, sums[0]);
  if (row + 1u <= last) { store(place, first + row + 1u, sums[1]); }
  if (row + 2u <= last) { store(place, first + row + 2u, sums[2]); }
  if (row + 3u <= last) { store(place, first + row + 3u, sums[3]); }
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) flat: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let positions = params.batch * params.out_height * params.quads;
  let share = share_of(flat_workgroup(flat, groups), ROWS, LANES, positions);
  let index = share.first_index + lane;
  if (share.group >= params.groups) { return; }
  let place = place_of(index);
  let last = params.group_outputs - 1u;
  let rows = min(vec4<u32>(share.first_output + lane) + vec4<u32>(0u, 1u, 2u, 3u) * LANES, vec4<u32>(last));
  let weights_start = vec4<i32>(params.start + i32(share.group) * params.of_group)
    + vec4<i32>(rows) * params.of_output;
  let plane = params.height * params.width;
  let image = (place.n * params.channels + share.group * params.group_channels) * plane;
  var sums: Tile;
  for (var tap = 0u; tap < params.kernel_width; tap += TAPS) {
    let span = span_of(place, tap);
    let left = params.kernel_width - tap;
    for (var c = 0u; c < params.group_channels; c++) {
      for (var ky = 0u; ky < params.kernel_height; ky++) {
        let row = row_of(image + c * plane, place, ky);
        var at = weights_start
          + vec4<i32>(i32(c) * params.of_channel + i32(ky) * params.of_y + i32(tap) * params.of_x);
        let a = inputs_of(row, span.a, span.a_there);
        sums = accumulate(sums, weights_of(at), a);
        if (TAPS > 1u && (WHOLE || left > 1u)) {
          let b = inputs_behind(row, span.b, span.b_there);
          at += vec4<i32>(params.of_x);
          sums = accumulate(sums, weights_of(at), vec4<f32>(a.yzw, b.x));
          if (TAPS > 2u && (WHOLE || left > 2u)) {
            at += vec4<i32>(params.of_x);
            sums = accumulate(sums, weights_of(at), vec4<f32>(a.zw, b.xy));
          }
          if (TAPS > 3u && (WHOLE || left > 3u)) {
            at += vec4<i32>(params.of_x);
            sums = accumulate(sums, weights_of(at), vec4<f32>(a.w, b.xyz));
          }
          if (TAPS > 4u && (WHOLE || left > 4u)) {
            at += vec4<i32>(params.of_x);
            sums = accumulate(sums, weights_of(at), b);
          }
        }
      }
    }
  }
  if (index >= positions) { return; }
  let first = share.group * params.group_outputs;
  let stop = min(last, share.first_output + ROWS - 1u);
  store_rows(place, first, stop, share.first_output, sums.rows0);
  if (ROWS > 4u) { store_rows(place, first, stop, share.first_output + 4u, sums.rows4); }
  if (ROWS > 8u) { store_rows(place, first, stop, share.first_output + 8u, sums.rows8); }
  if (ROWS > 12u) { store_rows(place, first, stop, share.first_output + 12u, sums.rows12); }
}

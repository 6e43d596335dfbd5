// MTTKRP (common/mttkrp): every invocation sums a 4×4 tile in registers over its split's share of o and k. Any shape.
// flops 2·size·R; reads X once from memory (R/4 times through the cache).
#import mttkrp

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let tile_columns = (params.columns + 3u) / 4u;
  let tile_rows = (params.rows + 3u) / 4u;
  var tile = flat_workgroup(group, groups) * 64u + local;
  let column = tile % tile_columns * 4u;
  tile /= tile_columns;
  let row = tile % tile_rows * 4u;
  let split = tile / tile_rows;
  if (split >= params.splits) { return; }
  let slice = slice_of(split);
  // edges: clamp what is read, guard what is written
  let rows = min(vec4<u32>(row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.rows - 1u));
  let columns = min(vec4<u32>(column) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.columns - 1u));
  let row_stride = select(params.middle * params.inner, 1u, TRANSPOSED);
  let inner_stride = select(1u, params.rows, TRANSPOSED);
  var sums = mat4x4<f32>();
  for (var o = slice.outer_start; o < slice.outer_stop; o++) {
    var at = vec4<u32>(matrix_at(o) + slice.inner_start * inner_stride) + rows * row_stride;
    var f = vec4<u32>(slice.inner_start * params.columns) + columns;
    var part0 = vec4<f32>();
    var part1 = vec4<f32>();
    var part2 = vec4<f32>();
    var part3 = vec4<f32>();
    for (var k = slice.inner_start; k < slice.inner_stop; k++) {
      let right = vec4<f32>(factor[f.x], factor[f.y], factor[f.z], factor[f.w]);
      let left = x_four(at);
      part0 += left.x * right;
      part1 += left.y * right;
      part2 += left.z * right;
      part3 += left.w * right;
      at += vec4<u32>(inner_stride);
      f += vec4<u32>(params.columns);
    }
    let w = weight_of(o, columns);
    sums += mat4x4<f32>(w * part0, w * part1, w * part2, w * part3);
  }
  let base = split * params.rows * params.columns;
  for (var i = 0u; i < 4u && row + i < params.rows; i++) {
    for (var j = 0u; j < 4u && column + j < params.columns; j++) {
      out[base + (row + i) * params.columns + column + j] = sums[i][j];
    }
  }
}

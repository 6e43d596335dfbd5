// C[b] = activation(alpha·Σ_o op(A[b,o])·op(B[b,o]) + bias); every invocation sums a 4×4 tile in registers, without workgroup
// memory. A is rows×inner (inner×rows with TRANSPOSE_A), B is inner×columns (columns×inner with TRANSPOSE_B), C is rows×columns
// (columns×rows with TRANSPOSE_OUT), all row-major, of any extents.
// flops 2·batch·outer·rows·columns·inner; reads: A columns/4 times, B rows/4 times, through the cache.
#import product

@group(0) @binding(1) var<storage, read> a: array<u32>;
@group(0) @binding(2) var<storage, read> b: array<u32>;

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
  tile /= tile_rows;
  let item = tile % params.batch;
  let split = tile / params.batch;
  if (split >= params.splits) { return; }
  // edges: clamp what is read, guard what is written
  let rows = min(vec4<u32>(row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.rows - 1u));
  let columns = min(vec4<u32>(column) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.columns - 1u));
  let step_a = select(1u, params.rows, TRANSPOSE_A);
  let step_b = select(params.columns, 1u, TRANSPOSE_B);
  let slice = slice_of(split);
  let at_a = vec4<u32>(item * params.batch_a) + rows * select(params.inner, 1u, TRANSPOSE_A);
  let at_b = vec4<u32>(item * params.batch_b) + columns * select(1u, params.inner, TRANSPOSE_B);
  var sum0 = vec4<f32>();
  var sum1 = vec4<f32>();
  var sum2 = vec4<f32>();
  var sum3 = vec4<f32>();
  for (var o = slice.outer_start; o < slice.outer_stop; o++) {
    var ia = at_a + vec4<u32>(o * params.outer_a + slice.inner_start * step_a);
    var ib = at_b + vec4<u32>(o * params.outer_b + slice.inner_start * step_b);
    for (var k = slice.inner_start; k < slice.inner_stop; k++) {
      let right = vec4<f32>(b_at(ib.x), b_at(ib.y), b_at(ib.z), b_at(ib.w));
      sum0 += a_at(ia.x) * right;
      sum1 += a_at(ia.y) * right;
      sum2 += a_at(ia.z) * right;
      sum3 += a_at(ia.w) * right;
      ia += vec4<u32>(step_a);
      ib += vec4<u32>(step_b);
    }
  }
  let sums = mat4x4<f32>(sum0, sum1, sum2, sum3);
  for (var i = 0u; i < 4u && row + i < params.rows; i++) {
    for (var j = 0u; j < 4u && column + j < params.columns; j++) { store(split, item, row + i, column + j, sums[i][j]); }
  }
}

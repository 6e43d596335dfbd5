// C[b] = activation(alpha · Σ_o op(A[b,o])·op(B[b,o]) + bias), every invocation a 4×4 tile in registers, no workgroup
// memory. A is rows×inner (inner×rows with TRANSPOSE_A), B is inner×columns (columns×inner with TRANSPOSE_B), row-major,
// any shape. With splits > 1 `out` holds the raw partial sums, splits×batch×rows×columns, for split_sum.
// flops 2·batch·outer·rows·columns·inner; reads: A columns/4 times, B rows/4 times, through the cache.
#import product

// partial sums of this many terms are added up, so that rounding errors do not grow with the whole length
const BLOCK: u32 = 256u;

@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

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
    for (var start = slice.inner_start; start < slice.inner_stop; start += BLOCK) {
      var part0 = vec4<f32>();
      var part1 = vec4<f32>();
      var part2 = vec4<f32>();
      var part3 = vec4<f32>();
      var ia = at_a + vec4<u32>(o * params.outer_a + start * step_a);
      var ib = at_b + vec4<u32>(o * params.outer_b + start * step_b);
      for (var k = min(BLOCK, slice.inner_stop - start); k > 0u; k--) {
        let right = vec4<f32>(b[ib.x], b[ib.y], b[ib.z], b[ib.w]);
        part0 += a[ia.x] * right;
        part1 += a[ia.y] * right;
        part2 += a[ia.z] * right;
        part3 += a[ia.w] * right;
        ia += vec4<u32>(step_a);
        ib += vec4<u32>(step_b);
      }
      sum0 += part0;
      sum1 += part1;
      sum2 += part2;
      sum3 += part3;
    }
  }
  let sums = array<vec4<f32>, 4>(sum0, sum1, sum2, sum3);
  let base = (split * params.batch + item) * params.rows * params.columns;
  for (var i = 0u; i < 4u && row + i < params.rows; i++) {
    for (var j = 0u; j < 4u && column + j < params.columns; j++) {
      var value = params.alpha * sums[i][j];
      if (BIAS) { value += bias[column + j]; }
      out[base + (row + i) * params.columns + column + j] = activate(value);
    }
  }
}

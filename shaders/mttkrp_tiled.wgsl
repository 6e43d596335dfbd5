// MTTKRP (common/mttkrp) through workgroup memory, for GPUs: a workgroup stages 64 rows × 16 steps of X, k-major, and the
// 16×16 of the factor that go with them, weighted; every invocation sums 4 rows × 4 columns. Any shape.
// flops 2·size·R; reads X R/16 times, in runs of 64 bytes or more.
#import mttkrp

const TILE_ROWS: u32 = 64u;
const TILE_COLUMNS: u32 = 16u;
const TILE_K: u32 = 16u;
// vec4s in a step of the staged X, one of them padding against bank conflicts
const PITCH: u32 = 17u;

@group(0) @binding(1) var<storage, read> x: array<f32>;

var<workgroup> tile_x: array<vec4<f32>, TILE_K * PITCH>;
var<workgroup> tile_factor: array<vec4<f32>, TILE_K * 4u>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let tile_columns = (params.columns + TILE_COLUMNS - 1u) / TILE_COLUMNS;
  let tile_rows = (params.rows + TILE_ROWS - 1u) / TILE_ROWS;
  var tile = flat_workgroup(group, groups);
  let column = tile % tile_columns * TILE_COLUMNS;
  tile /= tile_columns;
  let row = tile % tile_rows * TILE_ROWS;
  let split = tile / tile_rows;
  if (split >= params.splits) { return; }
  let slice = slice_of(split);
  let row_stride = select(params.middle * params.inner, 1u, TRANSPOSED);
  let inner_stride = select(1u, params.rows, TRANSPOSED);
  // edges: clamp what is read, zero the steps past the end, guard what is written
  let last = params.rows - 1u;
  // of the factor this invocation stages step local / 4 and four columns
  let staged = min(vec4<u32>(column + local % 4u * 4u) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.columns - 1u));
  let tile_row = local / 4u;
  let tile_column = local % 4u;
  var sum0 = vec4<f32>();
  var sum1 = vec4<f32>();
  var sum2 = vec4<f32>();
  var sum3 = vec4<f32>();
  for (var o = slice.outer_start; o < slice.outer_stop; o++) {
    let base = matrix_at(o);
    let w = weight_of(o, staged);
    for (var k = slice.inner_start; k < slice.inner_stop; k += TILE_K) {
      for (var load = local; load < TILE_K * TILE_ROWS / 4u; load += 64u) {
        // neighbouring invocations read neighbouring addresses, whichever way X lies
        let step = select(load % TILE_K, load / (TILE_ROWS / 4u), TRANSPOSED);
        let four = select(load / TILE_K, load % (TILE_ROWS / 4u), TRANSPOSED);
        let r = min(vec4<u32>(row + 4u * four) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(last));
        let at = vec4<u32>(base + min(k + step, params.inner - 1u) * inner_stride) + r * row_stride;
        tile_x[step * PITCH + four] = vec4<f32>(x[at.x], x[at.y], x[at.z], x[at.w]);
      }
      let step = k + local / 4u;
      var values = vec4<f32>();
      if (step < slice.inner_stop) {
        let at = vec4<u32>(step * params.columns) + staged;
        values = w * vec4<f32>(factor[at.x], factor[at.y], factor[at.z], factor[at.w]);
      }
      tile_factor[local] = values;
      workgroupBarrier();
      for (var d = 0u; d < TILE_K; d++) {
        let left = tile_x[d * PITCH + tile_row];
        let right = tile_factor[d * 4u + tile_column];
        sum0 += left.x * right;
        sum1 += left.y * right;
        sum2 += left.z * right;
        sum3 += left.w * right;
      }
      workgroupBarrier();
    }
  }
  let sums = mat4x4<f32>(sum0, sum1, sum2, sum3);
  for (var i = 0u; i < 4u; i++) {
    let r = row + tile_row * 4u + i;
    for (var j = 0u; j < 4u; j++) {
      let c = column + tile_column * 4u + j;
      if (r < params.rows && c < params.columns) {
        out[(split * params.rows + r) * params.columns + c] = sums[i][j];
      }
    }
  }
}

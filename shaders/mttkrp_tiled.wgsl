// MTTKRP (common/mttkrp) through workgroup memory, for GPUs: a workgroup stages 64 rows × 16 steps of X, k-major, and the
// 16×16·QUADS of the factor that go with them, weighted; every invocation sums 4 rows × QUADS fours of columns, 16 apart.
// Any shape. flops 2·size·R; reads X R/(16·QUADS) times, in runs of 64 bytes or more.
#import mttkrp

const TILE_ROWS: u32 = 64u;
const QUADS: u32 = 1u;
const TILE_COLUMNS: u32 = 16u * QUADS;
const TILE_K: u32 = 16u;
// vec4s in a step of the staged X, one of them padding against bank conflicts
const PITCH: u32 = 17u;

@group(0) @binding(1) var<storage, read> x: array<f32>;

var<workgroup> tile_x: array<vec4<f32>, TILE_K * PITCH>;
var<workgroup> tile_factor: array<vec4<f32>, TILE_K * 4u * QUADS>;

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
  // of the factor this invocation stages step local / 4 and a four of columns in every 16
  var staged: array<vec4<u32>, QUADS>;
  for (var q = 0u; q < QUADS; q++) {
    let first = column + 16u * q + local % 4u * 4u;
    staged[q] = min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.columns - 1u));
  }
  let tile_row = local / 4u;
  let tile_column = local % 4u;
  // of each four of columns, four rows
  var sums: array<mat4x4<f32>, QUADS>;
  var w: array<vec4<f32>, QUADS>;
  for (var o = slice.outer_start; o < slice.outer_stop; o++) {
    let base = matrix_at(o);
    for (var q = 0u; q < QUADS; q++) { w[q] = weight_of(o, staged[q]); }
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
      for (var q = 0u; q < QUADS; q++) {
        var values = vec4<f32>();
        if (step < slice.inner_stop) {
          let at = vec4<u32>(step * params.columns) + staged[q];
          values = w[q] * vec4<f32>(factor[at.x], factor[at.y], factor[at.z], factor[at.w]);
        }
        tile_factor[64u * q + local] = values;
      }
      workgroupBarrier();
      for (var d = 0u; d < TILE_K; d++) {
        let left = tile_x[d * PITCH + tile_row];
        for (var q = 0u; q < QUADS; q++) {
          let right = tile_factor[64u * q + d * 4u + tile_column];
          sums[q] += mat4x4<f32>(left.x * right, left.y * right, left.z * right, left.w * right);
        }
      }
      workgroupBarrier();
    }
  }
  for (var q = 0u; q < QUADS; q++) {
    for (var i = 0u; i < 4u; i++) {
      let r = row + tile_row * 4u + i;
      for (var j = 0u; j < 4u; j++) {
        let c = column + 16u * q + tile_column * 4u + j;
        if (r < params.rows && c < params.columns) {
          out[(split * params.rows + r) * params.columns + c] = sums[q][i][j];
        }
      }
    }
  }
}

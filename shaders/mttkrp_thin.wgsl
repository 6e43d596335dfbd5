// MTTKRP (common/mttkrp) for GPUs, where the factors have few columns (common/thin): X is the tall matrix, the factor the thin one,
// which is multiplied by the weights W as it is staged. Any shape. flops 2·size·R; reads X R/THIN times.
#import mttkrp
#import thin

const ALONG = !TRANSPOSED;

fn element(at: u32) -> f32 { return x_at(at); }
// with VECTORS, the rows (TRANSPOSED) or the steps of X are contiguous and a multiple of four
fn elements(at: u32) -> vec4<f32> { return x_from(at); }

// Four columns of staged step number `step`, of `count` steps from row k of the factor on; 0 behind the last step.
fn factor_at(k: u32, step: u32, count: u32, columns: vec4<u32>) -> vec4<f32> {
  let e = vec4<u32>((k + min(step, count - 1u)) * params.columns) + columns;
  return select(vec4<f32>(), vec4<f32>(factor[e.x], factor[e.y], factor[e.z], factor[e.w]), vec4<bool>(step < count));
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let tile_columns = (params.columns + THIN - 1u) / THIN;
  let tile_rows = (params.rows + TALL - 1u) / TALL;
  var work = flat_workgroup(group, groups);
  let column = work % tile_columns * THIN;
  work /= tile_columns;
  let row = work % tile_rows * TALL;
  let split = work / tile_rows;
  if (split >= params.splits) { return; }
  let slice = slice_of(split);
  let row_stride = select(params.middle * params.inner, 1u, TRANSPOSED);
  let inner_stride = select(1u, params.rows, TRANSPOSED);
  // edges: clamp what is read, zero the steps behind the last one, guard what is written
  let first_row = vec4<u32>(row + 4u * team_at(local)) + vec4<u32>(0u, 1u, 2u, 3u);
  row_start = min(first_row, vec4<u32>(params.rows - 1u)) * row_stride;
  if (VECTORS && TRANSPOSED) { row_start = min(first_row, vec4<u32>(params.rows - 4u)); }
  // an invocation stages two vec4s, two steps of the same columns
  let quad = local % (THIN / 4u);
  let first = local / (THIN / 4u);
  let second = first + STEPS / 2u;
  let columns = min(vec4<u32>(column + 4u * quad) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.columns - 1u));
  for (var o = slice.outer_start; o < slice.outer_stop; o++) {
    let base = matrix_at(o);
    let w = weight_of(o, columns);
    for (var k = slice.inner_start; k < slice.inner_stop; k += STEPS) {
      let count = min(STEPS, slice.inner_stop - k);
      let start = base + k * inner_stride;
      ahead = read_steps(local, 0u, start, inner_stride, count);
      let value0 = factor_at(k, first, count, columns);
      let value1 = factor_at(k, second, count, columns);
      workgroupBarrier();
      staged[place_of(first)][quad] = w * value0;
      staged[place_of(second)][quad] = w * value1;
      workgroupBarrier();
      multiply_staged(local, start, inner_stride, count);
    }
  }
  finish(local, vec4<u32>(row, column, 0u, split));
}

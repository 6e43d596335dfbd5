// MTTKRP (common/mttkrp) for few columns (common/thin), for GPUs: the tall matrix is X, the thin one the factor, weighted as it
// is staged. Any shape. flops 2·size·R; reads X R/THIN times.
#import mttkrp
#import thin

@group(0) @binding(1) var<storage, read> x: array<f32>;

const ALONG = !TRANSPOSED;

fn element(at: u32) -> f32 { return x[at]; }

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
  for (var v = 0u; v < VALUES; v++) {
    // edges: clamp what is read, guard what is written
    row_start[v] = min(row + team_at(local) + v * TEAM, params.rows - 1u) * row_stride;
  }
  // THREADS is a multiple of QUADS: an invocation stages the same columns of the factor in every step
  let first = column + 4u * (local % QUADS);
  let columns = min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.columns - 1u));
  for (var o = slice.outer_start; o < slice.outer_stop; o++) {
    let base = matrix_at(o);
    let w = weight_of(o, columns);
    for (var k = slice.inner_start; k < slice.inner_stop; k += STEPS) {
      let count = min(STEPS, slice.inner_stop - k);
      workgroupBarrier();
      for (var step = local / QUADS; step < count; step += THREADS / QUADS) {
        let e = vec4<u32>((k + step) * params.columns) + columns;
        staged[step * PITCH + local % QUADS] = w * vec4<f32>(factor[e.x], factor[e.y], factor[e.z], factor[e.w]);
      }
      workgroupBarrier();
      multiply_staged(local, base + k * inner_stride, inner_stride, count);
    }
  }
  finish(local, vec4<u32>(row, column, 0u, split));
}

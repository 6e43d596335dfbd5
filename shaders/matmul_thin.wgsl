// C[b] = activation(alpha · Σ_o op(A[b,o])·op(B[b,o]) + bias) for a B of few columns (common/thin), for GPUs. Shapes,
// transposes and splits as in matmul_register. flops 2·batch·outer·rows·columns·inner; reads: A columns/THIN times, B
// rows/TALL times.
#import product
#import thin

@group(0) @binding(2) var<storage, read> b: array<f32>;

const ALONG = !TRANSPOSE_A;

fn element(at: u32) -> f32 { return a[at]; }

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
  work /= tile_rows;
  let item = work % params.batch;
  let split = work / params.batch;
  if (split >= params.splits) { return; }
  let slice = slice_of(split);
  for (var v = 0u; v < VALUES; v++) {
    // edges: clamp what is read, guard what is written
    let r = min(row + team_at(local) + v * TEAM, params.rows - 1u);
    row_start[v] = item * params.batch_a + select(r * params.inner, r, TRANSPOSE_A);
  }
  let step_a = select(1u, params.rows, TRANSPOSE_A);
  for (var o = slice.outer_start; o < slice.outer_stop; o++) {
    let base = item * params.batch_b + o * params.outer_b;
    for (var k = slice.inner_start; k < slice.inner_stop; k += STEPS) {
      let count = min(STEPS, slice.inner_stop - k);
      workgroupBarrier();
      for (var load = local; load < STEPS * QUADS; load += THREADS) {
        // neighbouring invocations read neighbouring addresses, whichever way B lies
        let step = select(load / QUADS, load % STEPS, TRANSPOSE_B);
        let four = select(load % QUADS, load / STEPS, TRANSPOSE_B);
        let c = vec4<u32>(column + 4u * four) + vec4<u32>(0u, 1u, 2u, 3u);
        let s = k + min(step, count - 1u);
        let last = vec4<u32>(params.columns - 1u);
        let e = base + select(s * params.columns + min(c, last), min(c, last) * params.inner + s, vec4<bool>(TRANSPOSE_B));
        staged[step * PITCH + four] = vec4<f32>(b[e.x], b[e.y], b[e.z], b[e.w]);
      }
      workgroupBarrier();
      multiply_staged(local, o * params.outer_a + k * step_a, step_a, count);
    }
  }
  finish(local, vec4<u32>(row, column, item, split));
}

// C[b] = activation(alpha·Σ_o op(A[b,o])·op(B[b,o]) + bias) for GPUs, where B has few columns (common/thin). Shapes, transposes and
// splits as in matmul_register. flops 2·batch·outer·rows·columns·inner; reads: A columns/THIN times, B rows/TALL times.
#import product
#import thin

@group(0) @binding(1) var<storage, read> a: array<scalar>;
@group(0) @binding(2) var<storage, read> b: array<u32>;

const ALONG = !TRANSPOSE_A;

fn element(at: u32) -> f32 { return a_at(at); }
// with VECTORS, the rows (TRANSPOSE_A) or the steps of A are contiguous and a multiple of four
fn elements(at: u32) -> vec4<f32> { return a_from(at); }

// The step and the four columns of staged vec4 number `load`: neighbouring loads read neighbouring addresses, with and without
// TRANSPOSE_B.
fn staged_at(load: u32) -> vec2<u32> {
  return select(vec2<u32>(load / (THIN / 4u), load % (THIN / 4u)), vec2<u32>(load % STEPS, load / STEPS), TRANSPOSE_B);
}

// The four columns of B at `place` (step, four columns), of `count` steps from k on; 0 behind the last step.
fn staged_of(base: u32, k: u32, place: vec2<u32>, count: u32, column: u32) -> vec4<f32> {
  let c = min(vec4<u32>(column + 4u * place.y) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.columns - 1u));
  let s = k + min(place.x, count - 1u);
  let e = base + select(s * params.columns + c, c * params.inner + s, vec4<bool>(TRANSPOSE_B));
  return select(vec4<f32>(), vec4<f32>(b_at(e.x), b_at(e.y), b_at(e.z), b_at(e.w)), vec4<bool>(place.x < count));
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
  work /= tile_rows;
  let item = work % params.batch;
  let split = work / params.batch;
  if (split >= params.splits) { return; }
  let slice = slice_of(split);
  // edges: clamp what is read, zero the steps behind the last one, guard what is written
  let first_row = vec4<u32>(row + 4u * team_at(local)) + vec4<u32>(0u, 1u, 2u, 3u);
  row_start = min(first_row, vec4<u32>(params.rows - 1u)) * select(params.inner, 1u, TRANSPOSE_A);
  if (VECTORS && TRANSPOSE_A) { row_start = min(first_row, vec4<u32>(params.rows - 4u)); }
  let step_a = select(1u, params.rows, TRANSPOSE_A);
  // an invocation stages two vec4s, each at (step, four columns)
  let first = staged_at(local);
  let second = staged_at(local + THREADS);
  for (var o = slice.outer_start; o < slice.outer_stop; o++) {
    let base = item * params.batch_b + o * params.outer_b;
    for (var k = slice.inner_start; k < slice.inner_stop; k += STEPS) {
      let count = min(STEPS, slice.inner_stop - k);
      let start = item * params.batch_a + o * params.outer_a + k * step_a;
      ahead = read_steps(local, 0u, start, step_a, count);
      let value0 = staged_of(base, k, first, count, column);
      let value1 = staged_of(base, k, second, count, column);
      workgroupBarrier();
      staged[place_of(first.x)][first.y] = value0;
      staged[place_of(second.x)][second.y] = value1;
      workgroupBarrier();
      multiply_staged(local, start, step_a, count);
    }
  }
  finish(local, vec4<u32>(row, column, item, split));
}

// C[b] = activation(alpha · Σ_o op(A[b,o])·op(B[b,o]) + bias) through workgroup memory, for GPUs: a workgroup stages
// HIGH×8 of A and 8×WIDE of B, k-major and padded against bank conflicts; every invocation sums 8×8 (rows in two runs of 4
// that lie HIGH/2 apart, columns likewise, so that a warp reads neighbouring vec4s). HIGH·WIDE is 4096: flat tiles for thin
// matrices, whose square ones would be mostly empty. Shapes, transposes and splits as in matmul_register.
// flops 2·batch·outer·rows·columns·inner; reads: A columns/WIDE times, B rows/HIGH times.
#import product

const HIGH: u32 = 64u;
const WIDE: u32 = 64u;
const TILE_K: u32 = 8u;
const THREADS: u32 = 64u;
// vec4s in a row of a staged tile, one of them padding
const PITCH_A: u32 = HIGH / 4u + 1u;
const PITCH_B: u32 = WIDE / 4u + 1u;

@group(0) @binding(2) var<storage, read> b: array<f32>;

var<workgroup> tile_a: array<vec4<f32>, TILE_K * PITCH_A>;
var<workgroup> tile_b: array<vec4<f32>, TILE_K * PITCH_B>;

fn load_a(base: u32, row: u32, k: u32, stop: u32) -> f32 {
  if (row >= params.rows || k >= stop) { return 0.0; }
  if (TRANSPOSE_A) { return a[base + k * params.rows + row]; }
  return a[base + row * params.inner + k];
}

fn load_b(base: u32, k: u32, column: u32, stop: u32) -> f32 {
  if (column >= params.columns || k >= stop) { return 0.0; }
  if (TRANSPOSE_B) { return b[base + column * params.inner + k]; }
  return b[base + k * params.columns + column];
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let tile_columns = (params.columns + WIDE - 1u) / WIDE;
  let tile_rows = (params.rows + HIGH - 1u) / HIGH;
  var tile = flat_workgroup(group, groups);
  let column = tile % tile_columns * WIDE;
  tile /= tile_columns;
  let row = tile % tile_rows * HIGH;
  tile /= tile_rows;
  let item = tile % params.batch;
  let split = tile / params.batch;
  if (split >= params.splits) { return; }
  let slice = slice_of(split);
  let thread_row = local / (WIDE / 8u);
  let thread_column = local % (WIDE / 8u);
  var sums: array<vec4<f32>, 16>;
  for (var o = slice.outer_start; o < slice.outer_stop; o++) {
    let base_a = item * params.batch_a + o * params.outer_a;
    let base_b = item * params.batch_b + o * params.outer_b;
    for (var k = slice.inner_start; k < slice.inner_stop; k += TILE_K) {
      // neighbouring invocations read neighbouring addresses, whichever way a matrix lies
      for (var load = local; load < TILE_K * HIGH / 4u; load += THREADS) {
        let ra = 4u * select(load / TILE_K, load % (HIGH / 4u), TRANSPOSE_A);
        let ka = select(load % TILE_K, load / (HIGH / 4u), TRANSPOSE_A);
        tile_a[ka * PITCH_A + ra / 4u] = vec4<f32>(
          load_a(base_a, row + ra, k + ka, slice.inner_stop),
          load_a(base_a, row + ra + 1u, k + ka, slice.inner_stop),
          load_a(base_a, row + ra + 2u, k + ka, slice.inner_stop),
          load_a(base_a, row + ra + 3u, k + ka, slice.inner_stop),
        );
      }
      for (var load = local; load < TILE_K * WIDE / 4u; load += THREADS) {
        let cb = 4u * select(load % (WIDE / 4u), load / TILE_K, TRANSPOSE_B);
        let kb = select(load / (WIDE / 4u), load % TILE_K, TRANSPOSE_B);
        tile_b[kb * PITCH_B + cb / 4u] = vec4<f32>(
          load_b(base_b, k + kb, column + cb, slice.inner_stop),
          load_b(base_b, k + kb, column + cb + 1u, slice.inner_stop),
          load_b(base_b, k + kb, column + cb + 2u, slice.inner_stop),
          load_b(base_b, k + kb, column + cb + 3u, slice.inner_stop),
        );
      }
      workgroupBarrier();
      for (var d = 0u; d < TILE_K; d++) {
        let left0 = tile_a[d * PITCH_A + thread_row];
        let left1 = tile_a[d * PITCH_A + thread_row + HIGH / 8u];
        let right0 = tile_b[d * PITCH_B + thread_column];
        let right1 = tile_b[d * PITCH_B + thread_column + WIDE / 8u];
        sums[0] += left0.x * right0;
        sums[1] += left0.x * right1;
        sums[2] += left0.y * right0;
        sums[3] += left0.y * right1;
        sums[4] += left0.z * right0;
        sums[5] += left0.z * right1;
        sums[6] += left0.w * right0;
        sums[7] += left0.w * right1;
        sums[8] += left1.x * right0;
        sums[9] += left1.x * right1;
        sums[10] += left1.y * right0;
        sums[11] += left1.y * right1;
        sums[12] += left1.z * right0;
        sums[13] += left1.z * right1;
        sums[14] += left1.w * right0;
        sums[15] += left1.w * right1;
      }
      workgroupBarrier();
    }
  }
  for (var i = 0u; i < 8u; i++) {
    let r = row + i / 4u * (HIGH / 2u) + thread_row * 4u + i % 4u;
    for (var j = 0u; j < 8u; j++) {
      let c = column + j / 4u * (WIDE / 2u) + thread_column * 4u + j % 4u;
      if (r < params.rows && c < params.columns) { store(split, item, r, c, sums[i * 2u + j / 4u][j % 4u]); }
    }
  }
}

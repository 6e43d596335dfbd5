// C[b] = activation(alpha · Σ_o op(A[b,o])·op(B[b,o]) + bias) through workgroup memory, for GPUs: a workgroup stages
// 64×8 of A and 8×64 of B, k-major and padded against bank conflicts; every invocation sums 8×8 (rows in two runs of 4
// that lie 32 apart, columns likewise, so that a warp reads neighbouring vec4s). Shapes, transposes and splits as in
// matmul_register. flops 2·batch·outer·rows·columns·inner; reads: A columns/64 times, B rows/64 times.
#import product

const TILE: u32 = 64u;
const TILE_K: u32 = 8u;
const THREADS: u32 = 64u;
// vec4s in a row of a staged tile, one of them padding
const PITCH: u32 = 17u;

@group(0) @binding(2) var<storage, read> b: array<f32>;

var<workgroup> tile_a: array<vec4<f32>, TILE_K * PITCH>;
var<workgroup> tile_b: array<vec4<f32>, TILE_K * PITCH>;

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
  let tile_columns = (params.columns + TILE - 1u) / TILE;
  let tile_rows = (params.rows + TILE - 1u) / TILE;
  var tile = flat_workgroup(group, groups);
  let column = tile % tile_columns * TILE;
  tile /= tile_columns;
  let row = tile % tile_rows * TILE;
  tile /= tile_rows;
  let item = tile % params.batch;
  let split = tile / params.batch;
  if (split >= params.splits) { return; }
  let slice = slice_of(split);
  let thread_row = local / 8u;
  let thread_column = local % 8u;
  var sums: array<vec4<f32>, 16>;
  for (var o = slice.outer_start; o < slice.outer_stop; o++) {
    let base_a = item * params.batch_a + o * params.outer_a;
    let base_b = item * params.batch_b + o * params.outer_b;
    for (var k = slice.inner_start; k < slice.inner_stop; k += TILE_K) {
      for (var load = local; load < TILE_K * TILE / 4u; load += THREADS) {
        // neighbouring invocations read neighbouring addresses, whichever way the matrix lies
        let across = load / TILE_K * 4u;
        let deep = load % TILE_K;
        let across_t = load % (TILE / 4u) * 4u;
        let deep_t = load / (TILE / 4u);
        let ra = select(across, across_t, TRANSPOSE_A);
        let ka = select(deep, deep_t, TRANSPOSE_A);
        tile_a[ka * PITCH + ra / 4u] = vec4<f32>(
          load_a(base_a, row + ra, k + ka, slice.inner_stop),
          load_a(base_a, row + ra + 1u, k + ka, slice.inner_stop),
          load_a(base_a, row + ra + 2u, k + ka, slice.inner_stop),
          load_a(base_a, row + ra + 3u, k + ka, slice.inner_stop),
        );
        let cb = select(across_t, across, TRANSPOSE_B);
        let kb = select(deep_t, deep, TRANSPOSE_B);
        tile_b[kb * PITCH + cb / 4u] = vec4<f32>(
          load_b(base_b, k + kb, column + cb, slice.inner_stop),
          load_b(base_b, k + kb, column + cb + 1u, slice.inner_stop),
          load_b(base_b, k + kb, column + cb + 2u, slice.inner_stop),
          load_b(base_b, k + kb, column + cb + 3u, slice.inner_stop),
        );
      }
      workgroupBarrier();
      for (var d = 0u; d < TILE_K; d++) {
        let left0 = tile_a[d * PITCH + thread_row];
        let left1 = tile_a[d * PITCH + thread_row + 8u];
        let right0 = tile_b[d * PITCH + thread_column];
        let right1 = tile_b[d * PITCH + thread_column + 8u];
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
    let r = row + i / 4u * 32u + thread_row * 4u + i % 4u;
    for (var j = 0u; j < 8u; j++) {
      let c = column + j / 4u * 32u + thread_column * 4u + j % 4u;
      if (r < params.rows && c < params.columns) { store(split, item, r, c, sums[i * 2u + j / 4u][j % 4u]); }
    }
  }
}

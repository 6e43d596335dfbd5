// C[b] = activation(alpha·Σ_o op(A[b,o])·op(B[b,o]) + bias) for GPUs: a workgroup sums a tile (common/tile). Shapes, transposes
// and splits as in matmul_register. The next staged part is read into registers while the present one is multiplied.
// flops 2·batch·outer·rows·columns·inner; reads: A columns/WIDE times, B rows/HIGH times.
#import product
#import tile

@group(0) @binding(1) var<storage, read> a: array<u32>;
@group(0) @binding(2) var<storage, read> b: array<scalar>;

var<private> next_a: array<vec4<f32>, LOADS_A>;
var<private> next_b: array<vec4<f32>, LOADS_B>;

// The step and the four rows or columns of staged vec4 number `load` of a matrix, `across` where a step's elements are contiguous:
// neighbouring invocations read neighbouring addresses.
fn step_of(load: u32, across: bool, extent: u32) -> u32 { return select(load % TILE_K, load / (extent / 4u), across); }
fn four_of(load: u32, across: bool, extent: u32) -> u32 { return select(load / TILE_K, load % (extent / 4u), across); }

// Reads the part (o, k) = `tile` of the sum into registers.
fn fetch(local: u32, item: u32, slice: Slice, tile: vec2<u32>, row: u32, column: u32) {
  let at = vec2<u32>(item * params.batch_a + tile.x * params.outer_a, item * params.batch_b + tile.x * params.outer_b);
  let k = tile.y;
  let stop = slice.inner_stop;
  for (var i = 0u; i < LOADS_A; i++) {
    let load = local + i * THREADS;
    let step = k + step_of(load, TRANSPOSE_A, HIGH);
    // edges: clamp what is read, zero the steps behind the last one, guard what is written
    let r = min(vec4<u32>(row + 4u * four_of(load, TRANSPOSE_A, HIGH)) + FOUR, vec4<u32>(params.rows - 1u));
    let s = min(step, stop - 1u);
    let e = at.x + select(r * params.inner + s, vec4<u32>(s * params.rows) + r, vec4<bool>(TRANSPOSE_A));
    next_a[i] = select(vec4<f32>(), vec4<f32>(a_at(e.x), a_at(e.y), a_at(e.z), a_at(e.w)), vec4<bool>(step < stop));
  }
  for (var i = 0u; i < LOADS_B; i++) {
    let load = local + i * THREADS;
    let step = k + step_of(load, !TRANSPOSE_B, WIDE);
    let c = min(vec4<u32>(column + 4u * four_of(load, !TRANSPOSE_B, WIDE)) + FOUR, vec4<u32>(params.columns - 1u));
    let s = min(step, stop - 1u);
    var value: vec4<f32>;
    // VECTORS: the columns of B are contiguous and a multiple of four
    if (VECTORS) { value = b_from(at.y + s * params.columns + (c.x & ~3u)); } else {
      let e = at.y + select(vec4<u32>(s * params.columns) + c, c * params.inner + s, vec4<bool>(TRANSPOSE_B));
      value = vec4<f32>(b_at(e.x), b_at(e.y), b_at(e.z), b_at(e.w));
    }
    next_b[i] = select(vec4<f32>(), value, vec4<bool>(step < stop));
  }
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let tile_columns = (params.columns + WIDE - 1u) / WIDE;
  let tile_rows = (params.rows + HIGH - 1u) / HIGH;
  var work = flat_workgroup(group, groups);
  let column = work % tile_columns * WIDE;
  work /= tile_columns;
  let row = work % tile_rows * HIGH;
  work /= tile_rows;
  let item = work % params.batch;
  let split = work / params.batch;
  if (split >= params.splits) { return; }
  let slice = slice_of(split);
  let count = tiles_of(slice);
  var tile = vec2<u32>(slice.outer_start, slice.inner_start);
  fetch(local, item, slice, tile, row, column);
  for (var t = 0u; t < count; t++) {
    workgroupBarrier();
    for (var i = 0u; i < LOADS_A; i++) {
      let load = local + i * THREADS;
      if (load < TILE_K * HIGH / 4u) {
        stage_a(step_of(load, TRANSPOSE_A, HIGH), four_of(load, TRANSPOSE_A, HIGH), next_a[i]);
      }
    }
    for (var i = 0u; i < LOADS_B; i++) {
      let load = local + i * THREADS;
      if (load < TILE_K * WIDE / 4u) {
        stage_b(step_of(load, !TRANSPOSE_B, WIDE), four_of(load, !TRANSPOSE_B, WIDE), next_b[i]);
      }
    }
    workgroupBarrier();
    tile = after_tile(slice, tile);
    if (t + 1u < count) { fetch(local, item, slice, tile, row, column); }
    multiply_staged(local);
  }
  finish(local, vec4<u32>(row, column, item, split));
}

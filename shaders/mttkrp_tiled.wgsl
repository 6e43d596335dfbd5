// MTTKRP (common/mttkrp) for GPUs: a workgroup sums a tile (common/tile). One side of the product is X, the other the factor
// multiplied by the weights W. The next staged part is read into registers while the present one is multiplied. Any shape.
// flops 2·size·R; reads X R/WIDE times.
#import mttkrp
#import tile

var<private> next_x: array<vec4<f32>, LOADS_A>;
var<private> next_factor: array<vec4<f32>, LOADS_B>;
var<private> weight: vec4<f32>;

// The step and the four rows of staged vec4 number `load` of X: neighbouring invocations read neighbouring addresses.
fn step_of(load: u32) -> u32 { return select(load % TILE_K, load / (HIGH / 4u), TRANSPOSED); }
fn four_of(load: u32) -> u32 { return select(load / TILE_K, load % (HIGH / 4u), TRANSPOSED); }

// Reads the part (o, k) = `tile` of the sum into registers.
fn fetch(local: u32, slice: Slice, tile: vec2<u32>, row: u32, columns: vec4<u32>) {
  let base = matrix_at(tile.x);
  let k = tile.y;
  if (k == slice.inner_start) { weight = weight_of(tile.x, columns); }
  let stop = slice.inner_stop;
  let row_stride = select(params.middle * params.inner, 1u, TRANSPOSED);
  let inner_stride = select(1u, params.rows, TRANSPOSED);
  for (var i = 0u; i < LOADS_A; i++) {
    let load = local + i * THREADS;
    // edges: clamp what is read, zero the steps behind the last one, guard what is written
    let r = min(vec4<u32>(row + 4u * four_of(load)) + FOUR, vec4<u32>(params.rows - 1u));
    let step = k + step_of(load);
    let start = base + min(step, stop - 1u) * inner_stride;
    var value: vec4<f32>;
    // VECTORS: X is TRANSPOSED, and its rows are a multiple of four
    if (VECTORS) { value = x_from(start + (r.x & ~3u)); } else { value = x_four(vec4<u32>(start) + r * row_stride); }
    next_x[i] = select(vec4<f32>(), value, vec4<bool>(step < stop));
  }
  for (var i = 0u; i < LOADS_B; i++) {
    let step = k + (local + i * THREADS) / (WIDE / 4u);
    let e = vec4<u32>(min(step, stop - 1u) * params.columns) + columns;
    let value = vec4<f32>(factor[e.x], factor[e.y], factor[e.z], factor[e.w]);
    next_factor[i] = select(vec4<f32>(), weight * value, vec4<bool>(step < stop));
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
  let split = work / tile_rows;
  if (split >= params.splits) { return; }
  let slice = slice_of(split);
  // THREADS is a multiple of WIDE / 4, so that an invocation stages the same columns of the factor in every step
  let columns = min(vec4<u32>(column + local % (WIDE / 4u) * 4u) + FOUR, vec4<u32>(params.columns - 1u));
  let count = tiles_of(slice);
  var tile = vec2<u32>(slice.outer_start, slice.inner_start);
  fetch(local, slice, tile, row, columns);
  for (var t = 0u; t < count; t++) {
    workgroupBarrier();
    for (var i = 0u; i < LOADS_A; i++) {
      let load = local + i * THREADS;
      if (load < TILE_K * HIGH / 4u) { stage_a(step_of(load), four_of(load), next_x[i]); }
    }
    for (var i = 0u; i < LOADS_B; i++) {
      let load = local + i * THREADS;
      if (load < TILE_K * WIDE / 4u) { stage_b(load / (WIDE / 4u), load % (WIDE / 4u), next_factor[i]); }
    }
    workgroupBarrier();
    tile = after_tile(slice, tile);
    if (t + 1u < count) { fetch(local, slice, tile, row, columns); }
    multiply_staged(local);
  }
  finish(local, vec4<u32>(row, column, 0u, split));
}

// The matrix product of the subgroup kernels. A lane holds four columns of B and receives A's rows from the other lanes.
// With VECTORS, all strides of B must be multiples of 4, and so must columns or, with TRANSPOSE_B, inner and its chunks.
#import product
#import subgroup_tile

// B in four columns, which are neighbours unless it is transposed
fn columns_at(at: vec4<u32>) -> vec4<f32> {
  if (VECTORS) { return b_from(at.x); }
  return vec4<f32>(b_at(at.x), b_at(at.y), b_at(at.z), b_at(at.w));
}

// the elements of A in this lane's rows
fn left_of(at: vec4<u32>) -> vec4<f32> {
  var left = vec4<f32>(a_at(at.x));
  if (ROWS > LANES) { left.y = a_at(at.y); }
  if (ROWS > 2u * LANES) { left.z = a_at(at.z); }
  if (ROWS > 3u * LANES) { left.w = a_at(at.w); }
  return left;
}

fn store_rows(split: u32, item: u32, row: u32, column: u32, sums: mat4x4<f32>) {
  for (var i = 0u; i < 4u && row + i < params.rows; i++) {
    for (var j = 0u; j < 4u && column + j < params.columns; j++) { store(split, item, row + i, column + j, sums[i][j]); }
  }
}

fn product(flat: u32, lane: u32) {
  let tile_rows = (params.rows + ROWS - 1u) / ROWS;
  let tile_columns = (params.columns + 4u * LANES * RUNS - 1u) / (4u * LANES * RUNS);
  var tile = flat;
  let row = tile % tile_rows * ROWS;
  tile /= tile_rows;
  let column = (tile % tile_columns * LANES * RUNS + lane) * 4u;
  tile /= tile_columns;
  let item = tile % params.batch;
  let split = tile / params.batch;
  if (split >= params.splits) { return; }
  let slice = slice_of(split);
  // edges: clamp what is read, guard what is written
  let rows = min(vec4<u32>(row + lane) + vec4<u32>(0u, 1u, 2u, 3u) * LANES, vec4<u32>(params.rows - 1u));
  let columns = min(vec4<u32>(column) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.columns - 1u));
  let step_a = select(1u, params.rows, TRANSPOSE_A);
  let step_b = select(params.columns, 1u, TRANSPOSE_B);
  let at_a = vec4<u32>(item * params.batch_a) + rows * select(params.inner, 1u, TRANSPOSE_A);
  let at_b = vec4<u32>(item * params.batch_b) + columns * select(1u, params.inner, TRANSPOSE_B);
  // the columns of the second run, which only RUNS > 1 sums
  let columns2 = min(columns + vec4<u32>(4u * LANES), vec4<u32>(params.columns - 1u));
  let at_b2 = vec4<u32>(item * params.batch_b) + columns2 * select(1u, params.inner, TRANSPOSE_B);
  var sums: Tile;
  var sums2: Tile;
  for (var o = slice.outer_start; o < slice.outer_stop; o++) {
    var ia = at_a + vec4<u32>(o * params.outer_a + slice.inner_start * step_a);
    var ib = at_b + vec4<u32>(o * params.outer_b + slice.inner_start * step_b);
    if (TRANSPOSE_B && VECTORS) {
      // four steps of a column at once, because columns a power of two apart drive each other out of the cache
      for (var k = slice.inner_start; k < slice.inner_stop; k += 4u) {
        let b0 = b_from(ib.x);
        let b1 = b_from(ib.y);
        let b2 = b_from(ib.z);
        let b3 = b_from(ib.w);
        sums = accumulate(sums, left_of(ia), vec4<f32>(b0.x, b1.x, b2.x, b3.x));
        sums = accumulate(sums, left_of(ia + vec4<u32>(step_a)), vec4<f32>(b0.y, b1.y, b2.y, b3.y));
        sums = accumulate(sums, left_of(ia + vec4<u32>(2u * step_a)), vec4<f32>(b0.z, b1.z, b2.z, b3.z));
        sums = accumulate(sums, left_of(ia + vec4<u32>(3u * step_a)), vec4<f32>(b0.w, b1.w, b2.w, b3.w));
        ia += vec4<u32>(4u * step_a);
        ib += vec4<u32>(4u);
      }
    } else {
      // the next step's values are read while this step's are summed, because steps may lie too far apart for a prefetcher;
      // reads behind the last step are clamped and not used
      var next_left = left_of(ia);
      var next_right = columns_at(ib);
      var ib2 = at_b2 + (ib - at_b);
      var next_right2 = vec4<f32>();
      if (RUNS > 1u) { next_right2 = columns_at(ib2); }
      for (var k = slice.inner_start; k < slice.inner_stop; k++) {
        let left = next_left;
        let right = next_right;
        ia += vec4<u32>(step_a);
        ib += vec4<u32>(step_b);
        next_left = left_of(ia);
        next_right = columns_at(ib);
        if (RUNS > 1u) {
          let right2 = next_right2;
          ib2 += vec4<u32>(step_b);
          next_right2 = columns_at(ib2);
          sums2 = accumulate(sums2, left, right2);
        }
        sums = accumulate(sums, left, right);
      }
    }
  }
  store_tile(split, item, row, column, sums);
  if (RUNS > 1u) { store_tile(split, item, row, column + 4u * LANES, sums2); }
}

fn store_tile(split: u32, item: u32, row: u32, column: u32, sums: Tile) {
  store_rows(split, item, row, column, sums.rows0);
  if (ROWS > 4u) { store_rows(split, item, row + 4u, column, sums.rows4); }
  if (ROWS > 8u) { store_rows(split, item, row + 8u, column, sums.rows8); }
  if (ROWS > 12u) { store_rows(split, item, row + 12u, column, sums.rows12); }
}

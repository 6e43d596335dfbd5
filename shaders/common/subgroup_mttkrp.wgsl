// The MTTKRP of the subgroup kernels. A lane holds four rows of X and receives the factor's columns from the other lanes.
// With VECTORS, inner and its chunks, or with TRANSPOSED rows, must be multiples of 4.
#import mttkrp
#import subgroup_tile

// X in four rows, which are neighbours where it is TRANSPOSED
fn rows_at(at: vec4<u32>) -> vec4<f32> {
  if (VECTORS) { return x_from(at.x); }
  return x_four(at);
}

// the factor's elements in this lane's columns
fn left_of(at: vec4<u32>) -> vec4<f32> {
  var left = vec4<f32>(factor[at.x]);
  if (ROWS > LANES) { left.y = factor[at.y]; }
  if (ROWS > 2u * LANES) { left.z = factor[at.z]; }
  if (ROWS > 3u * LANES) { left.w = factor[at.w]; }
  return left;
}

fn store_columns(split: u32, row: u32, column: u32, sums: mat4x4<f32>) {
  let base = split * params.rows * params.columns;
  for (var i = 0u; i < 4u && column + i < params.columns; i++) {
    for (var j = 0u; j < 4u && row + j < params.rows; j++) {
      out[base + (row + j) * params.columns + column + i] = sums[i][j];
    }
  }
}

fn mttkrp(flat: u32, lane: u32) {
  let tile_columns = (params.columns + ROWS - 1u) / ROWS;
  let tile_rows = (params.rows + 4u * LANES * RUNS - 1u) / (4u * LANES * RUNS);
  var tile = flat;
  let column = tile % tile_columns * ROWS;
  tile /= tile_columns;
  let row = (tile % tile_rows * LANES * RUNS + lane) * 4u;
  let split = tile / tile_rows;
  if (split >= params.splits) { return; }
  let slice = slice_of(split);
  // edges: clamp what is read, guard what is written
  let columns = min(vec4<u32>(column + lane) + vec4<u32>(0u, 1u, 2u, 3u) * LANES, vec4<u32>(params.columns - 1u));
  let rows = min(vec4<u32>(row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.rows - 1u));
  let row_stride = select(params.middle * params.inner, 1u, TRANSPOSED);
  let inner_stride = select(1u, params.rows, TRANSPOSED);
  let step = vec4<u32>(params.columns);
  // the rows of the second run, which only RUNS > 1 sums
  let rows2 = min(rows + vec4<u32>(4u * LANES), vec4<u32>(params.rows - 1u));
  var sums: Tile;
  var sums2: Tile;
  for (var o = slice.outer_start; o < slice.outer_stop; o++) {
    let w = weight_of(o, columns);
    var at = vec4<u32>(matrix_at(o) + slice.inner_start * inner_stride) + rows * row_stride;
    var f = vec4<u32>(slice.inner_start * params.columns) + columns;
    if (VECTORS && !TRANSPOSED) {
      // four steps of a row at once, because rows a power of two apart drive each other out of the cache
      for (var k = slice.inner_start; k < slice.inner_stop; k += 4u) {
        let x0 = x_from(at.x);
        let x1 = x_from(at.y);
        let x2 = x_from(at.z);
        let x3 = x_from(at.w);
        sums = accumulate(sums, w * left_of(f), vec4<f32>(x0.x, x1.x, x2.x, x3.x));
        sums = accumulate(sums, w * left_of(f + step), vec4<f32>(x0.y, x1.y, x2.y, x3.y));
        sums = accumulate(sums, w * left_of(f + 2u * step), vec4<f32>(x0.z, x1.z, x2.z, x3.z));
        sums = accumulate(sums, w * left_of(f + 3u * step), vec4<f32>(x0.w, x1.w, x2.w, x3.w));
        at += vec4<u32>(4u);
        f += 4u * step;
      }
    } else {
      // the next step's values are read while this step's are summed; reads behind the last step are clamped and not used
      var next_left = left_of(f);
      var next_right = rows_at(at);
      var at2 = at + (rows2 - rows) * row_stride;
      var next_right2 = vec4<f32>();
      if (RUNS > 1u) { next_right2 = rows_at(at2); }
      for (var k = slice.inner_start; k < slice.inner_stop; k++) {
        let left = w * next_left;
        let right = next_right;
        at += vec4<u32>(inner_stride);
        f += step;
        next_left = left_of(f);
        next_right = rows_at(at);
        if (RUNS > 1u) {
          let right2 = next_right2;
          at2 += vec4<u32>(inner_stride);
          next_right2 = rows_at(at2);
          sums2 = accumulate(sums2, left, right2);
        }
        sums = accumulate(sums, left, right);
      }
    }
  }
  store_tile(split, row, column, sums);
  if (RUNS > 1u) { store_tile(split, row + 4u * LANES, column, sums2); }
}

fn store_tile(split: u32, row: u32, column: u32, sums: Tile) {
  store_columns(split, row, column, sums.rows0);
  if (ROWS > 4u) { store_columns(split, row, column + 4u, sums.rows4); }
  if (ROWS > 8u) { store_columns(split, row, column + 8u, sums.rows8); }
  if (ROWS > 12u) { store_columns(split, row, column + 12u, sums.rows12); }
}

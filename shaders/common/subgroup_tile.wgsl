// A tile of ROWS×(4·LANES·RUNS) sums in the registers of one subgroup of exactly LANES invocations, which is also the workgroup.
// A lane holds four columns of every row; each matrix below is four rows. A step of the inner sum is an outer product: of the
// left side every lane loads ROWS/LANES values, which broadcasts pass to all lanes; of the right side every lane loads the
// values of its four columns. So a step costs ROWS/LANES + 4 loads a lane for 4·ROWS multiplications. Software adapters need
// this because a load is a gather there, and workgroup memory means switching fibres.

// lanes of a subgroup: 4 or 8
const LANES: u32 = 8u;
// rows of the tile: 4, 8, 12 or 16
const ROWS: u32 = 16u;
// 1, or 2: a lane has two runs of four columns, 4·LANES apart, so that a load of the left side serves twice as many columns
const RUNS: u32 = 1u;

struct Tile {
  rows0: mat4x4<f32>,
  rows4: mat4x4<f32>,
  rows8: mat4x4<f32>,
  rows12: mat4x4<f32>,
}

// sums += left ⊗ right, with the left values of lanes 0 to 3
fn add_low(sums: mat4x4<f32>, left: f32, right: vec4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(
    fma(vec4<f32>(subgroupBroadcast(left, 0u)), right, sums[0]),
    fma(vec4<f32>(subgroupBroadcast(left, 1u)), right, sums[1]),
    fma(vec4<f32>(subgroupBroadcast(left, 2u)), right, sums[2]),
    fma(vec4<f32>(subgroupBroadcast(left, 3u)), right, sums[3]),
  );
}

// sums += left ⊗ right, with the left values of the last four lanes
fn add_high(sums: mat4x4<f32>, left: f32, right: vec4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(
    fma(vec4<f32>(subgroupBroadcast(left, LANES - 4u)), right, sums[0]),
    fma(vec4<f32>(subgroupBroadcast(left, LANES - 3u)), right, sums[1]),
    fma(vec4<f32>(subgroupBroadcast(left, LANES - 2u)), right, sums[2]),
    fma(vec4<f32>(subgroupBroadcast(left, LANES - 1u)), right, sums[3]),
  );
}

// One step of the inner sum. left[i] is the value that this lane loaded, of row i·LANES + lane.
fn accumulate(sums: Tile, left: vec4<f32>, right: vec4<f32>) -> Tile {
  var next = sums;
  if (LANES == 8u) {
    next.rows0 = add_low(sums.rows0, left.x, right);
    if (ROWS > 4u) { next.rows4 = add_high(sums.rows4, left.x, right); }
    if (ROWS > 8u) { next.rows8 = add_low(sums.rows8, left.y, right); }
    if (ROWS > 12u) { next.rows12 = add_high(sums.rows12, left.y, right); }
  } else {
    next.rows0 = add_low(sums.rows0, left.x, right);
    if (ROWS > 4u) { next.rows4 = add_low(sums.rows4, left.y, right); }
    if (ROWS > 8u) { next.rows8 = add_low(sums.rows8, left.z, right); }
    if (ROWS > 12u) { next.rows12 = add_low(sums.rows12, left.w, right); }
  }
  return next;
}

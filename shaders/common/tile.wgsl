// A workgroup's tile of a product, HIGH×WIDE outputs, for GPUs. TILE_K steps of both sides are staged in workgroup memory, step by
// step, padded against bank conflicts. SLICES teams of invocations divide the steps among them, and their sums are added up at
// the end. An invocation sums ROWS×COLUMNS outputs in registers: of row i, the first four columns are sums[2i], the second four
// sums[2i + 1]. The second four rows or columns lie half a tile behind the first, so that a warp reads neighbouring vec4s.
// HIGH, WIDE and TILE_K are multiples of 4, ROWS and COLUMNS are 4 or 8.

const HIGH: u32 = 64u;
const WIDE: u32 = 64u;
const ROWS: u32 = 8u;
const COLUMNS: u32 = 8u;
const SLICES: u32 = 1u;
const TILE_K: u32 = 8u;
const ACROSS: u32 = WIDE / COLUMNS;
const DOWN: u32 = HIGH / ROWS;
const TEAM: u32 = DOWN * ACROSS;
const THREADS: u32 = TEAM * SLICES;
// vec4s of either side that an invocation stages
const LOADS_A: u32 = (TILE_K * HIGH / 4u + THREADS - 1u) / THREADS;
const LOADS_B: u32 = (TILE_K * WIDE / 4u + THREADS - 1u) / THREADS;

const FOUR = vec4<u32>(0u, 1u, 2u, 3u);

// A staged step. The outer index, which of four rows or columns, is a constant, so that bounds checks clamp one index a side.
struct Step {
  a: array<array<vec4<f32>, DOWN>, ROWS / 4u>,
  b: array<array<vec4<f32>, ACROSS>, COLUMNS / 4u>,
  padding: vec4<f32>,
}

var<workgroup> staged: array<Step, TILE_K>;

fn stage_a(step: u32, four: u32, value: vec4<f32>) { staged[step].a[four / DOWN][four % DOWN] = value; }
fn stage_b(step: u32, four: u32, value: vec4<f32>) { staged[step].b[four / ACROSS][four % ACROSS] = value; }

// The staged part of the sum behind part (o, k), which is steps k to k + TILE_K − 1 of outer term o.
fn after_tile(slice: Slice, tile: vec2<u32>) -> vec2<u32> {
  let k = tile.y + TILE_K;
  return select(vec2<u32>(tile.x + 1u, slice.inner_start), vec2<u32>(tile.x, k), k < slice.inner_stop);
}

// an invocation's sums
var<private> sums: array<vec4<f32>, 16>;

// How many staged parts the sum of a slice has.
fn tiles_of(slice: Slice) -> u32 {
  return (slice.inner_stop - slice.inner_start + TILE_K - 1u) / TILE_K * (slice.outer_stop - slice.outer_start);
}

// Which of the team's columns and rows an invocation has: a warp of 32 covers up to 8 columns by 4 rows, so that it reads few
// different staged vec4s.
const WARP_ACROSS: u32 = min(ACROSS, 8u);

fn team_column(local: u32) -> u32 {
  let team = local % TEAM;
  return team % WARP_ACROSS + WARP_ACROSS * (team / 32u % (ACROSS / WARP_ACROSS));
}

fn team_row(local: u32) -> u32 {
  let team = local % TEAM;
  let rows = 32u / WARP_ACROSS;
  return team / WARP_ACROSS % rows + rows * (team / 32u / (ACROSS / WARP_ACROSS));
}

// Adds up a team's share of the staged steps.
fn multiply_staged(local: u32) {
  let at_a = team_row(local);
  let at_b = team_column(local);
  for (var d = local / TEAM; d < TILE_K; d += 2u * SLICES) {
    add_step(d, at_a, at_b);
    add_step(d + SLICES, at_a, at_b);
  }
}

fn add_step(d: u32, at_a: u32, at_b: u32) {
  let left0 = staged[d].a[0][at_a];
  let right0 = staged[d].b[0][at_b];
  sums[0] += left0.x * right0;
  sums[2] += left0.y * right0;
  sums[4] += left0.z * right0;
  sums[6] += left0.w * right0;
  if (COLUMNS > 4u) {
    let right1 = staged[d].b[COLUMNS / 4u - 1u][at_b];
    sums[1] += left0.x * right1;
    sums[3] += left0.y * right1;
    sums[5] += left0.z * right1;
    sums[7] += left0.w * right1;
  }
  if (ROWS > 4u) {
    let left1 = staged[d].a[ROWS / 4u - 1u][at_a];
    sums[8] += left1.x * right0;
    sums[10] += left1.y * right0;
    sums[12] += left1.z * right0;
    sums[14] += left1.w * right0;
    if (COLUMNS > 4u) {
      let right1 = staged[d].b[COLUMNS / 4u - 1u][at_b];
      sums[9] += left1.x * right1;
      sums[11] += left1.y * right1;
      sums[13] += left1.z * right1;
      sums[15] += left1.w * right1;
    }
  }
}

// sums[index], by a switch, because a variable index would put the array into memory for the whole kernel (a tenth of the speed
// on an H200), and compilers do not unroll `finish`'s loop with barriers.
fn sum_at(index: u32) -> vec4<f32> {
  switch (index) {
    case 0u: { return sums[0]; }
    case 1u: { return sums[1]; }
    case 2u: { return sums[2]; }
    case 3u: { return sums[3]; }
    case 4u: { return sums[4]; }
    case 5u: { return sums[5]; }
    case 6u: { return sums[6]; }
    case 7u: { return sums[7]; }
    case 8u: { return sums[8]; }
    case 9u: { return sums[9]; }
    case 10u: { return sums[10]; }
    case 11u: { return sums[11]; }
    case 12u: { return sums[12]; }
    case 13u: { return sums[13]; }
    case 14u: { return sums[14]; }
    default: { return sums[15]; }
  }
}

// Passes the four sums of an invocation's row i and run h of four columns to `write_four`.
fn write_sums(local: u32, place: vec4<u32>, i: u32, h: u32, total: vec4<f32>) {
  let row = i / 4u * (HIGH / 2u) + 4u * team_row(local) + i % 4u;
  let column = h * (WIDE / 2u) + 4u * team_column(local);
  write_four(place + vec4<u32>(row, column, 0u, 0u), total);
}

// Adds up the teams' sums and passes them to `write_four` of the importing file. `place` has the tile's first row and column in x
// and y; z and w are the importing file's.
fn finish(local: u32, place: vec4<u32>) {
  for (var i = 0u; i < ROWS; i++) {
    for (var h = 0u; h < COLUMNS / 4u; h++) {
      if (SLICES == 1u) { write_sums(local, place, i, h, sums[2u * i + h]); } else {
        workgroupBarrier();
        stage_a(local / (HIGH / 4u), local % (HIGH / 4u), sum_at(2u * i + h));
        workgroupBarrier();
        if ((i * (COLUMNS / 4u) + h) % SLICES == local / TEAM) {
          var total = vec4<f32>();
          for (var slice = 0u; slice < SLICES; slice++) {
            let other = slice * TEAM + local % TEAM;
            total += staged[other / (HIGH / 4u)].a[other / DOWN % (ROWS / 4u)][other % DOWN];
          }
          write_sums(local, place, i, h, total);
        }
      }
    }
  }
}

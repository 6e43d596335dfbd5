// A workgroup's tile of a product, HIGH×WIDE outputs, for GPUs. TILE_K steps of both sides are staged in workgroup memory,
// k-major and padded against bank conflicts. SLICES teams of invocations share the steps; every invocation of a team sums
// ROWS×COLUMNS outputs in registers, in runs of 4 (a second run lies half a tile on, so that a warp reads neighbouring
// vec4s). At the end the teams' sums are added up. HIGH, WIDE and TILE_K are multiples of 4, ROWS and COLUMNS are 4 or 8.
const HIGH: u32 = 64u;
const WIDE: u32 = 64u;
const ROWS: u32 = 8u;
const COLUMNS: u32 = 8u;
const SLICES: u32 = 1u;
const TILE_K: u32 = 8u;
const ACROSS: u32 = WIDE / COLUMNS;
const TEAM: u32 = HIGH / ROWS * ACROSS;
const THREADS: u32 = TEAM * SLICES;
// vec4s in a staged step, one of them padding
const PITCH_A: u32 = HIGH / 4u + 1u;
const PITCH_B: u32 = WIDE / 4u + 1u;
const START_B: u32 = TILE_K * PITCH_A;
// vec4s of either side that an invocation stages
const LOADS_A: u32 = (TILE_K * HIGH / 4u + THREADS - 1u) / THREADS;
const LOADS_B: u32 = (TILE_K * WIDE / 4u + THREADS - 1u) / THREADS;

var<workgroup> staged: array<vec4<f32>, TILE_K * (PITCH_A + PITCH_B)>;
// of row i, the first four columns at 2i and the second at 2i + 1
var<private> sums: array<vec4<f32>, 16>;

// Adds up a team's share of the staged steps.
fn multiply_staged(local: u32) {
  let team = local % TEAM;
  let at_a = team / ACROSS;
  let at_b = START_B + team % ACROSS;
  for (var each = 0u; each < TILE_K / SLICES; each++) {
    let d = each * SLICES + local / TEAM;
    let left0 = staged[d * PITCH_A + at_a];
    let right0 = staged[d * PITCH_B + at_b];
    sums[0] += left0.x * right0;
    sums[2] += left0.y * right0;
    sums[4] += left0.z * right0;
    sums[6] += left0.w * right0;
    if (COLUMNS > 4u) {
      let right1 = staged[d * PITCH_B + at_b + WIDE / 8u];
      sums[1] += left0.x * right1;
      sums[3] += left0.y * right1;
      sums[5] += left0.z * right1;
      sums[7] += left0.w * right1;
    }
    if (ROWS > 4u) {
      let left1 = staged[d * PITCH_A + at_a + HIGH / 8u];
      sums[8] += left1.x * right0;
      sums[10] += left1.y * right0;
      sums[12] += left1.z * right0;
      sums[14] += left1.w * right0;
      if (COLUMNS > 4u) {
        let right1 = staged[d * PITCH_B + at_b + WIDE / 8u];
        sums[9] += left1.x * right1;
        sums[11] += left1.y * right1;
        sums[13] += left1.z * right1;
        sums[15] += left1.w * right1;
      }
    }
  }
}

// Row of the tile that an invocation's row i is, and the first column of its four at half h.
fn tile_row(local: u32, i: u32) -> u32 {
  return i / 4u * (HIGH / 2u) + local % TEAM / ACROSS * 4u + i % 4u;
}
fn tile_column(local: u32, h: u32) -> u32 {
  return h * (WIDE / 2u) + local % TEAM % ACROSS * 4u;
}

// Whether this invocation is the one that writes row i, half h; then sums[2i + h] is all of it. For all in turn, in
// uniform control flow.
fn finish(local: u32, i: u32, h: u32) -> bool {
  if (SLICES == 1u) { return true; }
  workgroupBarrier();
  staged[local] = sums[2u * i + h];
  workgroupBarrier();
  let mine = (i * (COLUMNS / 4u) + h) % SLICES == local / TEAM;
  if (mine) {
    var sum = staged[local % TEAM];
    for (var slice = 1u; slice < SLICES; slice++) { sum += staged[slice * TEAM + local % TEAM]; }
    sums[2u * i + h] = sum;
  }
  return mine;
}

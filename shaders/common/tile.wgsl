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

var<workgroup> staged: array<vec4<f32>, max(TILE_K * (PITCH_A + PITCH_B), 8u * TEAM * min(SLICES - 1u, 1u))>;
// of row i, the first four columns at 2i and the second at 2i + 1
var<private> sums: array<vec4<f32>, 16>;

// Which of the team's columns and rows this invocation has: a warp of 32 covers up to 8 columns, so that its reads of
// staged vec4s are few.
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
  let at_b = START_B + team_column(local);
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

// Four sums at row i and half h of an invocation's, to `write_four`, which the kernel has.
fn write_sums(local: u32, place: vec4<u32>, i: u32, h: u32, total: vec4<f32>) {
  let row = i / 4u * (HIGH / 2u) + 4u * team_row(local) + i % 4u;
  let column = h * (WIDE / 2u) + 4u * team_column(local);
  write_four(place + vec4<u32>(row, column, 0u, 0u), total);
}

// Adds `value` to place j of a team's sums in workgroup memory.
fn gather_four(local: u32, j: u32, value: vec4<f32>) {
  let at = j * TEAM + local % TEAM;
  if (local < TEAM) { staged[at] = value; } else { staged[at] += value; }
}

// Adds up the teams' sums of four rows, the first of them i, and writes them. The sums are named one by one: at a variable index
// they would lie in memory for the whole kernel (a tenth of the speed on an H200), and loops with barriers are not unrolled.
fn finish_rows(local: u32, place: vec4<u32>, i: u32) {
  for (var slice = 0u; slice < SLICES; slice++) {
    workgroupBarrier();
    if (slice == local / TEAM) {
      gather_four(local, 0u, select(sums[8], sums[0], i == 0u));
      gather_four(local, 2u, select(sums[10], sums[2], i == 0u));
      gather_four(local, 4u, select(sums[12], sums[4], i == 0u));
      gather_four(local, 6u, select(sums[14], sums[6], i == 0u));
      if (COLUMNS > 4u) {
        gather_four(local, 1u, select(sums[9], sums[1], i == 0u));
        gather_four(local, 3u, select(sums[11], sums[3], i == 0u));
        gather_four(local, 5u, select(sums[13], sums[5], i == 0u));
        gather_four(local, 7u, select(sums[15], sums[7], i == 0u));
      }
    }
  }
  workgroupBarrier();
  for (var e = local; e < 8u * TEAM; e += THREADS) {
    let j = e / TEAM;
    if (COLUMNS > 4u || j % 2u == 0u) { write_sums(e, place, i + j / 2u, j % 2u, staged[e]); }
  }
}

// Hands all sums to `write_four`. `place` is what the kernel needs to know beside, and has the tile's first row and column in
// x and y.
fn finish(local: u32, place: vec4<u32>) {
  if (SLICES == 1u) {
    for (var i = 0u; i < ROWS; i++) {
      for (var h = 0u; h < COLUMNS / 4u; h++) { write_sums(local, place, i, h, sums[2u * i + h]); }
    }
  } else {
    for (var i = 0u; i < ROWS; i += 4u) { finish_rows(local, place, i); }
  }
}

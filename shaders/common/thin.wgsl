// A workgroup's share of a product with a thin side, for GPUs: many rows by at most THIN columns, one read of the tall matrix
// from memory straight into registers. The thin one is staged in workgroup memory, STEPS steps of the sum at a time. SLICES
// invocations share a row, each for its share of the steps, and every invocation has VALUES rows and all columns: 16 sums
// of four. Where the steps of a row are neighbours in memory (ALONG, which the
// kernel says), neighbouring invocations are slices; else rows.
const THIN: u32 = 16u;
const SLICES: u32 = 8u;
// steps that are read at once
const UNROLL: u32 = 4u;
const THREADS: u32 = 256u;
const TEAM: u32 = THREADS / SLICES;
const QUADS: u32 = THIN / 4u;
const VALUES: u32 = 16u / QUADS;
const TALL: u32 = TEAM * VALUES;
const STEPS: u32 = 2048u / THIN;
// vec4s in a staged step, one of them padding against bank conflicts
const PITCH: u32 = QUADS + 1u;

var<workgroup> staged: array<vec4<f32>, max(STEPS * PITCH, 16u * TEAM)>;
// of value v, four q of its columns at v·QUADS + q
var<private> sums: array<vec4<f32>, 16>;
// rows of this invocation: where in memory their sums begin
var<private> row_start: array<u32, VALUES>;

fn slice_at(local: u32) -> u32 { return select(local / TEAM, local % SLICES, ALONG); }
fn team_at(local: u32) -> u32 { return select(local % TEAM, local / SLICES, ALONG); }

// Adds up this invocation's share of `count` staged steps; the first lies `start` behind a row's own start, and they lie
// `stride` apart.
fn multiply_staged(local: u32, start: u32, stride: u32, count: u32) {
  let slice = slice_at(local);
  for (var step = slice; step < count; step += SLICES * UNROLL) {
    var x: array<f32, UNROLL * VALUES>;
    for (var u = 0u; u < UNROLL; u++) {
      // past the end: read what is there, and count it as nothing
      let s = step + u * SLICES;
      let at = start + min(s, count - 1u) * stride;
      for (var v = 0u; v < VALUES; v++) { x[u * VALUES + v] = select(0.0, element(row_start[v] + at), s < count); }
    }
    for (var u = 0u; u < UNROLL; u++) {
      for (var q = 0u; q < QUADS; q++) {
        let right = staged[min(step + u * SLICES, STEPS - 1u) * PITCH + q];
        for (var v = 0u; v < VALUES; v++) { sums[v * QUADS + q] += x[u * VALUES + v] * right; }
      }
    }
  }
}

// Adds `value` to place i of a team's sums in workgroup memory.
fn gather_four(local: u32, i: u32, value: vec4<f32>) {
  let at = i * TEAM + team_at(local);
  if (slice_at(local) == 0u) { staged[at] = value; } else { staged[at] += value; }
}

// Adds up the slices' sums and hands them to `write_four`, which the kernel has. `place` is what the kernel needs to know
// beside, and has the first row and column in x and y. The sums are named one by one: at a variable index they would lie in
// memory for the whole kernel (a tenth of the speed on an H200), and loops with barriers are not unrolled.
fn finish(local: u32, place: vec4<u32>) {
  for (var slice = 0u; slice < SLICES; slice++) {
    workgroupBarrier();
    if (slice == slice_at(local)) {
      gather_four(local, 0u, sums[0]);
      gather_four(local, 1u, sums[1]);
      gather_four(local, 2u, sums[2]);
      gather_four(local, 3u, sums[3]);
      gather_four(local, 4u, sums[4]);
      gather_four(local, 5u, sums[5]);
      gather_four(local, 6u, sums[6]);
      gather_four(local, 7u, sums[7]);
      gather_four(local, 8u, sums[8]);
      gather_four(local, 9u, sums[9]);
      gather_four(local, 10u, sums[10]);
      gather_four(local, 11u, sums[11]);
      gather_four(local, 12u, sums[12]);
      gather_four(local, 13u, sums[13]);
      gather_four(local, 14u, sums[14]);
      gather_four(local, 15u, sums[15]);
    }
  }
  workgroupBarrier();
  for (var e = local; e < 16u * TEAM; e += THREADS) {
    let i = e / TEAM;
    write_four(place + vec4<u32>(e % TEAM + i / QUADS * TEAM, 4u * (i % QUADS), 0u, 0u), staged[e]);
  }
}

// A workgroup's share of a product with a thin side, for GPUs: many rows by at most THIN columns, one read of the tall matrix
// from memory straight into registers. The thin one is staged in workgroup memory, STEPS steps of the sum at a time. SLICES
// invocations share a row, each for its share of the steps, and every invocation has VALUES rows and all columns: SUMS
// sums of four, of value v and columns 4q to 4q + 3 at v·QUADS + q. Where the steps of a row are neighbours in memory (ALONG,
// which the kernel says), neighbouring invocations are slices; else rows.
#import sums

const THIN: u32 = 16u;
const SLICES: u32 = 8u;
// steps that are read at once
const UNROLL: u32 = 4u;
const THREADS: u32 = 256u;
const TEAM: u32 = THREADS / SLICES;
const QUADS: u32 = THIN / 4u;
const SUMS: u32 = 16u;
const VALUES: u32 = SUMS / QUADS;
const TALL: u32 = TEAM * VALUES;
const STEPS: u32 = 8u * THREADS / THIN;
// vec4s in a staged step, one of them padding against bank conflicts
const PITCH: u32 = QUADS + 1u;

var<workgroup> staged: array<vec4<f32>, STEPS * PITCH>;
// rows of this invocation: where in memory their sums begin
var<private> row_start: array<u32, VALUES>;

fn slice_at(local: u32) -> u32 { return select(local / TEAM, local % SLICES, ALONG); }
fn team_at(local: u32) -> u32 { return select(local % TEAM, local / SLICES, ALONG); }

// Adds up this invocation's share of `count` staged steps; the first lies `start` behind a row's own start, and they lie
// `stride` apart.
fn multiply_staged(local: u32, start: u32, stride: u32, count: u32) {
  let slice = slice_at(local);
  for (var step = slice; step < count; step += SLICES * UNROLL) {
    var taken: array<f32, UNROLL * VALUES>;
    for (var u = 0u; u < UNROLL; u++) {
      // past the end: read what is there, and count it as nothing
      let s = step + u * SLICES;
      let at = start + min(s, count - 1u) * stride;
      for (var v = 0u; v < VALUES; v++) { taken[u * VALUES + v] = select(0.0, element(row_start[v] + at), s < count); }
    }
    for (var u = 0u; u < UNROLL; u++) {
      for (var q = 0u; q < QUADS; q++) {
        let right = staged[min(step + u * SLICES, STEPS - 1u) * PITCH + q];
        for (var v = 0u; v < VALUES; v++) { sums[v * QUADS + q] += taken[u * VALUES + v] * right; }
      }
    }
  }
}

// Adds up the slices' sums and hands them to `write_four`. `place` is what the kernel needs to know
// beside, and has the first row and column in x and y.
fn finish(local: u32, place: vec4<u32>) {
  let team = team_at(local);
  for (var index = 0u; index < SUMS; index++) {
    workgroupBarrier();
    staged[local] = own_four(index);
    workgroupBarrier();
    if (index % SLICES == slice_at(local)) {
      var total = vec4<f32>();
      for (var slice = 0u; slice < SLICES; slice++) {
        total += staged[select(slice * TEAM + team, team * SLICES + slice, ALONG)];
      }
      write_four(place + vec4<u32>(team + index / QUADS * TEAM, 4u * (index % QUADS), 0u, 0u), total);
    }
  }
}

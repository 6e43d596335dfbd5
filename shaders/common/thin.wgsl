// A workgroup's share of a product of a tall matrix and a thin one, for GPUs: TALL rows by THIN columns of the result.
// The tall matrix is read once, from memory into registers. The thin matrix is staged in workgroup memory, STEPS steps of the sum
// at a time. SLICES invocations share a row and divide the steps among them. An invocation sums 4 rows by 16 columns: row v and
// columns 4q to 4q + 3 are sums[4v + q]. It reads its next four steps (4×4 values, a vec4 a row or a step) while it multiplies
// the four steps before them. The importing file declares ALONG: a row's steps are neighbours in memory. Then neighbouring
// invocations are slices of the same rows; otherwise they are different rows.
// The code names the elements of arrays one by one, because an array that a loop indexes lies in memory unless the compiler
// unrolls the loop.

// columns of the thin matrix that a workgroup takes
const THIN: u32 = 16u;
const SLICES: u32 = 8u;
const THREADS: u32 = 256u;
const ACROSS: u32 = THIN / 16u;
const TEAM: u32 = THREADS / (SLICES * ACROSS);
const TALL: u32 = 4u * TEAM;
// staged steps: two vec4s an invocation
const STEPS: u32 = 8u * THREADS / THIN;
// vec4s in a staged step, one of them padding against bank conflicts
const PITCH: u32 = THIN / 4u + 1u;

// the staged thin matrix; one array a step, so that bounds checks clamp the index of a step once, not once a vec4
var<workgroup> staged: array<array<vec4<f32>, PITCH>, STEPS>;
// an invocation's sums
var<private> sums: array<vec4<f32>, 16>;
// the places of the first elements of this invocation's four rows
var<private> row_start: vec4<u32>;
// the next four steps of this invocation's rows, a step a column
var<private> ahead: mat4x4<f32>;

// which slice, which 16 columns and which 4 rows an invocation has
fn slice_at(local: u32) -> u32 { return select(local / (THREADS / SLICES), local % SLICES, ALONG); }
fn across_at(local: u32) -> u32 { return select(local % ACROSS, local / SLICES % ACROSS, ALONG); }
fn team_at(local: u32) -> u32 { return select(local / ACROSS % TEAM, local / (SLICES * ACROSS), ALONG); }

// The place at which step number `step` is staged. The four steps that a slice multiplies at once lie SLICES apart, so that
// neighbouring slices read neighbouring places.
fn place_of(step: u32) -> u32 {
  return select(step, step / (4u * SLICES) * (4u * SLICES) + step % 4u * SLICES + step / 4u % SLICES, ALONG);
}

// Reads this invocation's four steps of the 4·SLICES from `step` on, of `count` staged ones. In a row, the first staged step lies
// `start` behind row_start, and steps lie `stride` apart. Behind the last step it reads the last ones again, because the thin
// matrix is staged as zero there.
fn read_steps(local: u32, step: u32, start: u32, stride: u32, count: u32) -> mat4x4<f32> {
  if (ALONG) {
    let first = start + min(step + 4u * slice_at(local), (count - 1u) & ~3u);
    let last = start + count - 1u;
    return transpose(mat4x4<f32>(
      four(row_start.x + first, row_start.x + last),
      four(row_start.y + first, row_start.y + last),
      four(row_start.z + first, row_start.z + last),
      four(row_start.w + first, row_start.w + last),
    ));
  }
  let first = step + slice_at(local);
  return mat4x4<f32>(
    four_rows(start + min(first, count - 1u) * stride),
    four_rows(start + min(first + SLICES, count - 1u) * stride),
    four_rows(start + min(first + 2u * SLICES, count - 1u) * stride),
    four_rows(start + min(first + 3u * SLICES, count - 1u) * stride),
  );
}

// Four neighbours in memory from `first` on; elements behind `last`, where they are read one by one, repeat it.
fn four(first: u32, last: u32) -> vec4<f32> {
  if (VECTORS) { return elements(first); }
  let e = min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(last));
  return vec4<f32>(element(e.x), element(e.y), element(e.z), element(e.w));
}

// The elements of this invocation's four rows that lie `at` behind row_start.
fn four_rows(at: u32) -> vec4<f32> {
  if (VECTORS) { return elements(row_start.x + at); }
  let e = row_start + at;
  return vec4<f32>(element(e.x), element(e.y), element(e.z), element(e.w));
}

// Adds up this invocation's share of `count` staged steps. Its first four steps are in `ahead` already.
fn multiply_staged(local: u32, start: u32, stride: u32, count: u32) {
  for (var step = 0u; step < count; step += 8u * SLICES) {
    let two = step + 4u * SLICES < count;
    var next = ahead;
    if (two) { next = read_steps(local, step + 4u * SLICES, start, stride, count); }
    add_steps(local, ahead, step);
    if (step + 8u * SLICES < count) { ahead = read_steps(local, step + 8u * SLICES, start, stride, count); }
    if (two) { add_steps(local, next, step + 4u * SLICES); }
  }
}

fn add_steps(local: u32, values: mat4x4<f32>, step: u32) {
  let first = step + slice_at(local);
  let at = 4u * across_at(local);
  add_step(values[0], first, at);
  add_step(values[1], first + SLICES, at);
  add_step(values[2], first + 2u * SLICES, at);
  add_step(values[3], first + 3u * SLICES, at);
}

fn add_step(rows: vec4<f32>, step: u32, at: u32) {
  let right0 = staged[step][at];
  sums[0] += rows.x * right0;
  sums[4] += rows.y * right0;
  sums[8] += rows.z * right0;
  sums[12] += rows.w * right0;
  let right1 = staged[step][at + 1u];
  sums[1] += rows.x * right1;
  sums[5] += rows.y * right1;
  sums[9] += rows.z * right1;
  sums[13] += rows.w * right1;
  let right2 = staged[step][at + 2u];
  sums[2] += rows.x * right2;
  sums[6] += rows.y * right2;
  sums[10] += rows.z * right2;
  sums[14] += rows.w * right2;
  let right3 = staged[step][at + 3u];
  sums[3] += rows.x * right3;
  sums[7] += rows.y * right3;
  sums[11] += rows.z * right3;
  sums[15] += rows.w * right3;
}

// Adds up the slices' sums and passes them to `write_four` of the importing file. In every stage a slice exchanges half of its
// sums with another slice, so that each adds up one half. `place` has the tile's first row and column in x and y; z and w are
// the importing file's.
fn finish(local: u32, place: vec4<u32>) {
  let upper = (slice_at(local) & (SLICES / 2u)) != 0u;
  let a01 = take(local, SLICES / 2u, upper, mat4x4<f32>(sums[0], sums[1], sums[8], sums[9]));
  let a23 = take(local, SLICES / 2u, upper, mat4x4<f32>(sums[2], sums[3], sums[10], sums[11]));
  let a45 = take(local, SLICES / 2u, upper, mat4x4<f32>(sums[4], sums[5], sums[12], sums[13]));
  let a67 = take(local, SLICES / 2u, upper, mat4x4<f32>(sums[6], sums[7], sums[14], sums[15]));
  let second = (slice_at(local) & (SLICES / 4u)) != 0u;
  let b01 = take(local, SLICES / 4u, second, mat4x4<f32>(a01[0], a01[1], a45[0], a45[1]));
  let b23 = take(local, SLICES / 4u, second, mat4x4<f32>(a23[0], a23[1], a67[0], a67[1]));
  let row = 4u * team_at(local) + select(0u, 2u, upper) + select(0u, 1u, second);
  let column = 16u * across_at(local);
  if (SLICES == 4u) {
    write_two(place + vec4<u32>(row, column, 0u, 0u), b01);
    write_two(place + vec4<u32>(row, column + 8u, 0u, 0u), b23);
  } else {
    let third = (slice_at(local) & 1u) != 0u;
    let c01 = take(local, 1u, third, mat4x4<f32>(b01[0], b01[1], b23[0], b23[1]));
    write_two(place + vec4<u32>(row, column + select(0u, 8u, third), 0u, 0u), c01);
  }
}

// Exchanges sums with the slice `bit` away: returns the first two of four sums or, if `upper`, the last two, plus the other
// slice's same two, and gives that slice the rest.
fn take(local: u32, bit: u32, upper: bool, values: mat4x4<f32>) -> mat2x4<f32> {
  workgroupBarrier();
  // the staged steps are used up: two vec4s an invocation fit there
  staged[local / (THIN / 4u)][local % (THIN / 4u)] = select(values[2], values[0], upper);
  staged[(local + THREADS) / (THIN / 4u)][local % (THIN / 4u)] = select(values[3], values[1], upper);
  workgroupBarrier();
  let other = local ^ (bit * select(THREADS / SLICES, 1u, ALONG));
  return mat2x4<f32>(
    select(values[0], values[2], upper) + staged[other / (THIN / 4u)][other % (THIN / 4u)],
    select(values[1], values[3], upper) + staged[(other + THREADS) / (THIN / 4u)][other % (THIN / 4u)],
  );
}

fn write_two(place: vec4<u32>, two: mat2x4<f32>) {
  write_four(place, two[0]);
  write_four(place + vec4<u32>(0u, 4u, 0u, 0u), two[1]);
}

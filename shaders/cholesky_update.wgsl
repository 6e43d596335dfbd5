// What blocks of rows of a Cholesky factorisation leave of rows below: work[i, j] −= Σ_p R[p, i]·work[p, j] over their rows p, right of the
// diagonal for R and left of it for R⁻ᵀ. A workgroup has a block of BLOCK×BLOCK, an invocation tiles of ROWS×4 in registers.
// RUN products are added up before they are subtracted. One by one they would round what is left as often, and R of well-conditioned
// matrices would be off by several times as much; all at once, sums that are large beside what is left would make R of ill-conditioned ones
// two to four times as inaccurate.
// Cost: N³/3 multiplications in all, for R and R⁻ᵀ together; loads of ROWS and of four numbers feed 4·ROWS of them.

const WIDTH: u32 = 64u;
// invocations side by side in a row of tiles: 4 or 8
const ACROSS: u32 = 8u;
const DOWN: u32 = WIDTH / ACROSS;
const BLOCK: u32 = 32u;
// rows of a tile: 4 or 8, DOWN of which fit into a block
const ROWS: u32 = 4u;
const RUN: u32 = 8u;

struct Params {
  // elements of a row of the work
  stride: u32,
  // first and last of the blocks of rows p, and the first block of rows i
  first: u32,
  last: u32,
  below: u32,
  // how many blocks of rows i there are, for the grid
  rows: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> work: array<vec4f>;

fn four_rows(at: u32, stride: u32) -> mat4x4<f32> {
  return mat4x4<f32>(work[at], work[at + stride], work[at + 2u * stride], work[at + 3u * stride]);
}

fn store_four_rows(at: u32, stride: u32, rows: mat4x4<f32>) {
  for (var i = 0u; i < 4u; i++) { work[at + i * stride] = rows[i]; }
}

// sums += factors ⊗ x
fn add(sums: mat4x4<f32>, factors: vec4f, x: vec4f) -> mat4x4<f32> {
  return mat4x4<f32>(
    fma(vec4<f32>(factors.x), x, sums[0]),
    fma(vec4<f32>(factors.y), x, sums[1]),
    fma(vec4<f32>(factors.z), x, sums[2]),
    fma(vec4<f32>(factors.w), x, sums[3]),
  );
}

@compute @workgroup_size(WIDTH)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let block_row = params.below + group.y;
  let block_column = group.x;
  // the blocks between are zero: R⁻ᵀ is lower triangular, and of R only the upper half is made
  if (block_column > params.last && block_column < block_row) { return; }
  // counted in vec4s
  let stride = params.stride / 4u;
  // a column of R⁻ᵀ begins on the diagonal
  let start = select(params.first, max(params.first, block_column), block_column < block_row);
  // 0 in words that a compiler sees through, which then loads the factors of a row of tiles once for all of it
  let down = select(lane / ACROSS, 0u, DOWN == 1u);
  for (var quad = 0u; quad < BLOCK / 4u; quad += ACROSS) {
    let column = block_column * (BLOCK / 4u) + quad + lane % ACROSS;
    for (var tile = 0u; tile < BLOCK / ROWS; tile += DOWN) {
      let row = block_row * (BLOCK / 4u) + (tile + down) * (ROWS / 4u);
      let at = row * 4u * stride + column;
      var left0 = four_rows(at, stride);
      var left4 = mat4x4<f32>();
      if (ROWS > 4u) { left4 = four_rows(at + 4u * stride, stride); }
      for (var above = start; above <= params.last; above++) {
        let factors = above * BLOCK * stride + row;
        // the blocks on the diagonal of R⁻ᵀ lie below the others
        let values = select(above * BLOCK * stride, params.stride * stride, above == block_column) + column;
        for (var run = 0u; run < BLOCK * stride; run += RUN * stride) {
          var sums0 = mat4x4<f32>();
          var sums4 = mat4x4<f32>();
          for (var p = run; p < run + RUN * stride; p += stride) {
            let x = work[values + p];
            sums0 = add(sums0, work[factors + p], x);
            if (ROWS > 4u) { sums4 = add(sums4, work[factors + p + 1u], x); }
          }
          left0 -= sums0;
          if (ROWS > 4u) { left4 -= sums4; }
        }
      }
      store_four_rows(at, stride, left0);
      if (ROWS > 4u) { store_four_rows(at + 4u * stride, stride, left4); }
    }
  }
}

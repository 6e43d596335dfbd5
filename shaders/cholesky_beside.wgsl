// The rows of a block in a Cholesky factorisation by blocks, right of the block those of R and left of it those of R⁻ᵀ: they are multiplied with
// R_kk⁻ᵀ by forward substitution. An invocation has four columns, and four rows of them at a time in registers.
// Cost: N·BLOCK²/2 multiplications; every load of four numbers feeds eight.

const WIDTH: u32 = 64u;
const BLOCK: u32 = 32u;

struct Params {
  // elements of a row of the work
  stride: u32,
  // first row of the block
  first: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> work: array<vec4f>;

fn divided(x: vec4f, by: f32) -> vec4f { return select(x / by, vec4<f32>(), by == 0.0); }

@compute @workgroup_size(WIDTH)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  // counted in vec4s
  let stride = params.stride / 4u;
  let diagonal = params.first / 4u;
  let column = select(id.x, id.x + BLOCK / 4u, id.x >= diagonal);
  if (column >= stride) { return; }
  let top = params.first * stride;
  for (var row = 0u; row < BLOCK; row += 4u) {
    let at = top + row * stride + column;
    var x0 = work[at];
    var x1 = work[at + stride];
    var x2 = work[at + 2u * stride];
    var x3 = work[at + 3u * stride];
    let above = top + diagonal + row / 4u;
    for (var q = 0u; q < row; q++) {
      let factors = work[above + q * stride];
      let x = work[top + q * stride + column];
      x0 -= factors.x * x;
      x1 -= factors.y * x;
      x2 -= factors.z * x;
      x3 -= factors.w * x;
    }
    let r0 = work[above + row * stride];
    let r1 = work[above + (row + 1u) * stride];
    let r2 = work[above + (row + 2u) * stride];
    let r3 = work[above + (row + 3u) * stride];
    x0 = divided(x0, r0.x);
    x1 = divided(x1 - r0.y * x0, r1.y);
    x2 = divided(x2 - r0.z * x0 - r1.z * x1, r2.z);
    x3 = divided(x3 - r0.w * x0 - r1.w * x1 - r2.w * x2, r3.w);
    work[at] = x0;
    work[at + stride] = x1;
    work[at + 2u * stride] = x2;
    work[at + 3u * stride] = x3;
  }
}

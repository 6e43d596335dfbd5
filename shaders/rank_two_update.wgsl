// A −= u'·yᵀ + x·v'ᵀ on the rows and columns from k on, where u' and v' are the previous step's rows of u and v, and in the same
// pass the parts of Aᵀ·u with this step's row of u. Part c sums rows chunk·c to chunk·(c + 1) − 1 of the remaining rows. An
// invocation has four columns of one part.
// For bidiagonalisation the four are the vectors u, y, x and v of bidiagonal_column and bidiagonal_row. For tridiagonalisation
// (SYMMETRIC) u and v are both v of tridiagonal_reflect, and y and x are both w.
// u and v have a row of `stride` a step; state[0] is the number of the step, k + 1. In step k = 0 nothing is subtracted.
// (n − k)² read and written; 6·(n − k)² flops.
#import index

const WIDTH: u32 = 64u;
const SYMMETRIC: bool = true;

struct Params {
  n: u32,
  stride: u32,
  chunk: u32,
  // workgroups along a row
  across: u32,
  // the most rows and columns that any replayed step has left; the grid has workgroups for that many
  left: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> matrix: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> u: array<f32>;
@group(0) @binding(3) var<storage, read> y: array<f32>;
@group(0) @binding(4) var<storage, read> x: array<f32>;
@group(0) @binding(5) var<storage, read> v: array<f32>;
@group(0) @binding(6) var<storage, read_write> parts: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read> state: array<u32>;

fn four(i: u32) -> vec4<f32> { return vec4<f32>(y[i], y[i + 1u], y[i + 2u], y[i + 3u]); }
fn four_v(i: u32) -> vec4<f32> { return vec4<f32>(v[i], v[i + 1u], v[i + 2u], v[i + 3u]); }

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let k = max(state[0], 1u) - 1u;
  let index = flat_workgroup(group, groups);
  let part = index / params.across;
  // in the symmetric case row and column k are finished
  let start = select(k, k + 1u, SYMMETRIC);
  let quad = start / 4u + (index % params.across) * WIDTH + lane;
  let begin = start + part * params.chunk;
  if (4u * quad >= params.n || begin >= params.n) { return; }
  let stop = min(begin + params.chunk, params.n);
  let quads = params.stride / 4u;
  var sum = vec4<f32>(0.0);
  if (k == 0u) {
    for (var i = begin; i < stop; i++) { sum += u[i] * matrix[i * quads + quad]; }
  } else {
    let before = (k - 1u) * params.stride;
    let b = four(4u * quad);
    let d = four_v(before + 4u * quad);
    for (var i = begin; i < stop; i++) {
      let value = matrix[i * quads + quad] - u[before + i] * b - x[i] * d;
      matrix[i * quads + quad] = value;
      sum += u[before + params.stride + i] * value;
    }
  }
  parts[part * quads + quad] = sum;
}

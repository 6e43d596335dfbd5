// A −= a·bᵀ + c·dᵀ on the rows and columns from the step's on, and on the way the parts of Aᵀ·u: part c has rows chunk·c … of
// what is left. An invocation has four columns of one part's rows. For tridiagonalisation (SYMMETRIC) a, b, c, d are v, w,
// w, v of the step before and u is v of this one; for bidiagonalisation u, y, x, v of the step before. Vectors u and v are
// rows of `stride`, one a step; state has the number of the step, counted from 1.
// (n − k)² read and written; 6·(n − k)² flops.
#import index

const WIDTH: u32 = 64u;
const SYMMETRIC: bool = true;

struct Params {
  n: u32,
  stride: u32,
  chunk: u32,
  // workgroups side by side
  across: u32,
  // rows and columns that are left at most, which the grid is for
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
  // the symmetric step has done with row and column k
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

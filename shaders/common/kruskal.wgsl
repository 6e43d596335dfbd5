// What the kernels of a Kruskal tensor Σ_r λ_r a_r ∘ b_r ∘ … share. The tensor is seen as outer×middle×last: the last two modes,
// and all modes before them as one.
#import index
#import tensor

// the weights λ are not all 1
const WEIGHTED: bool = false;
// factors before the last two, at most 2
const OUTER: u32 = 1u;
// the tensor has two modes or more, so that `middle` is a mode
const MIDDLE: bool = true;

struct Params {
  rank: u32,
  outer: u32,
  middle: u32,
  last: u32,
  // extents of the modes that `outer` runs over
  extents: vec2<u32>,
  // of differences to a tensor with missing entries: their factor
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read> outer0: array<f32>;
@group(0) @binding(3) var<storage, read> outer1: array<f32>;
@group(0) @binding(4) var<storage, read> middle_factor: array<f32>;
@group(0) @binding(5) var<storage, read> last_factor: array<f32>;

// a tile's outer index, its first row (middle mode) and the first of an invocation's columns (last mode)
struct Place {
  o: u32,
  row: u32,
  column: u32,
}

// the places of the first elements of the outer factors' rows that belong to outer index `o`
fn outer_at(o: u32) -> vec2<u32> {
  var at = vec2<u32>();
  var rest = o;
  if (OUTER > 1u) {
    at.y = rest % params.extents.y * params.rank;
    rest /= params.extents.y;
  }
  at.x = rest * params.rank;
  return at;
}

// λ_r times the outer factors' elements of component r
fn weight_of(at: vec2<u32>, r: u32) -> f32 {
  var w = 1.0;
  if (WEIGHTED) { w = weights[r]; }
  if (OUTER > 0u) { w *= outer0[at.x + r]; }
  if (OUTER > 1u) { w *= outer1[at.y + r]; }
  return w;
}

// four neighbours of X; with VECTORS, `last` is a multiple of four
fn x_row(at: u32) -> vec4<f32> {
  if (VECTORS) { return x_from(at); }
  return x_four(vec4<u32>(at) + vec4<u32>(0u, 1u, 2u, 3u));
}

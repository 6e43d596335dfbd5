// What the MTTKRP kernels share: the matricised tensor times the Khatri-Rao product of the factors, neither of them stored,
//   M[i, r] = Σ_o W[o, r] Σ_k X[o, i, k] · F[k, r].
// `i` (rows) runs over the modes of the result. `k` (inner) runs over one contracted mode: the last one, or with TRANSPOSED the
// one in front of the result's modes. `o` runs over the other contracted modes, and W[o, r] is the product of the elements r of
// their factors' rows. X is stored as before×rows×middle×inner (TRANSPOSED: outer×inner×rows). Each split sums its share of o and
// k; `out` holds splits×rows×columns.
#import index
#import slice
#import tensor

const TRANSPOSED: bool = false;
// how many factors W is the product of
const WEIGHTS: u32 = 1u;

struct Params {
  rows: u32,
  columns: u32,
  inner: u32,
  outer: u32,
  // elements of the contracted modes between the result's modes and the inner one
  middle: u32,
  inner_chunk: u32,
  outer_chunk: u32,
  splits: u32,
  // extents of the modes that `o` runs over
  extents: array<vec4<u32>, 2>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>;
@group(0) @binding(2) var<storage, read> factor: array<f32>;
@group(0) @binding(3) var<storage, read> weight0: array<f32>;
@group(0) @binding(4) var<storage, read> weight1: array<f32>;
@group(0) @binding(5) var<storage, read> weight2: array<f32>;
@group(0) @binding(6) var<storage, read> weight3: array<f32>;
@group(0) @binding(7) var<storage, read> weight4: array<f32>;
@group(0) @binding(8) var<storage, read_write> out: array<f32>;

// W[o, r] for four columns r
fn weight_of(o: u32, columns: vec4<u32>) -> vec4<f32> {
  var w = vec4<f32>(1.0);
  var rest = o;
  if (WEIGHTS > 4u) {
    let at = vec4<u32>(rest % params.extents[1].x * params.columns) + columns;
    w *= vec4<f32>(weight4[at.x], weight4[at.y], weight4[at.z], weight4[at.w]);
    rest /= params.extents[1].x;
  }
  if (WEIGHTS > 3u) {
    let at = vec4<u32>(rest % params.extents[0].w * params.columns) + columns;
    w *= vec4<f32>(weight3[at.x], weight3[at.y], weight3[at.z], weight3[at.w]);
    rest /= params.extents[0].w;
  }
  if (WEIGHTS > 2u) {
    let at = vec4<u32>(rest % params.extents[0].z * params.columns) + columns;
    w *= vec4<f32>(weight2[at.x], weight2[at.y], weight2[at.z], weight2[at.w]);
    rest /= params.extents[0].z;
  }
  if (WEIGHTS > 1u) {
    let at = vec4<u32>(rest % params.extents[0].y * params.columns) + columns;
    w *= vec4<f32>(weight1[at.x], weight1[at.y], weight1[at.z], weight1[at.w]);
    rest /= params.extents[0].y;
  }
  if (WEIGHTS > 0u) {
    let at = vec4<u32>(rest * params.columns) + columns;
    w *= vec4<f32>(weight0[at.x], weight0[at.y], weight0[at.z], weight0[at.w]);
  }
  return w;
}

// where the matrix X[o] begins
fn matrix_at(o: u32) -> u32 {
  if (TRANSPOSED) { return o * params.inner * params.rows; }
  return (o / params.middle * params.rows * params.middle + o % params.middle) * params.inner;
}

// Writes four neighbouring sums; `place` is (row, first column, unused, split).
fn write_four(place: vec4<u32>, values: vec4<f32>) {
  for (var j = 0u; j < 4u; j++) {
    if (place.x < params.rows && place.y + j < params.columns) {
      out[(place.w * params.rows + place.x) * params.columns + place.y + j] = values[j];
    }
  }
}

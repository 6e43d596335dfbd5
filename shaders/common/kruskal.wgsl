// A 4×4 tile of a Kruskal tensor Σ_r λ_r a_r ∘ b_r ∘ … seen as outer×middle×last: the last two modes and all before them.

// whether the component weights λ count, and how many factors stand before the last two
const WEIGHTED: bool = false;
const OUTER: u32 = 1u;
const MIDDLE: bool = true;

struct Params {
  rank: u32,
  outer: u32,
  middle: u32,
  last: u32,
  // of the modes that `outer` runs over
  extents: vec4<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read> outer0: array<f32>;
@group(0) @binding(3) var<storage, read> outer1: array<f32>;
@group(0) @binding(4) var<storage, read> outer2: array<f32>;
@group(0) @binding(5) var<storage, read> middle_factor: array<f32>;
@group(0) @binding(6) var<storage, read> last_factor: array<f32>;

fn kruskal_tile(o: u32, rows: vec4<u32>, columns: vec4<u32>) -> array<vec4<f32>, 4> {
  // first elements of the rows of the outer factors that belong to `o`
  var at = vec3<u32>();
  var rest = o;
  if (OUTER > 2u) {
    at.z = rest % params.extents.z * params.rank;
    rest /= params.extents.z;
  }
  if (OUTER > 1u) {
    at.y = rest % params.extents.y * params.rank;
    rest /= params.extents.y;
  }
  at.x = rest * params.rank;
  let at_rows = rows * params.rank;
  let at_columns = columns * params.rank;
  var sums: array<vec4<f32>, 4>;
  for (var r = 0u; r < params.rank; r++) {
    var w = 1.0;
    if (WEIGHTED) { w = weights[r]; }
    if (OUTER > 0u) { w *= outer0[at.x + r]; }
    if (OUTER > 1u) { w *= outer1[at.y + r]; }
    if (OUTER > 2u) { w *= outer2[at.z + r]; }
    let ib = at_columns + vec4<u32>(r);
    let right = w * vec4<f32>(last_factor[ib.x], last_factor[ib.y], last_factor[ib.z], last_factor[ib.w]);
    if (MIDDLE) {
      let ia = at_rows + vec4<u32>(r);
      sums[0] += middle_factor[ia.x] * right;
      sums[1] += middle_factor[ia.y] * right;
      sums[2] += middle_factor[ia.z] * right;
      sums[3] += middle_factor[ia.w] * right;
    } else {
      sums[0] += right;
    }
  }
  return sums;
}

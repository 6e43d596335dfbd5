// The Householder reflections H_k = I − τ_k·v_k·v_kᵀ that bring `columns` columns of a matrix to triangular form from row `first` on,
// by one workgroup. `work` holds the columns as rows of `quads` vec4s; it gets R on and above the diagonal, and is undefined
// below. `v` gets the vectors, 0 above and 1 at their pivots, `tau` the τ_k. 4·rows·columns² flops.
#import householder

const WIDTH: u32 = 256u;
const ACROSS: u32 = 32u;
const REFLECTIONS: u32 = 32u;

struct Params {
  columns: u32,
  // row of the first pivot
  first: u32,
  // vec4s of a column
  quads: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> work: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> v: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> tau: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
  let n = params.columns;
  let quads = params.quads;
  for (var k = 0u; k < n; k++) { reflect(lane, 0u, quads, k, params.first + k, k + 1u, n, false); }
  for (var k = 0u; k < n; k++) {
    let pivot = params.first + k;
    let reflector = reflectors[k];
    for (var i = lane; i < quads; i += WIDTH) {
      let row = 4u * i + vec4<u32>(0u, 1u, 2u, 3u);
      var value = select(vec4<f32>(0.0), work[k * quads + i] * reflector.z, row > vec4<u32>(pivot));
      value = select(value, vec4<f32>(1.0), row == vec4<u32>(pivot));
      v[k * quads + i] = select(vec4<f32>(0.0), value, reflector.y != 0.0);
      if (i == pivot / 4u) { work[k * quads + i][pivot % 4u] = reflector.x; }
    }
    if (lane == 0u) { tau[k] = reflector.y; }
  }
}

// Sorts the eigenvalues and vectors that the rounds of jacobi_eigen_round computed (common/eigen_order). `largest` is A's largest
// magnitude, by which the eigenvalues are multiplied. One workgroup; n² read and written.
#import eigen_order

const WIDTH: u32 = 256u;

struct Params {
  n: u32,
  players: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> work: array<f32>;
@group(0) @binding(2) var<storage, read> rotation: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> largest: array<f32>;
@group(0) @binding(4) var<storage, read_write> values: array<f32>;
@group(0) @binding(5) var<storage, read_write> vectors: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
  order_eigen(lane, params.n, params.players, select(1.0, largest[0], largest[0] > 0.0));
}

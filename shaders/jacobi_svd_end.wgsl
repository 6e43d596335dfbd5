// Sorts the singular values and vectors that the rounds of jacobi_svd_block computed (common/hestenes_order). `largest` is A's
// largest magnitude, by which the singular values are multiplied. One workgroup; 2n² read and written.
#import hestenes_order

const WIDTH: u32 = 256u;

struct Params {
  n: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> work: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> rotation: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> largest: array<f32>;
@group(0) @binding(4) var<storage, read_write> norms: array<f32>;
@group(0) @binding(5) var<storage, read_write> u: array<f32>;
@group(0) @binding(6) var<storage, read_write> values: array<f32>;
@group(0) @binding(7) var<storage, read_write> v: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
  order_triplets(lane, params.n, select(1.0, largest[0], largest[0] > 0.0));
}

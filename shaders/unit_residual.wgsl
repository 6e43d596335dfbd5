// out = (I − G) / 2 for a symmetric n×n matrix; with TRIANGLE the upper triangular E with E + Eᵀ = I − G. n² read and written.
#import index

const WIDTH: u32 = 64u;
const TRIANGLE: bool = false;

struct Params {
  n: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let e = flat_workgroup(group, groups) * WIDTH + lane;
  if (e >= params.n * params.n) { return; }
  let i = e / params.n;
  let j = e % params.n;
  let half = 0.5 * (select(0.0, 1.0, i == j) - g[e]);
  out[e] = select(half, select(2.0 * half, 0.0, i > j), TRIANGLE && i != j);
}

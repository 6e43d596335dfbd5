// The start values of jacobi_svd_block: the rows of `work` are the columns of A / largest |A|, those of `rotation` the columns of
// the identity. n² read, 2n² written.
#import index
#import hestenes_start

const WIDTH: u32 = 64u;

struct Params {
  n: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> largest: array<f32>;
@group(0) @binding(3) var<storage, read_write> work: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> rotation: array<vec4<f32>>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let e = flat_workgroup(group, groups) * WIDTH + lane;
  if (e >= params.n * ((params.n + 3u) / 4u)) { return; }
  start_column(e % params.n, e / params.n, params.n, select(1.0, largest[0], largest[0] > 0.0));
}

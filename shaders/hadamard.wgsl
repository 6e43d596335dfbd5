// out[e] = a[e] · b[e], the elementwise product of two arrays of one shape. reads 2·size, flops size.
#import index

struct Params {
  size: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let e = flat_workgroup(group, groups) * 64u + local;
  if (e < params.size) { out[e] = a[e] * b[e]; }
}

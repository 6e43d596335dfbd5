// out[i·K + k, j·L + l] = a[i, j]·b[k, l], the Kronecker product of a (I×J) and b (K×L), of (I·K)×(J·L). 2·I·J·K·L reads through the
// cache, I·J·K·L writes and flops.
#import index

struct Params {
  size: u32,
  columns_a: u32,
  rows_b: u32,
  columns_b: u32,
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
  if (e >= params.size) { return; }
  let columns = params.columns_a * params.columns_b;
  let row = e / columns;
  let column = e % columns;
  let at_a = row / params.rows_b * params.columns_a + column / params.columns_b;
  let at_b = row % params.rows_b * params.columns_b + column % params.columns_b;
  out[e] = a[at_a] * b[at_b];
}

// out[i·J + j, r] = a[i, r]·b[j, r], the column-wise Kronecker product of a (I×R) and b (J×R), of (I·J)×R. 2·I·J·R reads through
// the cache, I·J·R writes and flops.
#import index

struct Params {
  size: u32,
  rows_b: u32,
  columns: u32,
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
  let column = e % params.columns;
  let row = e / params.columns;
  let i = row / params.rows_b;
  let j = row % params.rows_b;
  out[e] = a[i * params.columns + column] * b[j * params.columns + column];
}

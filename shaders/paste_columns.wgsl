// out[:, column : column + columns] = a, the rest of out stays. rows×columns read and written once.
#import index

const WIDTH: u32 = 64u;

struct Params {
  rows: u32,
  columns: u32,
  // of out: elements in a row, and the first column written
  width: u32,
  column: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(group, groups) * WIDTH + lane;
  if (i >= params.rows * params.columns) { return; }
  out[(i / params.columns) * params.width + params.column + i % params.columns] = a[i];
}

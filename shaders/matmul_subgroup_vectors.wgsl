// matmul_subgroup where B lies in vec4s: columns, or with TRANSPOSE_B inner and the chunks of it, and all strides of B are
// multiples of 4. flops 2·batch·outer·rows·columns·inner; reads: A columns/(4·LANES) times, B rows/ROWS times.
enable subgroups;
#import subgroup_product

const VECTORS: bool = true;

@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;

// four columns that follow each other
fn right_at(at: vec4<u32>) -> vec4<f32> {
  return b[at.x / 4u];
}

fn right_along(at: u32) -> vec4<f32> {
  return b[at / 4u];
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  product(flat_workgroup(group, groups), lane);
}

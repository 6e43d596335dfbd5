// matmul_subgroup that reads B by vec4s: all strides of B must be multiples of 4, and so must columns or, with TRANSPOSE_B, inner
// and its chunks. flops 2·batch·outer·rows·columns·inner; reads: A columns/(4·LANES) times, B rows/ROWS times.
enable subgroups;
#import subgroup_product

const VECTORS: bool = true;

@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;

// four neighbouring columns
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

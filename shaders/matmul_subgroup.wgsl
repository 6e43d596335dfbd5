// C[b] = activation(alpha·Σ_o op(A[b,o])·op(B[b,o]) + bias) for software adapters: a subgroup sums a tile (common/subgroup_tile).
// Shapes, transposes and splits as in matmul_register.
// flops 2·batch·outer·rows·columns·inner; reads: A columns/(4·LANES) times, B rows/ROWS times.
enable subgroups;
#import subgroup_product

const VECTORS: bool = false;

@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;

fn right_at(at: vec4<u32>) -> vec4<f32> {
  return vec4<f32>(b[at.x], b[at.y], b[at.z], b[at.w]);
}

fn right_along(at: u32) -> vec4<f32> {
  return vec4<f32>(b[at], b[at + 1u], b[at + 2u], b[at + 3u]);
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  product(flat_workgroup(group, groups), lane);
}

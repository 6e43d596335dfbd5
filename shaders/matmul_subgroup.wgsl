// C[b] = activation(alpha·Σ_o op(A[b,o])·op(B[b,o]) + bias) for software adapters: a subgroup sums a tile (common/subgroup_tile).
// Shapes, transposes and splits as in matmul_register.
// flops 2·batch·outer·rows·columns·inner; reads: A columns/(4·LANES) times, B rows/ROWS times.
enable subgroups;
#import subgroup_product

@group(0) @binding(1) var<storage, read> a: array<u32>;
@group(0) @binding(2) var<storage, read> b: array<scalar>;

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  product(flat_workgroup(group, groups), lane);
}

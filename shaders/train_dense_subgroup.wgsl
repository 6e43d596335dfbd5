// Steps of minibatch training of a small dense network: common/train_dense by one subgroup, for software adapters. There a
// workgroup runs on one core whatever its width, and a load costs more than the multiplications that it feeds. So each of four
// lanes reads one of four vec4s that all lanes need, and broadcasts pass them to the others.
enable subgroups;
// broadcasts stand in conditions that all lanes of the subgroup decide alike, which the compiler cannot prove
diagnostic(off, subgroup_uniformity);
#import train_dense

// lanes of a subgroup: 4 or 8
const LANES: u32 = 8u;
const WIDTH: u32 = LANES;

// Never, because the broadcasts need all lanes. A lane without an item computes values that are not stored, or that nothing reads.
fn idle(item: u32, items: u32) -> bool {
  return false;
}

// four vec4s, `stride` apart, the same for all lanes
fn four_of(at: u32, stride: u32, lane: u32) -> mat4x4<f32> {
  let loaded = value_at(at + lane % 4u * stride);
  return mat4x4<f32>(
    subgroupBroadcast(loaded, 0u),
    subgroupBroadcast(loaded, 1u),
    subgroupBroadcast(loaded, 2u),
    subgroupBroadcast(loaded, 3u),
  );
}

@compute @workgroup_size(LANES)
fn main(@builtin(subgroup_invocation_id) lane: u32) {
  train(lane);
}

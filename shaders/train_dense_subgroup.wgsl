// Steps of minibatch training of a small dense network (common/train_dense) by one subgroup, for software adapters, where a
// workgroup runs on one core whatever its width and a load costs more than the multiplications that it feeds: each of four
// lanes reads one of the vec4s that all need, and broadcasts hand them round.
enable subgroups;
// a subgroup's lanes always have the same layer and outputs, which the compiler cannot know
diagnostic(off, subgroup_uniformity);
#import train_dense

// 4 or 8
const LANES: u32 = 8u;
const WIDTH: u32 = LANES;

// Items are padded to whole subgroups: what lanes without one compute is not stored, or where nothing reads it.
fn idle(item: u32, items: u32) -> bool {
  return false;
}

// four vec4s, `stride` apart, the same for all lanes
fn four_of(at: u32, stride: u32, lane: u32) -> mat4x4<f32> {
  let own = value_at(at + lane % 4u * stride);
  return mat4x4<f32>(
    subgroupBroadcast(own, 0u),
    subgroupBroadcast(own, 1u),
    subgroupBroadcast(own, 2u),
    subgroupBroadcast(own, 3u),
  );
}

@compute @workgroup_size(LANES)
fn main(@builtin(subgroup_invocation_id) lane: u32) {
  train(lane);
}

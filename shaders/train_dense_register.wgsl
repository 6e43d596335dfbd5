// Steps of minibatch training of a small dense network: common/train_dense where every lane reads all that it needs itself.
#import train_dense

const WIDTH: u32 = 64u;
const LANES: u32 = 1u;

fn idle(item: u32, items: u32) -> bool {
  return item >= items;
}

// four vec4s, `stride` apart
fn four_of(at: u32, stride: u32, lane: u32) -> mat4x4<f32> {
  return mat4x4<f32>(value_at(at), value_at(at + stride), value_at(at + 2u * stride), value_at(at + 3u * stride));
}

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
  train(lane);
}

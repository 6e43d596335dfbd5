// Steps of minibatch training of a small dense network (common/train_dense), a lane reads for itself what it needs.
#import train_dense

const WIDTH: u32 = 64u;
const LANES: u32 = 1u;
const SPLIT: bool = true;

fn idle(item: u32, items: u32) -> bool {
  return item >= items;
}

// four vec4s, `stride` apart
fn four_of(at: u32, stride: u32, lane: u32) -> mat4x4<f32> {
  return mat4x4<f32>(scratch[at], scratch[at + stride], scratch[at + 2u * stride], scratch[at + 3u * stride]);
}

// Lanes next to each other take the same inputs of different samples, so that they share weights.
fn sum_parts(first: u32, rows: u32, epoch: u32, lane: u32) {
  let quads = quads_of(rows);
  for (var flat = lane; flat < quads * params.parts; flat += WIDTH) {
    let quad = flat % quads;
    let part = flat / quads;
    let begin = part * params.part_length;
    let end = min(begin + params.part_length, params.extents[0].x);
    fetch(quad, samples_of(quad, first, rows, epoch), begin, end);
    for (var q = 0u; q < quads_of(params.extents[0].y); q++) {
      put_matrix(partial_of(quad, part, q), sum_of(0u, quad, q, begin, end, lane));
    }
  }
  storageBarrier();
  workgroupBarrier();
}

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
  train(lane);
}

// The minibatch of the present step: batch[i, :] = x[row(i), :], batch_labels[i] = labels[row(i)], with row(i) the
// permuted or plain index of first(step) + i. rows×columns read and written once.
#import index
#import permutation

const WIDTH: u32 = 64u;
const SHUFFLE: bool = true;

struct Params {
  // of the whole set
  count: u32,
  columns: u32,
  // of this batch, and of the batches before it
  rows: u32,
  stride: u32,
  half_bits: u32,
  seed: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
// [step in the epoch, epoch, …]
@group(0) @binding(3) var<storage, read> state: array<u32>;
@group(0) @binding(4) var<storage, read_write> batch: array<f32>;
@group(0) @binding(5) var<storage, read_write> batch_labels: array<u32>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  // a workgroup takes one row, so the permutation is walked once an invocation and a row
  let row = flat_workgroup(group, groups);
  if (row >= params.rows) { return; }
  var index = min(state[0] * params.stride + row, params.count - 1u);
  if (SHUFFLE) { index = permuted(index, params.count, params.half_bits, vec2<u32>(params.seed, state[1])); }
  for (var k = lane; k < params.columns; k += WIDTH) {
    batch[row * params.columns + k] = x[index * params.columns + k];
  }
  if (lane == 0u) { batch_labels[row] = labels[index]; }
}

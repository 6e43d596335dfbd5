// What the gather_batch kernels share: params, labels, and which row of the data set becomes row i of this batch.
#import index
#import permutation

const WIDTH: u32 = 64u;
const SHUFFLE: bool = true;

struct Params {
  // rows of the data set
  count: u32,
  // elements of a row, in units of the element type of x
  columns: u32,
  // rows of this batch
  rows: u32,
  // rows of every earlier batch of the epoch
  stride: u32,
  half_bits: u32,
  seed: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// bindings 1 and 2 are x and batch, which the importing file declares
@group(0) @binding(3) var<storage, read> labels: array<u32>;
// [step in the epoch, epoch, …]
@group(0) @binding(4) var<storage, read> state: array<u32>;
@group(0) @binding(5) var<storage, read_write> batch_labels: array<u32>;

fn source_of(row: u32) -> u32 {
  let index = min(state[0] * params.stride + row, params.count - 1u);
  if (SHUFFLE) { return permuted(index, params.count, params.half_bits, vec2<u32>(params.seed, state[1])); }
  return index;
}

// The minibatch of the present step from samples in bytes: batch[i, :] = x[row(i), :] / 255, batch_labels[i] =
// labels[row(i)], with row(i) the permuted or plain index of first(step) + i. Reads rows·columns bytes, a quarter of what
// samples in f32 take. columns are elements.
#import batch
#import bytes

// rows of whole words
const ALIGNED: bool = true;

@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> batch: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  // a workgroup takes one row, so the permutation is walked once an invocation and a row
  let row = flat_workgroup(group, groups);
  if (row >= params.rows) { return; }
  let source = source_of(row);
  let from_byte = source * params.columns;
  let to = row * params.columns;
  if (ALIGNED) {
    for (var k = lane; k < params.columns / 4u; k += WIDTH) {
      let v = unpack4x8unorm(x[from_byte / 4u + k]);
      for (var i = 0u; i < 4u; i++) { batch[to + 4u * k + i] = v[i]; }
    }
  } else {
    for (var k = lane; k < params.columns; k += WIDTH) {
      batch[to + k] = unit_of(x[(from_byte + k) / 4u], from_byte + k);
    }
  }
  if (lane == 0u) { batch_labels[row] = labels[source]; }
}

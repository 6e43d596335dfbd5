// The minibatch of the step that `state` names, from samples in bytes: batch[i, :] = x[row(i), :] / 255, batch_labels[i] =
// labels[row(i)], with row(i) = source_of(i) of common/batch. `columns` counts bytes. Cost: rows·columns bytes read, a quarter of
// what samples in f32 take, and as many f32 written.
#import batch
#import bytes

// columns is a multiple of 4, so that rows begin at words
const ALIGNED: bool = true;

@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> batch: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  // a workgroup copies one row, so that an invocation computes the permutation once a row
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

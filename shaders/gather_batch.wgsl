// The minibatch of the present step: batch[i, :] = x[row(i), :], batch_labels[i] = labels[row(i)], with row(i) the
// permuted or plain index of first(step) + i. rows×columns read and written once.
#import batch

@group(0) @binding(1) var<storage, read> x: array<f32>;
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
  for (var k = lane; k < params.columns; k += WIDTH) { batch[row * params.columns + k] = x[source * params.columns + k]; }
  if (lane == 0u) { batch_labels[row] = labels[source]; }
}

// The minibatch of the step that `state` names: batch[i, :] = x[row(i), :], batch_labels[i] = labels[row(i)], with row(i) =
// source_of(i) of common/batch. `scalar` is vec4<f32> where the length of a row is a multiple of four; columns then counts vec4s.
// rows×columns read and written once.
#import batch

alias scalar = f32;

@group(0) @binding(1) var<storage, read> x: array<scalar>;
@group(0) @binding(2) var<storage, read_write> batch: array<scalar>;

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
  for (var k = lane; k < params.columns; k += WIDTH) { batch[row * params.columns + k] = x[source * params.columns + k]; }
  if (lane == 0u) { batch_labels[row] = labels[source]; }
}

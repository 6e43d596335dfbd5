// curve[epoch, column] += alpha·total[0]: tells a number of a training step. One invocation.
struct Params {
  // numbers of an epoch in `curve`
  curve_columns: u32,
  curve_column: u32,
  alpha: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> total: array<f32>;
// [step in the epoch, epoch, …]
@group(0) @binding(2) var<storage, read> state: array<u32>;
@group(0) @binding(3) var<storage, read_write> curve: array<f32>;

@compute @workgroup_size(1)
fn main() {
  curve[state[1] * params.curve_columns + params.curve_column] += params.alpha * total[0];
}

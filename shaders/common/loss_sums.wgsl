// What a workgroup of WIDTH invocations adds to a training's curve. The kernel that imports it has `params` with curve_columns (numbers of an
// epoch) and curve_column (that of the losses), `state` ([step in the epoch, epoch, …]) and `curve`.
var<workgroup> losses: array<f32, WIDTH>;
var<workgroup> hits: array<f32, WIDTH>;

// Adds each invocation's loss and number of right answers to curve[epoch, column] and curve[epoch, column + 1], in a fixed order. All
// invocations call it.
fn add_to_row(lane: u32, loss: f32, right: f32) {
  losses[lane] = loss;
  hits[lane] = right;
  for (var width = WIDTH / 2u; width > 0u; width /= 2u) {
    workgroupBarrier();
    if (lane < width) {
      losses[lane] += losses[lane + width];
      hits[lane] += hits[lane + width];
    }
  }
  if (lane == 0u) {
    let at = state[1] * params.curve_columns + params.curve_column;
    curve[at] += losses[0];
    curve[at + 1u] += hits[0];
  }
}

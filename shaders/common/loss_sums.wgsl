// What a workgroup of WIDTH invocations adds to `curve`, a training's, which the kernel that imports it has.
var<workgroup> losses: array<f32, WIDTH>;
var<workgroup> hits: array<f32, WIDTH>;

// Adds each invocation's loss and number of right answers to curve[at] and curve[at + 1], in a fixed order. All invocations call it.
fn add_to_curve(lane: u32, loss: f32, right: f32, at: u32) {
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
    curve[at] += losses[0];
    curve[at + 1u] += hits[0];
  }
}

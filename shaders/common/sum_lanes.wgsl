// Sums over the invocations of a workgroup, in a fixed order.

var<workgroup> lane_sums: array<f32, WIDTH>;

// Σ of `value` over all invocations, for all of them. All must call it together.
fn sum_lanes(lane: u32, value: f32) -> f32 {
  lane_sums[lane] = value;
  for (var width = WIDTH / 2u; width > 0u; width /= 2u) {
    workgroupBarrier();
    if (lane < width) { lane_sums[lane] += lane_sums[lane + width]; }
  }
  workgroupBarrier();
  let total = lane_sums[0];
  workgroupBarrier();
  return total;
}

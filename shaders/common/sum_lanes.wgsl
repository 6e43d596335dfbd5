// Sums over the invocations of a workgroup, in a fixed order.

var<workgroup> lane_sums: array<f32, WIDTH>;

// Σ of `value` over all invocations of the workgroup, returned to each. All must call it together, because it has barriers.
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

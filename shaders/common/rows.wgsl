// Sums and maxima over rows by LANES neighbouring invocations each, in a fixed order: a workgroup has WIDTH / LANES rows.

var<workgroup> row_values: array<f32, WIDTH>;

// Σ of `value` over the invocations of the caller's row, returned to each. All invocations must call it together: it has barriers.
fn row_sum(lane: u32, value: f32) -> f32 {
  row_values[lane] = value;
  for (var width = LANES / 2u; width > 0u; width /= 2u) {
    workgroupBarrier();
    if (lane % LANES < width) { row_values[lane] += row_values[lane + width]; }
  }
  workgroupBarrier();
  let total = row_values[lane - lane % LANES];
  workgroupBarrier();
  return total;
}

// The largest `value` of the caller's row, as row_sum.
fn row_maximum(lane: u32, value: f32) -> f32 {
  row_values[lane] = value;
  for (var width = LANES / 2u; width > 0u; width /= 2u) {
    workgroupBarrier();
    if (lane % LANES < width) { row_values[lane] = max(row_values[lane], row_values[lane + width]); }
  }
  workgroupBarrier();
  let largest = row_values[lane - lane % LANES];
  workgroupBarrier();
  return largest;
}

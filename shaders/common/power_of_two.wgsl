// Scaling by a power of two is exact.

// 2^(30 − e) with 2^e ≤ largest < 2^(e+1). The factor brings the largest magnitude of a matrix near 2^30, so that the squares of
// entries that are 1e-22 times as large are still normal numbers. 1 for a zero matrix; at most 2^126, which WGSL divides by
// exactly.
fn scale_of(largest: f32) -> f32 {
  let exponent = (bitcast<u32>(largest) >> 23u) & 255u;
  if (exponent == 0u && largest == 0.0) { return 1.0; }
  return bitcast<f32>(clamp(284u - exponent, 1u, 253u) << 23u);
}

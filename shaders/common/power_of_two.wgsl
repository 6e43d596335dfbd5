// Powers of two: scaling by one is exact.

// 2^(30 − e) with 2^e ≤ largest < 2^(e+1): brings the largest magnitude of a matrix near 2^30, so that squares of entries 1e-22
// as large are numbers still. 1 for zero; at most 2^126, which WGSL divides by exactly.
fn scale_of(largest: f32) -> f32 {
  let exponent = (bitcast<u32>(largest) >> 23u) & 255u;
  if (exponent == 0u && largest == 0.0) { return 1.0; }
  return bitcast<f32>(clamp(284u - exponent, 1u, 253u) << 23u);
}

// Powers of two: scaling by one is exact.

// 2^−e with 2^e ≤ largest < 2^(e+1), for largest > 0 from 2^−126 on; 1 for zero.
fn scale_to_one(largest: f32) -> f32 {
  let exponent = (bitcast<u32>(largest) >> 23u) & 255u;
  if (exponent == 0u) { return 1.0; }
  return bitcast<f32>(clamp(254u - exponent, 1u, 254u) << 23u);
}

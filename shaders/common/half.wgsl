// Floats of 16 bits, as bits.

// The bits of a 16-bit float as those of an f32. Its subnormal numbers, whole multiples of 2^-24, are normal ones of f32.
fn widened(half: u32) -> u32 {
  let sign = (half & 0x8000u) << 16u;
  let exponent = (half >> 10u) & 0x1fu;
  let fraction = half & 0x3ffu;
  if (exponent == 0u) { return sign | bitcast<u32>(f32(fraction) * 5.9604644775390625e-8); }
  if (exponent == 31u) { return sign | 0x7f800000u | (fraction << 13u); }
  return sign | ((exponent + 112u) << 23u) | (fraction << 13u);
}

// Floats of 16 bits, as bits.

// The bits of 16-bit floats, each in the upper half of a word, as those of f32. Their subnormal numbers, whole multiples of 2^-24, are normal
// ones of f32. NaN and infinity keep their bits.
fn widened(halves: vec4<u32>) -> vec4<u32> {
  let magnitude = (halves & vec4<u32>(0x7fff0000u)) >> vec4<u32>(3u);
  let subnormal = bitcast<vec4<u32>>(vec4<f32>(magnitude >> vec4<u32>(13u)) * 5.9604644775390625e-8);
  let finite = select(magnitude + vec4<u32>(0x38000000u), subnormal, magnitude < vec4<u32>(0x00800000u));
  let value = select(finite, magnitude | vec4<u32>(0x7f800000u), magnitude >= vec4<u32>(0x0f800000u));
  return (halves & vec4<u32>(0x80000000u)) | value;
}

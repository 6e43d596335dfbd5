// Numbers as they lie in words of 32 bits: four bytes a word, two of 16 bits, or one of 32, the first in the lowest bits. A kernel that
// reads a tensor of them, of whichever KIND, binds it as an array of `scalar`.
#import half

// 0 f32, 1 u32, 2 i32, 3 u8, 4 i8, 5 u16, 6 i16, 7 f16, 8 bf16
const KIND: u32 = 0u;
// whether the kernel reads four neighbours at once, from multiples of four on
const VECTORS: bool = false;
// u32, or with VECTORS and numbers of 32 bits vec4u
alias scalar = u32;
const PER_WORD: u32 = select(select(1u, 2u, KIND > 4u), 4u, KIND == 3u || KIND == 4u);

// Number `at` of an array, of which `word` holds it, as the bits of an f32.
fn bits_in(word: u32, at: u32) -> u32 {
  if (PER_WORD == 4u) {
    // in the upper bits
    let byte = word << (24u - 8u * (at % 4u));
    if (KIND == 3u) { return bitcast<u32>(f32(byte >> 24u)); }
    return bitcast<u32>(f32(bitcast<i32>(byte) >> 24u));
  }
  if (PER_WORD == 2u) {
    let half = word << (16u - 16u * (at % 2u));
    if (KIND == 5u) { return bitcast<u32>(f32(half >> 16u)); }
    if (KIND == 6u) { return bitcast<u32>(f32(bitcast<i32>(half) >> 16u)); }
    if (KIND == 7u) { return widened(vec4<u32>(half)).x; }
    return half & 0xffff0000u;
  }
  if (KIND == 1u) { return bitcast<u32>(f32(word)); }
  if (KIND == 2u) { return bitcast<u32>(f32(bitcast<i32>(word))); }
  return word;
}

// two words, for bits_of
fn two(first: u32, second: u32) -> vec4<u32> { return vec4<u32>(first, second, 0u, 0u); }

// The same of four numbers: the bytes of words.x, the halves of words.x and words.y, or all four words.
fn bits_of(words: vec4<u32>) -> vec4<u32> {
  if (PER_WORD == 4u) {
    let bytes = words.xxxx << vec4<u32>(24u, 16u, 8u, 0u);
    if (KIND == 3u) { return bitcast<vec4<u32>>(vec4<f32>(bytes >> vec4<u32>(24u))); }
    return bitcast<vec4<u32>>(vec4<f32>(bitcast<vec4<i32>>(bytes) >> vec4<u32>(24u)));
  }
  if (PER_WORD == 2u) {
    let halves = words.xxyy << vec4<u32>(16u, 0u, 16u, 0u);
    if (KIND == 5u) { return bitcast<vec4<u32>>(vec4<f32>(halves >> vec4<u32>(16u))); }
    if (KIND == 6u) { return bitcast<vec4<u32>>(vec4<f32>(bitcast<vec4<i32>>(halves) >> vec4<u32>(16u))); }
    if (KIND == 7u) { return widened(halves); }
    return halves & vec4<u32>(0xffff0000u);
  }
  if (KIND == 1u) { return bitcast<vec4<u32>>(vec4<f32>(words)); }
  if (KIND == 2u) { return bitcast<vec4<u32>>(vec4<f32>(bitcast<vec4<i32>>(words))); }
  return words;
}

// Bytes as numbers from 0 to 1, as in textures of unorm8: value / 255. Four a word, the first in the lowest bits.

// byte `at` of `word`, which holds bytes 4·⌊at/4⌋ and on
fn unit_of(word: u32, at: u32) -> f32 {
  return f32((word >> (8u * (at % 4u))) & 255u) / 255.0;
}

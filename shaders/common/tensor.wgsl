// The numbers of the tensor `x`, which the importing file declares as an array of `scalar`, as f32.
#import numbers

// number `at`, as the bits of an f32
fn x_bits_at(at: u32) -> u32 { return bits_in(vec4<u32>(x[at / PER_WORD]).x, at); }

// the four numbers from `at` on, a multiple of four, likewise; for VECTORS
fn x_bits_from(at: u32) -> vec4<u32> {
  if (PER_WORD == 2u) { return bits_of(two(vec4<u32>(x[at / 2u]).x, vec4<u32>(x[at / 2u + 1u]).x)); }
  return bits_of(vec4<u32>(x[at / 4u]));
}

fn x_at(at: u32) -> f32 { return bitcast<f32>(x_bits_at(at)); }

fn x_from(at: u32) -> vec4<f32> { return bitcast<vec4<f32>>(x_bits_from(at)); }

// the numbers at four places
fn x_four(places: vec4<u32>) -> vec4<f32> {
  return vec4<f32>(x_at(places.x), x_at(places.y), x_at(places.z), x_at(places.w));
}

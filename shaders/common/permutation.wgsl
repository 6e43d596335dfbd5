// A permutation of 0 … n−1 that needs no memory: a six-round Feistel network on the next larger power of four, applied again
// while the result is n or more (Black & Rogaway 2002). Different keys give different permutations, and consecutive keys share no
// round's key. With fewer than six rounds the places of a row are not equally likely in small sets.

fn mix(x: u32) -> u32 {
  // the finaliser of MurmurHash3
  var h = x;
  h = (h ^ (h >> 16u)) * 0x85ebca6bu;
  h = (h ^ (h >> 13u)) * 0xc2b2ae35u;
  return h ^ (h >> 16u);
}

// half_bits: half the bits of the power of four that holds n
fn permuted(index: u32, n: u32, half_bits: u32, key: vec2<u32>) -> u32 {
  let mask = (1u << half_bits) - 1u;
  var at = index;
  loop {
    var left = at >> half_bits;
    var right = at & mask;
    for (var round = 0u; round < 6u; round++) {
      let next = left ^ (mix(right ^ key.x ^ mix(6u * key.y + round)) & mask);
      left = right;
      right = next;
    }
    at = (left << half_bits) | right;
    if (at < n) { break; }
  }
  return at;
}

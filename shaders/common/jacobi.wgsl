// What both Jacobi methods share: the order of the pairs and a rotation's scale.

// Pair `index` of a round in which every player meets one other: player `players - 1` stays, the others move round.
fn pair_of(index: u32, round: u32, players: u32) -> vec2<u32> {
  let circle = players - 1u;
  if (index == 0u) { return vec2<u32>(round % circle, players - 1u); }
  return vec2<u32>((round + index) % circle, (round + circle - index) % circle);
}

// 1/√x with one Newton step: inverseSqrt may be off in the last bits, and thousands of rotations would add that up.
fn inverse_root(x: f32) -> f32 {
  let y = inverseSqrt(x);
  return y * (1.5 - 0.5 * x * y * y);
}

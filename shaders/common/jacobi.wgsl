// What the Jacobi methods share: the order of the pairs, and the angle of a rotation.

// Pair `index` of a round of a round-robin tournament, where every player meets one other: player `players - 1` stays, the
// others move round a circle.
fn pair_of(index: u32, round: u32, players: u32) -> vec2<u32> {
  let circle = players - 1u;
  var pair = vec2<u32>((round + index) % circle, (round + circle - index) % circle);
  if (index == 0u) { pair = vec2<u32>(round % circle, circle); }
  return vec2<u32>(min(pair.x, pair.y), max(pair.x, pair.y));
}

// (sin φ, tan φ/2) of the smaller angle that makes the symmetric [[app, apq], [apq, aqq]] diagonal, apq ≠ 0. The sine is
// computed from the half angle, so that its rounding changes the angle and hardly the lengths (Rutishauser 1966). A sine and a
// cosine that are rounded separately would shorten the vectors a little in every one of thousands of rotations.
fn jacobi_turn(app: f32, aqq: f32, apq: f32) -> vec2<f32> {
  let theta = (aqq - app) / (2.0 * apq);
  // the square of a large θ is beyond f32, and the root of 1 + θ² is |θ| long before
  let root = select(sqrt(1.0 + theta * theta), abs(theta), abs(theta) > 1e18);
  let t = select(-1.0, 1.0, theta >= 0.0) / (abs(theta) + root);
  let half = t / (1.0 + sqrt(1.0 + t * t));
  return vec2<f32>(2.0 * half / (1.0 + half * half), half);
}

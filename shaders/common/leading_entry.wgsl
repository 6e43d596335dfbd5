// The entry of a vector that decides its sign: the one of largest magnitude.

// The leading entry of those before `value`, `best`, or `value`. A later entry must be clearly larger, so that rounding does not
// decide between near ties, and the first of them leads.
fn leading(best: f32, value: f32) -> f32 {
  return select(best, value, abs(value) > abs(best) * 1.0001);
}

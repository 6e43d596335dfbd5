// All activations, by their numbers in `activations` of src/ops/activations.ts.
const ACTIVATION: u32 = 0u;
// the slope of leaky relu below 0
const LEAK: f32 = 0.01;

// 1 / (1 + exp(−x)); below −80 the power would leave f32
fn logistic(x: f32) -> f32 {
  return 1.0 / (1.0 + exp(min(-x, 80.0)));
}

// tanh(x); some devices compute it by powers, which leave f32
fn bounded_tanh(x: f32) -> f32 {
  return tanh(clamp(x, -20.0, 20.0));
}

// The standard normal distribution function to 2e-7 (Abramowitz & Stegun 1964, 7.1.26, for erf(|x|/√2)).
fn normal_share(x: f32) -> f32 {
  let z = abs(x) * 0.70710678;
  let t = 1.0 / (1.0 + 0.3275911 * z);
  let series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  let tail = 0.5 * series * exp(-min(z * z, 80.0));
  return select(tail, 1.0 - tail, x >= 0.0);
}

// x in the tanh form of gelu (Hendrycks & Gimpel 2016): √(2/π)·(x + 0.044715·x³)
fn gelu_angle(x: f32) -> f32 {
  return 0.7978845608 * x * (1.0 + 0.044715 * x * x);
}

fn activate(x: f32) -> f32 {
  if (ACTIVATION == 1u) { return max(x, 0.0); }
  if (ACTIVATION == 2u) { return select(LEAK * x, x, x > 0.0); }
  if (ACTIVATION == 3u) { return logistic(x); }
  if (ACTIVATION == 4u) { return bounded_tanh(x); }
  if (ACTIVATION == 5u) { return x * logistic(x); }
  if (ACTIVATION == 6u) { return x * normal_share(x); }
  if (ACTIVATION == 7u) { return 0.5 * x * (1.0 + bounded_tanh(gelu_angle(x))); }
  if (ACTIVATION == 8u) { return x * clamp(x / 6.0 + 0.5, 0.0, 1.0); }
  return x;
}

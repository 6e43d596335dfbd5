// A Householder reflection I − τ·v·vᵀ, v = (1, x·inverse), of a vector (α, x) to (β, 0).

// β, τ and inverse for α and the sum of squares of x. A vector that is (α, 0) already needs no reflection.
fn reflector_of(alpha: f32, below: f32) -> vec3<f32> {
  if (below == 0.0) { return vec3<f32>(alpha, 0.0, 0.0); }
  let norm = sqrt(alpha * alpha + below);
  let beta = select(norm, -norm, alpha >= 0.0);
  return vec3<f32>(beta, (beta - alpha) / beta, 1.0 / (alpha - beta));
}

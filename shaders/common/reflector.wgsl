// The Householder reflection I − τ·v·vᵀ, v = (1, x·inverse), that turns a vector (α, x) into (β, 0).

// Sums of squares below this count as zero. Matrices are scaled to a largest entry near 2^30, and a sum whose squares vanish in
// f32 would give a matrix that is not orthogonal.
const NOTHING: f32 = 1e-26;

// (β, τ, inverse) for α and the sum of squares of x. For x = 0 the reflection is the identity: τ = 0.
fn reflector_of(alpha: f32, below: f32) -> vec3<f32> {
  if (below < NOTHING) { return vec3<f32>(alpha, 0.0, 0.0); }
  let norm = sqrt(alpha * alpha + below);
  let beta = select(norm, -norm, alpha >= 0.0);
  return vec3<f32>(beta, (beta - alpha) / beta, 1.0 / (alpha - beta));
}

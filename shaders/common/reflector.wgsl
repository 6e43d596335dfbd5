// A Householder reflection I − τ·v·vᵀ, v = (1, x·inverse), of a vector (α, x) to (β, 0).

// Sums of squares below this count as zero: matrices are scaled to a largest entry near 2^30, and squares that vanish in f32
// would make a reflection that is none.
const NOTHING: f32 = 1e-26;

// β, τ and inverse for α and the sum of squares of x. A vector that is (α, 0) already needs no reflection.
fn reflector_of(alpha: f32, below: f32) -> vec3<f32> {
  if (below < NOTHING) { return vec3<f32>(alpha, 0.0, 0.0); }
  let norm = sqrt(alpha * alpha + below);
  let beta = select(norm, -norm, alpha >= 0.0);
  return vec3<f32>(beta, (beta - alpha) / beta, 1.0 / (alpha - beta));
}

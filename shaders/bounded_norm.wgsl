// A ridge of a least squares problem that has an error to spend (Phan, Tichavský & Cichocki 2019, error preserving correction):
// the largest μ ≥ 0 that keeps E − Σ_j g_j/λ_j + Σ_j f_j/λ_j · (μ/(λ_j + μ))² ≤ bound, and out[j] = 1 / (λ_j + μ). λ are the
// eigenvalues of the normal matrix, falling, and f the squared lengths of the right-hand side in their directions. E is the
// squared error of where one stands, and g the squared lengths of the gradient there: near the solution both are small, and
// nothing cancels. E becomes the squared error of the solution. One invocation bisects the exponent of μ; r reads and flops a
// step.

const STEPS: u32 = 60u;

struct Params {
  rank: u32,
  bound: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> eigenvalues: array<f32>;
@group(0) @binding(2) var<storage, read> energies: array<f32>;
@group(0) @binding(3) var<storage, read> gains: array<f32>;
@group(0) @binding(4) var<storage, read_write> residual: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

// eigenvalues that rounding leaves of zero
fn eigenvalue(j: u32) -> f32 { return max(eigenvalues[j], 1e-7 * eigenvalues[0]); }

// what a ridge μ adds to the squared error
fn added(mu: f32) -> f32 {
  var sum = 0.0;
  for (var j = 0u; j < params.rank; j++) {
    let lambda = eigenvalue(j);
    let part = mu / (lambda + mu);
    sum += energies[j] / lambda * part * part;
  }
  return sum;
}

@compute @workgroup_size(1)
fn main() {
  var least = residual[0];
  for (var j = 0u; j < params.rank; j++) { least -= gains[j] / eigenvalue(j); }
  least = max(least, 0.0);
  let room = params.bound - least;
  var low = -24.0;
  var high = 24.0;
  for (var step = 0u; step < STEPS; step++) {
    let middle = 0.5 * (low + high);
    if (added(exp2(middle) * eigenvalues[0]) <= room) { low = middle; } else { high = middle; }
  }
  let mu = exp2(low) * eigenvalues[0];
  residual[0] = least + added(mu);
  for (var j = 0u; j < params.rank; j++) { out[j] = 1.0 / (eigenvalue(j) + mu); }
}

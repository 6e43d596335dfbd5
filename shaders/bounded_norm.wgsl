// The ridge of a least squares problem whose squared error may grow to `bound` (Phan, Tichavský & Cichocki 2019, error
// preserving correction): the largest μ ≥ 0 with E − Σ_j g_j/λ_j + Σ_j f_j/λ_j · (μ/(λ_j + μ))² ≤ bound, and
// out[j] = 1 / (λ_j + μ). λ (`eigenvalues`) are the normal matrix's `rank` eigenvalues, falling. f (`energies`) are the squared
// components of the right-hand side along the eigenvectors. E (`residual`) is the squared error of the current point, and g
// (`gains`) the squared components of the gradient there: near the solution both are small, so that no digits cancel.
// A gain of at most `noise` of all energies is rounding, and counts as 0: f is then what the current point has of it, λ²·a, with the squared
// components a (`starts`) of the point. Without a current point `noise` is 0.
// `residual` becomes the squared error of the new solution. One invocation bisects the exponent of μ: rank reads a step.

const STEPS: u32 = 60u;

struct Params {
  rank: u32,
  bound: f32,
  noise: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> eigenvalues: array<f32>;
@group(0) @binding(2) var<storage, read> energies: array<f32>;
@group(0) @binding(3) var<storage, read> gains: array<f32>;
@group(0) @binding(4) var<storage, read> starts: array<f32>;
@group(0) @binding(5) var<storage, read_write> residual: array<f32>;
@group(0) @binding(6) var<storage, read_write> out: array<f32>;

// largest gain that is rounding
var<private> least_gain: f32;

// rounding leaves less than this floor of an eigenvalue that is zero
fn eigenvalue(j: u32) -> f32 { return max(eigenvalues[j], 1e-7 * eigenvalues[0]); }

// how much a ridge μ adds to the squared error
fn added(mu: f32) -> f32 {
  var sum = 0.0;
  for (var j = 0u; j < params.rank; j++) {
    let lambda = eigenvalue(j);
    let part = mu / (lambda + mu);
    let energy = select(lambda * lambda * starts[j], energies[j], gains[j] > least_gain);
    sum += energy / lambda * part * part;
  }
  return sum;
}

@compute @workgroup_size(1)
fn main() {
  var total = 0.0;
  for (var j = 0u; j < params.rank; j++) { total += energies[j]; }
  least_gain = params.noise * total;
  var least = residual[0];
  for (var j = 0u; j < params.rank; j++) { least -= select(0.0, gains[j], gains[j] > least_gain) / eigenvalue(j); }
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

// What the kernels of a Gauss-Newton iteration for CP share. Several models of rank R lie side by side: the factors of all modes are one matrix,
// mode m from row starts[m] on, of models·R columns, R of them each model's. D is the direction of steepest descent of ½‖X − X̂‖²/unit²: mode
// by mode, the MTTKRP of (X − X̂)/unit.

struct Params {
  rank: u32,
  models: u32,
  modes: u32,
  // entries of X, of all modes but the last, and rows of all factors together
  size: u32,
  runs: u32,
  rows: u32,
  // numbers that add up to ‖X − X̂‖² of one model
  losses: u32,
  // a bit for each mode whose factor stays as it is
  fixed_modes: u32,
  // most steps of conjugate gradients
  steps: u32,
  // where several workgroups share the rows of a model: rows of a chunk, how many chunks a mode has, and how many invocations share a sum over one
  chunk: u32,
  chunks: u32,
  shares: u32,
  // a power of two near ‖X‖, and 1 over it: a model is unit·Σ_r a_r ∘ b_r ∘ …, so that its factors are the same at every scale of X
  unit: f32,
  inverse_unit: f32,
  // a model has converged, and stands still from then on, after ENOUGH_SLOW steps on end that are to take off less than this part of its loss, or
  // less than `noise`; after one that is to take off less than a thousandth of this part; or at a loss below `exact`; 0: it never has
  tolerance: f32,
  noise: f32,
  exact: f32,
  extents: array<vec4<u32>, 2>,
  starts: array<vec4<u32>, 2>,
}

@group(0) @binding(0) var<uniform> params: Params;

fn extent_of(mode: u32) -> u32 { return params.extents[mode / 4u][mode % 4u]; }
fn start_of(mode: u32) -> u32 { return params.starts[mode / 4u][mode % 4u]; }
fn is_fixed(mode: u32) -> bool { return ((params.fixed_modes >> mode) & 1u) == 1u; }

// Where column r of a model stands in a row of the factors.
fn place(row: u32, model: u32, r: u32) -> u32 { return (row * params.models + model) * params.rank + r; }

// Numbers of a model, in units of X: ½‖X − X̂‖² where it was accepted last; what the trial step is to lower that by; the damping λ (0 before the first iteration) and
// its next growth; how many trials there were, and how many of them were accepted; whether the last one was; and how many slow steps on end there were.
const PER_MODEL: u32 = 8u;
const LOSS: u32 = 0u;
const PROMISED: u32 = 1u;
const DAMPING: u32 = 2u;
const GROWTH: u32 = 3u;
const ITERATIONS: u32 = 4u;
const ACCEPTED: u32 = 5u;
const TAKEN: u32 = 6u;
const SLOW: u32 = 7u;
const ENOUGH_SLOW: f32 = 3.0;

// R×R matrices of each model, one a mode in every slot.
// Gram matrices of the factors that were accepted last, and AᵀD there
const GRAM: u32 = 0u;
const ALONG: u32 = 1u;
// of conjugate gradients
const STEP: u32 = 2u;
const RESIDUAL: u32 = 3u;
const DIRECTION: u32 = 4u;
// L, L⁻¹ and M⁻¹
const ROOT: u32 = 5u;
const INVERSE: u32 = 6u;
const NORMAL_INVERSE: u32 = 7u;
// Y
const COUPLED: u32 = 8u;
// for products on the way; at the end (V + λI)⁻¹, and Y times it
const LEFT: u32 = 9u;
const RIGHT: u32 = 10u;
// first rows: what the columns of a mode are multiplied by where the trial is accepted
const SCALES: u32 = 11u;
const SLOTS: u32 = 12u;

fn slot(model: u32, which: u32, mode: u32) -> u32 {
  return ((model * SLOTS + which) * params.modes + mode) * params.rank * params.rank;
}
fn scale_at(model: u32, mode: u32, r: u32) -> u32 { return slot(model, SCALES, mode) + r; }

// What chunks of rows leave, in one array: models×modes×(chunks·shares)×2×R×R sums of gauss_newton_grams, and behind them models×modes×chunks×2 of
// gauss_newton_rows, ⟨D, P⟩ and ‖P‖².
fn promise_at(chunk: u32) -> u32 {
  return 2u * (params.models * params.modes * params.chunks * params.shares * params.rank * params.rank + chunk);
}

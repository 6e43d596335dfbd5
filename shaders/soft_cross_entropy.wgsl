// Divergence of soft targets (Hinton, Vinyals & Dean 2015), by one workgroup: with p = softmax(targets / T) and q = softmax(z / T)
//   loss of a row = T²·Σ_k p_k·(log p_k − log q_k),   gradient = T·(q − p) / rows
// for logits z and logits of a teacher (`targets`), rows×classes. Adds the sum of the losses (not divided by rows) and how often
// the largest logit is that of the teacher to curve[epoch, column] and curve[epoch, column + 1], in a fixed order.
// Cost: rows·classes of both read three times, written once.
const WIDTH: u32 = 128u;

struct Params {
  rows: u32,
  classes: u32,
  // numbers of an epoch in `curve`
  curve_columns: u32,
  // the column of the losses
  curve_column: u32,
  // T
  temperature: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> targets: array<f32>;
// [step in the epoch, epoch, …]
@group(0) @binding(3) var<storage, read> state: array<u32>;
@group(0) @binding(4) var<storage, read_write> gradient: array<f32>;
@group(0) @binding(5) var<storage, read_write> curve: array<f32>;

#import loss_sums

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
  let classes = params.classes;
  let share = 1.0 / params.temperature;
  let scale = params.temperature / f32(params.rows);
  var loss = 0.0;
  var right = 0.0;
  for (var row = lane; row < params.rows; row += WIDTH) {
    let base = row * classes;
    var best = 0u;
    var best_target = 0u;
    for (var k = 1u; k < classes; k++) {
      if (logits[base + k] > logits[base + best]) { best = k; }
      if (targets[base + k] > targets[base + best_target]) { best_target = k; }
    }
    right += select(0.0, 1.0, best == best_target);
    let largest = logits[base + best];
    let largest_target = targets[base + best_target];
    var total = 0.0;
    var total_target = 0.0;
    for (var k = 0u; k < classes; k++) {
      total += exp((logits[base + k] - largest) * share);
      total_target += exp((targets[base + k] - largest_target) * share);
    }
    let lift = log(total) - log(total_target);
    var divergence = 0.0;
    for (var k = 0u; k < classes; k++) {
      let z = (logits[base + k] - largest) * share;
      let t = (targets[base + k] - largest_target) * share;
      let p = exp(t) / total_target;
      divergence += p * (t - z + lift);
      gradient[base + k] = scale * (exp(z) / total - p);
    }
    loss += params.temperature * params.temperature * divergence;
  }
  add_to_curve(lane, loss, right, state[1] * params.curve_columns + params.curve_column);
}

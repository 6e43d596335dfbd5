// Softmax cross-entropy of logits z (rows×classes), by one workgroup:
//   loss of a row = −log softmax(z)[label],   gradient = (softmax(z) − onehot(label)) / rows.
// DOUBLE takes the softmax of the softmax, as a network does whose last layer is a softmax already (the thesis's do).
// Adds the sum of the losses (not divided by rows) and the number of right answers to curve[epoch, column] and
// curve[epoch, column + 1], in a fixed order. Cost: rows·classes read three times (five times with DOUBLE), written once.
const WIDTH: u32 = 128u;
const DOUBLE: bool = false;

struct Params {
  rows: u32,
  classes: u32,
  // numbers of an epoch in `curve`
  curve_columns: u32,
  // the column of the losses
  curve_column: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
// [step in the epoch, epoch, …]
@group(0) @binding(3) var<storage, read> state: array<u32>;
@group(0) @binding(4) var<storage, read_write> gradient: array<f32>;
@group(0) @binding(5) var<storage, read_write> curve: array<f32>;

#import loss_sums

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
  let classes = params.classes;
  let average = 1.0 / f32(params.rows);
  var loss = 0.0;
  var right = 0.0;
  for (var row = lane; row < params.rows; row += WIDTH) {
    let base = row * classes;
    let label = labels[row];
    var largest = logits[base];
    var best = 0u;
    for (var k = 1u; k < classes; k++) {
      if (logits[base + k] > largest) {
        largest = logits[base + k];
        best = k;
      }
    }
    right += select(0.0, 1.0, best == label);
    var total = 0.0;
    for (var k = 0u; k < classes; k++) { total += exp(logits[base + k] - largest); }
    if (DOUBLE) {
      // p = softmax(z), q = softmax(p); d loss / dz = J(p)ᵀ(q − onehot), J the softmax's Jacobian
      var second = 0.0;
      for (var k = 0u; k < classes; k++) { second += exp(exp(logits[base + k] - largest) / total); }
      var dot = 0.0;
      for (var k = 0u; k < classes; k++) {
        let p = exp(logits[base + k] - largest) / total;
        dot += p * (exp(p) / second - select(0.0, 1.0, k == label));
      }
      for (var k = 0u; k < classes; k++) {
        let p = exp(logits[base + k] - largest) / total;
        gradient[base + k] = average * p * (exp(p) / second - select(0.0, 1.0, k == label) - dot);
      }
      loss += log(second) - exp(logits[base + label] - largest) / total;
    } else {
      for (var k = 0u; k < classes; k++) {
        let p = exp(logits[base + k] - largest) / total;
        gradient[base + k] = average * (p - select(0.0, 1.0, k == label));
      }
      loss += log(total) + largest - logits[base + label];
    }
  }
  add_to_curve(lane, loss, right, state[1] * params.curve_columns + params.curve_column);
}

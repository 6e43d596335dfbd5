// Up to at_once steps of minibatch training of a small dense network, in one dispatch of one workgroup: forward pass, softmax
// cross-entropy, gradients and update. Layers are y = dropout(relu(W·x + b)), the last one W·x + b. Steps, samples and dropout
// are the same as those of the single layers' kernels.
// First a lane takes a quad (four samples) through the network and back. Then a lane takes 4×4 weights, sums their gradients over
// the samples and updates them: two barriers a step instead of a dozen dispatches.
// `scratch` holds inputs, activations and their gradients as quads × features, each a vec4 over the quad's samples; and weights
// and moments as inputs × fours of outputs, each a vec4 over outputs, with a row of biases behind. Extents are padded to multiples
// of four by zeros. The weights are read from `weights` at the start and written back at the end.
// With BYTES the inputs stay bytes: four inputs of a quad are one vec4 of words. The last word of a sample may hold bytes of the
// next sample; they are multiplied by padding weights, which are zero.
// A small batch has fewer quads than there are lanes. With SPLIT several lanes share a quad: each reads a part of the inputs and
// sums its products with the first layer's weights, and the lane that has the quad adds up those sums.
// The importing file declares LANES; four_of, which reads values that all lanes of a group of LANES need; and `idle`, which says
// whether a lane has no item. Items are padded so that the lanes of a group always work on the same layer and outputs.
// Cost of a step: batch·inputs read once (a byte each with BYTES), 6·batch·weights flops, one load for two multiplications.
#import loss_sums
#import permutation
#import random

// f32, or u32 where samples are bytes
alias scalar = f32;
const BYTES: bool = false;
// with BYTES: a sample's bytes are a multiple of 4, so that samples begin at words
const ALIGNED: bool = true;
const SPLIT: bool = true;
const LAYERS: u32 = 2u;
const SHUFFLE: bool = true;
const DOUBLE: bool = false;
const DROPOUT: bool = false;
const ADAM: bool = true;
const DECOUPLED: bool = false;
const NESTEROV: bool = false;
const NO_BIAS: u32 = 4294967295u;

struct Params {
  count: u32,
  batch: u32,
  // steps of an epoch
  steps: u32,
  // the most steps of this dispatch
  at_once: u32,
  half_bits: u32,
  shuffle_seed: u32,
  dropout_seed_low: u32,
  dropout_seed_high: u32,
  curve_columns: u32,
  // vec4s that all weights take in scratch: the first moments begin there, the second moments at twice that
  moments: u32,
  tasks: u32,
  // the place in scratch of a quad whose inputs are 1, 0, 0, 0: four vec4s of numbers, then one of bytes
  ones: u32,
  // with SPLIT: how many parts the inputs have, inputs of a part (a multiple of 4), and where the parts' sums are in scratch
  parts: u32,
  part_length: u32,
  partial: u32,
  rate: f32,
  momentum: f32,
  beta1: f32,
  beta2: f32,
  epsilon: f32,
  weight_decay: f32,
  // of every layer: inputs, outputs, and the places of the first weight and the first bias in `weights`
  extents: array<vec4<u32>, 8>,
  // of every layer: the places of weights, inputs and gradients of outputs in scratch; then the number of tasks up to and
  // including this layer
  places: array<vec4<u32>, 8>,
  // of every layer: relu (0 or 1), dropout's rate, dropout's stream
  modifiers: array<vec4<f32>, 8>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> weights: array<f32>;
@group(0) @binding(4) var<storage, read_write> scratch: array<vec4<u32>>;
// [step in the epoch, epoch, steps so far, bits of β₁ᵗ, bits of β₂ᵗ]
@group(0) @binding(5) var<storage, read_write> state: array<u32>;
@group(0) @binding(6) var<storage, read_write> curve: array<f32>;

var<workgroup> begun: u32;

fn quads_of(extent: u32) -> u32 {
  return (extent + 3u) / 4u;
}

// 0 for an element that dropout drops, otherwise 1 / (1 − rate)
fn dropout_factor(element: u32, layer: u32, steps: u32) -> f32 {
  let stream = u32(params.modifiers[layer].z);
  let rate = params.modifiers[layer].y;
  let key = vec2<u32>(params.dropout_seed_low, params.dropout_seed_high);
  let bits = random_u32x4(vec4<u32>(element / 4u, stream, steps, 1u), key);
  return select(0.0, 1.0 / (1.0 - rate), random_unit(bits[element % 4u]) >= rate);
}

// The indices of a quad's four samples in the data set; behind the batch's last sample they repeat it.
fn samples_of(samples_quad: u32, first: u32, rows: u32, epoch: u32) -> vec4<u32> {
  let key = vec2<u32>(params.shuffle_seed, epoch);
  var sample: vec4<u32>;
  for (var i = 0u; i < 4u; i++) {
    sample[i] = first + min(4u * samples_quad + i, rows - 1u);
    if (SHUFFLE) { sample[i] = permuted(sample[i], params.count, params.half_bits, key); }
  }
  return sample;
}

fn value_at(at: u32) -> vec4<f32> {
  return bitcast<vec4<f32>>(scratch[at]);
}

fn put_value(at: u32, values: vec4<f32>) {
  scratch[at] = bitcast<vec4<u32>>(values);
}

// the four bytes from byte `element` of x on
fn word_at(element: u32) -> u32 {
  let word = bitcast<u32>(x[element / 4u]);
  if (ALIGNED) { return word; }
  let shift = 8u * (element % 4u);
  return (word >> shift) | select(0u, bitcast<u32>(x[element / 4u + 1u]) << (32u - shift), shift > 0u);
}

// Copies inputs `start` to `stop` − 1 of a quad's samples from x to scratch, where the first layer reads them.
fn fetch(samples_quad: u32, sample: vec4<u32>, start: u32, stop: u32) {
  let inputs = params.extents[0].x;
  let source = sample * inputs;
  if (BYTES) {
    let place = params.places[0].y + samples_quad * quads_of(inputs);
    for (var i = start; i < stop; i += 4u) {
      let at = source + i;
      scratch[place + i / 4u] = vec4<u32>(word_at(at.x), word_at(at.y), word_at(at.z), word_at(at.w));
    }
  } else {
    let place = params.places[0].y + samples_quad * 4u * quads_of(inputs);
    for (var i = start; i < stop; i++) {
      let at = source + i;
      put_value(place + i, bitcast<vec4<f32>>(vec4<scalar>(x[at.x], x[at.y], x[at.z], x[at.w])));
    }
  }
}

// four neighbouring vec4s of scratch
fn matrix_at(at: u32) -> mat4x4<f32> {
  return mat4x4<f32>(value_at(at), value_at(at + 1u), value_at(at + 2u), value_at(at + 3u));
}

fn put_matrix(at: u32, values: mat4x4<f32>) {
  put_value(at, values[0]);
  put_value(at + 1u, values[1]);
  put_value(at + 2u, values[2]);
  put_value(at + 3u, values[3]);
}

// four inputs (columns) of four samples, from bytes
fn bytes_at(at: u32) -> mat4x4<f32> {
  let words = scratch[at];
  return transpose(mat4x4<f32>(
    unpack4x8unorm(words.x),
    unpack4x8unorm(words.y),
    unpack4x8unorm(words.z),
    unpack4x8unorm(words.w),
  ));
}

// W·x over inputs `start` to `stop` − 1, for four outputs (columns) of four samples
fn sum_of(layer: u32, samples_quad: u32, q: u32, start: u32, stop: u32, lane: u32) -> mat4x4<f32> {
  let quads = quads_of(params.extents[layer].y);
  var at = params.places[layer].x + q + start * quads;
  let source = params.places[layer].y;
  let row = samples_quad * quads_of(params.extents[layer].x);
  var y: mat4x4<f32>;
  // two loops, because software adapters compute both sides of a condition inside a loop
  if (BYTES && layer == 0u) {
    for (var i = start; i < stop; i += 4u) {
      y += bytes_at(source + row + i / 4u) * transpose(four_of(at, quads, lane));
      at += 4u * quads;
    }
  } else {
    for (var i = start; i < stop; i += 4u) {
      y += matrix_at(source + 4u * row + i) * transpose(four_of(at, quads, lane));
      at += 4u * quads;
    }
  }
  return y;
}

// the place in scratch of a part's sums for four outputs of a quad, four vec4s
fn partial_of(samples_quad: u32, part: u32, q: u32) -> u32 {
  return params.partial + 4u * ((samples_quad * params.parts + part) * quads_of(params.extents[0].y) + q);
}

// W·x + b for four outputs (columns) of four samples
fn product(layer: u32, samples_quad: u32, q: u32, lane: u32) -> mat4x4<f32> {
  let inputs = params.extents[layer].x;
  let bias = value_at(params.places[layer].x + q + 4u * quads_of(inputs) * quads_of(params.extents[layer].y));
  var y = mat4x4<f32>(vec4<f32>(bias.x), vec4<f32>(bias.y), vec4<f32>(bias.z), vec4<f32>(bias.w));
  if (SPLIT && layer == 0u) {
    for (var part = 0u; part < params.parts; part++) {
      y += matrix_at(partial_of(samples_quad, part, q));
    }
    return y;
  }
  return y + sum_of(layer, samples_quad, q, 0u, inputs, lane);
}

// Computes the hidden layers' activations of a quad into scratch.
fn forward(samples_quad: u32, steps: u32, lane: u32) {
  for (var layer = 0u; layer + 1u < LAYERS; layer++) {
    let outputs = params.extents[layer].y;
    let quads = quads_of(outputs);
    let place = params.places[layer + 1u].y + samples_quad * 4u * quads;
    for (var q = 0u; q < quads; q++) {
      let y = product(layer, samples_quad, q, lane);
      for (var i = 0u; i < 4u; i++) {
        var value = y[i];
        if (params.modifiers[layer].x > 0.0) { value = max(value, vec4<f32>()); }
        put_value(place + 4u * q + i, value);
      }
    }
    if (DROPOUT && params.modifiers[layer].y > 0.0) {
      // one element at a time, because drivers would unroll a loop over four vec4s into 16 copies of the random numbers' code,
      // which takes a minute to compile
      for (var i = 0u; i < 4u * outputs; i++) {
        let element = (4u * samples_quad + i % 4u) * outputs + i / 4u;
        var value = value_at(place + i / 4u);
        value[i % 4u] *= dropout_factor(element, layer, steps);
        put_value(place + i / 4u, value);
      }
    }
  }
}

// Writes the gradients of a quad's logits to scratch, where the backward pass reads them; returns the sum of the losses and the
// number of right answers. `average` is 1 / samples of the batch, and 0 for a sample behind the last one.
fn loss_of(samples_quad: u32, label: vec4<u32>, average: vec4<f32>, lane: u32) -> vec2<f32> {
  let classes = params.extents[LAYERS - 1u].y;
  let place = params.places[LAYERS - 1u].z + samples_quad * 4u * quads_of(classes);
  for (var q = 0u; q < quads_of(classes); q++) {
    put_matrix(place + 4u * q, product(LAYERS - 1u, samples_quad, q, lane));
  }
  var largest = value_at(place);
  var answer = vec4<u32>();
  var label_logit = vec4<f32>();
  for (var k = 0u; k < classes; k++) {
    let z = value_at(place + k);
    answer = select(answer, vec4<u32>(k), z > largest);
    largest = max(largest, z);
    label_logit = select(label_logit, z, label == vec4<u32>(k));
  }
  var total = vec4<f32>();
  for (var k = 0u; k < classes; k++) {
    let power = exp(value_at(place + k) - largest);
    put_value(place + k, power);
    total += power;
  }
  var loss = log(total) + largest - label_logit;
  if (DOUBLE) {
    // p = softmax(z), q = softmax(p); d loss / dz = J(p)ᵀ(q − onehot), J the softmax's Jacobian
    var second = vec4<f32>();
    for (var k = 0u; k < classes; k++) { second += exp(value_at(place + k) / total); }
    var inner = vec4<f32>();
    for (var k = 0u; k < classes; k++) {
      let p = value_at(place + k) / total;
      inner += p * (exp(p) / second - select(vec4<f32>(), vec4<f32>(1.0), label == vec4<u32>(k)));
    }
    for (var k = 0u; k < classes; k++) {
      let p = value_at(place + k) / total;
      let outer = exp(p) / second - select(vec4<f32>(), vec4<f32>(1.0), label == vec4<u32>(k));
      put_value(place + k, average * p * (outer - inner));
    }
    loss = log(second) - exp(label_logit - largest) / total;
  } else {
    for (var k = 0u; k < classes; k++) {
      let p = value_at(place + k) / total;
      put_value(place + k, average * (p - select(vec4<f32>(), vec4<f32>(1.0), label == vec4<u32>(k))));
    }
  }
  let real = select(vec4<f32>(), vec4<f32>(1.0), average > vec4<f32>());
  return vec2<f32>(dot(loss, real), dot(select(vec4<f32>(), real, answer == label), vec4<f32>(1.0)));
}

// Computes the gradients of a quad's hidden activations. An activation that relu or dropout made 0 passes no gradient on, so that
// no mask has to be stored: dropout only follows a relu.
fn backward(samples_quad: u32, lane: u32) {
  for (var layer = LAYERS - 1u; layer > 0u; layer--) {
    let inner = quads_of(params.extents[layer].y);
    let quads = quads_of(params.extents[layer].x);
    let source = params.places[layer].z + samples_quad * 4u * inner;
    let place = samples_quad * 4u * quads;
    let modifier = params.modifiers[layer - 1u];
    for (var q = 0u; q < quads; q++) {
      var at = params.places[layer].x + 4u * q * inner;
      var d = mat4x4<f32>();
      for (var k = 0u; k < inner; k++) {
        d += matrix_at(source + 4u * k) * four_of(at, inner, lane);
        at++;
      }
      for (var i = 0u; i < 4u; i++) {
        var value = d[i];
        if (modifier.x > 0.0) {
          let y = value_at(params.places[layer].y + place + 4u * q + i);
          value = select(vec4<f32>(), value, y > vec4<f32>());
        }
        if (DROPOUT && modifier.y > 0.0) { value *= 1.0 / (1.0 - modifier.y); }
        put_value(params.places[layer - 1u].z + place + 4u * q + i, value);
      }
    }
  }
}

// A task is the weights of four outputs by four inputs, or the biases of four outputs.
struct Task {
  layer: u32,
  // the first input; the number of inputs where the task is biases
  input: u32,
  // inputs of the task: up to four, one for biases, none for padding
  parts: u32,
  // which four outputs
  q: u32,
  // the place of the first input's weights in scratch
  place: u32,
}

fn task_of(flat: u32) -> Task {
  var layer = 0u;
  for (var other = 0u; other + 1u < LAYERS; other++) { layer += select(0u, 1u, flat >= params.places[other].w); }
  let before = select(0u, params.places[max(layer, 1u) - 1u].w, layer > 0u);
  let extents = params.extents[layer];
  let quads = quads_of(extents.x);
  let of_inputs = (quads + LANES) / LANES * LANES;
  let quad = (flat - before) % of_inputs;
  let q = (flat - before) / of_inputs;
  let input = min(4u * quad, extents.x);
  let of_bias = select(0u, 1u, quad == quads && extents.w != NO_BIAS);
  let parts = select(of_bias, min(4u, extents.x - input), quad < quads);
  return Task(layer, input, parts, q, params.places[layer].x + 4u * min(quad, quads) * quads_of(extents.y) + q);
}

// the places of four outputs' weights of one input: in scratch, in `weights`, and how far apart the outputs lie in `weights`
struct Place {
  scratch: u32,
  arena: u32,
  stride: u32,
}

fn place_of(task: Task, i: u32) -> Place {
  let extents = params.extents[task.layer];
  let place = task.place + i * quads_of(extents.y);
  if (task.input == extents.x) { return Place(place, extents.w + 4u * task.q, 1u); }
  return Place(place, extents.z + 4u * task.q * extents.x + task.input + i, extents.x);
}

// The gradients of a task's weights; column i is input i. Biases are the weights of an input that is always 1.
fn gradient_of(task: Task, samples_quads: u32, lane: u32) -> mat4x4<f32> {
  let quads = quads_of(params.extents[task.layer].x);
  let bias = task.input == params.extents[task.layer].x;
  let step = 4u * quads_of(params.extents[task.layer].y);
  var source = params.places[task.layer].z + 4u * task.q;
  var g: mat4x4<f32>;
  if (BYTES && task.layer == 0u) {
    var at = select(params.places[0].y + task.input / 4u, params.ones + 4u, bias);
    for (var quad = 0u; quad < samples_quads; quad++) {
      g += transpose(four_of(source, 1u, lane)) * bytes_at(at);
      source += step;
      at += select(quads, 0u, bias);
    }
  } else {
    var at = select(params.places[task.layer].y + task.input, params.ones, bias);
    for (var quad = 0u; quad < samples_quads; quad++) {
      g += transpose(four_of(source, 1u, lane)) * matrix_at(at);
      source += step;
      at += select(4u * quads, 0u, bias);
    }
  }
  return g;
}

fn update(place: u32, gradient: vec4<f32>, decay: vec2<f32>) {
  var w = value_at(place);
  var g = gradient;
  if (ADAM && DECOUPLED) { w -= params.rate * params.weight_decay * w; } else { g += params.weight_decay * w; }
  if (ADAM) {
    let m = params.beta1 * value_at(params.moments + place) + (1.0 - params.beta1) * g;
    let v = params.beta2 * value_at(2u * params.moments + place) + (1.0 - params.beta2) * g * g;
    put_value(params.moments + place, m);
    put_value(2u * params.moments + place, v);
    w -= params.rate * (m / (1.0 - decay.x)) / (sqrt(v / (1.0 - decay.y)) + params.epsilon);
  } else {
    let v = params.momentum * value_at(params.moments + place) + g;
    put_value(params.moments + place, v);
    w -= params.rate * select(v, g + params.momentum * v, NESTEROV);
  }
  put_value(place, w);
}

fn train(lane: u32) {
  let epoch = state[1];
  let before = state[2];
  var decay = vec2<f32>(bitcast<f32>(state[3]), bitcast<f32>(state[4]));
  if (lane == 0u) { begun = state[0]; }
  for (var flat = lane; flat < params.tasks; flat += WIDTH) {
    let task = task_of(flat);
    for (var i = 0u; i < task.parts; i++) {
      let place = place_of(task, i);
      var w = vec4<f32>();
      for (var k = 0u; k < 4u && 4u * task.q + k < params.extents[task.layer].y; k++) {
        w[k] = weights[place.arena + k * place.stride];
      }
      put_value(place.scratch, w);
    }
  }
  if (lane < 4u) { put_value(params.ones + lane, select(vec4<f32>(), vec4<f32>(1.0), lane == 0u)); }
  if (lane == 0u) { scratch[params.ones + 4u] = vec4<u32>(255u); }
  storageBarrier();
  let start = workgroupUniformLoad(&begun);
  let steps = min(params.at_once, params.steps - start);
  var loss = 0.0;
  var right = 0.0;
  for (var step = 0u; step < steps; step++) {
    let first = (start + step) * params.batch;
    let rows = min(params.batch, params.count - first);
    if (SPLIT) {
      // neighbouring lanes take the same inputs of different samples, so that they read the same weights
      let quads = quads_of(rows);
      for (var flat = lane; flat < quads * params.parts; flat += WIDTH) {
        let quad = flat % quads;
        let part = flat / quads;
        let begin = part * params.part_length;
        let end = min(begin + params.part_length, params.extents[0].x);
        fetch(quad, samples_of(quad, first, rows, epoch), begin, end);
        for (var q = 0u; q < quads_of(params.extents[0].y); q++) {
          put_matrix(partial_of(quad, part, q), sum_of(0u, quad, q, begin, end, lane));
        }
      }
      storageBarrier();
      workgroupBarrier();
    }
    for (var base = 0u; base < quads_of(rows); base += WIDTH) {
      let quad = base + lane;
      if (!idle(quad, quads_of(rows))) {
        let sample = samples_of(quad, first, rows, epoch);
        if (!SPLIT) { fetch(quad, sample, 0u, params.extents[0].x); }
        let label = vec4<u32>(labels[sample.x], labels[sample.y], labels[sample.z], labels[sample.w]);
        forward(quad, before + step, lane);
        let real = vec4<u32>(4u * quad) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(rows);
        let loss_and_hits = loss_of(quad, label, select(vec4<f32>(), vec4<f32>(1.0 / f32(rows)), real), lane);
        loss += loss_and_hits.x;
        right += loss_and_hits.y;
        backward(quad, lane);
      }
    }
    storageBarrier();
    workgroupBarrier();
    for (var base = 0u; base < params.tasks; base += WIDTH) {
      if (!idle(base + lane, params.tasks)) {
        let task = task_of(base + lane);
        let g = gradient_of(task, quads_of(rows), lane);
        for (var i = 0u; i < task.parts; i++) { update(place_of(task, i).scratch, g[i], decay); }
      }
    }
    decay *= vec2<f32>(params.beta1, params.beta2);
    storageBarrier();
    workgroupBarrier();
  }
  for (var flat = lane; flat < params.tasks; flat += WIDTH) {
    let task = task_of(flat);
    for (var i = 0u; i < task.parts; i++) {
      let place = place_of(task, i);
      let w = value_at(place.scratch);
      for (var k = 0u; k < 4u && 4u * task.q + k < params.extents[task.layer].y; k++) {
        weights[place.arena + k * place.stride] = w[k];
      }
    }
  }
  add_to_curve(lane, loss, right, epoch * params.curve_columns);
  if (lane == 0u) {
    let over = start + steps >= params.steps;
    state[0] = select(start + steps, 0u, over);
    state[1] = select(epoch, epoch + 1u, over);
    state[2] = before + steps;
    state[3] = bitcast<u32>(decay.x);
    state[4] = bitcast<u32>(decay.y);
  }
}

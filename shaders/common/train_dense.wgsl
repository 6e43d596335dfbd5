// Steps of minibatch training of a small dense network, at_once of them in one dispatch of one workgroup: forward pass, softmax
// cross-entropy, gradients and update, for layers y = dropout(relu(W·x + b)) of which the last is plain. A lane takes four
// samples through the network and back, then a lane takes 4×4 weights, sums their gradients over the samples and moves them:
// two barriers a step instead of a dozen dispatches. Same steps, samples and dropout as the kernels of single layers.
// In `scratch`, inputs, activations and their gradients are quads of samples × features, each a vec4 over samples; weights and moments are
// inputs × quads of outputs and then a row of biases, each a vec4 over outputs. Extents are padded to fours by zeros. The weights
// are fetched from their arena at the start and put back at the end.
// A batch of a few quads leaves most lanes without one: then SPLIT lets several of them take a part of the inputs each, fetch
// it and sum its products with the first layer's weights, and the quad's own lane adds those up.
// What all lanes of a group of LANES need alike is read by four_of, and `idle` tells lanes that have no item: the file that
// imports this says how. Items are padded so that a group's lanes always work on the same layer and outputs.
// A step reads batch·inputs once, a byte each where samples are BYTES, and takes 6·batch·weights flops, with half a load a
// multiplication.
#import bytes
#import permutation
#import random

// f32, or u32 where samples are bytes
alias scalar = f32;
const BYTES: bool = false;
// samples of whole words
const ALIGNED: bool = true;
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
  // an epoch, and the most in this dispatch
  steps: u32,
  at_once: u32,
  half_bits: u32,
  shuffle_seed: u32,
  dropout_seed_low: u32,
  dropout_seed_high: u32,
  curve_columns: u32,
  // vec4s that all weights take: first moments begin there, second ones at twice that
  moments: u32,
  tasks: u32,
  // where in scratch a one and three zeros are
  ones: u32,
  // of the inputs, where SPLIT: how many, how long (a multiple of 4), and where their sums are in scratch
  parts: u32,
  part_length: u32,
  partial: u32,
  rate: f32,
  momentum: f32,
  beta1: f32,
  beta2: f32,
  epsilon: f32,
  weight_decay: f32,
  // per layer: inputs, outputs, first weight and first bias in the arena
  extents: array<vec4<u32>, 8>,
  // per layer, in scratch: weights, inputs, gradients of outputs; then the number of tasks up to and with this layer
  places: array<vec4<u32>, 8>,
  // per layer: relu (0 or 1), dropout's rate, its stream
  modifiers: array<vec4<f32>, 8>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> weights: array<f32>;
@group(0) @binding(4) var<storage, read_write> scratch: array<vec4<f32>>;
// [step in the epoch, epoch, steps so far, bits of β₁ᵗ, bits of β₂ᵗ]
@group(0) @binding(5) var<storage, read_write> state: array<u32>;
@group(0) @binding(6) var<storage, read_write> curve: array<f32>;

var<workgroup> begun: u32;
var<workgroup> losses: array<f32, WIDTH>;
var<workgroup> hits: array<f32, WIDTH>;

fn quads_of(extent: u32) -> u32 {
  return (extent + 3u) / 4u;
}

fn kept(element: u32, layer: u32, steps: u32) -> f32 {
  let stream = u32(params.modifiers[layer].z);
  let rate = params.modifiers[layer].y;
  let key = vec2<u32>(params.dropout_seed_low, params.dropout_seed_high);
  let bits = random_u32x4(vec4<u32>(element / 4u, stream, steps, 1u), key);
  return select(0.0, 1.0 / (1.0 - rate), random_unit(bits[element % 4u]) >= rate);
}

// Where four samples are in the set; behind the last one it is repeated.
fn samples_of(samples_quad: u32, first: u32, rows: u32, epoch: u32) -> vec4<u32> {
  let key = vec2<u32>(params.shuffle_seed, epoch);
  var sample: vec4<u32>;
  for (var i = 0u; i < 4u; i++) {
    sample[i] = first + min(4u * samples_quad + i, rows - 1u);
    if (SHUFFLE) { sample[i] = permuted(sample[i], params.count, params.half_bits, key); }
  }
  return sample;
}

fn value_at(element: u32) -> f32 {
  if (BYTES) { return unit_of(bitcast<u32>(x[element / 4u]), element); }
  return bitcast<f32>(x[element]);
}

fn bytes_at(element: u32) -> vec4<f32> {
  return unpack4x8unorm(bitcast<u32>(x[element / 4u]));
}

// Puts inputs start to stop of four samples where the first layer finds them.
fn fetch(samples_quad: u32, sample: vec4<u32>, start: u32, stop: u32) {
  let inputs = params.extents[0].x;
  let place = params.places[0].y + samples_quad * 4u * quads_of(inputs);
  let source = sample * inputs;
  if (BYTES && ALIGNED) {
    for (var i = start; i < stop; i += 4u) {
      let v = transpose(mat4x4<f32>(
        bytes_at(source.x + i),
        bytes_at(source.y + i),
        bytes_at(source.z + i),
        bytes_at(source.w + i),
      ));
      scratch[place + i] = v[0];
      scratch[place + i + 1u] = v[1];
      scratch[place + i + 2u] = v[2];
      scratch[place + i + 3u] = v[3];
    }
  } else {
    for (var i = start; i < stop; i++) {
      scratch[place + i] = vec4<f32>(
        value_at(source.x + i),
        value_at(source.y + i),
        value_at(source.z + i),
        value_at(source.w + i),
      );
    }
  }
}

// four vec4s that follow each other
fn matrix_at(at: u32) -> mat4x4<f32> {
  return mat4x4<f32>(scratch[at], scratch[at + 1u], scratch[at + 2u], scratch[at + 3u]);
}

fn put_matrix(at: u32, values: mat4x4<f32>) {
  scratch[at] = values[0];
  scratch[at + 1u] = values[1];
  scratch[at + 2u] = values[2];
  scratch[at + 3u] = values[3];
}

// W·x over inputs start to stop, for four outputs (columns) of four samples
fn sum_of(layer: u32, samples_quad: u32, q: u32, start: u32, stop: u32, lane: u32) -> mat4x4<f32> {
  let quads = quads_of(params.extents[layer].y);
  var at = params.places[layer].x + q + start * quads;
  let source = params.places[layer].y + samples_quad * 4u * quads_of(params.extents[layer].x);
  var y: mat4x4<f32>;
  for (var i = start; i < stop; i += 4u) {
    y += matrix_at(source + i) * transpose(four_of(at, quads, lane));
    at += 4u * quads;
  }
  return y;
}

// where the sums of a part of the inputs lie, four vec4s
fn partial_of(samples_quad: u32, part: u32, q: u32) -> u32 {
  return params.partial + 4u * ((samples_quad * params.parts + part) * quads_of(params.extents[0].y) + q);
}

// W·x + b for four outputs (columns) of four samples
fn product(layer: u32, samples_quad: u32, q: u32, lane: u32) -> mat4x4<f32> {
  let inputs = params.extents[layer].x;
  let bias = scratch[params.places[layer].x + q + 4u * quads_of(inputs) * quads_of(params.extents[layer].y)];
  var y = mat4x4<f32>(vec4<f32>(bias.x), vec4<f32>(bias.y), vec4<f32>(bias.z), vec4<f32>(bias.w));
  if (SPLIT && layer == 0u) {
    for (var part = 0u; part < params.parts; part++) {
      y += matrix_at(partial_of(samples_quad, part, q));
    }
    return y;
  }
  return y + sum_of(layer, samples_quad, q, 0u, inputs, lane);
}

// Activations of the hidden layers.
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
        scratch[place + 4u * q + i] = value;
      }
    }
    if (DROPOUT && params.modifiers[layer].y > 0.0) {
      // one by one: drivers that unroll would else make 16 copies of the random numbers' code, and take a minute for it
      for (var i = 0u; i < 4u * outputs; i++) {
        let element = (4u * samples_quad + i % 4u) * outputs + i / 4u;
        scratch[place + i / 4u][i % 4u] *= kept(element, layer, steps);
      }
    }
  }
}

// Puts the gradients of the logits where the backward pass finds them; returns the losses' and the right answers' sums.
// `average` is 0 where a quad goes on behind the last sample.
fn loss_of(samples_quad: u32, label: vec4<u32>, average: vec4<f32>, lane: u32) -> vec2<f32> {
  let classes = params.extents[LAYERS - 1u].y;
  let place = params.places[LAYERS - 1u].z + samples_quad * 4u * quads_of(classes);
  for (var q = 0u; q < quads_of(classes); q++) {
    put_matrix(place + 4u * q, product(LAYERS - 1u, samples_quad, q, lane));
  }
  var largest = scratch[place];
  var answer = vec4<u32>();
  var own = vec4<f32>();
  for (var k = 0u; k < classes; k++) {
    let z = scratch[place + k];
    answer = select(answer, vec4<u32>(k), z > largest);
    largest = max(largest, z);
    own = select(own, z, label == vec4<u32>(k));
  }
  var total = vec4<f32>();
  for (var k = 0u; k < classes; k++) {
    let power = exp(scratch[place + k] - largest);
    scratch[place + k] = power;
    total += power;
  }
  var loss = log(total) + largest - own;
  if (DOUBLE) {
    // p = softmax(z), q = softmax(p); d loss / dz = J(p)ᵀ(q − onehot), J the softmax's Jacobian
    var second = vec4<f32>();
    for (var k = 0u; k < classes; k++) { second += exp(scratch[place + k] / total); }
    var inner = vec4<f32>();
    for (var k = 0u; k < classes; k++) {
      let p = scratch[place + k] / total;
      inner += p * (exp(p) / second - select(vec4<f32>(), vec4<f32>(1.0), label == vec4<u32>(k)));
    }
    for (var k = 0u; k < classes; k++) {
      let p = scratch[place + k] / total;
      let outer = exp(p) / second - select(vec4<f32>(), vec4<f32>(1.0), label == vec4<u32>(k));
      scratch[place + k] = average * p * (outer - inner);
    }
    loss = log(second) - exp(own - largest) / total;
  } else {
    for (var k = 0u; k < classes; k++) {
      let p = scratch[place + k] / total;
      scratch[place + k] = average * (p - select(vec4<f32>(), vec4<f32>(1.0), label == vec4<u32>(k)));
    }
  }
  let real = select(vec4<f32>(), vec4<f32>(1.0), average > vec4<f32>());
  return vec2<f32>(dot(loss, real), dot(select(vec4<f32>(), real, answer == label), vec4<f32>(1.0)));
}

// Gradients of the hidden activations. Where relu or dropout made a 0 it passes nothing on, so the 0 is all it needs to know.
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
          let y = scratch[params.places[layer].y + place + 4u * q + i];
          value = select(vec4<f32>(), value, y > vec4<f32>());
        }
        if (DROPOUT && modifier.y > 0.0) { value *= 1.0 / (1.0 - modifier.y); }
        scratch[params.places[layer - 1u].z + place + 4u * q + i] = value;
      }
    }
  }
}

// A task is four outputs of four inputs, or four biases.
struct Task {
  layer: u32,
  // the first of the inputs; where it is their number, the task is of biases
  input: u32,
  // inputs of the task: four or what is left, one for biases, none where lanes are left over
  parts: u32,
  q: u32,
  // in scratch, of the first input
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

// where a parameter lies: in scratch, in the arena, and how far apart its four outputs are there
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

// Column i: the gradients of the outputs' weights of input i. Biases are weights of an input that is always one.
fn gradient_of(task: Task, samples_quads: u32, lane: u32) -> mat4x4<f32> {
  let inputs = params.extents[task.layer].x;
  let bias = task.input == inputs;
  let step = 4u * quads_of(params.extents[task.layer].y);
  var source = params.places[task.layer].z + 4u * task.q;
  var at = select(params.places[task.layer].y + task.input, params.ones, bias);
  let next = select(4u * quads_of(inputs), 0u, bias);
  var g0 = vec4<f32>();
  var g1 = vec4<f32>();
  var g2 = vec4<f32>();
  var g3 = vec4<f32>();
  for (var quad = 0u; quad < samples_quads; quad++) {
    let dy = four_of(source, 1u, lane);
    g0 += scratch[at] * dy;
    g1 += scratch[at + 1u] * dy;
    g2 += scratch[at + 2u] * dy;
    g3 += scratch[at + 3u] * dy;
    source += step;
    at += next;
  }
  return mat4x4<f32>(g0, g1, g2, g3);
}

fn update(place: u32, gradient: vec4<f32>, decay: vec2<f32>) {
  var w = scratch[place];
  var g = gradient;
  if (ADAM && DECOUPLED) { w -= params.rate * params.weight_decay * w; } else { g += params.weight_decay * w; }
  if (ADAM) {
    let m = params.beta1 * scratch[params.moments + place] + (1.0 - params.beta1) * g;
    let v = params.beta2 * scratch[2u * params.moments + place] + (1.0 - params.beta2) * g * g;
    scratch[params.moments + place] = m;
    scratch[2u * params.moments + place] = v;
    w -= params.rate * (m / (1.0 - decay.x)) / (sqrt(v / (1.0 - decay.y)) + params.epsilon);
  } else {
    let v = params.momentum * scratch[params.moments + place] + g;
    scratch[params.moments + place] = v;
    w -= params.rate * select(v, g + params.momentum * v, NESTEROV);
  }
  scratch[place] = w;
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
      scratch[place.scratch] = w;
    }
  }
  if (lane < 4u) { scratch[params.ones + lane] = select(vec4<f32>(), vec4<f32>(1.0), lane == 0u); }
  storageBarrier();
  let start = workgroupUniformLoad(&begun);
  let steps = min(params.at_once, params.steps - start);
  var loss = 0.0;
  var right = 0.0;
  for (var step = 0u; step < steps; step++) {
    let first = (start + step) * params.batch;
    let rows = min(params.batch, params.count - first);
    if (SPLIT) { sum_parts(first, rows, epoch, lane); }
    for (var base = 0u; base < quads_of(rows); base += WIDTH) {
      let quad = base + lane;
      if (!idle(quad, quads_of(rows))) {
        let sample = samples_of(quad, first, rows, epoch);
        if (!SPLIT) { fetch(quad, sample, 0u, params.extents[0].x); }
        let label = vec4<u32>(labels[sample.x], labels[sample.y], labels[sample.z], labels[sample.w]);
        forward(quad, before + step, lane);
        let real = vec4<u32>(4u * quad) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(rows);
        let told = loss_of(quad, label, select(vec4<f32>(), vec4<f32>(1.0 / f32(rows)), real), lane);
        loss += told.x;
        right += told.y;
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
      let w = scratch[place.scratch];
      for (var k = 0u; k < 4u && 4u * task.q + k < params.extents[task.layer].y; k++) {
        weights[place.arena + k * place.stride] = w[k];
      }
    }
  }
  losses[lane] = loss;
  hits[lane] = right;
  for (var width = WIDTH / 2u; width > 0u; width /= 2u) {
    workgroupBarrier();
    if (lane < width) {
      losses[lane] += losses[lane + width];
      hits[lane] += hits[lane + width];
    }
  }
  if (lane == 0u) {
    curve[epoch * params.curve_columns] += losses[0];
    curve[epoch * params.curve_columns + 1u] += hits[0];
    let over = start + steps >= params.steps;
    state[0] = select(start + steps, 0u, over);
    state[1] = select(epoch, epoch + 1u, over);
    state[2] = before + steps;
    state[3] = bitcast<u32>(decay.x);
    state[4] = bitcast<u32>(decay.y);
  }
}

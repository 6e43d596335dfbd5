// One iteration of damped Gauss-Newton for CP, min ‖X − Σ_r a_r ∘ b_r ∘ …‖² (Sorber, Van Barel & De Lathauwer 2013; damping by Nielsen 1999), after
// the trial step has been evaluated: accepts or refuses it and finds the next one. A workgroup works on one model.
//
// The trial is accepted where it lowered the loss f = ½‖X − X̂‖². Columns are then balanced between the modes. The step solves (JᵀJ + λI)·P = D with
// JᵀJ·P in mode m: P_m·V_m + A_m·Y_m, Y_m = Σ_{k≠m} W_mk ⊛ (A_kᵀP_k)ᵀ, V_m the Hadamard product of the Gram matrices of all modes but m and W_mk of all
// but m and k. So P_m = (D_m − A_m·Y_m)·(V_m + λI)⁻¹, and all that is unknown are the R×R matrices A_mᵀP_m. With A_mᵀA_m = LLᵀ and V_m + λI = MMᵀ they
// are T = L·τ·M⁻¹, and τ solves τ_m + Lᵀ·Y_m(τ)·M⁻ᵀ = L⁻¹·A_mᵀD_m·M⁻ᵀ, which is symmetric and positive: conjugate gradients solve it, at a cost
// that does not grow with the tensor nor with its extents.
//
// SOLE: the workgroup works on all rows of its model itself. Otherwise gauss_newton_grams has added up what is needed of them before this kernel, and
// gauss_newton_rows moves the factors after it.
// flops: a step of conjugate gradients 8·N·R³; SOLE, 4·N·I·R² more. reads and writes the factors.
#import gauss_newton
#import sum_lanes

const WIDTH: u32 = 64u;
const SOLE: bool = true;
// conjugate gradients end where their residual has fallen to this part of what it was
const ENOUGH: f32 = 1e-3;
// added to Gram matrices, in units of their mean diagonal, so that they have a Cholesky factor in f32
const RIDGE: f32 = 1e-6;
// a step that is to take off less than this part of the tolerance tells as much as ENOUGH_SLOW slow ones
const SURE: f32 = 1e-3;
// the least damping, in units of the largest diagonal element of any V
const LEAST: f32 = 1e-7;

// ‖X − X̂‖² of every model at its trial factors, in parts
@group(0) @binding(1) var<storage, read> losses: array<f32>;
// factors that are tried, and the direction of descent there
@group(0) @binding(2) var<storage, read_write> trial: array<f32>;
@group(0) @binding(3) var<storage, read> trial_descent: array<f32>;
// factors that were accepted last, and the direction of descent there
@group(0) @binding(4) var<storage, read_write> accepted: array<f32>;
@group(0) @binding(5) var<storage, read_write> descent: array<f32>;
@group(0) @binding(6) var<storage, read_write> matrices: array<f32>;
// of each model, PER_MODEL numbers
@group(0) @binding(7) var<storage, read_write> scalars: array<f32>;
// not SOLE: what gauss_newton_grams left of each chunk, and behind that what gauss_newton_rows did
@group(0) @binding(8) var<storage, read> parts: array<f32>;

// what the first invocation finds out, and all go by: the damping, whether the trial is accepted, and the stage that comes next
var<workgroup> shared_loss: f32;
var<workgroup> is_accepted: u32;
var<workgroup> next_stage: u32;

fn trial_at(mode: u32, row: u32, model: u32, r: u32) -> f32 { return trial[place(start_of(mode) + row, model, r)]; }

// Σ over the rows of a mode, of the trial factor's column i times its own column j (or that of the direction of descent).
fn gram_of(mode: u32, model: u32, i: u32, j: u32, with_descent: bool) -> f32 {
  var sum = 0.0;
  if (SOLE) {
    for (var row = 0u; row < extent_of(mode); row++) {
      let at = place(start_of(mode) + row, model, j);
      sum += trial_at(mode, row, model, i) * select(trial[at], trial_descent[at], with_descent);
    }
  } else {
    let size = params.rank * params.rank;
    let count = params.chunks * params.shares;
    let first = ((model * params.modes + mode) * count * 2u + select(0u, 1u, with_descent)) * size;
    for (var c = 0u; c < count; c++) { sum += parts[first + c * 2u * size + i * params.rank + j]; }
  }
  return sum * select(1.0, params.inverse_unit, with_descent);
}

// V of a mode
fn normal_at(model: u32, mode: u32, e: u32) -> f32 {
  var v = 1.0;
  for (var k = 0u; k < params.modes; k++) {
    if (k != mode) { v *= matrices[slot(model, GRAM, k) + e]; }
  }
  return v;
}

// A product of two matrices of every mode, either transposed: slots, where TURNED is added for a transpose.
struct Product {
  a: u32,
  b: u32,
  to: u32,
}
const TURNED: u32 = 64u;

fn multiply(model: u32, lane: u32, work: Product) {
  let n = params.rank;
  let turn_a = work.a >= TURNED;
  let turn_b = work.b >= TURNED;
  let step_a = select(1u, n, turn_a);
  let step_b = select(n, 1u, turn_b);
  for (var e = lane; e < params.modes * n * n; e += WIDTH) {
    let mode = e / (n * n);
    let i = e / n % n;
    let j = e % n;
    let first_a = slot(model, work.a % TURNED, mode) + select(i * n, i, turn_a);
    let first_b = slot(model, work.b % TURNED, mode) + select(j, j * n, turn_b);
    var sum = 0.0;
    for (var k = 0u; k < n; k++) { sum += matrices[first_a + k * step_a] * matrices[first_b + k * step_b]; }
    matrices[slot(model, work.to, mode) + i * n + j] = sum;
  }
}

// Pairs of products, one after the other: of the right side b; of conjugate gradients before and after `couple`; of the end before and after it.
const RIGHT_SIDE: u32 = 0u;
const TO_STEPS: u32 = 1u;
const TO_RESIDUAL: u32 = 2u;
const TO_LAST_STEPS: u32 = 3u;
const TO_ROWS: u32 = 4u;

fn product_of(stage: u32, is_second: bool) -> Product {
  switch stage {
    case RIGHT_SIDE: {
      if (is_second) { return Product(LEFT, NORMAL_INVERSE + TURNED, RESIDUAL); }
      return Product(INVERSE, ALONG, LEFT);
    }
    case TO_RESIDUAL: {
      if (is_second) { return Product(LEFT, NORMAL_INVERSE + TURNED, RIGHT); }
      return Product(ROOT + TURNED, COUPLED, LEFT);
    }
    case TO_ROWS: {
      if (is_second) { return Product(COUPLED, LEFT, RIGHT); }
      return Product(NORMAL_INVERSE + TURNED, NORMAL_INVERSE, LEFT);
    }
    // T = L·τ·M⁻¹
    default: {
      if (is_second) { return Product(LEFT, NORMAL_INVERSE, RIGHT); }
      return Product(ROOT, select(DIRECTION, STEP, stage == TO_LAST_STEPS), LEFT);
    }
  }
}

// Y = Σ_{k≠m} W_mk ⊛ T_kᵀ with T in RIGHT.
fn couple(model: u32, lane: u32) {
  let n = params.rank;
  for (var e = lane; e < params.modes * n * n; e += WIDTH) {
    let mode = e / (n * n);
    let within = e % (n * n);
    let turned = within % n * n + within / n;
    var sum = 0.0;
    for (var k = 0u; k < params.modes; k++) {
      if (k == mode || is_fixed(k)) { continue; }
      var w = matrices[slot(model, RIGHT, k) + turned];
      for (var other = 0u; other < params.modes; other++) {
        if (other != mode && other != k) { w *= matrices[slot(model, GRAM, other) + within]; }
      }
      sum += w;
    }
    matrices[slot(model, COUPLED, mode) + within] = sum;
  }
}

// Inverse Cholesky factors: INVERSE of the Gram matrices + ridge, with ROOT, the factor itself; NORMAL_INVERSE of V + λI. LEFT and RIGHT are worked on.
fn factorise(model: u32, lane: u32, damping: f32) {
  let n = params.rank;
  let size = n * n;
  for (var e = lane; e < 2u * params.modes * size; e += WIDTH) {
    let of_normal = e >= params.modes * size;
    let mode = e / size % params.modes;
    let i = e / n % n;
    let j = e % n;
    let within = i * n + j;
    var value = 0.0;
    if (of_normal) {
      value = normal_at(model, mode, within);
      if (i == j) { value += damping; }
    } else {
      value = matrices[slot(model, GRAM, mode) + within];
      if (i == j) {
        var trace = 0.0;
        for (var r = 0u; r < n; r++) { trace += matrices[slot(model, GRAM, mode) + r * n + r]; }
        value += RIDGE * trace / f32(n);
      }
    }
    matrices[slot(model, select(LEFT, RIGHT, of_normal), mode) + within] = value;
    matrices[slot(model, select(INVERSE, NORMAL_INVERSE, of_normal), mode) + within] = select(0.0, 1.0, i == j);
  }
  storageBarrier();
  workgroupBarrier();
  // row k taken off the rows below it; what is done to the matrix is done to I, which becomes the inverse of the lower factor
  for (var k = 0u; k < n; k++) {
    let below = n - k - 1u;
    for (var e = lane; e < 2u * params.modes * below * n; e += WIDTH) {
      let which = e / (below * n);
      let of_normal = which >= params.modes;
      let mode = which % params.modes;
      let i = k + 1u + e / n % below;
      let j = e % n;
      let source = slot(model, select(LEFT, RIGHT, of_normal), mode);
      let to = slot(model, select(INVERSE, NORMAL_INVERSE, of_normal), mode);
      let multiplier = matrices[source + k * n + i] * inverse_pivot(matrices[source + k * n + k]);
      if (j >= i) { matrices[source + i * n + j] -= multiplier * matrices[source + k * n + j]; }
      if (j <= k) { matrices[to + i * n + j] -= multiplier * matrices[to + k * n + j]; }
    }
    storageBarrier();
    workgroupBarrier();
  }
  for (var e = lane; e < 2u * params.modes * size; e += WIDTH) {
    let of_normal = e >= params.modes * size;
    let mode = e / size % params.modes;
    let i = e / n % n;
    let j = e % n;
    let source = slot(model, select(LEFT, RIGHT, of_normal), mode);
    let to = slot(model, select(INVERSE, NORMAL_INVERSE, of_normal), mode);
    matrices[to + i * n + j] *= sqrt(inverse_pivot(matrices[source + i * n + i]));
    // L[i, j] = U[j, i] / √pivot, U what is left above the diagonal
    if (!of_normal) {
      matrices[slot(model, ROOT, mode) + i * n + j] =
        select(0.0, matrices[source + j * n + i] * sqrt(inverse_pivot(matrices[source + j * n + j])), j <= i);
    }
  }
  storageBarrier();
  workgroupBarrier();
}

// Pivots that are not positive belong to columns of zeros: these stay zero.
fn inverse_pivot(pivot: f32) -> f32 { return select(1.0 / max(pivot, 1e-37), 0.0, !(pivot > 0.0)); }

@compute @workgroup_size(WIDTH)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let model = group.x;
  let n = params.rank;
  let size = n * n;
  let base = model * PER_MODEL;
  if (lane == 0u) {
    let is_over = scalars[base + SLOW] >= ENOUGH_SLOW;
    if (is_over) { scalars[base + TAKEN] = 0.0; }
    is_accepted = select(1u, 0u, is_over);
  }
  if (workgroupUniformLoad(&is_accepted) == 0u) { return; }
  var loss = 0.0;
  for (var p = lane; p < params.losses; p += WIDTH) { loss += losses[model * params.losses + p]; }
  loss = 0.5 * sum_lanes(lane, loss) * params.inverse_unit * params.inverse_unit;
  if (!SOLE) {
    // what the last step promised, from its rows; nothing before the first
    var along = 0.0;
    var length = 0.0;
    for (var p = lane; p < params.modes * params.chunks; p += WIDTH) {
      let at = promise_at(model * params.modes * params.chunks + p);
      along += parts[at];
      length += parts[at + 1u];
    }
    along = sum_lanes(lane, along);
    length = sum_lanes(lane, length);
    if (lane == 0u && scalars[base + ITERATIONS] > 0.0) { scalars[base + PROMISED] = 0.5 * (along + scalars[base + DAMPING] * length); }
  }
  // the trial's Gram matrices, and A_mᵀD_m
  for (var e = lane; e < 2u * params.modes * size; e += WIDTH) {
    let with_descent = e >= params.modes * size;
    let mode = e / size % params.modes;
    let sum = gram_of(mode, model, e / n % n, e % n, with_descent);
    matrices[slot(model, select(LEFT, RIGHT, with_descent), mode) + e % size] = sum;
  }
  storageBarrier();
  workgroupBarrier();
  if (lane == 0u) { decide(base, loss); }
  let accept = workgroupUniformLoad(&is_accepted) == 1u;
  if (accept) {
    // columns of equal norms in all modes that may change
    for (var e = lane; e < params.modes * n; e += WIDTH) {
      let mode = e / n;
      let r = e % n;
      var product = 0.0;
      var free = 0.0;
      var is_zero = false;
      for (var k = 0u; k < params.modes; k++) {
        if (is_fixed(k)) { continue; }
        let squared = matrices[slot(model, LEFT, k) + r * n + r];
        is_zero = is_zero || !(squared > 1e-37);
        product += 0.5 * log2(max(squared, 1e-37));
        free += 1.0;
      }
      var scale = 1.0;
      if (!is_fixed(mode) && !is_zero) {
        scale = exp2(product / free - 0.5 * log2(max(matrices[slot(model, LEFT, mode) + r * n + r], 1e-37)));
      }
      matrices[scale_at(model, mode, r)] = scale;
    }
    storageBarrier();
    workgroupBarrier();
    for (var e = lane; e < params.modes * size; e += WIDTH) {
      let mode = e / size;
      let left = matrices[scale_at(model, mode, e / n % n)];
      let right = matrices[scale_at(model, mode, e % n)];
      matrices[slot(model, GRAM, mode) + e % size] = matrices[slot(model, LEFT, mode) + e % size] * left * right;
      matrices[slot(model, ALONG, mode) + e % size] = matrices[slot(model, RIGHT, mode) + e % size] * left / right;
    }
    if (SOLE) {
      for (var mode = 0u; mode < params.modes; mode++) {
        for (var e = lane; e < extent_of(mode) * n; e += WIDTH) {
          let at = place(start_of(mode) + e / n, model, e % n);
          let scale = matrices[scale_at(model, mode, e % n)];
          accepted[at] = trial[at] * scale;
          descent[at] = trial_descent[at] * params.inverse_unit / scale;
        }
      }
    }
    storageBarrier();
    workgroupBarrier();
  }
  if (lane == 0u) {
    var largest = 0.0;
    for (var mode = 0u; mode < params.modes; mode++) {
      for (var r = 0u; r < n; r++) { largest = max(largest, normal_at(model, mode, r * n + r)); }
    }
    var damping = scalars[base + DAMPING];
    if (!(damping > 0.0)) { damping = 1e-3 * largest; }
    shared_loss = clamp(damping, LEAST * largest, 1e12 * largest);
    scalars[base + DAMPING] = shared_loss;
  }
  let damping = workgroupUniformLoad(&shared_loss);
  factorise(model, lane, damping);
  // Stages: the right side, conjugate gradients, and what the rows need: P_m = D_m·(V + λI)⁻¹ − A_m·Y_m·(V + λI)⁻¹, with (V + λI)⁻¹ = M⁻ᵀ·M⁻¹ in
  // LEFT and Y_m times it in RIGHT. One loop, so that the code of a product stands here once.
  var stage = RIGHT_SIDE;
  var squared = 0.0;
  var enough = 0.0;
  var turn = 0u;
  loop {
    for (var second = 0u; second < 2u; second++) {
      multiply(model, lane, product_of(stage, second == 1u));
      storageBarrier();
      workgroupBarrier();
    }
    if (stage == TO_ROWS) { break; }
    if (stage == TO_STEPS || stage == TO_LAST_STEPS) {
      couple(model, lane);
      storageBarrier();
      workgroupBarrier();
      stage++;
      continue;
    }
    var length = 0.0;
    if (stage == TO_RESIDUAL) {
      var curvature = 0.0;
      for (var e = lane; e < params.modes * size; e += WIDTH) {
        let direction = matrices[slot(model, DIRECTION, 0u) + e];
        let here = select(direction + matrices[slot(model, RIGHT, 0u) + e], 0.0, is_fixed(e / size));
        matrices[slot(model, RIGHT, 0u) + e] = here;
        curvature += direction * here;
      }
      curvature = sum_lanes(lane, curvature);
      // a curvature that is not positive ends them
      if (curvature > 0.0) { length = squared / curvature; }
    }
    var next = 0.0;
    for (var e = lane; e < params.modes * size; e += WIDTH) {
      let at = slot(model, RESIDUAL, 0u) + e;
      if (stage == RIGHT_SIDE) {
        if (is_fixed(e / size)) { matrices[at] = 0.0; }
        matrices[slot(model, STEP, 0u) + e] = 0.0;
      } else {
        matrices[slot(model, STEP, 0u) + e] += length * matrices[slot(model, DIRECTION, 0u) + e];
        matrices[at] -= length * matrices[slot(model, RIGHT, 0u) + e];
      }
      next += matrices[at] * matrices[at];
    }
    next = sum_lanes(lane, next);
    if (stage == RIGHT_SIDE) { enough = ENOUGH * ENOUGH * next; }
    let turned = select(next / squared, 0.0, stage == RIGHT_SIDE);
    for (var e = lane; e < params.modes * size; e += WIDTH) {
      let at = slot(model, DIRECTION, 0u) + e;
      let residual = matrices[slot(model, RESIDUAL, 0u) + e];
      if (stage == RIGHT_SIDE) { matrices[at] = residual; } else { matrices[at] = residual + turned * matrices[at]; }
    }
    if (lane == 0u) {
      let is_over = !(next > enough) || turn >= params.steps || (stage == TO_RESIDUAL && length == 0.0);
      next_stage = select(TO_STEPS, TO_LAST_STEPS, is_over);
    }
    storageBarrier();
    squared = next;
    stage = workgroupUniformLoad(&next_stage);
    turn++;
  }
  if (!SOLE) {
    if (lane == 0u && scalars[base + ITERATIONS] > 1.0) { note_pace(base); }
    return;
  }
  var along = 0.0;
  var moved = 0.0;
  for (var mode = 0u; mode < params.modes; mode++) {
    for (var e = lane; e < extent_of(mode) * n; e += WIDTH) {
      let row = start_of(mode) + e / n;
      let r = e % n;
      let at = place(row, model, r);
      var step = 0.0;
      if (!is_fixed(mode)) {
        for (var k = 0u; k < n; k++) {
          let here = place(row, model, k);
          step += descent[here] * matrices[slot(model, LEFT, mode) + k * n + r];
          step -= accepted[here] * matrices[slot(model, RIGHT, mode) + k * n + r];
        }
      }
      trial[at] = accepted[at] + step;
      along += descent[at] * step;
      moved += step * step;
    }
  }
  along = sum_lanes(lane, along);
  moved = sum_lanes(lane, moved);
  if (lane == 0u) {
    scalars[base + PROMISED] = 0.5 * (along + damping * moved);
    note_pace(base);
  }
}

// Counts slow steps, by what the last one is to take off. One that is to take off next to nothing counts as enough of them.
fn note_pace(base: u32) {
  let loss = scalars[base + LOSS];
  let promised = scalars[base + PROMISED];
  let is_slow = promised < params.noise || promised < params.tolerance * 2.0 * loss;
  var slow = select(0.0, scalars[base + SLOW] + 1.0, is_slow);
  let is_sure = promised >= params.noise && promised < SURE * params.tolerance * 2.0 * loss;
  if (is_sure || loss < params.exact) { slow = ENOUGH_SLOW; }
  scalars[base + SLOW] = select(0.0, slow, params.tolerance > 0.0);
}

// Accepts the trial where it lowered the loss, and steers the damping by how well the loss was foreseen (Nielsen 1999).
fn decide(base: u32, loss: f32) {
  let before = scalars[base + LOSS];
  let promised = scalars[base + PROMISED];
  let is_first = scalars[base + ITERATIONS] == 0.0;
  let gain = before - loss;
  let accept = is_first || (gain > 0.0 && promised > 0.0);
  scalars[base + ITERATIONS] += 1.0;
  is_accepted = select(0u, 1u, accept);
  scalars[base + TAKEN] = select(0.0, 1.0, accept);
  if (accept) {
    scalars[base + LOSS] = loss;
    if (!is_first) {
      let missed = 2.0 * gain / promised - 1.0;
      scalars[base + DAMPING] *= max(1.0 / 3.0, 1.0 - missed * missed * missed);
    }
    scalars[base + GROWTH] = 2.0;
    scalars[base + ACCEPTED] += 1.0;
  } else {
    scalars[base + DAMPING] *= scalars[base + GROWTH];
    scalars[base + GROWTH] = min(2.0 * scalars[base + GROWTH], 1e6);
  }
}

// One step of Nesterov's extrapolation with restarts for a method that turns x into a better x (Ang & Gillis 2019), by one workgroup.
// `fresh` is what the method made of `next`, and error[0] is its error. Where that is no larger than the least error so far, or by no more than
// errors are rounded, `fresh` is accepted, and the method goes on from next = fresh + β·(fresh − accepted), β grows; else from `accepted` itself, and β shrinks.
// Elements from `further` on are accepted or refused with the others, and have no part in `next`.
// Elements of `fresh` from scaled_start to scaled_end are a matrix of `rank` columns, which count as many times as `weights` says.
// state: β, the largest β, the least error so far, and how many steps were refused in a row. next is at least 0 from clip_start to clip_end.
// Reads and writes 2 numbers an element each.

const WIDTH: u32 = 256u;
const GROWTH: f32 = 1.05;
const BOUND_GROWTH: f32 = 1.01;
const SHRINKAGE: f32 = 1.5;
// part of an error by which two of the same may differ, as f32 sums are rounded: without it, steps that change less are taken back by chance
const ROUNDING: f32 = 0x1p-20;

struct Params {
  size: u32,
  further: u32,
  clip_start: u32,
  clip_end: u32,
  scaled_start: u32,
  scaled_end: u32,
  rank: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> fresh: array<f32>;
@group(0) @binding(2) var<storage, read> error: array<f32>;
@group(0) @binding(3) var<storage, read_write> accepted: array<f32>;
@group(0) @binding(4) var<storage, read_write> next: array<f32>;
@group(0) @binding(5) var<storage, read_write> state: array<f32>;
@group(0) @binding(6) var<storage, read> weights: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
  let is_first = state[2] > 1e38;
  let is_better = error[0] <= state[2] * (1.0 + ROUNDING);
  let beta = select(state[0], 0.0, is_first);
  for (var e = lane; e < params.size; e += WIDTH) {
    let before = accepted[e];
    var value = before;
    if (is_better) {
      var found = fresh[e];
      if (e >= params.scaled_start && e < params.scaled_end) { found *= weights[(e - params.scaled_start) % params.rank]; }
      accepted[e] = found;
      value = found;
      if (!is_first) { value += beta * (found - before); }
    }
    if (e >= params.clip_start && e < params.clip_end) { value = max(value, 0.0); }
    if (e < params.further) { next[e] = value; }
  }
  storageBarrier();
  workgroupBarrier();
  if (lane == 0u) {
    if (is_better) {
      state[2] = min(error[0], state[2]);
      state[3] = 0.0;
      if (!is_first) {
        state[1] = min(1.0, state[1] * BOUND_GROWTH);
        state[0] = min(state[1], state[0] * GROWTH);
      }
    } else {
      state[1] = state[0];
      state[0] /= SHRINKAGE;
      state[3] += 1.0;
    }
  }
}

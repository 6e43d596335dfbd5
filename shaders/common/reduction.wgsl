// The terms of a reduction over the middle of before×extent×after, and how they combine: for reduce_lanes (one invocation a
// result) and reduce (one workgroup a result).
#import ahead
#import tensor

// the term: 0 x, 1 x², 2 x·y, 3 (x − y)², 4 |x|
const TERM: u32 = 0u;
// 0 sum, 1 maximum, 2 minimum
const COMBINE: u32 = 0u;

struct Params {
  before: u32,
  extent: u32,
  after: u32,
  // terms of a part of the extent
  chunk: u32,
  // parts of the extent; out holds before×parts×after
  parts: u32,
  // the result is multiplied by this
  alpha: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>;
@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

fn term(i: u32) -> f32 {
  switch TERM {
    case 0u: { return x_at(i); }
    case 1u: { let value = x_at(i); return value * value; }
    case 2u: { return x_at(i) * y[i]; }
    case 3u: { let d = x_at(i) - y[i]; return d * d; }
    default: { return abs(x_at(i)); }
  }
}

fn combine(p: f32, q: f32) -> f32 {
  if (COMBINE == 0u) { return p + q; }
  if (COMBINE == 1u) { return max(p, q); }
  return min(p, q);
}

fn neutral() -> f32 {
  if (COMBINE == 0u) { return 0.0; }
  if (COMBINE == 1u) { return -3.4028234e38; }
  return 3.4028234e38;
}

// `run` combined with the next AHEAD terms along the extent, at i, i + step, …, as far as they lie before `stop`.
fn combine_ahead(run: f32, base: u32, i: u32, step: u32, stop: u32) -> f32 {
  var taken: array<f32, AHEAD>;
  for (var u = 0u; u < AHEAD; u++) {
    let value = term(base + min(i + u * step, stop - 1u) * params.after);
    taken[u] = select(neutral(), value, i + u * step < stop);
  }
  var combined = run;
  for (var u = 0u; u < AHEAD; u++) { combined = combine(combined, taken[u]); }
  return combined;
}

// out[part, b, a] = reduction over a part of i of f(x[b, i, a], y[b, i, a]), x seen as (before, extent, after). One
// workgroup an output and part: lanes add up runs of their own, then a tree, so sums are pairwise and always in the same
// order. size read once.
#import index

const WIDTH: u32 = 64u;
// f: 0 x, 1 x², 2 x·y, 3 (x − y)², 4 |x|
const TERM: u32 = 0u;
// 0 sum, 1 maximum, 2 minimum
const COMBINE: u32 = 0u;
const RUN: u32 = 16u;

struct Params {
  before: u32,
  extent: u32,
  after: u32,
  // terms a part, parts
  chunk: u32,
  parts: u32,
  // the result is multiplied by this
  alpha: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

var<workgroup> partial: array<f32, WIDTH>;

fn term(i: u32) -> f32 {
  switch TERM {
    case 0u: { return x[i]; }
    case 1u: { return x[i] * x[i]; }
    case 2u: { return x[i] * y[i]; }
    case 3u: { let d = x[i] - y[i]; return d * d; }
    default: { return abs(x[i]); }
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

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let outputs = params.before * params.after;
  let index = flat_workgroup(group, groups);
  if (index >= outputs * params.parts) { return; }
  let output = index % outputs;
  let part = index / outputs;
  let base = (output / params.after) * params.extent * params.after + output % params.after;
  let stop = min((part + 1u) * params.chunk, params.extent);
  var sum = neutral();
  for (var start = part * params.chunk + lane; start < stop; start += WIDTH * RUN) {
    var run = neutral();
    for (var i = start; i < min(start + WIDTH * RUN, stop); i += WIDTH) {
      run = combine(run, term(base + i * params.after));
    }
    sum = combine(sum, run);
  }
  partial[lane] = sum;
  for (var width = WIDTH / 2u; width > 0u; width /= 2u) {
    workgroupBarrier();
    if (lane < width) { partial[lane] = combine(partial[lane], partial[lane + width]); }
  }
  if (lane == 0u) { out[index] = params.alpha * partial[0]; }
}

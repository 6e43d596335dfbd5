// What the kernels of conv2d share:
//   out[n,o,y,x] = activation(Σ_{c,ky,kx} w[o,c,ky,kx] · in[n, g+c, y·sy − py + ky·dy, x·sx − px + kx·dx] + bias[o])
// for samples as NCHW, where g is the first input channel of output o's group. No patches are stored (an implicit GEMM).
// With UP the sum reads `in` as if up−1 zeros stood between its elements, so that the input's gradient of a strided convolution
// is a convolution too; the weight's strides then read its taps in reverse.
// An invocation computes four neighbours along x. Where the step along x is 1, TAPS taps of a kernel row share their inputs.
#import activation
#import index

const BIAS: bool = true;
// taps of a kernel row that are summed from the same eight inputs, at most 5
const TAPS: u32 = 5u;
// The width of the kernel is a multiple of TAPS. Such flags spare conditions, because software adapters compute both sides.
const WHOLE: bool = true;
// the width of `out` is a multiple of four
const FOURS: bool = true;
// some taps fall outside of the input
const PADDED: bool = true;
const UP: bool = false;

struct Params {
  batch: u32,
  // channels, height and width of `in`
  channels: u32,
  height: u32,
  width: u32,
  outputs: u32,
  out_height: u32,
  out_width: u32,
  groups: u32,
  // input channels and outputs of one group
  group_channels: u32,
  group_outputs: u32,
  kernel_height: u32,
  kernel_width: u32,
  stride_y: u32,
  stride_x: u32,
  pad_y: i32,
  pad_x: i32,
  dilation_y: u32,
  dilation_x: u32,
  up_y: u32,
  up_x: u32,
  // where w[o, c, ky, kx] lies: start + group·of_group + o·of_output + c·of_channel + ky·of_y + kx·of_x
  start: i32,
  of_group: i32,
  of_output: i32,
  of_channel: i32,
  of_y: i32,
  of_x: i32,
  // groups of four positions along x
  quads: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> w: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

// the first output and the first group of four positions of a workgroup's tile, `high` outputs by `wide` groups of four
struct Share {
  group: u32,
  first_output: u32,
  first_index: u32,
}

fn share_of(flat: u32, high: u32, wide: u32, positions: u32) -> Share {
  let across = (positions + wide - 1u) / wide;
  // products instead of remainders: software adapters divide lane by lane
  let tile = flat / across;
  let tiles = (params.group_outputs + high - 1u) / high;
  let group = tile / tiles;
  return Share(group, (tile - group * tiles) * high, (flat - tile * across) * wide);
}

// four positions of one output row
struct Place {
  n: u32,
  y: u32,
  x: u32,
}

// the place of group of four `index`; an index behind the last one gives the last place again
fn place_of(index: u32) -> Place {
  let position = min(index, params.batch * params.out_height * params.quads - 1u);
  let row = position / params.quads;
  let n = row / params.out_height;
  return Place(n, row - n * params.out_height, 4u * (position - row * params.quads));
}

// where the eight inputs of a run of taps lie in a row: places clamped to the row, and whether the input exists
struct Span {
  a: vec4<u32>,
  b: vec4<u32>,
  a_there: vec4<bool>,
  b_there: vec4<bool>,
}

fn clamped(at: vec4<i32>) -> vec4<u32> {
  if (!PADDED && !UP) { return vec4<u32>(at); }
  var place = max(at, vec4<i32>());
  if (UP) { place /= vec4<i32>(i32(params.up_x)); }
  return vec4<u32>(min(place, vec4<i32>(i32(params.width) - 1)));
}

fn is_there(at: vec4<i32>) -> vec4<bool> {
  var there = at >= vec4<i32>();
  if (UP) {
    let up = vec4<i32>(i32(params.up_x));
    return there & (max(at, vec4<i32>()) % up == vec4<i32>()) & (at < up * vec4<i32>(i32(params.width)));
  }
  return there & (at < vec4<i32>(i32(params.width)));
}

fn span_of(place: Place, tap: u32) -> Span {
  let first = i32(place.x * params.stride_x + tap * params.dilation_x) - params.pad_x;
  let a = vec4<i32>(first) + vec4<i32>(0, 1, 2, 3) * i32(params.stride_x);
  let b = vec4<i32>(first) + vec4<i32>(4, 5, 6, 7);
  return Span(clamped(a), clamped(b), is_there(a), is_there(b));
}

// an input row: the place of its first element, and whether the row exists
struct Row {
  start: u32,
  there: bool,
}

fn row_of(image: u32, place: Place, ky: u32) -> Row {
  let at = i32(place.y * params.stride_y + ky * params.dilation_y) - params.pad_y;
  if (!PADDED && !UP) { return Row(image + u32(at) * params.width, true); }
  var row = max(at, 0);
  var there = at >= 0;
  if (UP) {
    there = there && row % i32(params.up_y) == 0;
    row /= i32(params.up_y);
  }
  let last = i32(params.height) - 1;
  there = there && row <= last;
  return Row(image + u32(min(row, last)) * params.width, there);
}

fn inputs_of(row: Row, at: vec4<u32>, there: vec4<bool>) -> vec4<f32> {
  let v = vec4<f32>(x[row.start + at.x], x[row.start + at.y], x[row.start + at.z], x[row.start + at.w]);
  if (!PADDED && !UP) { return v; }
  return select(vec4<f32>(), v, there & vec4<bool>(row.there));
}

// the inputs behind the first four, as many as TAPS taps reach
fn inputs_behind(row: Row, at: vec4<u32>, there: vec4<bool>) -> vec4<f32> {
  var v = vec4<f32>(x[row.start + at.x], 0.0, 0.0, 0.0);
  if (TAPS > 2u) { v.y = x[row.start + at.y]; }
  if (TAPS > 3u) { v.z = x[row.start + at.z]; }
  if (TAPS > 4u) { v.w = x[row.start + at.w]; }
  if (!PADDED && !UP) { return v; }
  return select(vec4<f32>(), v, there & vec4<bool>(row.there));
}

fn store(place: Place, o: u32, value: vec4<f32>) {
  var sum = value;
  if (BIAS) { sum += bias[o]; }
  let at = ((place.n * params.outputs + o) * params.out_height + place.y) * params.out_width + place.x;
  out[at] = activate(sum.x);
  if (FOURS || place.x + 1u < params.out_width) { out[at + 1u] = activate(sum.y); }
  if (FOURS || place.x + 2u < params.out_width) { out[at + 2u] = activate(sum.z); }
  if (FOURS || place.x + 3u < params.out_width) { out[at + 3u] = activate(sum.w); }
}

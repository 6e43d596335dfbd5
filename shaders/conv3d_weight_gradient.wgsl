// out[part][o,c,k] = Σ_{n,at} dy[n,o,at] · in[n,c, at·strides − padding + k·dilation] over volumes. The sum over rows (n, z, y) of dy
// is split into parts, which the next dispatch adds up. An invocation computes one element of one part. It sums within rows, then
// within runs of RUN rows, then over the runs, so that long sums keep their digits. flops 2·size of dy·channels·KD·KH·KW.
#import index
#import volume

const WIDTH: u32 = 64u;
// rows of a run
const RUN: u32 = 32u;

struct Params {
  // elements of the weight
  size: u32,
  // parts of `share` rows
  parts: u32,
  share: u32,
  batch: u32,
  channels: u32,
  outputs: u32,
  // (depth, height, width, unused) of x, of the result and of the kernel; then of the steps, the padding and the taps' distance
  extents: vec4<u32>,
  out_extents: vec4<u32>,
  kernel: vec4<u32>,
  strides: vec4<u32>,
  padding: vec4<u32>,
  dilation: vec4<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = flat_workgroup(group, groups) * WIDTH + lane;
  if (index >= params.size * params.parts) { return; }
  let part = index / params.size;
  let element = index - part * params.size;
  let extents = params.extents.xyz;
  let results = params.out_extents.xyz;
  let kernel = params.kernel.xyz;
  let strides = vec3<i32>(params.strides.xyz);
  let taps = volume(kernel);
  let c = element / taps % params.channels;
  let o = element / (taps * params.channels);
  let offset = vec3<i32>(position_in(kernel, element % taps) * params.dilation.xyz) - vec3<i32>(params.padding.xyz);
  // the positions along a row whose inputs lie inside of x
  let last_place = i32(extents.z) - 1 - offset.z;
  let first = u32((max(-offset.z, 0) + strides.z - 1) / strides.z);
  let stop = select(0u, min(results.z, u32(max(last_place, 0) / strides.z) + 1u), last_place >= 0);
  let begin = part * params.share;
  let end = min(begin + params.share, params.batch * results.x * results.y);
  var total = 0.0;
  for (var start = begin; start < end; start += RUN) {
    var run = 0.0;
    for (var r = start; r < min(start + RUN, end); r++) {
      let plane = r / results.y;
      let n = plane / results.x;
      let at = vec2<i32>(i32(plane - n * results.x), i32(r - plane * results.y)) * strides.xy + offset.xy;
      if (any(at != clamp(at, vec2<i32>(), vec2<i32>(extents.xy) - vec2<i32>(1)))) { continue; }
      let row = i32((n * params.channels + c) * volume(extents) + place_in(extents, vec3<u32>(vec2<u32>(at), 0u)))
        + offset.z;
      let dy_row = ((n * params.outputs + o) * results.x * results.y + (r - n * results.x * results.y)) * results.z;
      var sum = 0.0;
      for (var place = first; place < stop; place++) {
        sum += x[u32(row + i32(place) * strides.z)] * dy[dy_row + place];
      }
      run += sum;
    }
    total += run;
  }
  out[index] = total;
}

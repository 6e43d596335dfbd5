// Convolution of volumes x (batch×channels×depth×height×width) with w (outputs×channels×KD×KH×KW):
//   out[n,o,at] = activation(Σ_{c,k} w[o,c,k] · a[n,c, at·strides − padding + k·dilation] + bias[o]) with a = x; BACK: out is the
// gradient of x, and a is dy. One invocation an element of out; nothing else is stored. flops 2·size of the result·channels·
// KD·KH·KW.
#import activation
#import index
#import volume

const WIDTH: u32 = 64u;
const BACK: bool = false;
const BIAS: bool = false;

struct Params {
  size: u32,
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
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> w: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

fn inside(at: vec3<i32>, extents: vec3<u32>) -> bool {
  return all(at == clamp(at, vec3<i32>(), vec3<i32>(extents) - vec3<i32>(1)));
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = flat_workgroup(group, groups) * WIDTH + lane;
  if (index >= params.size) { return; }
  let extents = params.extents.xyz;
  let results = params.out_extents.xyz;
  let kernel = params.kernel.xyz;
  let strides = vec3<i32>(params.strides.xyz);
  let padding = vec3<i32>(params.padding.xyz);
  let dilation = vec3<i32>(params.dilation.xyz);
  let taps = volume(kernel);
  var total = 0.0;
  if (!BACK) {
    let at = vec3<i32>(position_in(results, index % volume(results)));
    let o = index / volume(results) % params.outputs;
    let n = index / (volume(results) * params.outputs);
    for (var c = 0u; c < params.channels; c++) {
      var sum = 0.0;
      for (var tap = 0u; tap < taps; tap++) {
        let source = at * strides - padding + vec3<i32>(position_in(kernel, tap)) * dilation;
        if (inside(source, extents)) {
          let place = (n * params.channels + c) * volume(extents) + place_in(extents, vec3<u32>(source));
          sum += a[place] * w[(o * params.channels + c) * taps + tap];
        }
      }
      total += sum;
    }
    if (BIAS) { total += bias[o]; }
    total = activate(total);
  } else {
    let at = vec3<i32>(position_in(extents, index % volume(extents)));
    let c = index / volume(extents) % params.channels;
    let n = index / (volume(extents) * params.channels);
    for (var o = 0u; o < params.outputs; o++) {
      var sum = 0.0;
      for (var tap = 0u; tap < taps; tap++) {
        let reach = at + padding - vec3<i32>(position_in(kernel, tap)) * dilation;
        let source = reach / strides;
        if (all(reach >= vec3<i32>()) && all(source * strides == reach) && inside(source, results)) {
          let place = (n * params.outputs + o) * volume(results) + place_in(results, vec3<u32>(source));
          sum += a[place] * w[(o * params.channels + c) * taps + tap];
        }
      }
      total += sum;
    }
  }
  out[index] = total;
}

// Two sums over the batch and area of every channel c of x (batch×channels×area): sums[c] = Σ f, sums[channels + c] = Σ g.
// Forward: f = x − shift and g = (x − shift)², where shift is the channel's first element, so that fewer digits cancel in the
// variance. BACKWARD: f = dy and g = dy·(x − mean)·scale with the channel's mean and scale.
// One workgroup a channel; x (and dy) read once.
const WIDTH: u32 = 64u;
const BACKWARD: bool = false;

struct Params {
  batch: u32,
  channels: u32,
  area: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
// mean and 1/√(variance + ε) of every channel
@group(0) @binding(3) var<storage, read> moments: array<f32>;
@group(0) @binding(4) var<storage, read_write> sums: array<f32>;

var<workgroup> shared_f: array<f32, WIDTH>;
var<workgroup> shared_g: array<f32, WIDTH>;

@compute @workgroup_size(WIDTH)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let channel = group.x;
  let count = params.batch * params.area;
  let shift = x[channel * params.area];
  var f = 0.0;
  var g = 0.0;
  for (var i = lane; i < count; i += WIDTH) {
    let place = ((i / params.area) * params.channels + channel) * params.area + i % params.area;
    if (BACKWARD) {
      f += dy[place];
      g += dy[place] * (x[place] - moments[channel]) * moments[params.channels + channel];
    } else {
      let value = x[place] - shift;
      f += value;
      g += value * value;
    }
  }
  shared_f[lane] = f;
  shared_g[lane] = g;
  for (var width = WIDTH / 2u; width > 0u; width /= 2u) {
    workgroupBarrier();
    if (lane < width) {
      shared_f[lane] += shared_f[lane + width];
      shared_g[lane] += shared_g[lane + width];
    }
  }
  if (lane == 0u) {
    sums[channel] = shared_f[0];
    sums[params.channels + channel] = shared_g[0];
  }
}

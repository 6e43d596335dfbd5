// y = weight·x̂ + bias with x̂ = (x − mean)·scale, for x of batch×channels×area; weight, bias, mean and scale are the channel's.
// BACKWARD: dx = weight·scale·(dy − Σdy/count − x̂·Σ(dy·x̂)/count), with the sums of batch_norm_statistics over the `count` =
// batch·area elements of the channel. `moments` is all channels' means, then their scales; `sums` all Σdy, then all Σ(dy·x̂).
// One invocation an element: x (and dy) read once, out written once.
#import index

const WIDTH: u32 = 64u;
const BACKWARD: bool = false;

struct Params {
  size: u32,
  channels: u32,
  area: u32,
  count: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read> moments: array<f32>;
@group(0) @binding(4) var<storage, read> sums: array<f32>;
@group(0) @binding(5) var<storage, read> weight: array<f32>;
@group(0) @binding(6) var<storage, read> bias: array<f32>;
@group(0) @binding(7) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(group, groups) * WIDTH + lane;
  if (i >= params.size) { return; }
  let channel = (i / params.area) % params.channels;
  let scale = moments[params.channels + channel];
  let normal = (x[i] - moments[channel]) * scale;
  if (BACKWARD) {
    let count = f32(params.count);
    let rest = dy[i] - sums[channel] / count - normal * sums[params.channels + channel] / count;
    out[i] = weight[channel] * scale * rest;
  } else {
    out[i] = weight[channel] * normal + bias[channel];
  }
}

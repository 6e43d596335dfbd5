// moments = the mean and 1/√(variance + ε) of every channel, from the forward sums of batch_norm_statistics, and running ←
// (1 − momentum)·running + momentum·(mean, unbiased variance). Without TRAINING the moments come from `running`, which does not
// change. Both arrays hold all channels' first values, then all second ones. One invocation a channel.
const WIDTH: u32 = 64u;
const TRAINING: bool = true;

struct Params {
  channels: u32,
  area: u32,
  count: u32,
  momentum: f32,
  epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> sums: array<f32>;
@group(0) @binding(3) var<storage, read_write> running: array<f32>;
@group(0) @binding(4) var<storage, read_write> moments: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let channel = id.x;
  let channels = params.channels;
  if (channel >= channels) { return; }
  var mean = running[channel];
  var variance = running[channels + channel];
  if (TRAINING) {
    let count = f32(params.count);
    let shifted = sums[channel] / count;
    mean = x[channel * params.area] + shifted;
    variance = max(sums[channels + channel] / count - shifted * shifted, 0.0);
    let unbiased = variance * count / max(count - 1.0, 1.0);
    running[channel] = mix(running[channel], mean, params.momentum);
    running[channels + channel] = mix(running[channels + channel], unbiased, params.momentum);
  }
  moments[channel] = mean;
  moments[channels + channel] = 1.0 / sqrt(variance + params.epsilon);
}

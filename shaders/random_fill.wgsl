// out[i] = scale·u + shift, u the i-th number of a stream: uniform on [0, 1) or standard normal.
// A block of four elements comes from the Philox block at counter (i / 4, stream, step, 0) with key = seed; step is replay[0] with
// STEPPED, otherwise 0. size written once.
// BY_MODELS: `size` numbers for each of several models, whose rows of `columns` numbers stand side by side. Model k has the seed seed_low + k, and
// numbers that are uniform and normal by turns.
#import index
#import random

const WIDTH: u32 = 64u;
// 0 uniform, 1 normal
const DISTRIBUTION: u32 = 0u;
const STEPPED: bool = false;
const BY_MODELS: bool = false;

struct Params {
  size: u32,
  seed_low: u32,
  seed_high: u32,
  stream: u32,
  scale: f32,
  shift: f32,
  models: u32,
  columns: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// one number that the host or a kernel changes, so that replays of one schedule differ
@group(0) @binding(1) var<storage, read> replay: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let place = flat_workgroup(group, groups) * WIDTH + lane;
  let quads = (params.size + 3u) / 4u;
  let model = select(0u, place / quads, BY_MODELS);
  let quad = place - model * quads;
  if (quad >= quads || model >= params.models) { return; }
  var now = 0u;
  if (STEPPED) { now = replay[0]; }
  let key = vec2<u32>(params.seed_low + model, params.seed_high);
  let bits = random_u32x4(vec4<u32>(quad, params.stream, now, 0u), key);
  var values = vec4<f32>(random_unit(bits.x), random_unit(bits.y), random_unit(bits.z), random_unit(bits.w));
  if (DISTRIBUTION == 1u || (BY_MODELS && model % 2u == 1u)) {
    values = vec4<f32>(random_normal2(bits.x, bits.y), random_normal2(bits.z, bits.w));
  }
  values = params.scale * values + params.shift;
  for (var k = 0u; k < 4u; k++) {
    let at = quad * 4u + k;
    if (at >= params.size) { return; }
    let first = select(at, (at / params.columns * params.models + model) * params.columns + at % params.columns, BY_MODELS);
    out[first] = values[k];
  }
}

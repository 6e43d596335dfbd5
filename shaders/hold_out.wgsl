// Parts entries at random: out[i] = x[i] where u is below `share` (ABOVE: above it), else MISSING, the largest number of f32, with u the number
// first + i of a stream as random_fill has it, uniform on [0, 1). What is MISSING in x stays so. An invocation takes the up to four
// entries of a Philox block. size read and written.
#import index
#import random

const WIDTH: u32 = 64u;
const ABOVE: bool = false;
const MISSING: u32 = 0x7f7fffffu;

struct Params {
  size: u32,
  // first = 4·(group_low + 2³²·group_high) + skip
  group_low: u32,
  group_high: u32,
  skip: u32,
  seed_low: u32,
  seed_high: u32,
  stream: u32,
  share: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let quad = flat_workgroup(group, groups) * WIDTH + lane;
  if (quad * 4u >= params.size + params.skip) { return; }
  let four = params.group_low + quad;
  // beyond 2³² Philox blocks
  let high = params.group_high + u32(params.group_low > four);
  let bits = random_u32x4(vec4<u32>(four, params.stream, 0u, high), vec2<u32>(params.seed_low, params.seed_high));
  let place = quad * 4u;
  for (var k = 0u; k < 4u; k++) {
    if (place + k < params.skip) { continue; }
    let i = place + k - params.skip;
    if (i >= params.size) { continue; }
    let u = random_unit(bits[k]);
    let is_above = u > params.share;
    let is_below = u < params.share;
    out[i] = select(MISSING, x[i], select(is_below, is_above, ABOVE));
  }
}

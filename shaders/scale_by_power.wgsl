// out[i] = 2^exponent·x[i], computed on the bits of f32 because the arithmetic of many GPUs takes subnormal numbers (below 2⁻¹²⁶) for
// zero. A result that is a normal number is exact, a subnormal one is rounded to nearest even, and one beyond f32 is infinite.
// size read and written once.
#import index

const WIDTH: u32 = 64u;
const FRACTION: u32 = 0x007fffffu;

struct Params {
  size: u32,
  exponent: i32,
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
  let i = flat_workgroup(group, groups) * WIDTH + lane;
  if (i >= params.size) { return; }
  let bits = x[i];
  let sign = bits & 0x80000000u;
  var fraction = bits & FRACTION;
  var exponent = i32((bits >> 23u) & 255u);
  if (exponent == 255) {
    out[i] = bits;
    return;
  }
  if (exponent == 0) {
    if (fraction == 0u) {
      out[i] = bits;
      return;
    }
    // a subnormal number, shifted until its leading bit is where a normal number's is
    let shift = countLeadingZeros(fraction) - 8u;
    fraction <<= shift;
    exponent = 1 - i32(shift);
  } else {
    fraction |= 0x00800000u;
  }
  exponent += params.exponent;
  if (exponent >= 255) {
    out[i] = sign | 0x7f800000u;
  } else if (exponent > 0) {
    out[i] = sign | (u32(exponent) << 23u) | (fraction & FRACTION);
  } else if (exponent < -23) {
    out[i] = sign;
  } else {
    let shift = u32(1 - exponent);
    let half = 1u << (shift - 1u);
    let rounded_down = fraction >> shift;
    // a carry out of the fraction is the next exponent's bit
    out[i] = sign | ((fraction + half - 1u + (rounded_down & 1u)) >> shift);
  }
}

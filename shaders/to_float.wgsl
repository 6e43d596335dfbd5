// out[i] = the value of x[i] as f32, rounded to nearest: of 32-bit integers; of bytes, four a word; of integers or floats of 16 bits, two a
// word. The first lies in the lowest bits. NaN and infinity of 16-bit floats keep their bits, for a kernel that looks for them. size read and
// written once.
#import half
#import index

const WIDTH: u32 = 64u;
// 0 u32, 1 i32, 2 u8, 3 i8, 4 u16, 5 i16, 6 f16, 7 bf16
const KIND: u32 = 0u;

struct Params {
  size: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
// as bits, because WGSL lets a compiler assume that there is no NaN
@group(0) @binding(2) var<storage, read_write> out: array<u32>;

fn byte_of(i: u32) -> u32 {
  return (x[i / 4u] >> (8u * (i % 4u))) & 0xffu;
}

fn half_of(i: u32) -> u32 {
  return (x[i / 2u] >> (16u * (i % 2u))) & 0xffffu;
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(group, groups) * WIDTH + lane;
  if (i >= params.size) { return; }
  switch KIND {
    case 0u: { out[i] = bitcast<u32>(f32(x[i])); }
    case 1u: { out[i] = bitcast<u32>(f32(bitcast<i32>(x[i]))); }
    case 2u: { out[i] = bitcast<u32>(f32(byte_of(i))); }
    case 3u: { out[i] = bitcast<u32>(f32(bitcast<i32>(byte_of(i) << 24u) >> 24u)); }
    case 4u: { out[i] = bitcast<u32>(f32(half_of(i))); }
    case 5u: { out[i] = bitcast<u32>(f32(bitcast<i32>(half_of(i) << 16u) >> 16u)); }
    case 6u: { out[i] = widened(half_of(i)); }
    default: { out[i] = half_of(i) << 16u; }
  }
}

// to_float where size is a multiple of four: an invocation writes four numbers, which are one word of bytes, two of 16-bit numbers or four of
// 32-bit integers. Here size counts the fours. Each is read and written once.
#import half
#import index

const WIDTH: u32 = 64u;
// as in to_float
const KIND: u32 = 0u;

struct Params {
  size: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
// as bits, because WGSL lets a compiler assume that there is no NaN
@group(0) @binding(2) var<storage, read_write> out: array<vec4<u32>>;

fn words_of(i: u32) -> vec4<u32> {
  return vec4<u32>(x[4u * i], x[4u * i + 1u], x[4u * i + 2u], x[4u * i + 3u]);
}

// four bytes, each in the upper bits of a number
fn bytes_of(i: u32) -> vec4<u32> {
  return vec4<u32>(x[i]) << vec4<u32>(24u, 16u, 8u, 0u);
}

// four 16-bit numbers, each in the upper bits of a number
fn halves_of(i: u32) -> vec4<u32> {
  let words = vec2<u32>(x[2u * i], x[2u * i + 1u]).xxyy;
  return words << vec4<u32>(16u, 0u, 16u, 0u);
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(group, groups) * WIDTH + lane;
  if (i >= params.size) { return; }
  let of_byte = vec4<u32>(24u);
  let of_half = vec4<u32>(16u);
  switch KIND {
    case 0u: { out[i] = bitcast<vec4<u32>>(vec4<f32>(words_of(i))); }
    case 1u: { out[i] = bitcast<vec4<u32>>(vec4<f32>(bitcast<vec4<i32>>(words_of(i)))); }
    case 2u: { out[i] = bitcast<vec4<u32>>(vec4<f32>(bytes_of(i) >> of_byte)); }
    case 3u: { out[i] = bitcast<vec4<u32>>(vec4<f32>(bitcast<vec4<i32>>(bytes_of(i)) >> of_byte)); }
    case 4u: { out[i] = bitcast<vec4<u32>>(vec4<f32>(halves_of(i) >> of_half)); }
    case 5u: { out[i] = bitcast<vec4<u32>>(vec4<f32>(bitcast<vec4<i32>>(halves_of(i)) >> of_half)); }
    case 6u: {
      let bits = halves_of(i) >> of_half;
      out[i] = vec4<u32>(widened(bits.x), widened(bits.y), widened(bits.z), widened(bits.w));
    }
    default: { out[i] = halves_of(i) & vec4<u32>(0xffff0000u); }
  }
}

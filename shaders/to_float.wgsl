// out[i] = the value of x[i] as f32, rounded to nearest: of numbers of any KIND (common/numbers). NaN and infinity of 16-bit floats keep
// their bits, for a kernel that looks for them. An invocation writes one number, or with VECTORS four, which size counts then. Each is read
// and written once.
#import index
#import tensor

const WIDTH: u32 = 64u;

struct Params {
  size: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>;
// as bits, because WGSL lets a compiler assume that there is no NaN
@group(0) @binding(2) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(group, groups) * WIDTH + lane;
  if (i >= params.size) { return; }
  if (VECTORS) {
    let bits = x_bits_from(4u * i);
    out[4u * i] = bits.x;
    out[4u * i + 1u] = bits.y;
    out[4u * i + 2u] = bits.z;
    out[4u * i + 3u] = bits.w;
  } else {
    out[i] = x_bits_at(i);
  }
}

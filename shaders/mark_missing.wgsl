// out[i] = x[i] where the entry is known, else MISSING: known where mask[i] is not 0 (BY_MASK), or where x[i] is not NaN. It compares bits, because
// WGSL lets a compiler assume that there is no NaN. A known entry that is MISSING's number becomes the next smaller one. size read, with a
// mask twice; size written.
#import index

const WIDTH: u32 = 64u;
const BY_MASK: bool = false;
const LARGEST: u32 = 0x7f7fffffu;
const INFINITY: u32 = 0x7f800000u;

struct Params {
  size: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read> mask: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(group, groups) * WIDTH + lane;
  if (i >= params.size) { return; }
  var is_known = (x[i] & 0x7fffffffu) <= INFINITY;
  if (BY_MASK) { is_known = (mask[i] & 0x7fffffffu) > 0u; }
  let value = select(x[i], LARGEST - 1u, x[i] == LARGEST);
  out[i] = select(LARGEST, value, is_known);
}

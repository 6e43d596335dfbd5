// out[w] = 32 bits of x, the first in the lowest: bit i % 32 of word i / 32 tells whether x[i] is not 0, or is not NaN. It compares bits,
// because WGSL lets a compiler assume that there is no NaN. size read, size / 32 written.
#import index

const WIDTH: u32 = 64u;
// 0: not 0; 1: not NaN
const TEST: u32 = 0u;

struct Params {
  size: u32,
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
  let word = flat_workgroup(group, groups) * WIDTH + lane;
  let first = 32u * word;
  if (first >= params.size) { return; }
  var bits = 0u;
  for (var i = 0u; i < min(32u, params.size - first); i++) {
    let magnitude = x[first + i] & 0x7fffffffu;
    let holds = select(magnitude > 0u, magnitude <= 0x7f800000u, TEST == 1u);
    if (holds) { bits |= 1u << i; }
  }
  out[word] = bits;
}

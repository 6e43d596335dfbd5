// counts[b] += how many entries of x have b as their leading 14 bits: the sign, the exponent and 5 bits of the mantissa. A bin is as wide as
// 1/32 of the power of two below it, at every size and sign, so that nothing has to be known of x before. The atomics are counts of
// integers, which do not depend on the order. size read.
#import index

const WIDTH: u32 = 256u;
// bits of an entry that do not count
const SHIFT: u32 = 18u;

struct Params {
  size: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> counts: array<atomic<u32>>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let step = groups.x * groups.y * WIDTH;
  for (var i = flat_workgroup(group, groups) * WIDTH + lane; i < params.size; i += step) {
    atomicAdd(&counts[x[i] >> SHIFT], 1u);
  }
}

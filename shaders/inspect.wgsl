// Looks for NaN, infinities and the largest magnitude among the entries of x as f32. findings[0] is the number of entries that are
// not finite; findings[1] and findings[2] are 2³² − 1 − i for the index i of the first NaN and the first infinity, or 0 for none;
// findings[3] is the bits of the largest finite magnitude. It compares bits, because WGSL lets a compiler assume that there is
// neither NaN nor infinity. `findings` must be zeros before. The atomics are counts and maxima of integers, which do not depend on
// the order. With SQUARES,
// squares[g] is the sum of the squares of workgroup g's entries. size read once, and again by invocations that have met something that is not finite.
#import index
#import tensor

const WIDTH: u32 = 256u;
const SQUARES: bool = false;
// squares that are added up before the sum joins that of others, so that digits are kept
const RUN: u32 = 16u;
// entries that are looked at together: with VECTORS, where their number is a multiple of 4, as many
const LANES: u32 = select(1u, 4u, VECTORS);
const MAGNITUDE: u32 = 0x7fffffffu;
const INFINITY: u32 = 0x7f800000u;

struct Params {
  // of x, in LANES
  size: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>;
// the same, of which numbers are looked at alone
@group(0) @binding(2) var<storage, read> words: array<u32>;
@group(0) @binding(3) var<storage, read_write> findings: array<atomic<u32>>;
@group(0) @binding(4) var<storage, read_write> squares: array<f32>;

var<workgroup> partial: array<vec4<u32>, WIDTH>;
var<workgroup> sums: array<f32, WIDTH>;

fn combined(p: vec4<u32>, q: vec4<u32>) -> vec4<u32> {
  return vec4<u32>(p.x + q.x, max(p.yzw, q.yzw));
}

// What an invocation says of its entries where some of them are not finite.
fn not_finite(first: u32, step: u32) -> vec4<u32> {
  var seen = vec4<u32>();
  for (var i = first; i < params.size; i += step) {
    for (var at = i * LANES; at < (i + 1u) * LANES; at++) {
      let magnitude = bits_in(words[at / PER_WORD], at) & MAGNITUDE;
      if (magnitude < INFINITY) {
        seen.w = max(seen.w, magnitude);
      } else {
        seen.x++;
        let place = 0xffffffffu - at;
        if (magnitude == INFINITY) { seen.z = max(seen.z, place); } else { seen.y = max(seen.y, place); }
      }
    }
  }
  return seen;
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  var seen = vec4<u32>();
  let step = groups.x * groups.y * WIDTH;
  let first = flat_workgroup(group, groups) * WIDTH + lane;
  var most = vec4<u32>();
  var sum = vec4<f32>();
  for (var start = first; start < params.size; start += step * RUN) {
    var run = vec4<f32>();
    for (var i = start; i < min(start + step * RUN, params.size); i += step) {
      var bits: vec4<u32>;
      if (VECTORS) { bits = x_bits_from(4u * i); } else { bits.x = x_bits_at(i); }
      most = max(most, bits & vec4<u32>(MAGNITUDE));
      if (SQUARES) {
        let values = bitcast<vec4<f32>>(bits);
        run += values * values;
      }
    }
    sum += run;
  }
  seen.w = max(max(most.x, most.y), max(most.z, most.w));
  if (seen.w >= INFINITY) { seen = not_finite(first, step); }
  partial[lane] = seen;
  if (SQUARES) { sums[lane] = (sum.x + sum.y) + (sum.z + sum.w); }
  for (var width = WIDTH / 2u; width > 0u; width /= 2u) {
    workgroupBarrier();
    if (lane < width) {
      partial[lane] = combined(partial[lane], partial[lane + width]);
      if (SQUARES) { sums[lane] += sums[lane + width]; }
    }
  }
  if (lane > 0u) { return; }
  if (SQUARES) { squares[flat_workgroup(group, groups)] = sums[0]; }
  let all = partial[0];
  if (all.x > 0u) {
    atomicAdd(&findings[0], all.x);
    atomicMax(&findings[1], all.y);
    atomicMax(&findings[2], all.z);
  }
  atomicMax(&findings[3], all.w);
}

// out[e] = x[e] within the blocks on the diagonal of a tensor, 0 elsewhere. Block g takes the indices g·w to (g+1)·w − 1 of an axis
// whose block width is w, and all indices of an axis of width 0. With ADD: out[e] += x[e] within the blocks, and the rest of out
// does not change. size read and written once.
#import index

const WIDTH: u32 = 64u;
// trailing axes in use
const AXES: u32 = 8u;
// only block `params.block` counts, instead of all blocks
const ONE: bool = false;
const ADD: bool = false;
// the number of the block as long as no divided axis has been looked at
const ANY: u32 = 0xffffffffu;

struct Params {
  size: u32,
  block: u32,
  shape_high: vec4<u32>,
  shape_low: vec4<u32>,
  width_high: vec4<u32>,
  width_low: vec4<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

struct Place {
  // flat index over the axes that have not been looked at
  rest: u32,
  // number of the block that the index lies in along the axes that have been looked at
  number: u32,
  // whether these axes agree on the block
  within: bool,
}

// Looks at the innermost axis of `rest`.
fn seen(place: Place, extent: u32, width: u32) -> Place {
  let rest = place.rest / extent;
  if (width == 0u) { return Place(rest, place.number, place.within); }
  let number = (place.rest - rest * extent) / width;
  let same = place.number == ANY || place.number == number;
  return Place(rest, number, place.within && same);
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(group, groups) * WIDTH + lane;
  if (i >= params.size) { return; }
  var place = Place(i, select(ANY, params.block, ONE), true);
  place = seen(place, params.shape_low.w, params.width_low.w);
  if (AXES > 1u) { place = seen(place, params.shape_low.z, params.width_low.z); }
  if (AXES > 2u) { place = seen(place, params.shape_low.y, params.width_low.y); }
  if (AXES > 3u) { place = seen(place, params.shape_low.x, params.width_low.x); }
  if (AXES > 4u) { place = seen(place, params.shape_high.w, params.width_high.w); }
  if (AXES > 5u) { place = seen(place, params.shape_high.z, params.width_high.z); }
  if (AXES > 6u) { place = seen(place, params.shape_high.y, params.width_high.y); }
  if (AXES > 7u) { place = seen(place, params.shape_high.x, params.width_high.x); }
  if (!ADD) { out[i] = select(0.0, x[i], place.within); } else if (place.within) { out[i] += x[i]; }
}

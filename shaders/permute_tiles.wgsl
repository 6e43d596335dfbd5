// A permutation of axes that moves the innermost one: out[b, q, p] = x[b, p, q], where p is the innermost axis of out, q that of
// x, and b the index over up to six other axes. Tiles of 32×32 go through workgroup memory, so that reads and writes are both
// contiguous. One workgroup a tile. size read and written once.
#import index
#import axes

const TILE: u32 = 32u;
const ROWS: u32 = 8u;
// other axes in use
const AXES: u32 = 6u;

struct Params {
  // tiles along p and along q
  tiles_p: u32,
  tiles_q: u32,
  // elements of the other axes
  others: u32,
  extent_p: u32,
  extent_q: u32,
  // the stride of p in x, and of q in out
  stride_p: u32,
  stride_q: u32,
  offset: u32,
  shape_high: vec4<u32>,
  shape_low: vec4<u32>,
  stride_x_high: vec4<u32>,
  stride_x_low: vec4<u32>,
  stride_out_high: vec4<u32>,
  stride_out_low: vec4<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

// a column more than the tile has, so that a column's entries lie in different banks
var<workgroup> tile: array<f32, TILE * (TILE + 1u)>;

@compute @workgroup_size(TILE, ROWS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let index = flat_workgroup(group, groups);
  let tiles = params.tiles_p * params.tiles_q;
  let other = index / tiles;
  if (other >= params.others) { return; }
  let p0 = (index % tiles) / params.tiles_q * TILE;
  let q0 = index % params.tiles_q * TILE;
  let from_x = params.offset + strided_offset(
    other, AXES, params.shape_high, params.shape_low, Axes(params.stride_x_high, params.stride_x_low),
  );
  let from_out = strided_offset(
    other, AXES, params.shape_high, params.shape_low, Axes(params.stride_out_high, params.stride_out_low),
  );
  for (var row = local.y; row < TILE; row += ROWS) {
    let p = p0 + row;
    let q = q0 + local.x;
    if (p < params.extent_p && q < params.extent_q) {
      tile[row * (TILE + 1u) + local.x] = x[from_x + p * params.stride_p + q];
    }
  }
  workgroupBarrier();
  for (var row = local.y; row < TILE; row += ROWS) {
    let q = q0 + row;
    let p = p0 + local.x;
    if (p < params.extent_p && q < params.extent_q) {
      out[from_out + q * params.stride_q + p] = tile[local.x * (TILE + 1u) + row];
    }
  }
}

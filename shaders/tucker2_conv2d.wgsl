// A Tucker-2 convolution in one dispatch: out = activation(V·(core ∗ (U·x)) + bias) for samples as NCHW. U (rank_in×S) and V
// (T×rank_out) multiply the channels, S of x and T of out; core is rank_out×rank_in×KH×KW and has the stride, padding and dilation.
// A workgroup takes a tile of positions of one sample. U·x on the tile's window (the inputs that its taps reach) and core ∗ (U·x)
// stay in workgroup memory. An invocation computes four neighbours along x of four channels.
// flops 2·size of out·(rank_in·rank_out·KH·KW/T + rank_out), plus 2·window·S·rank_in a tile. x is read once, and again where the
// windows of neighbouring tiles overlap.
#import activation
#import index

const WIDTH: u32 = 64u;
const BIAS: bool = true;
// room in workgroup memory: f32s for U·x, and vec4s for core ∗ (U·x)
const WINDOW: u32 = 1024u;
const TILE: u32 = 256u;

struct Params {
  batch: u32,
  channels: u32,
  height: u32,
  width: u32,
  rank_in: u32,
  rank_out: u32,
  outputs: u32,
  out_height: u32,
  out_width: u32,
  kernel_height: u32,
  kernel_width: u32,
  stride_y: u32,
  stride_x: u32,
  pad_y: i32,
  pad_x: i32,
  dilation_y: u32,
  dilation_x: u32,
  // rows of a tile, and groups of four positions along x
  tile_rows: u32,
  tile_quads: u32,
  tiles_y: u32,
  tiles_x: u32,
  // rows of the tile's window, and groups of four positions along x
  window_rows: u32,
  window_quads: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> u: array<f32>;
@group(0) @binding(3) var<storage, read> core: array<f32>;
@group(0) @binding(4) var<storage, read> v: array<f32>;
@group(0) @binding(5) var<storage, read> bias: array<f32>;
@group(0) @binding(6) var<storage, read_write> out: array<f32>;

var<workgroup> inner: array<f32, WINDOW>;
var<workgroup> middle: array<vec4<f32>, TILE>;

// four rows from `first` on of a matrix of `rows` rows; rows behind the last one repeat it
fn rows_from(first: u32, rows: u32) -> vec4<u32> {
  return min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(rows - 1u));
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) flat: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  var tile = flat_workgroup(flat, groups);
  let tile_x = 4u * params.tile_quads * (tile % params.tiles_x);
  tile /= params.tiles_x;
  let tile_y = params.tile_rows * (tile % params.tiles_y);
  let n = tile / params.tiles_y;
  if (n >= params.batch) { return; }
  let top = i32(tile_y * params.stride_y) - params.pad_y;
  let left = i32(tile_x * params.stride_x) - params.pad_x;
  let plane = params.height * params.width;
  let pitch = 4u * params.window_quads;

  // U·x
  let window = params.window_rows * params.window_quads;
  for (var task = lane; task < window * ((params.rank_in + 3u) / 4u); task += WIDTH) {
    let r = 4u * (task / window);
    let row = task % window / params.window_quads;
    let column = 4u * (task % params.window_quads);
    let y = top + i32(row);
    let at_x = vec4<i32>(left + i32(column)) + vec4<i32>(0, 1, 2, 3);
    let last_y = i32(params.height) - 1;
    let row_there = y >= 0 && y <= last_y;
    let last_x = vec4<i32>(i32(params.width) - 1);
    let there = (at_x >= vec4<i32>()) & (at_x <= last_x) & vec4<bool>(row_there);
    let place = vec4<u32>(clamp(at_x, vec4<i32>(), last_x)) + u32(clamp(y, 0, last_y)) * params.width
      + n * params.channels * plane;
    let weights = rows_from(r, params.rank_in) * params.channels;
    var sums = mat4x4<f32>();
    for (var c = 0u; c < params.channels; c++) {
      let at = place + c * plane;
      let value = vec4<f32>(x[at.x], x[at.y], x[at.z], x[at.w]);
      sums[0] += u[weights.x + c] * value;
      sums[1] += u[weights.y + c] * value;
      sums[2] += u[weights.z + c] * value;
      sums[3] += u[weights.w + c] * value;
    }
    for (var k = 0u; k < min(4u, params.rank_in - r); k++) {
      let to = ((r + k) * params.window_rows + row) * pitch + column;
      let sum = select(vec4<f32>(), sums[k], there);
      inner[to] = sum.x;
      inner[to + 1u] = sum.y;
      inner[to + 2u] = sum.z;
      inner[to + 3u] = sum.w;
    }
  }
  workgroupBarrier();

  // core ∗ (U·x)
  let quads = params.tile_rows * params.tile_quads;
  let taps = params.kernel_height * params.kernel_width;
  for (var task = lane; task < quads * ((params.rank_out + 3u) / 4u); task += WIDTH) {
    let r = 4u * (task / quads);
    let row = task % quads / params.tile_quads * params.stride_y;
    let column = 4u * (task % params.tile_quads) * params.stride_x;
    let rows = rows_from(r, params.rank_out) * params.rank_in * taps;
    var sums = mat4x4<f32>();
    for (var c = 0u; c < params.rank_in; c++) {
      for (var ky = 0u; ky < params.kernel_height; ky++) {
        var at = (c * params.window_rows + row + ky * params.dilation_y) * pitch + column;
        var weights = rows + c * taps + ky * params.kernel_width;
        for (var kx = 0u; kx < params.kernel_width; kx++) {
          let step = params.stride_x;
          let value = vec4<f32>(inner[at], inner[at + step], inner[at + 2u * step], inner[at + 3u * step]);
          sums[0] += core[weights.x] * value;
          sums[1] += core[weights.y] * value;
          sums[2] += core[weights.z] * value;
          sums[3] += core[weights.w] * value;
          at += params.dilation_x;
          weights += vec4<u32>(1u);
        }
      }
    }
    for (var k = 0u; k < min(4u, params.rank_out - r); k++) { middle[(r + k) * quads + task % quads] = sums[k]; }
  }
  workgroupBarrier();

  // V·(core ∗ (U·x))
  for (var task = lane; task < quads * ((params.outputs + 3u) / 4u); task += WIDTH) {
    let o = 4u * (task / quads);
    let y = tile_y + task % quads / params.tile_quads;
    let first = tile_x + 4u * (task % params.tile_quads);
    let weights = rows_from(o, params.outputs) * params.rank_out;
    var sums = mat4x4<f32>();
    for (var r = 0u; r < params.rank_out; r++) {
      let value = middle[r * quads + task % quads];
      sums[0] += v[weights.x + r] * value;
      sums[1] += v[weights.y + r] * value;
      sums[2] += v[weights.z + r] * value;
      sums[3] += v[weights.w + r] * value;
    }
    if (y >= params.out_height || first >= params.out_width) { continue; }
    for (var k = 0u; k < min(4u, params.outputs - o); k++) {
      var sum = sums[k];
      if (BIAS) { sum += bias[o + k]; }
      let to = ((n * params.outputs + o + k) * params.out_height + y) * params.out_width + first;
      for (var i = 0u; i < min(4u, params.out_width - first); i++) { out[to + i] = activate(sum[i]); }
    }
  }
}

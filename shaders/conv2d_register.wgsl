// out[n,o,y,x] = activation(Σ_{c,ky,kx} w[o,c,ky,kx] · in[n, g+c, y·sy − py + ky·dy, x·sx − px + kx·dx] + bias[o]), samples as NCHW, an
// implicit GEMM: no patches in memory. Where UP, `in` stands with up−1 zeros between its elements, so that the gradient of
// the input of a convolution with strides is a convolution too; the kernel's strides let it be read turned round.
// An invocation takes four neighbours along x for OUT outputs of one group; lanes are positions, so that a weight is the
// same for all of them. FAST, for steps of 1 along x: up to five taps share a row of loaded inputs.
// flops 2·size of out·C·KH·KW; per tap row OUT·TAPS loads of weights and TAPS + 3 of inputs for 4·OUT·TAPS multiplications.
#import activation
#import index

const WIDTH: u32 = 64u;
const BIAS: bool = true;
// outputs of an invocation: 1, 4 or 8
const OUT: u32 = 8u;
const FAST: bool = true;
// most taps of a row that share their inputs, FAST only: up to 5
const TAPS: u32 = 5u;
const PADDED: bool = true;
const UP: bool = false;

struct Params {
  batch: u32,
  // of `in`
  channels: u32,
  height: u32,
  width: u32,
  outputs: u32,
  out_height: u32,
  out_width: u32,
  // of one group
  group_channels: u32,
  group_outputs: u32,
  kernel_height: u32,
  kernel_width: u32,
  stride_y: u32,
  stride_x: u32,
  pad_y: i32,
  pad_x: i32,
  dilation_y: u32,
  dilation_x: u32,
  up_y: u32,
  up_x: u32,
  // where w[o, c, ky, kx] lies: start + o·of_output + c·of_channel + ky·of_y + kx·of_x; outputs of a group follow each other by
  // of_output, groups by of_group
  start: i32,
  of_group: i32,
  of_output: i32,
  of_channel: i32,
  of_y: i32,
  of_x: i32,
  // quads of positions along x, tiles of OUT outputs in a group
  quads: u32,
  tiles: u32,
  blocks: u32,
  groups: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> w: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

// of eight outputs, four positions each; OUT of them are used
struct Sums {
  s0: vec4<f32>,
  s1: vec4<f32>,
  s2: vec4<f32>,
  s3: vec4<f32>,
  s4: vec4<f32>,
  s5: vec4<f32>,
  s6: vec4<f32>,
  s7: vec4<f32>,
}

// adds a tap: weights of the outputs, `place` plus a multiple of of_output, times the inputs of four positions
fn add_tap(sums: ptr<function, Sums>, v: vec4<f32>, place: i32, most: u32) {
  let each = params.of_output;
  (*sums).s0 += w[u32(place)] * v;
  if (OUT > 1u) {
    (*sums).s1 += w[u32(place + i32(min(1u, most)) * each)] * v;
    (*sums).s2 += w[u32(place + i32(min(2u, most)) * each)] * v;
    (*sums).s3 += w[u32(place + i32(min(3u, most)) * each)] * v;
  }
  if (OUT > 4u) {
    (*sums).s4 += w[u32(place + i32(min(4u, most)) * each)] * v;
    (*sums).s5 += w[u32(place + i32(min(5u, most)) * each)] * v;
    (*sums).s6 += w[u32(place + i32(min(6u, most)) * each)] * v;
    (*sums).s7 += w[u32(place + i32(min(7u, most)) * each)] * v;
  }
}

// an input of a row that begins at `row`, 0 outside of the image
fn input(row: u32, inside: bool, place: i32) -> f32 {
  if (!PADDED && !UP) { return x[row + u32(place)]; }
  var at = place;
  var there = inside && at >= 0;
  if (UP) {
    there = there && u32(max(at, 0)) % params.up_x == 0u;
    at = i32(u32(max(at, 0)) / params.up_x);
  }
  there = there && at < i32(params.width);
  let value = x[row + u32(clamp(at, 0, i32(params.width) - 1))];
  return select(0.0, value, there);
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) flat: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let tile = flat_workgroup(flat, groups);
  let positions = params.batch * params.out_height * params.quads;
  let group_tile = tile / params.blocks;
  let position = min((tile % params.blocks) * WIDTH + lane, positions - 1u);
  let is_last = (tile % params.blocks) * WIDTH + lane >= positions;
  let in_group = (group_tile % params.tiles) * OUT;
  let channel_group = group_tile / params.tiles;
  let x0 = 4u * (position % params.quads);
  let y0 = position / params.quads % params.out_height;
  let n = position / (params.quads * params.out_height);
  let first_x = i32(x0 * params.stride_x) - params.pad_x;
  let step_x = i32(params.stride_x);

  // the weights of the first output; what goes on behind the last repeats it
  let weights_start = params.start + i32(channel_group) * params.of_group + i32(in_group) * params.of_output;
  let most = params.group_outputs - 1u - in_group;
  var sums = Sums();
  let plane = params.height * params.width;
  var image = (n * params.channels + channel_group * params.group_channels) * plane;
  for (var c = 0u; c < params.group_channels; c++) {
    for (var ky = 0u; ky < params.kernel_height; ky++) {
      var iy = i32(y0 * params.stride_y + ky * params.dilation_y) - params.pad_y;
      var inside = true;
      if (PADDED || UP) {
        inside = iy >= 0;
        if (UP) {
          inside = inside && u32(max(iy, 0)) % params.up_y == 0u;
          iy = i32(u32(max(iy, 0)) / params.up_y);
        }
        inside = inside && iy < i32(params.height);
      }
      let row = image + u32(clamp(iy, 0, i32(params.height) - 1)) * params.width;
      let weights = weights_start + i32(c) * params.of_channel + i32(ky) * params.of_y;
      if (FAST) {
        for (var tap = 0u; tap < params.kernel_width; tap += TAPS) {
          let at = first_x + i32(tap);
          let left = params.kernel_width - tap;
          let a = vec4<f32>(
            input(row, inside, at),
            input(row, inside, at + 1),
            input(row, inside, at + 2),
            input(row, inside, at + 3),
          );
          var b = vec4<f32>();
          if (TAPS > 1u && left > 1u) { b.x = input(row, inside, at + 4); }
          if (TAPS > 2u && left > 2u) { b.y = input(row, inside, at + 5); }
          if (TAPS > 3u && left > 3u) { b.z = input(row, inside, at + 6); }
          if (TAPS > 4u && left > 4u) { b.w = input(row, inside, at + 7); }
          let offset = weights + i32(tap) * params.of_x;
          add_tap(&sums, a, offset, most);
          if (TAPS > 1u && left > 1u) { add_tap(&sums, vec4<f32>(a.yzw, b.x), offset + params.of_x, most); }
          if (TAPS > 2u && left > 2u) { add_tap(&sums, vec4<f32>(a.zw, b.xy), offset + 2 * params.of_x, most); }
          if (TAPS > 3u && left > 3u) { add_tap(&sums, vec4<f32>(a.w, b.xyz), offset + 3 * params.of_x, most); }
          if (TAPS > 4u && left > 4u) { add_tap(&sums, b, offset + 4 * params.of_x, most); }
        }
      } else {
        for (var k = 0u; k < params.kernel_width; k++) {
          let at = first_x + i32(k * params.dilation_x);
          let v = vec4<f32>(
            input(row, inside, at),
            input(row, inside, at + step_x),
            input(row, inside, at + 2 * step_x),
            input(row, inside, at + 3 * step_x),
          );
          add_tap(&sums, v, weights + i32(k) * params.of_x, most);
        }
      }
    }
    image += plane;
  }
  if (is_last) { return; }
  for (var i = 0u; i < min(OUT, params.group_outputs - in_group); i++) {
    var sum = sums.s0;
    switch (i) {
      case 1u: { sum = sums.s1; }
      case 2u: { sum = sums.s2; }
      case 3u: { sum = sums.s3; }
      case 4u: { sum = sums.s4; }
      case 5u: { sum = sums.s5; }
      case 6u: { sum = sums.s6; }
      case 7u: { sum = sums.s7; }
      default: {}
    }
    let o = channel_group * params.group_outputs + in_group + i;
    if (BIAS) { sum += bias[o]; }
    let place = ((n * params.outputs + o) * params.out_height + y0) * params.out_width + x0;
    for (var k = 0u; k < min(4u, params.out_width - x0); k++) { out[place + k] = activate(sum[k]); }
  }
}

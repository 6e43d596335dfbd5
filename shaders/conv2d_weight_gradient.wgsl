// out[part][o,c,ky,kx] = Σ_{n,y,x} dy[n,o,y,x] · in[n, g+c, y·sy − py + ky·dy, x·sx − px + kx·dx] for samples as NCHW, where g is the
// first input channel of output o's group. The sum over rows (n, y) is split into parts, which the next dispatch adds up.
// A workgroup takes OUT outputs of one group and one part; a lane takes one channel, one row of the kernel and up to TAPS of its
// taps, so that all lanes load the same gradients. FAST, for steps of 1 along x: taps share their inputs.
// flops 2·size of dy·C·KH·KW.
#import index

const WIDTH: u32 = 64u;
// outputs of a workgroup: 1 or 4
const OUT: u32 = 4u;
const FAST: bool = true;
// taps of a lane, at most 5
const TAPS: u32 = 5u;
const PADDED: bool = true;
// the width of dy is not a multiple of four
const TAIL: bool = true;

struct Params {
  batch: u32,
  channels: u32,
  height: u32,
  width: u32,
  outputs: u32,
  out_height: u32,
  out_width: u32,
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
  // runs of TAPS taps in a row of the kernel
  runs: u32,
  // lanes that a group and part need: channels × kernel rows × runs
  tasks: u32,
  // tiles of OUT outputs in a group
  tiles: u32,
  // blocks of WIDTH tasks
  blocks: u32,
  // parts of `share` rows (n, y)
  parts: u32,
  share: u32,
  groups: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

// the gradients of up to five taps, a vec4 over four outputs
struct Sums {
  s0: vec4<f32>,
  s1: vec4<f32>,
  s2: vec4<f32>,
  s3: vec4<f32>,
  s4: vec4<f32>,
}

fn input(row: u32, inside: bool, at: i32) -> f32 {
  if (!PADDED) { return x[row + u32(at)]; }
  let value = x[row + u32(clamp(at, 0, i32(params.width) - 1))];
  return select(0.0, value, inside && at == clamp(at, 0, i32(params.width) - 1));
}

fn gradient(row: u32, at: u32) -> vec4<f32> {
  let d = vec4<f32>(dy[row + at], dy[row + at + 1u], dy[row + at + 2u], dy[row + at + 3u]);
  if (!TAIL) { return d; }
  let places = vec4<u32>(at) + vec4<u32>(0u, 1u, 2u, 3u);
  let there = places < vec4<u32>(params.out_width);
  return select(vec4<f32>(), d, there);
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) flat: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  var rest = flat_workgroup(flat, groups);
  let stretch = rest % params.blocks;
  rest /= params.blocks;
  let part = rest % params.parts;
  rest /= params.parts;
  let in_group = (rest % params.tiles) * OUT;
  let channel_group = rest / params.tiles;
  if (channel_group >= params.groups) { return; }
  let task = stretch * WIDTH + lane;
  if (task >= params.tasks) { return; }
  let tap = task % params.runs * TAPS;
  let ky = task / params.runs % params.kernel_height;
  let c = task / (params.runs * params.kernel_height);
  let taps = min(TAPS, params.kernel_width - tap);

  let most = params.group_outputs - 1u - in_group;
  let first = channel_group * params.group_outputs + in_group;
  let out_plane = params.out_height * params.out_width;
  let plane = params.height * params.width;
  let channel = channel_group * params.group_channels + c;
  let step_x = i32(params.stride_x);
  var sums = Sums();
  for (var r = part * params.share; r < min((part + 1u) * params.share, params.batch * params.out_height); r++) {
    let n = r / params.out_height;
    let y = r % params.out_height;
    let iy = i32(y * params.stride_y + ky * params.dilation_y) - params.pad_y;
    let inside = iy == clamp(iy, 0, i32(params.height) - 1);
    let row = (n * params.channels + channel) * plane + u32(clamp(iy, 0, i32(params.height) - 1)) * params.width;
    let dy_row = (n * params.outputs + first) * out_plane + y * params.out_width;
    for (var x0 = 0u; x0 < params.out_width; x0 += 4u) {
      let d0 = gradient(dy_row, x0);
      var d1 = vec4<f32>();
      var d2 = vec4<f32>();
      var d3 = vec4<f32>();
      if (OUT > 1u) {
        d1 = gradient(dy_row + min(1u, most) * out_plane, x0);
        d2 = gradient(dy_row + min(2u, most) * out_plane, x0);
        d3 = gradient(dy_row + min(3u, most) * out_plane, x0);
      }
      let at = i32(x0 * params.stride_x + tap * params.dilation_x) - params.pad_x;
      if (FAST) {
        let a = vec4<f32>(
          input(row, inside, at),
          input(row, inside, at + 1),
          input(row, inside, at + 2),
          input(row, inside, at + 3),
        );
        var b = vec4<f32>();
        if (TAPS > 1u) { b.x = input(row, inside, at + 4); }
        if (TAPS > 2u) { b.y = input(row, inside, at + 5); }
        if (TAPS > 3u) { b.z = input(row, inside, at + 6); }
        if (TAPS > 4u) { b.w = input(row, inside, at + 7); }
        sums.s0 += vec4<f32>(dot(d0, a), dot(d1, a), dot(d2, a), dot(d3, a));
        if (TAPS > 1u) {
          let v = vec4<f32>(a.yzw, b.x);
          sums.s1 += vec4<f32>(dot(d0, v), dot(d1, v), dot(d2, v), dot(d3, v));
        }
        if (TAPS > 2u) {
          let v = vec4<f32>(a.zw, b.xy);
          sums.s2 += vec4<f32>(dot(d0, v), dot(d1, v), dot(d2, v), dot(d3, v));
        }
        if (TAPS > 3u) {
          let v = vec4<f32>(a.w, b.xyz);
          sums.s3 += vec4<f32>(dot(d0, v), dot(d1, v), dot(d2, v), dot(d3, v));
        }
        if (TAPS > 4u) { sums.s4 += vec4<f32>(dot(d0, b), dot(d1, b), dot(d2, b), dot(d3, b)); }
      } else {
        let v = vec4<f32>(
          input(row, inside, at),
          input(row, inside, at + step_x),
          input(row, inside, at + 2 * step_x),
          input(row, inside, at + 3 * step_x),
        );
        sums.s0 += vec4<f32>(dot(d0, v), dot(d1, v), dot(d2, v), dot(d3, v));
      }
    }
  }
  let size = params.outputs * params.group_channels * params.kernel_height * params.kernel_width;
  for (var i = 0u; i < min(OUT, most + 1u); i++) {
    let place = part * size
      + (((first + i) * params.group_channels + c) * params.kernel_height + ky) * params.kernel_width + tap;
    out[place] = sums.s0[i];
    if (TAPS > 1u && taps > 1u) { out[place + 1u] = sums.s1[i]; }
    if (TAPS > 2u && taps > 2u) { out[place + 2u] = sums.s2[i]; }
    if (TAPS > 3u && taps > 3u) { out[place + 3u] = sums.s3[i]; }
    if (TAPS > 4u && taps > 4u) { out[place + 4u] = sums.s4[i]; }
  }
}

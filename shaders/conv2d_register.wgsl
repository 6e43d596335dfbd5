// conv2d (common/conv2d): an invocation sums OUT outputs by four positions in registers, without workgroup memory. The lanes of a
// workgroup have different positions and the same outputs, so that they load the same weights.
// flops 2·size of out·C·KH·KW; a row of TAPS taps takes OUT·TAPS loads of weights and TAPS + 3 of inputs for 4·OUT·TAPS
// multiplications.
#import conv2d

const WIDTH: u32 = 64u;
// outputs of an invocation: 1, 4 or 8
const OUT: u32 = 8u;

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

// Adds a tap: the outputs' weights, the first at `at`, times the inputs of four positions. Outputs behind `last` repeat it.
fn add_tap(sums: ptr<function, Sums>, v: vec4<f32>, at: i32, last: i32) {
  let output_stride = params.of_output;
  (*sums).s0 += w[u32(at)] * v;
  if (OUT > 1u) {
    (*sums).s1 += w[u32(at + min(1, last) * output_stride)] * v;
    (*sums).s2 += w[u32(at + min(2, last) * output_stride)] * v;
    (*sums).s3 += w[u32(at + min(3, last) * output_stride)] * v;
  }
  if (OUT > 4u) {
    (*sums).s4 += w[u32(at + min(4, last) * output_stride)] * v;
    (*sums).s5 += w[u32(at + min(5, last) * output_stride)] * v;
    (*sums).s6 += w[u32(at + min(6, last) * output_stride)] * v;
    (*sums).s7 += w[u32(at + min(7, last) * output_stride)] * v;
  }
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) flat: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let positions = params.batch * params.out_height * params.quads;
  let share = share_of(flat_workgroup(flat, groups), OUT, WIDTH, positions);
  let index = share.first_index + lane;
  if (share.group >= params.groups || index >= positions) { return; }
  let place = place_of(index);
  let last = i32(params.group_outputs - 1u - share.first_output);
  let weights_start = params.start + i32(share.group) * params.of_group + i32(share.first_output) * params.of_output;
  let plane = params.height * params.width;
  let image = (place.n * params.channels + share.group * params.group_channels) * plane;
  var sums = Sums();
  for (var tap = 0u; tap < params.kernel_width; tap += TAPS) {
    let span = span_of(place, tap);
    let left = params.kernel_width - tap;
    for (var c = 0u; c < params.group_channels; c++) {
      for (var ky = 0u; ky < params.kernel_height; ky++) {
        let row = row_of(image + c * plane, place, ky);
        let at = weights_start + i32(c) * params.of_channel + i32(ky) * params.of_y + i32(tap) * params.of_x;
        let a = inputs_of(row, span.a, span.a_there);
        add_tap(&sums, a, at, last);
        if (TAPS > 1u && (WHOLE || left > 1u)) {
          let b = inputs_behind(row, span.b, span.b_there);
          add_tap(&sums, vec4<f32>(a.yzw, b.x), at + params.of_x, last);
          if (TAPS > 2u && (WHOLE || left > 2u)) { add_tap(&sums, vec4<f32>(a.zw, b.xy), at + 2 * params.of_x, last); }
          if (TAPS > 3u && (WHOLE || left > 3u)) { add_tap(&sums, vec4<f32>(a.w, b.xyz), at + 3 * params.of_x, last); }
          if (TAPS > 4u && (WHOLE || left > 4u)) { add_tap(&sums, b, at + 4 * params.of_x, last); }
        }
      }
    }
  }
  let o = share.group * params.group_outputs + share.first_output;
  store(place, o, sums.s0);
  if (OUT > 1u) {
    if (last >= 1) { store(place, o + 1u, sums.s1); }
    if (last >= 2) { store(place, o + 2u, sums.s2); }
    if (last >= 3) { store(place, o + 3u, sums.s3); }
  }
  if (OUT > 4u) {
    if (last >= 4) { store(place, o + 4u, sums.s4); }
    if (last >= 5) { store(place, o + 5u, sums.s5); }
    if (last >= 6) { store(place, o + 6u, sums.s6); }
    if (last >= 7) { store(place, o + 7u, sums.s7); }
  }
}

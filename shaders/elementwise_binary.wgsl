// out[i] = f(a[i], b[i]) with NumPy's broadcasting: a stride of 0 repeats an operand along an axis. `scalar` is vec4<f32> where the
// innermost axis of all three is contiguous and a multiple of four; size, extents and strides then count vec4s.
// size reads of each operand, size writes.
#import index
#import axes

const WIDTH: u32 = 64u;
// 0 add, 1 subtract, 2 multiply, 3 divide, 4 divide with 0 where b is 0, 5 maximum, 6 minimum, 7 max(a + b, 0)
const FUNCTION: u32 = 0u;
// trailing axes in use; 0: all operands have the same layout
const AXES: u32 = 8u;
alias scalar = f32;

struct Params {
  size: u32,
  shape_high: vec4<u32>,
  shape_low: vec4<u32>,
  stride_a_high: vec4<u32>,
  stride_a_low: vec4<u32>,
  stride_b_high: vec4<u32>,
  stride_b_low: vec4<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<scalar>;
@group(0) @binding(2) var<storage, read> b: array<scalar>;
@group(0) @binding(3) var<storage, read_write> out: array<scalar>;

fn apply(x: scalar, y: scalar) -> scalar {
  switch FUNCTION {
    case 0u: { return x + y; }
    case 1u: { return x - y; }
    case 2u: { return x * y; }
    case 3u: { return x / y; }
    case 4u: { return select(x / y, scalar(0.0), y == scalar(0.0)); }
    case 5u: { return max(x, y); }
    case 6u: { return min(x, y); }
    default: { return max(x + y, scalar(0.0)); }
  }
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(group, groups) * WIDTH + lane;
  if (i >= params.size) { return; }
  if (AXES == 0u) {
    out[i] = apply(a[i], b[i]);
    return;
  }
  let stride_a = Axes(params.stride_a_high, params.stride_a_low);
  let stride_b = Axes(params.stride_b_high, params.stride_b_low);
  let from_a = strided_offset(i, AXES, params.shape_high, params.shape_low, stride_a);
  let from_b = strided_offset(i, AXES, params.shape_high, params.shape_low, stride_b);
  out[i] = apply(a[from_a], b[from_b]);
}

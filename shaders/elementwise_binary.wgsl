// out[i] = f(a[i], b[i]) with NumPy's broadcasting: a stride of 0 repeats an operand along an axis. size reads of each
// operand, size writes.
#import index

const WIDTH: u32 = 64u;
// 0 add, 1 subtract, 2 multiply, 3 divide, 4 divide with 0 where b is 0, 5 maximum, 6 minimum
const FUNCTION: u32 = 0u;
// trailing axes in use; 0: all operands have the same layout
const AXES: u32 = 8u;

struct Params {
  size: u32,
  shape: array<vec4<u32>, 2>,
  stride_a: array<vec4<u32>, 2>,
  stride_b: array<vec4<u32>, 2>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

fn apply(x: f32, y: f32) -> f32 {
  switch FUNCTION {
    case 0u: { return x + y; }
    case 1u: { return x - y; }
    case 2u: { return x * y; }
    case 3u: { return x / y; }
    case 4u: { return select(x / y, 0.0, y == 0.0); }
    case 5u: { return max(x, y); }
    default: { return min(x, y); }
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
  var rest = i;
  var ia = 0u;
  var ib = 0u;
  for (var k = 0u; k < AXES; k++) {
    let axis = 7u - k;
    let extent = params.shape[axis / 4u][axis % 4u];
    let at = rest % extent;
    ia += at * params.stride_a[axis / 4u][axis % 4u];
    ib += at * params.stride_b[axis / 4u][axis % 4u];
    rest /= extent;
  }
  out[i] = apply(a[ia], b[ib]);
}

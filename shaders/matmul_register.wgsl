// C[b] = activation(alpha · op(A[b]) · op(B[b]) + bias), every invocation a 4×4 tile in registers, no workgroup memory.
// A is rows×inner (inner×rows with TRANSPOSE_A), B is inner×columns (columns×inner with TRANSPOSE_B), row-major, f32.
// flops 2·batch·rows·columns·inner; reads: A columns/4 times, B rows/4 times, through the cache.
#import activation

const TRANSPOSE_A: bool = false;
const TRANSPOSE_B: bool = false;

struct Params {
  rows: u32,
  columns: u32,
  inner: u32,
  // elements between the matrices of a batch; 0 shares one
  stride_a: u32,
  stride_b: u32,
  stride_out: u32,
  alpha: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

fn row_of_a(base: u32, row: u32) -> u32 {
  if (TRANSPOSE_A) { return base + row; }
  return base + row * params.inner;
}

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let row = id.y * 4u;
  let column = id.x * 4u;
  if (row >= params.rows || column >= params.columns) { return; }
  // edges: clamp what is read, guard what is written
  let rows = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(params.rows - 1u));
  let columns = min(vec4<u32>(column, column + 1u, column + 2u, column + 3u), vec4<u32>(params.columns - 1u));
  let base_a = id.z * params.stride_a;
  let base_b = id.z * params.stride_b;
  let step_a = select(1u, params.rows, TRANSPOSE_A);
  let step_b = select(params.columns, 1u, TRANSPOSE_B);
  let at_a = vec4<u32>(base_a) + rows * select(params.inner, 1u, TRANSPOSE_A);
  let at_b = vec4<u32>(base_b) + columns * select(1u, params.inner, TRANSPOSE_B);
  var sum0 = vec4<f32>();
  var sum1 = vec4<f32>();
  var sum2 = vec4<f32>();
  var sum3 = vec4<f32>();
  for (var k = 0u; k < params.inner; k++) {
    let ia = at_a + vec4<u32>(k * step_a);
    let ib = at_b + vec4<u32>(k * step_b);
    let right = vec4<f32>(b[ib.x], b[ib.y], b[ib.z], b[ib.w]);
    sum0 += a[ia.x] * right;
    sum1 += a[ia.y] * right;
    sum2 += a[ia.z] * right;
    sum3 += a[ia.w] * right;
  }
  let sums = array<vec4<f32>, 4>(sum0, sum1, sum2, sum3);
  for (var i = 0u; i < 4u && row + i < params.rows; i++) {
    for (var j = 0u; j < 4u && column + j < params.columns; j++) {
      out[id.z * params.stride_out + (row + i) * params.columns + column + j] = params.alpha * sums[i][j];
    }
  }
}

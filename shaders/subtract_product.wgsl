// X −= D·V in place, row-major, for few terms: an invocation has 4 rows of 4 columns. `columns` are whole vec4s. Reads and
// writes X once; 2·rows·columns·inner flops.
#import index

const WIDTH: u32 = 64u;

struct Params {
  rows: u32,
  // in vec4s
  columns: u32,
  inner: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> d: array<f32>;
@group(0) @binding(2) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> x: array<vec4<f32>>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let strips = (params.columns + WIDTH - 1u) / WIDTH;
  let tile = flat_workgroup(group, groups);
  let row = 4u * (tile / strips);
  let column = (tile % strips) * WIDTH + lane;
  if (row >= params.rows || column >= params.columns) { return; }
  let last = params.rows - 1u;
  let n = params.inner;
  let at = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(last));
  var a = vec4<f32>(0.0);
  var b = vec4<f32>(0.0);
  var c = vec4<f32>(0.0);
  var e = vec4<f32>(0.0);
  for (var k = 0u; k < n; k++) {
    let y = v[k * params.columns + column];
    a += d[at.x * n + k] * y;
    b += d[at.y * n + k] * y;
    c += d[at.z * n + k] * y;
    e += d[at.w * n + k] * y;
  }
  x[at.x * params.columns + column] -= a;
  if (row + 1u <= last) { x[at.y * params.columns + column] -= b; }
  if (row + 2u <= last) { x[at.z * params.columns + column] -= c; }
  if (row + 3u <= last) { x[at.w * params.columns + column] -= e; }
}

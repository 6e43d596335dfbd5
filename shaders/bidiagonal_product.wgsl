// t = A·v over the rows and columns behind k, where k = state[0] − 1 is the current step and v is row k of `v`. A workgroup
// computes ROWS elements of t; its WIDTH invocations share the columns. Cost: (n − k)² read, 2·(n − k)² flops.
#import index

const WIDTH: u32 = 64u;
const ROWS: u32 = 8u;

struct Params {
  n: u32,
  stride: u32,
  // the most rows and columns that any replayed step has left; the grid has workgroups for that many
  left: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> matrix: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> state: array<u32>;
@group(0) @binding(4) var<storage, read_write> t: array<f32>;

var<workgroup> sums: array<array<f32, WIDTH>, ROWS>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let k = max(state[0], 1u) - 1u;
  let first = k + 1u + flat_workgroup(group, groups) * ROWS;
  let quads = params.stride / 4u;
  let last = params.n - 1u;
  for (var r = 0u; r < ROWS; r += 4u) {
    let i = min(first + r + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(last)) * quads;
    var sum = vec4<f32>(0.0);
    for (var start = (k + 1u) / 4u + lane; start < quads; start += 16u * WIDTH) {
      var run = vec4<f32>(0.0);
      for (var j = start; j < min(quads, start + 16u * WIDTH); j += WIDTH) {
        let x = v[k * quads + j];
        run += vec4<f32>(dot(matrix[i.x + j], x), dot(matrix[i.y + j], x), dot(matrix[i.z + j], x), dot(matrix[i.w + j], x));
      }
      sum += run;
    }
    sums[r][lane] = sum.x;
    sums[r + 1u][lane] = sum.y;
    sums[r + 2u][lane] = sum.z;
    sums[r + 3u][lane] = sum.w;
  }
  workgroupBarrier();
  for (var r = lane; r < ROWS; r += WIDTH) {
    if (first + r <= last) {
      var sum = 0.0;
      for (var u = 0u; u < WIDTH; u++) { sum += sums[r][u]; }
      t[first + r] = sum;
    }
  }
}

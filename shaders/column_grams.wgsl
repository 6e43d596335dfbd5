// Shares of the Gram matrices of up to 8 matrices (rows×R each), which lie in one buffer. A workgroup takes `chunk` rows of one of them,
// and writes its share to `parts`, R·R + 1 values as hals_update does, of which the last is 0.
// Cost: 2·R² flops a row.

const WIDTH: u32 = 32u;

struct Params {
  rank: u32,
  chunk: u32,
  count: u32,
  // workgroups of all matrices
  groups: u32,
  // of each matrix: its rows, and where it begins
  rows: array<vec4<u32>, 2>,
  starts: array<vec4<u32>, 2>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> stack: array<f32>;
@group(0) @binding(2) var<storage, read_write> parts: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let n = params.rank;
  var index = 0u;
  var place = group.x;
  for (; index + 1u < params.count; index++) {
    let groups = (params.rows[index / 4u][index % 4u] + params.chunk - 1u) / params.chunk;
    if (place < groups) { break; }
    place -= groups;
  }
  let rows = params.rows[index / 4u][index % 4u];
  let start = params.starts[index / 4u][index % 4u];
  let last = min((place + 1u) * params.chunk, rows);
  let base = group.x * (n * n + 1u);
  for (var e = lane; e < n * n; e += WIDTH) {
    var sum = 0.0;
    for (var row = place * params.chunk; row < last; row++) {
      sum += stack[start + row * n + e / n] * stack[start + row * n + e % n];
    }
    parts[base + e] = sum;
  }
  if (lane == 0u) { parts[base + n * n] = 0.0; }
}

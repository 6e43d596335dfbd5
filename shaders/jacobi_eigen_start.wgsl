// The start values of jacobi_eigen_round: work = ½(A + Aᵀ) / largest |A| and rotation = I, both players×players. players is n, or
// n + 1 for odd n, where work gets a row and a column of zeros. n² read twice, 2n² written.
#import index

const WIDTH: u32 = 64u;

struct Params {
  n: u32,
  players: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> largest: array<f32>;
@group(0) @binding(3) var<storage, read_write> work: array<f32>;
@group(0) @binding(4) var<storage, read_write> rotation: array<vec4<f32>>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let e = flat_workgroup(group, groups) * WIDTH + lane;
  if (e >= params.players * params.players) { return; }
  let row = e / params.players;
  let column = e % params.players;
  let scale = select(1.0, largest[0], largest[0] > 0.0);
  var value = 0.0;
  if (row < params.n && column < params.n) {
    value = 0.5 * (a[row * params.n + column] / scale) + 0.5 * (a[column * params.n + row] / scale);
  }
  work[e] = value;
  let quads = (params.players + 3u) / 4u;
  if (column < quads) {
    let columns = vec4<u32>(0u, 1u, 2u, 3u) + 4u * column;
    rotation[row * quads + column] = select(vec4<f32>(0.0), vec4<f32>(1.0), columns == vec4<u32>(row));
  }
}

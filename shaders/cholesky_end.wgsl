// R and R⁻¹ of n×n from the work of a Cholesky factorisation by blocks: R is its upper half, R⁻ᵀ its lower one, with a diagonal of one
// over that of R. With UNIT they are made those of G itself: R·diag(norms) and diag(norms)⁻¹·R⁻¹.
#import index
#import gram_entry

const WIDTH: u32 = 64u;
const BLOCK: u32 = 32u;

struct Params {
  n: u32,
  // elements of a row of the work
  stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read> work: array<f32>;
@group(0) @binding(3) var<storage, read_write> r: array<f32>;
@group(0) @binding(4) var<storage, read_write> inverse: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let n = params.n;
  let e = flat_workgroup(group, groups) * WIDTH + lane;
  if (e >= n * n) { return; }
  let row = e / n;
  let column = e % n;
  r[e] = 0.0;
  var value = 0.0;
  if (row <= column) {
    r[e] = work[row * params.stride + column] * norm_of(column);
    let beyond = params.stride + column % BLOCK;
    value = work[select(column, beyond, row / BLOCK == column / BLOCK) * params.stride + row];
  }
  inverse[e] = divided(value, norm_of(row));
}

// Householder QR of blocks of rows of row-major matrices A (rows×columns, columns = n ≤ REFLECTIONS) that follow each other: A_b = Q_b·R_b,
// a workgroup a block. A matrix has `blocks` blocks; block i of it begins at row i·height and has `height` rows, the last one perhaps
// fewer. Every block is scaled to a largest entry near 2^30. With RAGGED, matrix k has heights[k] of the rows, and the rows below are
// neither read nor written.
// FACTOR computes the reflections and R: r holds the blocks' n×n triangles one below the other, with diagonals ≥ 0. BASIS applies
// the reflections: with START to the identity, so that q = Q; otherwise to p, n×width a block, so that q = Q·p. Without BASIS,
// `factors` gets (β, τ, inverse) of the reflections; without FACTOR they are read from there.
// `work` holds the reflections' vectors and then the basis of a block, in columns.
// With GUARDED nothing happens to matrix k where state[k] = 1, which says that CholeskyQR succeeded (qr_check).
// 2·rows·columns² flops for FACTOR, and as many for BASIS of the identity.
#import householder
#import index
#import power_of_two

const WIDTH: u32 = 256u;
const ACROSS: u32 = 32u;
const REFLECTIONS: u32 = 64u;
const FACTOR: bool = true;
const BASIS: bool = true;
const START: bool = true;
const GUARDED: bool = false;
const RAGGED: bool = false;

struct Params {
  rows: u32,
  columns: u32,
  height: u32,
  // of a matrix
  blocks: u32,
  // of all matrices
  count: u32,
  // columns of q, at most n; n with START
  width: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> p: array<f32>;
@group(0) @binding(3) var<storage, read_write> work: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> factors: array<f32>;
@group(0) @binding(5) var<storage, read_write> q: array<f32>;
@group(0) @binding(6) var<storage, read_write> r: array<f32>;
@group(0) @binding(7) var<storage, read> state: array<u32>;
@group(0) @binding(8) var<storage, read> heights: array<u32>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let b = flat_workgroup(group, groups);
  if (b >= params.count) { return; }
  let matrix = b / params.blocks;
  if (GUARDED) {
    if (state[matrix] == 1u) { return; }
  }
  let n = params.columns;
  let width = params.width;
  let above = (b % params.blocks) * params.height;
  let first = matrix * params.rows + above;
  var rows = params.rows;
  if (RAGGED) { rows = heights[matrix]; }
  let bottom = min(params.height, max(rows, above) - above);
  let quads = (bottom + 3u) / 4u;
  let base = b * 2u * n * ((params.height + 3u) / 4u);
  let pivots = min(n, bottom);
  var scale = 1.0;
  if (FACTOR) {
    var largest = 0.0;
    for (var e = lane; e < bottom * n; e += WIDTH) { largest = max(largest, abs(a[first * n + e])); }
    squares[lane] = largest;
    workgroupBarrier();
    for (var i = 0u; i < WIDTH; i++) { largest = max(largest, squares[i]); }
    scale = scale_of(largest);
  } else {
    for (var k = lane; k < pivots; k += WIDTH) {
      let at = 3u * (b * n + k);
      reflectors[k] = vec3<f32>(factors[at], factors[at + 1u], factors[at + 2u]);
    }
    workgroupBarrier();
  }
  for (var e = lane; e < quads * n; e += WIDTH) {
    let j = e % n;
    var column = vec4<f32>(0.0);
    var unit = vec4<f32>(0.0);
    for (var c = 0u; c < 4u; c++) {
      let i = 4u * (e / n) + c;
      if (FACTOR && i < bottom) { column[c] = a[(first + i) * n + j] * scale; }
      if (START) { unit[c] = select(0.0, 1.0, i == j); }
      else if (BASIS && i < pivots && j < width) {
        unit[c] = p[(b * n + i) * width + j] * select(1.0, -1.0, reflectors[i].x < 0.0);
      }
    }
    if (FACTOR) { work[base + j * quads + e / n] = column; }
    if (BASIS) { work[base + (n + j) * quads + e / n] = unit; }
  }
  storageBarrier();
  workgroupBarrier();
  // first the reflections in order on the matrix, then in reverse order on the basis
  for (var step = select(pivots, 0u, FACTOR); step < select(pivots, 2u * pivots, BASIS); step++) {
    let known = step >= pivots;
    let k = select(step, 2u * pivots - 1u - step, known);
    let begin = select(k + 1u, n + select(0u, k, START), known);
    reflect(lane, base, quads, k, k, begin, select(n, n + width, known), known);
  }
  if (FACTOR) {
    for (var e = lane; e < n * n; e += WIDTH) {
      let i = e / n;
      let j = e % n;
      var value = 0.0;
      if (i < pivots && j >= i) {
        let beta = reflectors[i].x;
        value = select(element(base + j * quads, i) * select(1.0, -1.0, beta < 0.0), abs(beta), j == i);
      }
      r[b * n * n + e] = value / scale;
    }
    if (!BASIS) {
      for (var e = lane; e < 3u * pivots; e += WIDTH) { factors[b * 3u * n + e] = reflectors[e / 3u][e % 3u]; }
    }
  }
  if (BASIS) {
    for (var e = lane; e < bottom * width; e += WIDTH) {
      let j = e % width;
      let flip = START && j < pivots && reflectors[min(j, REFLECTIONS - 1u)].x < 0.0;
      q[first * width + e] = element(base + (n + j) * quads, e / width) * select(1.0, -1.0, flip);
    }
  }
}

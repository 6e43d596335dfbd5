// M[i, r] = Σ_o W[o, r] Σ_k X[o, i, k] · F[k, r]: the matricised tensor times the Khatri-Rao product of the factors, without
// either in memory. `i` runs over the kept modes, `k` over the contracted mode that lies closest (the last one, or with
// TRANSPOSED the one in front of the kept modes), `o` over the other contracted modes, and W[o, r] is the product of their
// factors' rows. X lies as before×rows×middle×inner (TRANSPOSED: outer×inner×rows). Every invocation sums a 4×4 tile in
// registers over its share of o and k; `out` holds splits×rows×columns.
// flops 2·size·R; reads X once from memory (R/4 times through the cache).
#import index

const TRANSPOSED: bool = false;
// how many factors make W
const WEIGHTS: u32 = 1u;

struct Params {
  rows: u32,
  columns: u32,
  inner: u32,
  outer: u32,
  // contracted modes between the kept ones and the inner one
  middle: u32,
  inner_chunk: u32,
  outer_chunk: u32,
  splits: u32,
  // of the modes that `o` runs over
  extents: array<vec4<u32>, 2>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> factor: array<f32>;
@group(0) @binding(3) var<storage, read> weight0: array<f32>;
@group(0) @binding(4) var<storage, read> weight1: array<f32>;
@group(0) @binding(5) var<storage, read> weight2: array<f32>;
@group(0) @binding(6) var<storage, read> weight3: array<f32>;
@group(0) @binding(7) var<storage, read> weight4: array<f32>;
@group(0) @binding(8) var<storage, read_write> out: array<f32>;

// W[o, columns]
fn weight_of(o: u32, columns: vec4<u32>) -> vec4<f32> {
  var w = vec4<f32>(1.0);
  var rest = o;
  if (WEIGHTS > 4u) {
    let at = vec4<u32>(rest % params.extents[1].x * params.columns) + columns;
    w *= vec4<f32>(weight4[at.x], weight4[at.y], weight4[at.z], weight4[at.w]);
    rest /= params.extents[1].x;
  }
  if (WEIGHTS > 3u) {
    let at = vec4<u32>(rest % params.extents[0].w * params.columns) + columns;
    w *= vec4<f32>(weight3[at.x], weight3[at.y], weight3[at.z], weight3[at.w]);
    rest /= params.extents[0].w;
  }
  if (WEIGHTS > 2u) {
    let at = vec4<u32>(rest % params.extents[0].z * params.columns) + columns;
    w *= vec4<f32>(weight2[at.x], weight2[at.y], weight2[at.z], weight2[at.w]);
    rest /= params.extents[0].z;
  }
  if (WEIGHTS > 1u) {
    let at = vec4<u32>(rest % params.extents[0].y * params.columns) + columns;
    w *= vec4<f32>(weight1[at.x], weight1[at.y], weight1[at.z], weight1[at.w]);
    rest /= params.extents[0].y;
  }
  if (WEIGHTS > 0u) {
    let at = vec4<u32>(rest * params.columns) + columns;
    w *= vec4<f32>(weight0[at.x], weight0[at.y], weight0[at.z], weight0[at.w]);
  }
  return w;
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let tile_columns = (params.columns + 3u) / 4u;
  let tile_rows = (params.rows + 3u) / 4u;
  var tile = flat_workgroup(group, groups) * 64u + local;
  let column = tile % tile_columns * 4u;
  tile /= tile_columns;
  let row = tile % tile_rows * 4u;
  let split = tile / tile_rows;
  if (split >= params.splits) { return; }
  let inner_parts = (params.inner + params.inner_chunk - 1u) / params.inner_chunk;
  let inner_start = split % inner_parts * params.inner_chunk;
  let outer_start = split / inner_parts * params.outer_chunk;
  let inner_stop = min(inner_start + params.inner_chunk, params.inner);
  let outer_stop = min(outer_start + params.outer_chunk, params.outer);
  // edges: clamp what is read, guard what is written
  let rows = min(vec4<u32>(row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.rows - 1u));
  let columns = min(vec4<u32>(column) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.columns - 1u));
  let after = params.middle * params.inner;
  let row_stride = select(after, 1u, TRANSPOSED);
  let inner_stride = select(1u, params.rows, TRANSPOSED);
  var sums: array<vec4<f32>, 4>;
  for (var o = outer_start; o < outer_stop; o++) {
    var base = o * params.inner * params.rows;
    if (!TRANSPOSED) { base = o / params.middle * params.rows * after + o % params.middle * params.inner; }
    var at = vec4<u32>(base + inner_start * inner_stride) + rows * row_stride;
    var f = vec4<u32>(inner_start * params.columns) + columns;
    var part0 = vec4<f32>();
    var part1 = vec4<f32>();
    var part2 = vec4<f32>();
    var part3 = vec4<f32>();
    for (var k = inner_start; k < inner_stop; k++) {
      let right = vec4<f32>(factor[f.x], factor[f.y], factor[f.z], factor[f.w]);
      part0 += x[at.x] * right;
      part1 += x[at.y] * right;
      part2 += x[at.z] * right;
      part3 += x[at.w] * right;
      at += vec4<u32>(inner_stride);
      f += vec4<u32>(params.columns);
    }
    let w = weight_of(o, columns);
    sums[0] += w * part0;
    sums[1] += w * part1;
    sums[2] += w * part2;
    sums[3] += w * part3;
  }
  let base = split * params.rows * params.columns;
  for (var i = 0u; i < 4u && row + i < params.rows; i++) {
    for (var j = 0u; j < 4u && column + j < params.columns; j++) {
      out[base + (row + i) * params.columns + column + j] = sums[i][j];
    }
  }
}

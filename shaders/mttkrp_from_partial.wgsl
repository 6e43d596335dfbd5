// M[i, r] = Σ_{b,a} P[b, i, a, r] · W[(b, a), r]: completes an MTTKRP from a partial product P of before×rows×after×R (`x`), in which
// some modes are summed already. W[(b, a), r] is the product of the elements r of the factors' rows, for the modes in `before` and
// `after`. SLICES invocations share the sum of an (i, r), and splits divide it further; `out` holds splits×rows×columns.
// flops 2·size of P; reads P once.
#import ahead
#import index

// how many factors W is the product of
const WEIGHTS: u32 = 1u;
const WIDTH: u32 = 64u;
const SLICES: u32 = 1u;
const OUTPUTS: u32 = WIDTH / SLICES;

struct Params {
  rows: u32,
  columns: u32,
  after: u32,
  outer: u32,
  outer_chunk: u32,
  splits: u32,
  // extents of the modes that are summed over, in order
  extents: array<vec4<u32>, 2>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight0: array<f32>;
@group(0) @binding(3) var<storage, read> weight1: array<f32>;
@group(0) @binding(4) var<storage, read> weight2: array<f32>;
@group(0) @binding(5) var<storage, read> weight3: array<f32>;
@group(0) @binding(6) var<storage, read> weight4: array<f32>;
@group(0) @binding(7) var<storage, read> weight5: array<f32>;
@group(0) @binding(8) var<storage, read_write> out: array<f32>;

// W[o, column]
fn weight_of(o: u32, column: u32) -> f32 {
  var w = 1.0;
  var rest = o;
  if (WEIGHTS > 5u) {
    w *= weight5[rest % params.extents[1].y * params.columns + column];
    rest /= params.extents[1].y;
  }
  if (WEIGHTS > 4u) {
    w *= weight4[rest % params.extents[1].x * params.columns + column];
    rest /= params.extents[1].x;
  }
  if (WEIGHTS > 3u) {
    w *= weight3[rest % params.extents[0].w * params.columns + column];
    rest /= params.extents[0].w;
  }
  if (WEIGHTS > 2u) {
    w *= weight2[rest % params.extents[0].z * params.columns + column];
    rest /= params.extents[0].z;
  }
  if (WEIGHTS > 1u) {
    w *= weight1[rest % params.extents[0].y * params.columns + column];
    rest /= params.extents[0].y;
  }
  if (WEIGHTS > 0u) { w *= weight0[rest * params.columns + column]; }
  return w;
}

var<workgroup> slices: array<f32, WIDTH>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  var item = flat_workgroup(group, groups) * OUTPUTS + local % OUTPUTS;
  let column = item % params.columns;
  item /= params.columns;
  let row = item % params.rows;
  let split = item / params.rows;
  let start = split * params.outer_chunk;
  // no terms behind the last split
  let stop = select(0u, min(start + params.outer_chunk, params.outer), split < params.splits);
  var sum = 0.0;
  var run = 0.0;
  for (var first = start + local / OUTPUTS; first < stop; first += SLICES * AHEAD) {
    var taken: array<f32, AHEAD>;
    for (var u = 0u; u < AHEAD; u++) {
      let o = min(first + u * SLICES, stop - 1u);
      let at = (o / params.after * params.rows + row) * params.after + o % params.after;
      let value = x[at * params.columns + column] * weight_of(o, column);
      taken[u] = select(0.0, value, first + u * SLICES < stop);
    }
    for (var u = 0u; u < AHEAD; u++) {
      run += taken[u];
      if ((first + u * SLICES) % 64u >= 64u - SLICES) {
        sum += run;
        run = 0.0;
      }
    }
  }
  sum += run;
  if (SLICES > 1u) {
    slices[local] = sum;
    workgroupBarrier();
    if (local >= OUTPUTS) { return; }
    for (var slice = 1u; slice < SLICES; slice++) { sum += slices[slice * OUTPUTS + local]; }
  }
  if (split < params.splits) { out[(split * params.rows + row) * params.columns + column] = sum; }
}

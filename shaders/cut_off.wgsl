// out[i] = values[i] where |values[i]| > rcond · max |values|, else 0. One workgroup; n read twice.
const WIDTH: u32 = 64u;

struct Params {
  n: u32,
  rcond: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

var<workgroup> largest: array<f32, WIDTH>;

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
  var magnitude = 0.0;
  for (var i = lane; i < params.n; i += WIDTH) { magnitude = max(magnitude, abs(values[i])); }
  largest[lane] = magnitude;
  for (var width = WIDTH / 2u; width > 0u; width /= 2u) {
    workgroupBarrier();
    if (lane < width) { largest[lane] = max(largest[lane], largest[lane + width]); }
  }
  workgroupBarrier();
  let bound = params.rcond * largest[0];
  for (var i = lane; i < params.n; i += WIDTH) {
    out[i] = select(0.0, values[i], abs(values[i]) > bound);
  }
}

// out[e] = activation(alpha·Σ_s parts[s, e] + bias[e mod columns]): adds up split sums (splits×size) in a fixed order, first runs of 8,
// then the runs. SLICES > 1 invocations share the sum of an output, for many splits. splits·size read, size written.
#import activation
#import ahead
#import index

const BIAS: bool = false;
const WIDTH: u32 = 64u;
const SLICES: u32 = 1u;
const OUTPUTS: u32 = WIDTH / SLICES;

struct Params {
  size: u32,
  columns: u32,
  splits: u32,
  alpha: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> parts: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

var<workgroup> slices: array<f32, WIDTH>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let e = flat_workgroup(group, groups) * OUTPUTS + local % OUTPUTS;
  var sum = 0.0;
  if (e < params.size) {
    for (var s = 8u * (local / OUTPUTS); s < params.splits; s += 8u * SLICES) {
      var run = 0.0;
      for (var t = s; t < min(s + 8u, params.splits); t += AHEAD) {
        var taken: array<f32, AHEAD>;
        for (var u = 0u; u < AHEAD; u++) {
          let part = parts[min(t + u, params.splits - 1u) * params.size + e];
          taken[u] = select(0.0, part, t + u < params.splits);
        }
        for (var u = 0u; u < AHEAD; u++) { run += taken[u]; }
      }
      sum += run;
    }
  }
  if (SLICES > 1u) {
    slices[local] = sum;
    workgroupBarrier();
    if (local >= OUTPUTS) { return; }
    for (var slice = 1u; slice < SLICES; slice++) { sum += slices[slice * OUTPUTS + local]; }
  }
  if (e >= params.size) { return; }
  var value = params.alpha * sum;
  if (BIAS) { value += bias[e % params.columns]; }
  out[e] = activate(value);
}

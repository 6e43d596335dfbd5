// out = activation(x·Aᵀ·Bᵀ + bias), x rows×inputs, A rank×inputs, B outputs×rank: a dense layer of low rank in one dispatch.
// A workgroup takes four samples. First `parts` lanes compute each component of A·x, every lane over `share` inputs; then every
// lane computes outputs. Cost: A and B read once per four samples, x once; 2·rows·rank·(inputs + outputs) flops.
#import activation
#import index

const WIDTH: u32 = 64u;
const BIAS: bool = true;
// the most values of parts·rank, which workgroup memory has room for
const RANK: u32 = 64u;
// terms that are summed before they are added to the total, so that long sums keep their digits
const CHUNK: u32 = 256u;

struct Params {
  rows: u32,
  inputs: u32,
  rank: u32,
  outputs: u32,
  // lanes that share a component
  parts: u32,
  // inputs of such a lane
  share: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> a: array<f32>;
@group(0) @binding(3) var<storage, read> b: array<f32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

var<workgroup> hidden: array<vec4<f32>, RANK>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let first = 4u * flat_workgroup(group, groups);
  // samples behind the last one repeat it, and are not written
  let samples = min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.rows - 1u)) * params.inputs;
  for (var task = lane; task < params.rank * params.parts; task += WIDTH) {
    let component = task / params.parts;
    let start = (task % params.parts) * params.share;
    let stop = min(start + params.share, params.inputs);
    var total = vec4<f32>();
    for (var chunk = start; chunk < stop; chunk += CHUNK) {
      var sum = vec4<f32>();
      for (var i = chunk; i < min(chunk + CHUNK, stop); i++) {
        sum += a[component * params.inputs + i]
          * vec4<f32>(x[samples.x + i], x[samples.y + i], x[samples.z + i], x[samples.w + i]);
      }
      total += sum;
    }
    hidden[task] = total;
  }
  workgroupBarrier();
  for (var o = lane; o < params.outputs; o += WIDTH) {
    var y = vec4<f32>();
    for (var r = 0u; r < params.rank; r++) {
      var h = vec4<f32>();
      for (var part = 0u; part < params.parts; part++) { h += hidden[r * params.parts + part]; }
      y += b[o * params.rank + r] * h;
    }
    if (BIAS) { y += bias[o]; }
    for (var i = 0u; i < min(4u, params.rows - first); i++) { out[(first + i) * params.outputs + o] = activate(y[i]); }
  }
}

// out = activation(x·Aᵀ·Bᵀ + bias), x rows×inputs, A rank×inputs, B outputs×rank: a dense layer of low rank in one dispatch. A
// workgroup takes four samples: PARTS lanes a component of the rank sum over shares of the inputs, then every lane takes
// outputs. Reads A and B once per four samples, x once; flops 2·rows·rank·(inputs + outputs).
#import activation
#import index

const WIDTH: u32 = 64u;
const BIAS: bool = true;
// components that there is room for
const RANK: u32 = 64u;
// so long are sums before they are added to the total: digits
const CHUNK: u32 = 256u;

struct Params {
  rows: u32,
  inputs: u32,
  rank: u32,
  outputs: u32,
  // lanes that share a component, and inputs of each
  parts: u32,
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
  // what goes on behind the last sample repeats it, and is not written
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

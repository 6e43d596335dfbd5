// out[i] = alpha·f(x[i]) + beta. `scalar` is vec4<f32> where the length is a multiple of four. size read and written once.
#import index

const WIDTH: u32 = 64u;
// f, in the order of `unaryFunctions` in src/ops/elementwise.ts
const FUNCTION: u32 = 0u;
alias scalar = f32;

struct Params {
  size: u32,
  alpha: f32,
  beta: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>;
@group(0) @binding(2) var<storage, read_write> out: array<scalar>;

fn apply(v: scalar) -> scalar {
  switch FUNCTION {
    case 1u: { return max(v, scalar(0.0)); }
    case 2u: { return sqrt(v); }
    case 3u: { return v * v; }
    case 4u: { return exp(v); }
    case 5u: { return log(v); }
    case 6u: { return abs(v); }
    case 7u: { return scalar(1.0) / v; }
    case 8u: { return sign(v); }
    case 9u: { return tanh(clamp(v, scalar(-20.0), scalar(20.0))); }
    case 10u: { return scalar(1.0) / (scalar(1.0) + exp(-v)); }
    default: { return v; }
  }
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(group, groups) * WIDTH + lane;
  if (i < params.size) { out[i] = params.alpha * apply(x[i]) + params.beta; }
}

// out[i] = what CHAINS·4 fused multiply-adds a round leave: registers alone, nothing loaded in the loop.
// 8·CHAINS·rounds flops an invocation.
#import index

const WIDTH: u32 = 64u;
const CHAINS: u32 = 8u;

struct Params {
  rounds: u32,
  factor: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(group, groups) * WIDTH + lane;
  // factors that no compiler knows; |factor| < 1 keeps everything finite
  let a = vec4<f32>(params.factor);
  let b = vec4<f32>(f32(lane) * 1e-3);
  var chains: array<vec4<f32>, CHAINS>;
  for (var c = 0u; c < CHAINS; c++) { chains[c] = vec4<f32>(f32(c)); }
  for (var round = 0u; round < params.rounds; round++) {
    for (var c = 0u; c < CHAINS; c++) { chains[c] = fma(chains[c], a, b); }
  }
  var sum = vec4<f32>(0.0);
  for (var c = 0u; c < CHAINS; c++) { sum += chains[c]; }
  out[i] = sum.x + sum.y + sum.z + sum.w;
}

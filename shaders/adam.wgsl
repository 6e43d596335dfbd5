// Adam (Kingma & Ba 2015) with weight decay added to the gradient, or, DECOUPLED, to the weights (Loshchilov & Hutter 2019):
//   m = β₁m + (1−β₁)g,  v = β₂v + (1−β₂)g²,  w −= rate · (m/(1−β₁ᵗ)) / (√(v/(1−β₂ᵗ)) + ε).
// The rate of step t, from 0, rises over warm_steps W as rate · (t + 1)/W. With decay_steps T above 0 it falls as
// rate · (1 + cos(πt/T))/2, to 0 (Loshchilov & Hutter 2017).
// One dispatch updates all `size` parameters of a network, four an invocation. `first` is m, `second` is v.
// Cost: gradient, w, m and v read once; w, m and v written once.
#import index

const WIDTH: u32 = 64u;
const DECOUPLED: bool = false;
const PI: f32 = 3.14159265;

struct Params {
  size: u32,
  rate: f32,
  beta1: f32,
  beta2: f32,
  epsilon: f32,
  weight_decay: f32,
  warm_steps: f32,
  decay_steps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gradient: array<vec4<f32>>;
// [step in the epoch, epoch, steps so far, bits of β₁ᵗ, bits of β₂ᵗ]
@group(0) @binding(2) var<storage, read> state: array<u32>;
@group(0) @binding(3) var<storage, read_write> weights: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> first: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> second: array<vec4<f32>>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(group, groups) * WIDTH + lane;
  if (4u * i >= params.size) { return; }
  var w = weights[i];
  var g = gradient[i];
  let step = f32(state[2]);
  let decayed = 0.5 + 0.5 * cos(PI * min(step / max(params.decay_steps, 1.0), 1.0));
  let warmed = min((step + 1.0) / max(params.warm_steps, 1.0), 1.0);
  let rate = params.rate * warmed * select(1.0, decayed, params.decay_steps > 0.0);
  if (DECOUPLED) { w -= rate * params.weight_decay * w; } else { g += params.weight_decay * w; }
  let m = params.beta1 * first[i] + (1.0 - params.beta1) * g;
  let v = params.beta2 * second[i] + (1.0 - params.beta2) * g * g;
  first[i] = m;
  second[i] = v;
  let decay = vec2<f32>(bitcast<f32>(state[3]), bitcast<f32>(state[4]));
  // the last vec4 may reach behind the parameters: the elements there do not change
  let is_parameter = vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.size);
  weights[i] = select(weights[i], w - rate * (m / (1.0 - decay.x)) / (sqrt(v / (1.0 - decay.y)) + params.epsilon), is_parameter);
}

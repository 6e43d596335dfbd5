// E = X − X̂ of several CP models, each as large as X, one after the other: X̂ = Σ_r Π_m A_m[i_m, r]. For small tensors.
// reads X once a model; flops |X|·models·R·N.
#import index
#import gauss_newton

const WIDTH: u32 = 256u;

@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> factors: array<f32>;
@group(0) @binding(3) var<storage, read_write> differences: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let at = flat_workgroup(group, groups) * WIDTH + lane;
  if (at >= params.size * params.models) { return; }
  let model = at / params.size;
  let entry = at % params.size;
  // where the rows of the entry begin
  var rows: array<u32, 8>;
  var rest = entry;
  for (var back = 0u; back < params.modes; back++) {
    let mode = params.modes - 1u - back;
    rows[mode] = place(start_of(mode) + rest % extent_of(mode), model, 0u);
    rest /= extent_of(mode);
  }
  var sum = 0.0;
  for (var r = 0u; r < params.rank; r++) {
    var term = factors[rows[0] + r];
    for (var mode = 1u; mode < params.modes; mode++) { term *= factors[rows[mode] + r]; }
    sum += term;
  }
  differences[at] = x[entry] - sum;
}

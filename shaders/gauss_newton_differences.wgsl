// E = X − X̂ of several CP models, each as large as X, one after the other: X̂ = unit·Σ_r Π_m A_m[i_m, r]. For small tensors. An invocation works on the
// entries of one row along the last mode, on COLUMNS of the terms at a time.
// reads X once a model; flops 2·|X|·models·R.
#import index
#import gauss_newton

const WIDTH: u32 = 64u;
const COLUMNS: u32 = 4u;

@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> factors: array<f32>;
@group(0) @binding(3) var<storage, read_write> differences: array<f32>;
@group(0) @binding(4) var<storage, read> scalars: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let at = flat_workgroup(group, groups) * WIDTH + lane;
  let last = params.modes - 1u;
  let length = extent_of(last);
  let runs = params.size / length;
  if (at >= runs * params.models) { return; }
  let model = at / runs;
  if (scalars[model * PER_MODEL + SLOW] >= ENOUGH_SLOW) { return; }
  let run = at % runs;
  let step = params.models * params.rank;
  for (var first = 0u; first < params.rank; first += COLUMNS) {
    // what the modes before the last one make of each term; nothing for columns beyond the rank
    var products: array<f32, COLUMNS>;
    for (var c = 0u; c < COLUMNS; c++) { products[c] = select(0.0, 1.0, first + c < params.rank); }
    var rest = run;
    for (var back = 1u; back < params.modes; back++) {
      let mode = last - back;
      let row = place(start_of(mode) + rest % extent_of(mode), model, first);
      for (var c = 0u; c < COLUMNS; c++) { products[c] *= factors[row + min(c, params.rank - first - 1u)]; }
      rest /= extent_of(mode);
    }
    var row = place(start_of(last), model, first);
    for (var j = 0u; j < length; j++) {
      var sum = 0.0;
      for (var c = 0u; c < COLUMNS; c++) { sum += products[c] * factors[row + min(c, params.rank - first - 1u)]; }
      let entry = run * length + j;
      let to = model * params.size + entry;
      if (first == 0u) { differences[to] = x[entry] - params.unit * sum; } else { differences[to] -= params.unit * sum; }
      row += step;
    }
  }
}

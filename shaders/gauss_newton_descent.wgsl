// The direction of descent of ½‖E‖², E = X − X̂, for the factors of all modes of several CP models: D_m[i, r] = Σ E[…, i, …]·Π_{k≠m} A_k[i_k, r],
// the MTTKRP of every mode, and ‖E‖² in parts, one for each row of mode 0. A workgroup works on one row of a factor, and on COLUMNS of its columns; an
// invocation on runs along the innermost other mode. For small tensors: reads E once a mode; flops 2·|X|·models·R·N.
#import gauss_newton
#import sum_lanes

const WIDTH: u32 = 64u;
const COLUMNS: u32 = 4u;

@group(0) @binding(1) var<storage, read> differences: array<f32>;
@group(0) @binding(2) var<storage, read> factors: array<f32>;
@group(0) @binding(3) var<storage, read_write> descent: array<f32>;
@group(0) @binding(4) var<storage, read_write> losses: array<f32>;
@group(0) @binding(5) var<storage, read> scalars: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let model = group.y;
  if (scalars[model * PER_MODEL + SLOW] >= ENOUGH_SLOW) { return; }
  let first = group.z * COLUMNS;
  var mode = 0u;
  var row = group.x;
  while (row >= extent_of(mode)) {
    row -= extent_of(mode);
    mode++;
  }
  // the other mode that varies fastest, and how far apart its entries are
  let along = select(params.modes - 1u, params.modes - 2u, mode == params.modes - 1u);
  let length = extent_of(along);
  let step = select(1u, extent_of(params.modes - 1u), mode == params.modes - 1u);
  let runs = params.size / extent_of(mode) / length;
  let row_step = params.models * params.rank;
  var sums: array<f32, COLUMNS>;
  var squares = 0.0;
  for (var run = lane; run < runs; run += WIDTH) {
    // what the remaining modes make of each column, and where the run begins
    var products: array<f32, COLUMNS>;
    for (var c = 0u; c < COLUMNS; c++) { products[c] = 1.0; }
    var start = 0u;
    var stride = 1u;
    var rest = run;
    for (var back = 0u; back < params.modes; back++) {
      let other = params.modes - 1u - back;
      if (other == mode) {
        start += row * stride;
      } else if (other != along) {
        let index = rest % extent_of(other);
        rest /= extent_of(other);
        start += index * stride;
        let at = place(start_of(other) + index, model, first);
        for (var c = 0u; c < COLUMNS; c++) { products[c] *= factors[at + min(c, params.rank - first - 1u)]; }
      }
      stride *= extent_of(other);
    }
    // set by hand: some drivers set a variable to zero when the loop begins only
    var inner: array<f32, COLUMNS>;
    for (var c = 0u; c < COLUMNS; c++) { inner[c] = 0.0; }
    var entry = model * params.size + start;
    var at = place(start_of(along), model, first);
    for (var j = 0u; j < length; j++) {
      let e = differences[entry];
      squares += e * e;
      for (var c = 0u; c < COLUMNS; c++) { inner[c] += e * factors[at + min(c, params.rank - first - 1u)]; }
      entry += step;
      at += row_step;
    }
    for (var c = 0u; c < COLUMNS; c++) { sums[c] += products[c] * inner[c]; }
  }
  for (var c = 0u; c < COLUMNS; c++) {
    let total = sum_lanes(lane, sums[c]);
    if (lane == 0u && first + c < params.rank) { descent[place(start_of(mode) + row, model, first + c)] = total; }
  }
  if (first == 0u && mode == 0u) {
    let total = sum_lanes(lane, squares);
    if (lane == 0u) { losses[model * extent_of(0u) + row] = total; }
  }
}

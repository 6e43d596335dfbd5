// The direction of descent of ½‖E‖², E = X − X̂, for the factors of all modes of several CP models: D_m[i, r] = Σ E[…, i, …]·Π_{k≠m} A_k[i_k, r],
// the MTTKRP of every mode, and ‖E‖² in parts, one for each row of mode 0. A workgroup works on one row of a factor, and on COLUMNS of its columns.
// For small tensors: reads E once a mode; flops |X|·models·R·N².
#import gauss_newton
#import sum_lanes

const WIDTH: u32 = 64u;
const COLUMNS: u32 = 4u;

@group(0) @binding(1) var<storage, read> differences: array<f32>;
@group(0) @binding(2) var<storage, read> factors: array<f32>;
@group(0) @binding(3) var<storage, read_write> descent: array<f32>;
@group(0) @binding(4) var<storage, read_write> losses: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let model = group.y;
  let first = group.z * COLUMNS;
  var mode = 0u;
  var row = group.x;
  while (row >= extent_of(mode)) {
    row -= extent_of(mode);
    mode++;
  }
  // entries of the modes after this one
  var inner = 1u;
  for (var after = mode + 1u; after < params.modes; after++) { inner *= extent_of(after); }
  let terms = params.size / extent_of(mode);
  var sums: array<f32, COLUMNS>;
  var squares = 0.0;
  for (var t = lane; t < terms; t += WIDTH) {
    let entry = (t / inner * extent_of(mode) + row) * inner + t % inner;
    let e = differences[model * params.size + entry];
    squares += e * e;
    var products: array<f32, COLUMNS>;
    for (var c = 0u; c < COLUMNS; c++) { products[c] = e; }
    var rest = entry;
    for (var back = 0u; back < params.modes; back++) {
      let other = params.modes - 1u - back;
      if (other != mode) {
        let at = place(start_of(other) + rest % extent_of(other), model, first);
        for (var c = 0u; c < COLUMNS; c++) { products[c] *= factors[at + min(c, params.rank - first - 1u)]; }
      }
      rest /= extent_of(other);
    }
    for (var c = 0u; c < COLUMNS; c++) { sums[c] += products[c]; }
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

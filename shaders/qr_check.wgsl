// Whether a QR factorisation by Cholesky is accurate, judged by R of AᵀA = RᵀR (n×n) and its inverse. state[0] becomes 1 where both
// are finite, no column is dependent, and ‖R̂⁻¹‖² ≤ 4·n for R̂ = R with columns of norm 1; otherwise 0. For state 1, A·R⁻¹·R is A
// and a second pass makes the columns orthonormal, both to rounding (Yamamoto et al. 2015, CholeskyQR2). Comparisons go by bits,
// because WGSL lets a compiler assume that values are finite. One workgroup; n² read.

const WIDTH: u32 = 64u;

struct Params {
  n: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> r: array<f32>;
@group(0) @binding(2) var<storage, read> inverse: array<f32>;
@group(0) @binding(3) var<storage, read_write> state: array<u32>;

var<workgroup> sums: array<f32, WIDTH>;
var<workgroup> failed: array<u32, WIDTH>;

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
  let n = params.n;
  var sum = 0.0;
  var bad = 0u;
  for (var j = lane; j < n; j += WIDTH) {
    var length = 0.0;
    var row = 0.0;
    for (var k = 0u; k <= j; k++) { length += r[k * n + j] * r[k * n + j]; }
    for (var k = j; k < n; k++) { row += inverse[j * n + k] * inverse[j * n + k]; }
    let term = length * row;
    let bits = bitcast<u32>(term);
    // for a column that is neither dependent nor infinite a term is finite and at least 1
    if (bits < 0x3f000000u || bits > 0x7f000000u) { bad = 1u; } else { sum += term; }
  }
  sums[lane] = sum;
  failed[lane] = bad;
  workgroupBarrier();
  if (lane == 0u) {
    for (var i = 1u; i < WIDTH; i++) {
      sum += sums[i];
      bad |= failed[i];
    }
    state[0] = select(0u, 1u, bad == 0u && sum <= 4.0 * f32(n));
  }
}

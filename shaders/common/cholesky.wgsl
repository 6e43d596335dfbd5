// R and R⁻¹ of a symmetric positive matrix G + ridge·(mean diagonal)·I = RᵀR, R upper triangular, n×n, by one workgroup
// (right-looking, a column a step). A pivot that is not clearly positive marks a column that depends on those before it:
// its row of R is its pivot's floor alone and its column of R⁻¹ is zero, so products with R⁻¹ drop it and stay finite.
// `r` and `inverse` are the including file's.
// n³/3 flops for R, n³/3 for R⁻¹; one barrier a column.
const WIDTH: u32 = 256u;
// invocations side by side along a row
const ACROSS: u32 = 32u;

struct Params {
  n: u32,
  ridge: f32,
  // pivots at or below this part of their own diagonal element count as zero
  threshold: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> g: array<f32>;

var<workgroup> partial: array<f32, WIDTH>;

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
  let n = params.n;
  let across = lane % ACROSS;
  let down = lane / ACROSS;
  var trace = 0.0;
  for (var i = lane; i < n; i += WIDTH) { trace += g[i * n + i]; }
  partial[lane] = trace;
  for (var width = WIDTH / 2u; width > 0u; width /= 2u) {
    workgroupBarrier();
    if (lane < width) { partial[lane] += partial[lane + width]; }
  }
  workgroupBarrier();
  let ridge = params.ridge * partial[0] / f32(n);
  for (var e = lane; e < n * n; e += WIDTH) {
    let row = e / n;
    let column = e % n;
    // the upper half of G is worked on in place; both halves are read, so a rounding asymmetry averages out
    var value = 0.0;
    if (row <= column) { value = 0.5 * (g[row * n + column] + g[column * n + row]); }
    if (row == column) { value += ridge; }
    r[e] = value;
    inverse[e] = select(0.0, 1.0, row == column);
  }
  storageBarrier();
  workgroupBarrier();
  for (var k = 0u; k < n; k++) {
    let pivot = r[k * n + k];
    let own = abs(g[k * n + k]) + ridge;
    let dependent = !(pivot > params.threshold * own) || own == 0.0;
    let factor = select(1.0 / max(pivot, 1e-37), 0.0, dependent);
    storageBarrier();
    workgroupBarrier();
    // trailing update: G[i, j] -= G[k, i] / pivot · G[k, j] for k < i ≤ j
    for (var i = k + 1u + down; i < n; i += WIDTH / ACROSS) {
      let multiplier = r[k * n + i] * factor;
      for (var j = i + across; j < n; j += ACROSS) { r[i * n + j] -= multiplier * r[k * n + j]; }
    }
    storageBarrier();
    workgroupBarrier();
    // row k becomes R's: divided by √pivot
    let root = select(sqrt(max(pivot, 1e-37)), 0.0, dependent);
    let scale = select(1.0 / max(root, 1e-19), 0.0, dependent);
    for (var j = k + lane; j < n; j += WIDTH) {
      r[k * n + j] = select(r[k * n + j] * scale, root, j == k);
    }
    storageBarrier();
    workgroupBarrier();
  }
  // R⁻¹ by columns, each lane its own: back substitution
  for (var j = lane; j < n; j += WIDTH) {
    let last = r[j * n + j];
    let own = select(1.0 / last, 0.0, last == 0.0);
    inverse[j * n + j] = own;
    for (var step = 0u; step < j; step++) {
      let i = j - 1u - step;
      var sum = 0.0;
      for (var m = i + 1u; m <= j; m++) { sum += r[i * n + m] * inverse[m * n + j]; }
      let diagonal = r[i * n + i];
      inverse[i * n + j] = select(-sum / diagonal, 0.0, diagonal == 0.0);
    }
  }
  publish(lane, n);
}

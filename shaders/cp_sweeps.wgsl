// Sweeps of CP-ALS over a small tensor of order 3 in one workgroup (Kolda & Bader 2009, figure 3.3): x is I×K×J, with factors A (I×R), B (K×R) and C
// (J×R), R ≤ PAD. `begin` has the factors to begin from at start_0, start_1 and start_2; columns of any norm. `factors` gets those after so many
// sweeps at the same places, columns of norm 1, and `weights` their weights [R]. A factor is (M + proximal·A₀)·(V + proximal·I)⁻¹, with M its MTTKRP, V
// the Hadamard product of the other Gram matrices, A₀ the factor as it was times the weights, and `proximal` in units of V's mean diagonal.
// A sweep contracts x with C once, for A and B together, and once with A and B for C.
// `work` is in rows of PAD columns, RUNS vectors each: A, B, C, their Gram matrices, the weights, x ×₃ Cᵀ (then the a_i ∘ b_k), and parts of C's
// MTTKRP, one a split of the (i, k). Each invocation factorises the R×R matrix for itself, and solves whole rows.
// Cost: 4·I·K·J·R flops a sweep and some 10·I·K·R; 15 barriers.
const WIDTH: u32 = 64u;
const PAD: u32 = 12u;
const RUNS: u32 = PAD / 4u;
const SIZE: u32 = PAD * PAD;
// a pivot at or below this part of its diagonal element counts as zero
const THRESHOLD: f32 = 1e-7;

struct Params {
  rank: u32,
  extent_0: u32,
  extent_1: u32,
  extent_2: u32,
  start_0: u32,
  start_1: u32,
  start_2: u32,
  sweeps: u32,
  splits: u32,
  proximal: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> begin: array<f32>;
@group(0) @binding(3) var<storage, read_write> factors: array<f32>;
@group(0) @binding(4) var<storage, read_write> weights: array<f32>;
@group(0) @binding(5) var<storage, read_write> work: array<vec4<f32>>;

// the factor R of V + proximal·I = RᵀR by columns, with 1 / R[c, c] in place of the diagonal
var<private> triangle: array<f32, SIZE>;
// what is added to V's diagonal
var<private> shift: f32;
// a row of M, then of the new factor
var<private> row: array<f32, PAD>;

fn extent_of(mode: u32) -> u32 {
  return select(select(params.extent_2, params.extent_1, mode == 1u), params.extent_0, mode == 0u);
}

fn start_of(mode: u32) -> u32 {
  return select(select(params.start_2, params.start_1, mode == 1u), params.start_0, mode == 0u);
}

// where a factor begins in `work`
fn factor_at(mode: u32) -> u32 {
  return RUNS * select(select(params.extent_0 + params.extent_1, params.extent_0, mode == 1u), 0u, mode == 0u);
}

fn gram_at(mode: u32) -> u32 {
  return RUNS * (params.extent_0 + params.extent_1 + params.extent_2 + mode * PAD);
}

// Factorises the Hadamard product of two Gram matrices.
fn factorise(one: u32, two: u32) {
  for (var e = 0u; e < PAD * RUNS; e++) {
    let value = work[gram_at(one) + e] * work[gram_at(two) + e];
    for (var k = 0u; k < 4u; k++) { triangle[4u * e + k] = value[k]; }
  }
  shift = 0.0;
  for (var c = 0u; c < params.rank; c++) { shift += triangle[c * PAD + c]; }
  shift *= params.proximal / f32(params.rank);
  for (var c = 0u; c < params.rank; c++) {
    let diagonal = triangle[c * PAD + c] + shift;
    var pivot = diagonal;
    for (var t = 0u; t < c; t++) { pivot -= triangle[c * PAD + t] * triangle[c * PAD + t]; }
    let inverse = select(0.0, 1.0 / sqrt(max(pivot, 1e-37)), pivot > THRESHOLD * diagonal);
    triangle[c * PAD + c] = inverse;
    for (var r = c + 1u; r < params.rank; r++) {
      var value = triangle[r * PAD + c];
      for (var t = 0u; t < c; t++) { value -= triangle[r * PAD + t] * triangle[c * PAD + t]; }
      triangle[r * PAD + c] = value * inverse;
    }
  }
}

// Solves `row` in place.
fn solve() {
  for (var c = 0u; c < params.rank; c++) {
    var value = row[c];
    for (var t = 0u; t < c; t++) { value -= triangle[c * PAD + t] * row[t]; }
    row[c] = value * triangle[c * PAD + c];
  }
  for (var back = params.rank; back > 0u; back--) {
    let c = back - 1u;
    var value = row[c];
    for (var t = c + 1u; t < params.rank; t++) { value -= triangle[t * PAD + c] * row[t]; }
    row[c] = value * triangle[c * PAD + c];
  }
}

fn inverse_of(norms: vec4<f32>) -> vec4<f32> {
  return select(1.0 / max(norms, vec4<f32>(1e-37)), vec4<f32>(0.0), norms == vec4<f32>(0.0));
}

// Brings a factor's columns to norm 1, with its Gram matrix; the norms are the weights, or a factor of them where `product`.
fn normalise(mode: u32, product: bool, lane: u32) {
  let at = factor_at(mode);
  let gram = gram_at(mode);
  let weights_at = gram_at(3u);
  // norms of the mode lie behind the weights until all have read them
  let norms_at = weights_at + RUNS;
  let extent = extent_of(mode);
  storageBarrier();
  workgroupBarrier();
  for (var e = lane; e < RUNS * RUNS; e += WIDTH) {
    let u = e / RUNS;
    let v = e % RUNS;
    var sums = mat4x4<f32>(vec4<f32>(0.0), vec4<f32>(0.0), vec4<f32>(0.0), vec4<f32>(0.0));
    for (var i = 0u; i < extent; i++) {
      let across = work[at + i * RUNS + v];
      let down = work[at + i * RUNS + u];
      sums += mat4x4<f32>(down.x * across, down.y * across, down.z * across, down.w * across);
    }
    for (var k = 0u; k < 4u; k++) { work[gram + (4u * u + k) * RUNS + v] = sums[k]; }
    if (u == v) {
      let norms = sqrt(vec4<f32>(sums[0].x, sums[1].y, sums[2].z, sums[3].w));
      work[norms_at + v] = norms;
      work[weights_at + v] = select(norms, work[weights_at + v] * norms, product);
    }
  }
  storageBarrier();
  workgroupBarrier();
  for (var e = lane; e < extent * RUNS + RUNS * RUNS; e += WIDTH) {
    let inverse = inverse_of(work[norms_at + e % RUNS]);
    if (e < extent * RUNS) {
      work[at + e] *= inverse;
    } else {
      let u = e / RUNS - extent;
      let down = inverse_of(work[norms_at + u]);
      for (var k = 0u; k < 4u; k++) { work[gram + (4u * u + k) * RUNS + e % RUNS] *= inverse * down[k]; }
    }
  }
  storageBarrier();
  workgroupBarrier();
}

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
  let n0 = params.extent_0;
  let n1 = params.extent_1;
  let n2 = params.extent_2;
  let weights_at = gram_at(3u);
  let half = weights_at + 2u * RUNS;
  let parts = half + 4u * ((n0 * n1 + 3u) / 4u) * RUNS;
  for (var r = 0u; r < PAD; r++) { row[r] = 0.0; }
  for (var mode = 0u; mode < 3u; mode++) {
    for (var e = lane; e < extent_of(mode) * RUNS; e += WIDTH) {
      var value = vec4<f32>(0.0);
      for (var k = 0u; k < 4u; k++) {
        let r = 4u * (e % RUNS) + k;
        if (r < params.rank) { value[k] = begin[start_of(mode) + (e / RUNS) * params.rank + r]; }
      }
      work[factor_at(mode) + e] = value;
    }
  }
  // the first three steps bring the factors to norm 1; a loop of all, since compilers write out what is called at several places
  for (var step = 0u; step < 3u * (params.sweeps + 1u); step++) {
    let mode = step % 3u;
    if (step > 2u) {
      // rows of x ×₃ Cᵀ from those of C, for A; parts of C's MTTKRP from a_i ∘ b_k
      if (mode == 2u) {
        for (var e = lane; e < n0 * n1 * RUNS; e += WIDTH) {
          let ik = e / RUNS;
          work[half + e] = work[(ik / n1) * RUNS + e % RUNS] * work[factor_at(1u) + (ik % n1) * RUNS + e % RUNS];
        }
        storageBarrier();
        workgroupBarrier();
      }
      let is_last = mode == 2u;
      let rows = select(n0 * n1, n2, is_last);
      let terms = select(n2, n0 * n1, is_last);
      let row_step = select(n2, 1u, is_last);
      let term_step = select(1u, n2, is_last);
      let factor = select(factor_at(2u), half, is_last);
      let made = select(half, parts, is_last);
      let splits = select(1u, params.splits, is_last);
      let quads = (rows + 3u) / 4u;
      // an invocation makes a column of vectors of four rows
      let items = select(quads * RUNS * splits, 0u, mode == 1u);
      for (var item = lane; item < items; item += WIDTH) {
        let quad = item % quads;
        let v = (item / quads) % RUNS;
        let split = item / (quads * RUNS);
        let corners = min(vec4<u32>(4u * quad) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(rows - 1u)) * row_step;
        var sum_0 = vec4<f32>(0.0);
        var sum_1 = vec4<f32>(0.0);
        var sum_2 = vec4<f32>(0.0);
        var sum_3 = vec4<f32>(0.0);
        for (var t = split; t < terms; t += splits) {
          let value = work[factor + t * RUNS + v];
          let at = t * term_step;
          sum_0 += x[corners.x + at] * value;
          sum_1 += x[corners.y + at] * value;
          sum_2 += x[corners.z + at] * value;
          sum_3 += x[corners.w + at] * value;
        }
        let at = made + (split * quads + quad) * 4u * RUNS + v;
        work[at] = sum_0;
        work[at + RUNS] = sum_1;
        work[at + 2u * RUNS] = sum_2;
        work[at + 3u * RUNS] = sum_3;
      }
      storageBarrier();
      workgroupBarrier();
      factorise(select(0u, 1u, mode == 0u), select(2u, 1u, mode == 2u));
      // M is a sum over k (A), i (B) or splits (C)
      let count = select(select(params.splits, n0, mode == 1u), n1, mode == 0u);
      let stride = select(select(4u * quads, n1, mode == 1u), 1u, mode == 0u);
      let row_stride = select(1u, n1, mode == 0u);
      let source = select(half, parts, mode == 2u);
      let other = factor_at(select(0u, 1u, mode == 0u));
      for (var i = lane; i < extent_of(mode); i += WIDTH) {
        for (var v = 0u; v < RUNS; v++) {
          var sum = vec4<f32>(0.0);
          for (var k = 0u; k < count; k++) {
            var value = work[source + (i * row_stride + k * stride) * RUNS + v];
            if (mode != 2u) { value *= work[other + k * RUNS + v]; }
            sum += value;
          }
          sum += shift * work[weights_at + v] * work[factor_at(mode) + i * RUNS + v];
          for (var e = 0u; e < 4u; e++) { row[4u * v + e] = sum[e]; }
        }
        solve();
        for (var v = 0u; v < RUNS; v++) {
          work[factor_at(mode) + i * RUNS + v] =
            vec4<f32>(row[4u * v], row[4u * v + 1u], row[4u * v + 2u], row[4u * v + 3u]);
        }
      }
    }
    normalise(mode, step == 1u || step == 2u, lane);
  }
  for (var mode = 0u; mode < 3u; mode++) {
    for (var e = lane; e < extent_of(mode) * RUNS; e += WIDTH) {
      let value = work[factor_at(mode) + e];
      for (var k = 0u; k < 4u; k++) {
        let r = 4u * (e % RUNS) + k;
        if (r < params.rank) { factors[start_of(mode) + (e / RUNS) * params.rank + r] = value[k]; }
      }
    }
  }
  for (var e = lane; e < params.rank; e += WIDTH) { weights[e] = work[weights_at + e / 4u][e % 4u]; }
}

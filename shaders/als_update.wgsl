// The update of one factor A (rows×R, R ≤ PAD) of CP-ALS: A = (M + proximal·A₀)·(V + (ridge + proximal)·I)⁻¹.
// M is the MTTKRP, the sum of `splits` parts. V is the Hadamard product of the other modes' Gram matrices; mode m's is R×R at
// m·stride in `grams`, with the R norms of its columns behind it. A₀ is the factor before the update: columns of norm 1, times
// the model's weights. ridge and proximal are in units of V's mean diagonal.
// The solve factorises V + (ridge + proximal)·I = RᵀR as in common/cholesky: a column that depends on columns to its left is
// dropped.
// Each workgroup factorises for itself, solves `chunk` rows, and writes their share of AᵀA and of ⟨M, A⟩ to `parts`, R·R + 1
// values. A's norms need the shares of all workgroups, so the next dispatch adds the parts up and normalises A: als_normalize
// after the last mode, otherwise this kernel for the next mode. This kernel therefore also normalises the previous mode's
// factor, whose norms are still in M. M holds the norms of mode `unscaled` too where it was made from a partial product that
// is older than that mode's normalisation.
// Small matrices are PAD×PAD in workgroup memory, filled up with the identity. PAD is a power of two, so that no index needs a
// division. ROWWISE, for a few columns and few invocations, an invocation solves a row by itself, with the matrices in registers: software
// adapters take a hundred times as long for numbers in workgroup memory.
// Cost: 2·rows·R·(2·R + R) flops, and R³ a workgroup; one barrier a column.
#import als_parts
#import product_parts

const WIDTH: u32 = 256u;
const PAD: u32 = 16u;
const SIZE: u32 = PAD * PAD;
// rows of M that a workgroup solves at a time
const ROWS: u32 = 256u / PAD;
const ROWWISE: bool = false;
// PAD in vec4s, and blocks of 4×4 of a matrix, where it is ROWWISE
const RUNS: u32 = PAD / 4u;
const BLOCKS: u32 = RUNS * RUNS;
const VECTORS: u32 = PAD * RUNS;
// rows whose products an invocation adds up before it adds them to the rest
const STRIDE: u32 = 64u;
alias Block = mat4x4<f32>;

struct Params {
  rows: u32,
  rank: u32,
  modes: u32,
  mode: u32,
  stride: u32,
  chunk: u32,
  ridge: f32,
  // a pivot at or below this fraction of its diagonal element counts as zero
  threshold: f32,
  splits: u32,
  previous_rows: u32,
  // parts of the previous mode that wait to be added up; 0 in the first update of a sweep
  previous_count: u32,
  // the mode, besides the previous one, whose norms are in M; `modes` where there is none
  unscaled: u32,
  proximal: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> product: array<f32>;
@group(0) @binding(2) var<storage, read_write> grams: array<f32>;
@group(0) @binding(3) var<storage, read_write> factor: array<f32>;
@group(0) @binding(4) var<storage, read_write> parts: array<f32>;
@group(0) @binding(5) var<storage, read_write> previous: array<f32>;
@group(0) @binding(6) var<storage, read> previous_parts: array<f32>;
// the model's weights before the sweep, read by its first update; later updates take the previous mode's norms
@group(0) @binding(7) var<storage, read> weights: array<f32>;

// V, then the upper triangle of its elimination, then R⁻¹
var<workgroup> upper: array<f32, SIZE>;
// R⁻ᵀ
var<workgroup> lower: array<f32, SIZE>;
// AᵀA of the previous mode's factor, then of this workgroup's rows of A
var<workgroup> gram: array<f32, SIZE>;
var<workgroup> diagonal: array<f32, PAD>;
// what A₀'s columns are multiplied by: the previous mode's norms, or the weights; and what M's columns are multiplied by
var<workgroup> norms: array<f32, PAD>;
var<workgroup> scales: array<f32, PAD>;
// ROWS rows of M + proximal·A₀, then of A
var<workgroup> rows: array<f32, 256>;
var<workgroup> half_solved: array<f32, 256>;
var<workgroup> inner: array<f32, WIDTH>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let n = params.rank;
  let pending = params.previous_count > 0u;
  let before = (params.mode - 1u) * params.stride;
  if (pending) {
    for (var e = lane; e < SIZE; e += WIDTH) {
      if (max(e / PAD, e % PAD) < n) { gram[e] = previous_at(e / PAD * n + e % PAD); }
    }
    workgroupBarrier();
  }
  for (var r = lane; r < n; r += WIDTH) {
    var norm = 1.0;
    if (params.proximal > 0.0) { norm = weights[r]; }
    var scale = 1.0;
    if (pending) {
      norm = sqrt(max(gram[r * PAD + r], 0.0));
      scale = divided(1.0, norm);
      if (group.x == 0u) { grams[before + n * n + r] = norm; }
    }
    if (params.unscaled < params.modes) { scale = divided(scale, grams[params.unscaled * params.stride + n * n + r]); }
    norms[r] = norm;
    scales[r] = scale;
  }
  workgroupBarrier();
  for (var e = lane; e < SIZE; e += WIDTH) {
    let i = e / PAD;
    let j = e % PAD;
    let unit = select(0.0, 1.0, i == j);
    var v = unit;
    if (max(i, j) < n) {
      v = 1.0;
      for (var m = 0u; m < params.modes; m++) {
        if (m != params.mode && !(pending && m + 1u == params.mode)) { v *= grams[m * params.stride + i * n + j]; }
      }
      if (pending) {
        let normalised = divided(divided(gram[e], norms[i]), norms[j]);
        if (group.x == 0u) { grams[before + i * n + j] = normalised; }
        v *= normalised;
      }
    }
    upper[e] = v;
    lower[e] = unit;
    gram[e] = 0.0;
  }
  if (pending) {
    for (var e = group.x * WIDTH + lane; e < params.previous_rows * n; e += groups.x * WIDTH) {
      previous[e] = divided(previous[e], norms[e % n]);
    }
  }
  workgroupBarrier();
  var trace = 0.0;
  for (var i = 0u; i < n; i++) { trace += upper[i * PAD + i]; }
  let proximal = params.proximal * trace / f32(n);
  let ridge = params.ridge * trace / f32(n) + proximal;
  workgroupBarrier();
  for (var i = lane; i < PAD; i += WIDTH) {
    let shifted = upper[i * PAD + i] + select(0.0, ridge, i < n);
    diagonal[i] = abs(shifted);
    upper[i * PAD + i] = shifted;
  }
  workgroupBarrier();
  // step k subtracts multiples of row k from the rows below it; the same steps turn the identity into R⁻ᵀ
  for (var k = 0u; k < n; k++) {
    let factor_k = inverse_pivot(k);
    for (var e = (k + 1u) * PAD + lane; e < SIZE; e += WIDTH) {
      let i = e / PAD;
      let j = e % PAD;
      let multiplier = upper[k * PAD + i] * factor_k;
      if (j >= i) { upper[e] -= multiplier * upper[k * PAD + j]; }
      if (j <= k) { lower[e] -= multiplier * lower[k * PAD + j]; }
    }
    workgroupBarrier();
  }
  for (var e = lane; e < SIZE; e += WIDTH) { lower[e] *= sqrt(inverse_pivot(e / PAD)); }
  workgroupBarrier();
  for (var e = lane; e < SIZE; e += WIDTH) { upper[e] = lower[e % PAD * PAD + e / PAD]; }
  let first = group.x * params.chunk;
  let last = min(first + params.chunk, params.rows);
  var product_inner = 0.0;
  if (ROWWISE) {
    workgroupBarrier();
    product_inner = solve_rows(first, last, lane, proximal);
  }
  for (var row = first; row < last && !ROWWISE; row += ROWS) {
    for (var e = lane; e < 256u; e += WIDTH) {
      let r = row + e / PAD;
      let j = e % PAD;
      var value = 0.0;
      if (r < last && j < n) {
        value = scales[j] * product_at(r * n + j);
        if (proximal > 0.0) { value += proximal * norms[j] * factor[r * n + j]; }
      }
      rows[e] = value;
    }
    workgroupBarrier();
    for (var e = lane; e < 256u; e += WIDTH) {
      let start = e / PAD * PAD;
      var sum = 0.0;
      for (var k = 0u; k < PAD; k++) { sum += rows[start + k] * upper[k * PAD + e % PAD]; }
      half_solved[e] = sum;
    }
    workgroupBarrier();
    for (var e = lane; e < 256u; e += WIDTH) {
      let start = e / PAD * PAD;
      var sum = 0.0;
      for (var k = 0u; k < PAD; k++) { sum += half_solved[start + k] * lower[k * PAD + e % PAD]; }
      var m = rows[e];
      rows[e] = sum;
      let r = row + e / PAD;
      let j = e % PAD;
      if (r < last && j < n) {
        if (proximal > 0.0) { m -= proximal * norms[j] * factor[r * n + j]; }
        factor[r * n + j] = sum;
      }
      product_inner += m * sum;
    }
    workgroupBarrier();
    for (var e = lane; e < SIZE; e += WIDTH) {
      var sum = 0.0;
      for (var i = 0u; i < ROWS; i++) { sum += rows[i * PAD + e / PAD] * rows[i * PAD + e % PAD]; }
      gram[e] += sum;
    }
    workgroupBarrier();
  }
  let base = group.x * (n * n + 1u);
  for (var e = lane; e < SIZE; e += WIDTH) {
    if (max(e / PAD, e % PAD) < n) { parts[base + e / PAD * n + e % PAD] = gram[e]; }
  }
  inner[lane] = product_inner;
  for (var width = WIDTH / 2u; width > 0u; width /= 2u) {
    workgroupBarrier();
    if (lane < width) { inner[lane] += inner[lane + width]; }
  }
  if (lane == 0u) { parts[base + n * n] = inner[0]; }
}

// Numbers of a row of R, from column 4·run on; 0 behind the last one.
fn row_of(start: u32, run: u32, lacks_weights: bool) -> vec4<f32> {
  var values = vec4<f32>();
  for (var i = 0u; i < 4u; i++) {
    let j = 4u * run + i;
    if (j < params.rank) {
      if (lacks_weights) { values[i] = scales[j] * product_at(start + j); } else { values[i] = norms[j] * factor[start + j]; }
    }
  }
  return values;
}

fn block_of_upper(tile: u32) -> Block {
  let start = tile / RUNS * 4u * PAD + tile % RUNS * 4u;
  var rows_of: Block;
  for (var i = 0u; i < 4u; i++) {
    let at = start + i * PAD;
    rows_of[i] = vec4<f32>(upper[at], upper[at + 1u], upper[at + 2u], upper[at + 3u]);
  }
  return rows_of;
}

fn block_of_lower(tile: u32) -> Block {
  let start = tile / RUNS * 4u * PAD + tile % RUNS * 4u;
  var rows_of: Block;
  for (var i = 0u; i < 4u; i++) {
    let at = start + i * PAD;
    rows_of[i] = vec4<f32>(lower[at], lower[at + 1u], lower[at + 2u], lower[at + 3u]);
  }
  return rows_of;
}

// Solves rows from `first` to `last`, leaves their AᵀA in `gram`, and returns an invocation's part of ⟨M, A⟩.
fn solve_rows(first: u32, last: u32, lane: u32, proximal: f32) -> f32 {
  let n = params.rank;
  var first_half: array<Block, BLOCKS>;
  var second_half: array<Block, BLOCKS>;
  // rows of blocks
  var sums: array<vec4<f32>, VECTORS>;
  for (var tile = 0u; tile < BLOCKS; tile++) {
    first_half[tile] = block_of_upper(tile);
    second_half[tile] = block_of_lower(tile);
    for (var i = 0u; i < 4u; i++) { sums[4u * tile + i] = vec4<f32>(); }
  }
  var product_inner = 0.0;
  for (var start = first + lane; start < last; start += WIDTH * STRIDE) {
    var terms: array<vec4<f32>, VECTORS>;
    for (var v = 0u; v < VECTORS; v++) { terms[v] = vec4<f32>(); }
    var inner_terms = 0.0;
    for (var row = start; row < min(start + WIDTH * STRIDE, last); row += WIDTH) {
      var m: array<vec4<f32>, RUNS>;
      var solved: array<vec4<f32>, RUNS>;
      var half: array<vec4<f32>, RUNS>;
      for (var run = 0u; run < RUNS; run++) { m[run] = row_of(row * n, run, true); }
      for (var run = 0u; run < RUNS; run++) {
        var right = m[run];
        if (proximal > 0.0) { right += proximal * row_of(row * n, run, false); }
        solved[run] = right;
      }
      for (var to = 0u; to < RUNS; to++) {
        var sum = vec4<f32>();
        for (var run = 0u; run < RUNS; run++) { sum += first_half[run * RUNS + to] * solved[run]; }
        half[to] = sum;
      }
      for (var to = 0u; to < RUNS; to++) {
        var sum = vec4<f32>();
        for (var run = 0u; run < RUNS; run++) { sum += second_half[run * RUNS + to] * half[run]; }
        solved[to] = sum;
        inner_terms += dot(m[to], sum);
        for (var i = 0u; i < 4u; i++) {
          if (4u * to + i < n) { factor[row * n + 4u * to + i] = sum[i]; }
        }
      }
      for (var tile = 0u; tile < BLOCKS; tile++) {
        let left = solved[tile / RUNS];
        let right = solved[tile % RUNS];
        terms[4u * tile] += left.x * right;
        terms[4u * tile + 1u] += left.y * right;
        terms[4u * tile + 2u] += left.z * right;
        terms[4u * tile + 3u] += left.w * right;
      }
    }
    product_inner += inner_terms;
    for (var v = 0u; v < VECTORS; v++) { sums[v] += terms[v]; }
  }
  // a column of AᵀA after the other, over all invocations
  for (var i = 0u; i < PAD; i++) {
    for (var run = 0u; run < RUNS; run++) {
      let column = sums[4u * (i / 4u * RUNS + run) + i % 4u];
      for (var j = 0u; j < 4u; j++) { rows[lane * PAD + 4u * run + j] = column[j]; }
    }
    workgroupBarrier();
    for (var j = lane; j < PAD; j += WIDTH) {
      var sum = 0.0;
      for (var other = 0u; other < WIDTH; other++) { sum += rows[other * PAD + j]; }
      gram[i * PAD + j] = sum;
    }
    workgroupBarrier();
  }
  return product_inner;
}

// 1 ÷ pivot k; 0 for a pivot that is not clearly positive.
fn inverse_pivot(k: u32) -> f32 {
  let pivot = upper[k * PAD + k];
  let dependent = !(pivot > params.threshold * diagonal[k]) || diagonal[k] == 0.0;
  return select(1.0 / max(pivot, 1e-37), 0.0, dependent);
}

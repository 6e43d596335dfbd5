// Steps of accelerated projected gradients (FISTA, Beck & Teboulle 2009) for the core G ≥ 0 of a Tucker tensor, by one workgroup:
// lowers ½·⟨G, G ×ₙ Sₙ⟩ − ⟨P, G⟩, with P (`product`) X times all factors and Sₙ the Gram matrix of mode n's factor, Rₙ×Rₙ at n·stride in
// `grams`. The step of an entry is 1 ÷ the product over the modes of Σ|Sₙ| in its row. Where `steps` is 0, G stays as it is.
// `error` becomes ‖X‖² + ⟨G, (G ×ₙ Sₙ − P) − P⟩ = ‖X − X̂‖².
// `work` holds four arrays of the core's size: what steps begin from, the step of every entry, and two for products along a mode.
// Cost: 2·size·ΣRₙ flops a step; a barrier a mode.

const WIDTH: u32 = 256u;

struct Params {
  size: u32,
  order: u32,
  stride: u32,
  steps: u32,
  squared_norm: f32,
  ranks: array<vec4<u32>, 2>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> product: array<f32>;
@group(0) @binding(2) var<storage, read> grams: array<f32>;
@group(0) @binding(3) var<storage, read_write> core: array<f32>;
@group(0) @binding(4) var<storage, read_write> work: array<f32>;
@group(0) @binding(5) var<storage, read_write> error: array<f32>;

var<workgroup> scratch: array<f32, WIDTH>;

fn rank_of(mode: u32) -> u32 {
  return params.ranks[mode / 4u][mode % 4u];
}

// Multiplies what begins at `start` of `work` by all Gram matrices, and returns where the product begins. One of two arrays is read
// while the other is written.
fn times_grams(start: u32, lane: u32) -> u32 {
  let size = params.size;
  var source = start;
  var target_at = 2u * size;
  var after = size;
  for (var mode = 0u; mode < params.order; mode++) {
    let rank = rank_of(mode);
    after /= rank;
    for (var e = lane; e < size; e += WIDTH) {
      let i = e / after % rank;
      let row = mode * params.stride + i * rank;
      let first = source + e - i * after;
      var sum = 0.0;
      for (var j = 0u; j < rank; j++) { sum += grams[row + j] * work[first + j * after]; }
      work[target_at + e] = sum;
    }
    storageBarrier();
    workgroupBarrier();
    source = target_at;
    target_at = select(2u, 3u, target_at == 2u * size) * size;
  }
  return source;
}

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
  let size = params.size;
  for (var e = lane; e < size; e += WIDTH) {
    var bound = 1.0;
    var after = size;
    for (var mode = 0u; mode < params.order; mode++) {
      let rank = rank_of(mode);
      after /= rank;
      let row = mode * params.stride + e / after % rank * rank;
      var sum = 0.0;
      for (var j = 0u; j < rank; j++) { sum += abs(grams[row + j]); }
      bound *= sum;
    }
    work[e] = core[e];
    work[size + e] = 1.0 / bound;
  }
  storageBarrier();
  workgroupBarrier();
  var inertia = 1.0;
  for (var step = 0u; step < params.steps; step++) {
    let image = times_grams(0u, lane);
    let next = (1.0 + sqrt(1.0 + 4.0 * inertia * inertia)) / 2.0;
    for (var e = lane; e < size; e += WIDTH) {
      let moved = max(work[e] - (work[image + e] - product[e]) * work[size + e], 0.0);
      work[e] = moved + (inertia - 1.0) / next * (moved - core[e]);
      core[e] = moved;
    }
    storageBarrier();
    workgroupBarrier();
    inertia = next;
  }
  for (var e = lane; e < size; e += WIDTH) { work[e] = core[e]; }
  storageBarrier();
  workgroupBarrier();
  let image = times_grams(0u, lane);
  var lost = 0.0;
  for (var e = lane; e < size; e += WIDTH) { lost += core[e] * ((work[image + e] - product[e]) - product[e]); }
  scratch[lane] = lost;
  workgroupBarrier();
  for (var width = WIDTH / 2u; width > 0u; width /= 2u) {
    if (lane < width) { scratch[lane] += scratch[lane + width]; }
    workgroupBarrier();
  }
  if (lane == 0u) { error[0] = params.squared_norm + scratch[0]; }
}

// A·diag(λ) for A (rows×R) with columns of norm 1 that lowers ½·tr(A·W·Aᵀ) − tr(B·diag(λ)·Aᵀ), W = diag(λ)·V·diag(λ), column after column in
// `passes` passes: a_r ← w / ‖w‖ with w = b_r − Σ_{s≠r} λ_s·v_sr·a_s, which is the best column of norm 1; NONNEGATIVE: of those without
// negative entries, w's positive part. Where w is 0, the column stays. V is `normal`, A begins at `factor`, where
// columns of weight 0 are left, as `out` cannot tell them. One workgroup.
// Cost: 2·rows·R² flops a pass.

const WIDTH: u32 = 64u;
const NONNEGATIVE: bool = false;

struct Params {
  rows: u32,
  rank: u32,
  passes: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> right: array<f32>;
@group(0) @binding(2) var<storage, read> normal: array<f32>;
@group(0) @binding(3) var<storage, read_write> factor: array<f32>;
@group(0) @binding(4) var<storage, read> weights: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

var<workgroup> sums: array<f32, WIDTH>;

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
  let rank = params.rank;
  // an invocation has the same rows in every pass
  for (var i = lane; i < params.rows; i += WIDTH) {
    for (var r = 0u; r < rank; r++) { out[i * rank + r] = factor[i * rank + r]; }
  }
  for (var step = 0u; step < params.passes * rank; step++) {
    let r = step % rank;
    var squares = 0.0;
    for (var i = lane; i < params.rows; i += WIDTH) {
      let w = target_of(i, r);
      squares += w * w;
    }
    sums[lane] = squares;
    for (var width = WIDTH / 2u; width > 0u; width /= 2u) {
      workgroupBarrier();
      if (lane < width) { sums[lane] += sums[lane + width]; }
    }
    workgroupBarrier();
    let squared = sums[0];
    if (squared > 0.0) {
      let scale = 1.0 / sqrt(squared);
      for (var i = lane; i < params.rows; i += WIDTH) { out[i * rank + r] = scale * target_of(i, r); }
    }
    workgroupBarrier();
  }
  for (var i = lane; i < params.rows; i += WIDTH) {
    for (var r = 0u; r < rank; r++) {
      let at = i * rank + r;
      if (weights[r] == 0.0) { factor[at] = out[at]; }
      out[at] *= weights[r];
    }
  }
}

fn target_of(i: u32, r: u32) -> f32 {
  let start = i * params.rank;
  var rest = right[start + r];
  for (var s = 0u; s < params.rank; s++) {
    rest -= select(weights[s] * normal[r * params.rank + s] * out[start + s], 0.0, s == r);
  }
  return select(rest, max(rest, 0.0), NONNEGATIVE);
}

// Columns of Y (rows×R) that rise to one peak and fall after it, without negative entries, and lower ½·tr(Y·V·Yᵀ) − tr(B·Yᵀ), column after
// column in `passes` passes, by one workgroup (Bro & Sidiropoulos 1998). A column's best target is t = (b_r − Σ_{s≠r} y_s·v_sr) / v_rr. Its
// unimodal regression is a rising one of its first rows and a falling one of the others, where both errors together are least: for all
// first rows at once by pooling neighbours that are in the wrong order. V is `normal`, Y begins at `factor`.
// `work`: of either side a stack of blocks (sum, sum of squares, count, error of all blocks up to it), the errors by length, and t.
// Cost: 2·rows·R flops and some 60·rows steps one after the other a column.

const WIDTH: u32 = 64u;

struct Params {
  rows: u32,
  rank: u32,
  passes: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> right: array<f32>;
@group(0) @binding(2) var<storage, read> normal: array<f32>;
@group(0) @binding(3) var<storage, read> factor: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
@group(0) @binding(5) var<storage, read_write> work: array<f32>;

// Row i as a side counts: the rising side from the first row, the falling one from the last.
fn row_of(side: u32, i: u32) -> u32 {
  return select(i, params.rows - 1u - i, side == 1u);
}

// Rising regression, at least 0, of the first `count` rows as the side counts. Leaves the blocks in the stack and the errors by length
// behind it; returns how many blocks there are.
fn pool(side: u32, count: u32) -> u32 {
  let rows = params.rows;
  let stack = side * 4u * rows;
  let errors = (8u + side) * rows;
  let target_at = 10u * rows;
  var top = 0u;
  for (var i = 0u; i < count; i++) {
    let t = work[target_at + row_of(side, i)];
    var sum = t;
    var squares = t * t;
    var size = 1.0;
    while (top > 0u) {
      let at = stack + 4u * (top - 1u);
      // the mean of the block before is no smaller: one block
      if (work[at] * size < sum * work[at + 2u]) { break; }
      sum += work[at];
      squares += work[at + 1u];
      size += work[at + 2u];
      top -= 1u;
    }
    let level = max(sum / size, 0.0);
    var error = squares - level * (2.0 * sum - size * level);
    if (top > 0u) { error += work[stack + 4u * (top - 1u) + 3u]; }
    let at = stack + 4u * top;
    work[at] = sum;
    work[at + 1u] = squares;
    work[at + 2u] = size;
    work[at + 3u] = error;
    work[errors + i] = error;
    top += 1u;
  }
  return top;
}

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
  let rows = params.rows;
  let n = params.rank;
  for (var e = lane; e < rows * n; e += WIDTH) { out[e] = factor[e]; }
  storageBarrier();
  workgroupBarrier();
  for (var turn = 0u; turn < params.passes; turn++) {
    for (var r = 0u; r < n; r++) {
      let pivot = normal[r * n + r];
      for (var i = lane; i < rows; i += WIDTH) {
        var rest = right[i * n + r];
        for (var s = 0u; s < n; s++) { rest -= select(out[i * n + s], 0.0, s == r) * normal[r * n + s]; }
        work[10u * rows + i] = select(out[i * n + r], rest / pivot, pivot > 1e-37);
      }
      storageBarrier();
      workgroupBarrier();
      if (lane < 2u) { let all_blocks = pool(lane, rows); }
      storageBarrier();
      workgroupBarrier();
      // how many rows rise: every invocation finds the same
      var rising = 0u;
      var least = work[9u * rows + rows - 1u];
      for (var i = 0u; i < rows; i++) {
        var error = work[8u * rows + i];
        if (i + 1u < rows) { error += work[9u * rows + rows - 2u - i]; }
        if (error < least) {
          least = error;
          rising = i + 1u;
        }
      }
      storageBarrier();
      workgroupBarrier();
      if (lane < 2u) {
        let blocks = pool(lane, select(rising, rows - rising, lane == 1u));
        var row = 0u;
        for (var b = 0u; b < blocks; b++) {
          let at = lane * 4u * rows + 4u * b;
          let level = max(work[at] / work[at + 2u], 0.0);
          let size = u32(work[at + 2u]);
          for (var k = 0u; k < size; k++) {
            out[row_of(lane, row) * n + r] = level;
            row += 1u;
          }
        }
      }
      storageBarrier();
      workgroupBarrier();
    }
  }
}

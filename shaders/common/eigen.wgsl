// Two-sided Jacobi rotations of a symmetric matrix (Golub & Van Loan, section 8.5) whose largest entry is 1: the steps that the
// kernels for one workgroup and for many workgroups share. The importing file declares `work`, players×players with players
// even, of which only the upper half and the diagonal are used, and `rotation`, one vector a row, in vec4s.

// The turn of a pair of rows p < q in this round: (sin φ, tan φ/2, p, q). The turn is (0, 0) where the entry off the diagonal is
// rounding error, measured against the two diagonal entries p and q, so that small eigenvalues of graded matrices keep their
// digits.
fn eigen_turn(index: u32, round: u32, players: u32) -> vec4<f32> {
  let pair = pair_of(index, round, players);
  let app = work[pair.x * players + pair.x];
  let aqq = work[pair.y * players + pair.y];
  let apq = work[pair.x * players + pair.y];
  var turn = vec2<f32>(0.0, 0.0);
  if (abs(apq) > max(1e-12, 6e-8 * sqrt(abs(app)) * sqrt(abs(aqq)))) { turn = jacobi_turn(app, aqq, apq); }
  return vec4<f32>(turn, f32(pair.x), f32(pair.y));
}

// The place in `work` of entry (i, j), which is stored above the diagonal.
fn entry(i: u32, j: u32, players: u32) -> u32 {
  return min(i, j) * players + max(i, j);
}

// Turns the 2×2 block of the rows of pair `first` and the columns of pair `second`; `same` says that they are one pair. Only
// blocks of pairs i ≤ j exist, and no other invocation reads or writes this one.
fn turn_block(first: vec4<f32>, second: vec4<f32>, same: bool, players: u32) {
  if (first.x == 0.0 && second.x == 0.0) { return; }
  let row_p = u32(first.z);
  let row_q = u32(first.w);
  if (same) {
    let apq = work[row_p * players + row_q];
    let change = apq * first.x / (1.0 - first.x * first.y);
    work[row_p * players + row_p] -= change;
    work[row_q * players + row_q] += change;
    work[row_p * players + row_q] = 0.0;
    return;
  }
  let column_p = u32(second.z);
  let column_q = u32(second.w);
  let pp = entry(row_p, column_p, players);
  let pq = entry(row_p, column_q, players);
  let qp = entry(row_q, column_p, players);
  let qq = entry(row_q, column_q, players);
  let upper = vec2<f32>(work[pp], work[pq]);
  let lower = vec2<f32>(work[qp], work[qq]);
  let p = upper - first.x * (lower + first.y * upper);
  let q = lower + first.x * (upper - first.y * lower);
  work[pp] = p.x - second.x * (p.y + second.y * p.x);
  work[pq] = p.y + second.x * (p.x - second.y * p.y);
  work[qp] = q.x - second.x * (q.y + second.y * q.x);
  work[qq] = q.y + second.x * (q.x - second.y * q.y);
}

// Turns entries 4k to 4k + 3 of the two vectors of a pair, `quads` vec4s a vector.
fn turn_vectors(turn: vec4<f32>, k: u32, quads: u32) {
  let p = u32(turn.z) * quads + k;
  let q = u32(turn.w) * quads + k;
  let x = rotation[p];
  let y = rotation[q];
  rotation[p] = x - turn.x * (y + turn.y * x);
  rotation[q] = y + turn.x * (x - turn.y * y);
}

// The pairs i ≤ j of the block at a place of a rectangle, pairs×((pairs + 1)/2) for odd pairs, (pairs + 1)×(pairs/2) for even
// ones: every block has one place (LAPACK's rectangular full packed format).
fn block_of(row: u32, column: u32, pairs: u32) -> vec2<u32> {
  let shift = 1u - pairs % 2u;
  if (row >= column + shift) { return vec2<u32>(column, row - shift); }
  let columns = (pairs + 1u) / 2u;
  return vec2<u32>(columns + row, columns + column + shift - 1u);
}

// The end of one-sided Jacobi, by one workgroup: the singular values are the norms of the rows of `work`, sorted largest first.
// A column of U is a row of `work` divided by its norm (zero for a zero row); a column of V is a row of `rotation`. `norms` is
// scratch. n² comparisons.

fn order_triplets(lane: u32, n: u32, scale: f32) {
  let quads = (n + 3u) / 4u;
  for (var i = lane; i < n; i += WIDTH) {
    var sum = 0.0;
    for (var k = 0u; k < quads; k++) { sum += dot(work[i * quads + k], work[i * quads + k]); }
    norms[i] = sqrt(sum);
  }
  storageBarrier();
  workgroupBarrier();
  for (var i = lane; i < n; i += WIDTH) {
    let value = norms[i];
    var place = 0u;
    for (var j = 0u; j < n; j++) {
      if (norms[j] > value || (norms[j] == value && j < i)) { place++; }
    }
    values[place] = value * scale;
    let inverse = select(1.0 / max(value, 1e-30), 0.0, value < 1e-30);
    for (var k = 0u; k < n; k++) {
      u[k * n + place] = work[i * quads + k / 4u][k % 4u] * inverse;
      v[k * n + place] = rotation[i * quads + k / 4u][k % 4u];
    }
  }
}

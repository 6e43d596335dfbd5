// The end of a Jacobi eigenvalue method, by one workgroup: it sorts the eigenvalues, largest first, and makes the entry of
// largest magnitude in every vector positive. Reads `work` (players×players) and `rotation` (a vector a row, in vec4s), writes
// `values` (n) and `vectors` (n×n, a vector a column). n² comparisons.
#import leading_entry

fn order_eigen(lane: u32, n: u32, players: u32, scale: f32) {
  // the place of eigenvalue i: how many are larger, or equal with a smaller index
  for (var i = lane; i < n; i += WIDTH) {
    let value = work[i * players + i];
    var place = 0u;
    for (var j = 0u; j < n; j++) {
      let other = work[j * players + j];
      if (other > value || (other == value && j < i)) { place++; }
    }
    values[place] = value * scale;
    let quads = (players + 3u) / 4u;
    var largest = 0.0;
    for (var k = 0u; k < n; k++) {
      let entry = rotation[i * quads + k / 4u][k % 4u];
      largest = leading(largest, entry);
    }
    let flip = select(1.0, -1.0, largest < 0.0);
    for (var k = 0u; k < n; k++) { vectors[k * n + place] = flip * rotation[i * quads + k / 4u][k % 4u]; }
  }
}

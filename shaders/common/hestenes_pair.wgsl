// One-sided Jacobi rotations (Hestenes 1958; Demmel & Veselić 1992: small singular values keep their digits). Pairs of columns of
// A, and the same columns of V, are rotated until A's columns are orthogonal. Columns are stored as rows of `quads` vec4s, A's in
// `work` and V's in `rotation`, so that a rotation reads memory in order. TEAM neighbouring invocations share a pair.

// Columns whose cosine is below this count as orthogonal: it is the rounding error of a dot product.
const ORTHOGONAL: f32 = 2e-7;

var<workgroup> dots: array<vec3<f32>, WIDTH>;

// Makes rows p and q of `work` orthogonal where `present`, and returns whether that took a rotation. All invocations of the
// workgroup must call it together, because it has barriers.
fn rotate_pair(p: u32, q: u32, present: bool, lane: u32, quads: u32) -> bool {
  let member = lane % TEAM;
  var sums = vec3<f32>(0.0);
  if (present) {
    for (var k = member; k < quads; k += TEAM) {
      let x = work[p * quads + k];
      let y = work[q * quads + k];
      sums += vec3<f32>(dot(x, x), dot(y, y), dot(x, y));
    }
  }
  if (TEAM > 1u) {
    dots[lane] = sums;
    workgroupBarrier();
    sums = vec3<f32>(0.0);
    for (var k = 0u; k < TEAM; k++) { sums += dots[lane - member + k]; }
    workgroupBarrier();
  }
  if (!present || abs(sums.z) <= max(ORTHOGONAL * sqrt(sums.x) * sqrt(sums.y), 1e-37)) { return false; }
  let turn = jacobi_turn(sums.x, sums.y, sums.z);
  for (var k = member; k < quads; k += TEAM) {
    let x = work[p * quads + k];
    let y = work[q * quads + k];
    work[p * quads + k] = x - turn.x * (y + turn.y * x);
    work[q * quads + k] = y + turn.x * (x - turn.y * y);
    let z = rotation[p * quads + k];
    let w = rotation[q * quads + k];
    rotation[p * quads + k] = z - turn.x * (w + turn.y * z);
    rotation[q * quads + k] = w + turn.x * (z - turn.y * w);
  }
  return true;
}

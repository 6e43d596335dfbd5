// Eigenvalues and eigenvectors of a symmetric n×n matrix by two-sided cyclic Jacobi rotations (Golub & Van Loan, section
// 8.5), all disjoint pairs of a round at once in the order of a round-robin tournament. One workgroup; matrix and vectors
// stay in storage memory, so any n works. 6n³ flops a sweep, three barriers a round.
#import jacobi

const WIDTH: u32 = 128u;
const SWEEPS: u32 = 15u;
const MOST_PAIRS: u32 = 512u;

struct Params {
  n: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
// n×n, rotated to a diagonal
@group(0) @binding(2) var<storage, read_write> work: array<f32>;
// n×n, one eigenvector a row, in no order
@group(0) @binding(3) var<storage, read_write> rotation: array<f32>;
@group(0) @binding(4) var<storage, read_write> values: array<f32>;
// n×n, one eigenvector a column, by falling eigenvalue
@group(0) @binding(5) var<storage, read_write> vectors: array<f32>;

var<workgroup> cosine: array<f32, MOST_PAIRS>;
var<workgroup> sine: array<f32, MOST_PAIRS>;
var<workgroup> partial: array<f32, WIDTH>;
var<workgroup> partial_diagonal: array<f32, WIDTH>;
var<workgroup> settled: u32;

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
  let n = params.n;
  let players = n + n % 2u;
  let pairs = players / 2u;
  for (var e = lane; e < n * n; e += WIDTH) {
    work[e] = 0.5 * (a[e] + a[(e % n) * n + e / n]);
    rotation[e] = select(0.0, 1.0, e / n == e % n);
  }
  storageBarrier();
  workgroupBarrier();
  for (var sweep = 0u; sweep < SWEEPS; sweep++) {
    for (var round = 0u; round + 1u < players; round++) {
      for (var index = lane; index < pairs; index += WIDTH) {
        let pair = pair_of(index, round, players);
        let p = min(pair.x, pair.y);
        let q = max(pair.x, pair.y);
        var c = 1.0;
        var s = 0.0;
        if (q < n) {
          let apq = work[p * n + q];
          let app = work[p * n + p];
          let aqq = work[q * n + q];
          if (abs(apq) > 1e-9 * sqrt(abs(app * aqq)) && abs(apq) > 1e-36) {
            let theta = (aqq - app) / (2.0 * apq);
            let t = select(-1.0, 1.0, theta >= 0.0) / (abs(theta) + sqrt(1.0 + min(theta * theta, 1e37)));
            c = inverse_root(1.0 + t * t);
            s = t * c;
          }
        }
        cosine[index] = c;
        sine[index] = s;
      }
      workgroupBarrier();
      // rows p and q of the matrix and of the vectors
      for (var e = lane; e < pairs * n; e += WIDTH) {
        let index = e / n;
        let k = e % n;
        let pair = pair_of(index, round, players);
        let p = min(pair.x, pair.y);
        let q = max(pair.x, pair.y);
        if (q < n) {
          let c = cosine[index];
          let s = sine[index];
          let x = work[p * n + k];
          let y = work[q * n + k];
          work[p * n + k] = c * x - s * y;
          work[q * n + k] = s * x + c * y;
          let u = rotation[p * n + k];
          let v = rotation[q * n + k];
          rotation[p * n + k] = c * u - s * v;
          rotation[q * n + k] = s * u + c * v;
        }
      }
      storageBarrier();
      workgroupBarrier();
      for (var e = lane; e < pairs * n; e += WIDTH) {
        let index = e / n;
        let k = e % n;
        let pair = pair_of(index, round, players);
        let p = min(pair.x, pair.y);
        let q = max(pair.x, pair.y);
        if (q < n) {
          let c = cosine[index];
          let s = sine[index];
          let x = work[k * n + p];
          let y = work[k * n + q];
          work[k * n + p] = c * x - s * y;
          work[k * n + q] = s * x + c * y;
        }
      }
      storageBarrier();
      workgroupBarrier();
    }
    var off = 0.0;
    var diagonal = 0.0;
    for (var e = lane; e < n * n; e += WIDTH) {
      let value = work[e] * work[e];
      if (e / n == e % n) { diagonal += value; } else { off += value; }
    }
    partial[lane] = off;
    partial_diagonal[lane] = diagonal;
    workgroupBarrier();
    if (lane == 0u) {
      var all_off = 0.0;
      var all_diagonal = 0.0;
      for (var i = 0u; i < WIDTH; i++) {
        all_off += partial[i];
        all_diagonal += partial_diagonal[i];
      }
      settled = select(0u, 1u, all_off <= 1e-15 * all_diagonal);
    }
    if (workgroupUniformLoad(&settled) == 1u) { break; }
  }
  // place of an eigenvalue: how many are larger, or as large and before it
  for (var i = lane; i < n; i += WIDTH) {
    let value = work[i * n + i];
    var place = 0u;
    for (var j = 0u; j < n; j++) {
      let other = work[j * n + j];
      if (other > value || (other == value && j < i)) { place++; }
    }
    values[place] = value;
    var largest = 0.0;
    for (var k = 0u; k < n; k++) {
      let entry = rotation[i * n + k];
      if (abs(entry) > abs(largest) * 1.0001) { largest = entry; }
    }
    let flip = select(1.0, -1.0, largest < 0.0);
    for (var k = 0u; k < n; k++) { vectors[k * n + place] = flip * rotation[i * n + k]; }
  }
}

// Singular value decomposition A = U·diag(σ)·Vᵀ of a square n×n matrix by one-sided Jacobi rotations (Hestenes 1958;
// Demmel & Veselić 1992: small singular values keep their digits). Columns of A and V are rotated until A's are
// orthogonal; they are stored as rows, so a rotation walks memory in order. All disjoint pairs of a round at once, one
// invocation a pair, in one workgroup. 12n³ flops a sweep, one barrier a round.
#import jacobi

const WIDTH: u32 = 128u;
const SWEEPS: u32 = 20u;

struct Params {
  n: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read_write> work: array<f32>;
@group(0) @binding(3) var<storage, read_write> rotation: array<f32>;
@group(0) @binding(4) var<storage, read_write> u: array<f32>;
@group(0) @binding(5) var<storage, read_write> values: array<f32>;
@group(0) @binding(6) var<storage, read_write> v: array<f32>;

var<workgroup> rotated: array<u32, WIDTH>;
var<workgroup> any_rotated: u32;

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
  let n = params.n;
  let players = n + n % 2u;
  for (var e = lane; e < n * n; e += WIDTH) {
    work[e] = a[(e % n) * n + e / n];
    rotation[e] = select(0.0, 1.0, e / n == e % n);
  }
  storageBarrier();
  workgroupBarrier();
  for (var sweep = 0u; sweep < SWEEPS; sweep++) {
    var changed = 0u;
    for (var round = 0u; round + 1u < players; round++) {
      for (var index = lane; index < players / 2u; index += WIDTH) {
        let pair = pair_of(index, round, players);
        let p = min(pair.x, pair.y);
        let q = max(pair.x, pair.y);
        if (q < n) {
          var pp = 0.0;
          var qq = 0.0;
          var pq = 0.0;
          for (var k = 0u; k < n; k++) {
            let x = work[p * n + k];
            let y = work[q * n + k];
            pp += x * x;
            qq += y * y;
            pq += x * y;
          }
          if (abs(pq) > 2e-7 * sqrt(pp) * sqrt(qq) && abs(pq) > 1e-37) {
            changed = 1u;
            let zeta = (qq - pp) / (2.0 * pq);
            let t = select(-1.0, 1.0, zeta >= 0.0) / (abs(zeta) + sqrt(1.0 + min(zeta * zeta, 1e37)));
            let c = inverse_root(1.0 + t * t);
            let s = c * t;
            for (var k = 0u; k < n; k++) {
              let x = work[p * n + k];
              let y = work[q * n + k];
              work[p * n + k] = c * x - s * y;
              work[q * n + k] = s * x + c * y;
              let z = rotation[p * n + k];
              let w = rotation[q * n + k];
              rotation[p * n + k] = c * z - s * w;
              rotation[q * n + k] = s * z + c * w;
            }
          }
        }
      }
      storageBarrier();
      workgroupBarrier();
    }
    rotated[lane] = changed;
    workgroupBarrier();
    if (lane == 0u) {
      any_rotated = 0u;
      for (var i = 0u; i < WIDTH; i++) { any_rotated |= rotated[i]; }
    }
    if (workgroupUniformLoad(&any_rotated) == 0u) { break; }
  }
  // norms wait in the first column of u until the places are known
  for (var i = lane; i < n; i += WIDTH) {
    var sum = 0.0;
    for (var k = 0u; k < n; k++) { sum += work[i * n + k] * work[i * n + k]; }
    u[i] = sqrt(sum);
  }
  storageBarrier();
  workgroupBarrier();
  var own = array<f32, 16>();
  var places = array<u32, 16>();
  for (var i = lane; i < n; i += WIDTH) {
    let value = u[i];
    var place = 0u;
    for (var j = 0u; j < n; j++) {
      if (u[j] > value || (u[j] == value && j < i)) { place++; }
    }
    own[i / WIDTH] = value;
    places[i / WIDTH] = place;
  }
  storageBarrier();
  workgroupBarrier();
  for (var i = lane; i < n; i += WIDTH) {
    let value = own[i / WIDTH];
    let place = places[i / WIDTH];
    values[place] = value;
    let inverse = select(1.0 / max(value, 1e-37), 0.0, value < 1e-37);
    for (var k = 0u; k < n; k++) {
      u[k * n + place] = work[i * n + k] * inverse;
      v[k * n + place] = rotation[i * n + k];
    }
  }
}

// Cholesky factorisation of matrices that follow each other: common/cholesky for n ≤ 40, with R and R⁻¹ in workgroup memory, where a GPU needs a
// tenth of the time for a column.
#import cholesky

@group(0) @binding(2) var<storage, read_write> out_r: array<f32>;
@group(0) @binding(3) var<storage, read_write> out_inverse: array<f32>;

var<workgroup> r: array<f32, 1600>;
var<workgroup> inverse: array<f32, 1600>;

fn work_of(matrix: u32) -> u32 { return 0u; }
fn publish(lane: u32, n: u32) {
  workgroupBarrier();
  for (var e = lane; e < n * n; e += WIDTH) {
    out_r[matrix + e] = r[e];
    out_inverse[matrix + e] = inverse[e];
  }
}

// The mean of the diagonal that gram_entry has, by all invocations of a workgroup of WIDTH, a const of the importing file.
#import gram_entry

var<workgroup> partial: array<f32, WIDTH>;

fn mean_diagonal(lane: u32) -> f32 {
  var trace = 0.0;
  for (var i = lane; i < params.n; i += WIDTH) { trace += entry(i, i); }
  partial[lane] = trace;
  for (var width = WIDTH / 2u; width > 0u; width /= 2u) {
    workgroupBarrier();
    if (lane < width) { partial[lane] += partial[lane + width]; }
  }
  workgroupBarrier();
  return partial[0] / f32(params.n);
}

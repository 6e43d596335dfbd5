// out[0] = Σ_e parts[e], by one workgroup in a fixed order: an invocation adds up runs of 32 terms, then its runs, and a tree adds up
// the invocations. size read.

struct Params {
  size: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> parts: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

var<workgroup> sums: array<f32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) local: u32) {
  var sum = 0.0;
  for (var start = local; start < params.size; start += 256u * 32u) {
    var run = 0.0;
    for (var e = start; e < min(start + 256u * 32u, params.size); e += 256u) { run += parts[e]; }
    sum += run;
  }
  sums[local] = sum;
  for (var width = 128u; width > 0u; width /= 2u) {
    workgroupBarrier();
    if (local < width) { sums[local] += sums[local + width]; }
  }
  if (local == 0u) { out[0] = sums[0]; }
}

// out[part, b, a] = reduction over a part of i of f(x[b, i, a], y[b, i, a]), x and y of before×extent×after. One workgroup an
// output and part: for few outputs of many terms. A lane combines runs of RUN terms, then its runs; a tree combines the lanes.
// The order is fixed, and sums keep their digits. size read once.
#import index
#import reduction

const WIDTH: u32 = 64u;
const RUN: u32 = 16u;

var<workgroup> partial: array<f32, WIDTH>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let outputs = params.before * params.after;
  let index = flat_workgroup(group, groups);
  if (index >= outputs * params.parts) { return; }
  let output = index % outputs;
  let part = index / outputs;
  let base = (output / params.after) * params.extent * params.after + output % params.after;
  let stop = min((part + 1u) * params.chunk, params.extent);
  var sum = neutral();
  for (var start = part * params.chunk + lane; start < stop; start += WIDTH * RUN) {
    var run = neutral();
    for (var i = start; i < min(start + WIDTH * RUN, stop); i += WIDTH * AHEAD) {
      run = combine_ahead(run, base, i, WIDTH, stop);
    }
    sum = combine(sum, run);
  }
  partial[lane] = sum;
  for (var width = WIDTH / 2u; width > 0u; width /= 2u) {
    workgroupBarrier();
    if (lane < width) { partial[lane] = combine(partial[lane], partial[lane + width]); }
  }
  if (lane == 0u) { out[index] = params.alpha * partial[0]; }
}

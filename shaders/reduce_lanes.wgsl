// out[part, b, a] = reduction over a part of i of f(x[b, i, a], y[b, i, a]), x and y of before×extent×after. One invocation an
// output and part: for many outputs with after > 1, where neighbouring invocations read neighbouring terms. Runs of RUN terms are
// combined, then runs of RUN runs, then those, in a fixed order. size read once.
#import index
#import reduction

const WIDTH: u32 = 64u;
const RUN: u32 = 16u;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let outputs = params.before * params.after;
  let index = flat_workgroup(group, groups) * WIDTH + lane;
  if (index >= outputs * params.parts) { return; }
  let part = index / outputs;
  let output = index - part * outputs;
  let b = output / params.after;
  let base = b * params.extent * params.after + output - b * params.after;
  let stop = min((part + 1u) * params.chunk, params.extent);
  var total = neutral();
  for (var outer = part * params.chunk; outer < stop; outer += RUN * RUN) {
    let outer_stop = min(outer + RUN * RUN, stop);
    var middle = neutral();
    for (var start = outer; start < outer_stop; start += RUN) {
      let run_stop = min(start + RUN, outer_stop);
      var run = neutral();
      for (var i = start; i < run_stop; i += AHEAD) { run = combine_ahead(run, base, i, 1u, run_stop); }
      middle = combine(middle, run);
    }
    total = combine(total, middle);
  }
  out[index] = params.alpha * total;
}

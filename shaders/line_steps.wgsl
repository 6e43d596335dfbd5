// The two steps of a line search: `plain` becomes f, what a method made of its present state, and `further` = f + β·(f − plain), with the
// `plain` of the step before and β = state[0]. Elements of f from scaled_start to scaled_end are a matrix of `rank` columns, which count as
// many times as `weights` says. `further` is at least 0 from clip_start to clip_end. Reads and writes 2 numbers an element each.
#import index

const WIDTH: u32 = 64u;

struct Params {
  size: u32,
  clip_start: u32,
  clip_end: u32,
  scaled_start: u32,
  scaled_end: u32,
  rank: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> fresh: array<f32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read> state: array<f32>;
@group(0) @binding(4) var<storage, read_write> plain: array<f32>;
@group(0) @binding(5) var<storage, read_write> further: array<f32>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let e = flat_workgroup(group, groups) * WIDTH + lane;
  if (e >= params.size) { return; }
  var value = fresh[e];
  if (e >= params.scaled_start && e < params.scaled_end) { value *= weights[(e - params.scaled_start) % params.rank]; }
  let far = value + state[0] * (value - plain[e]);
  plain[e] = value;
  further[e] = select(far, max(far, 0.0), e >= params.clip_start && e < params.clip_end);
}

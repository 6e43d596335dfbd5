// One round of one-sided Jacobi by many workgroups, for matrices too large for one. A workgroup takes two blocks of BLOCK columns
// and rotates every column of one with every column of the other; with WITHIN it takes one block and rotates all pairs within it.
// A sweep is one round WITHIN and blocks − 1 rounds without. state = [whether a pair was rotated since the last check, whether the
// method is done]. n² read and written BLOCK times.
#import jacobi
#import hestenes_pair

const WIDTH: u32 = 256u;
const TEAM: u32 = 16u;
const BLOCK: u32 = 16u;
const WITHIN: bool = false;

struct Params {
  n: u32,
  // blocks of BLOCK columns, an even number; the last block may be empty
  blocks: u32,
  round: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> work: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> rotation: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> state: array<atomic<u32>>;

var<workgroup> done: u32;

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
  if (lane == 0u) { done = atomicLoad(&state[1]); }
  if (workgroupUniformLoad(&done) == 1u) { return; }
  let quads = (params.n + 3u) / 4u;
  let pairs = select(BLOCK, BLOCK / 2u, WITHIN);
  let both = pair_of(group.x, params.round, params.blocks);
  var changed = false;
  for (var step = 0u; step < select(BLOCK, BLOCK - 1u, WITHIN); step++) {
    for (var base = 0u; base < pairs; base += WIDTH / TEAM) {
      let index = base + lane / TEAM;
      var pair = vec2<u32>(both.x * BLOCK + index, both.y * BLOCK + (index + step) % BLOCK);
      if (WITHIN) { pair = group.x * BLOCK + pair_of(index, step, BLOCK); }
      if (rotate_pair(pair.x, pair.y, index < pairs && pair.y < params.n, lane, quads)) { changed = true; }
    }
    storageBarrier();
    workgroupBarrier();
  }
  if (changed) { atomicMax(&state[0], 1u); }
}

// One round of the Jacobi eigenvalue method by many workgroups, for matrices too large for one: A ← JᵀAJ, and the vectors likewise,
// where J holds the rotations of all pairs of the round (jacobi_eigen_turns). An invocation turns one 2×2 block of the matrix, or
// four entries of two vectors. state[1] says that the method is done. 2n² read and written, 6n² flops.
#import index
#import jacobi
#import eigen

const WIDTH: u32 = 64u;

struct Params {
  // rows and columns of `work`, an even number
  players: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> work: array<f32>;
@group(0) @binding(2) var<storage, read_write> rotation: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> turns: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> state: array<u32>;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  if (state[1] == 1u) { return; }
  let e = flat_workgroup(group, groups) * WIDTH + lane;
  let players = params.players;
  let pairs = players / 2u;
  let blocks = pairs * (pairs + 1u) / 2u;
  if (e < blocks) {
    let columns = (pairs + 1u) / 2u;
    let row = e / columns;
    let at = block_of(row, e - row * columns, pairs);
    turn_block(turns[at.x], turns[at.y], at.x == at.y, players);
    return;
  }
  let quads = (players + 3u) / 4u;
  let index = (e - blocks) / quads;
  if (index >= pairs) { return; }
  let turn = turns[index];
  if (turn.x != 0.0) { turn_vectors(turn, e - blocks - index * quads, quads); }
}

// The turns (sin φ, tan φ/2, p, q) of all pairs of a round, for jacobi_eigen_round. One invocation a pair; 3 reads each.
// state = [whether a pair was rotated since the last check, whether the method is done].
#import jacobi
#import eigen

const WIDTH: u32 = 64u;

struct Params {
  // rows and columns of `work`, an even number
  players: u32,
  round: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> work: array<f32>;
@group(0) @binding(2) var<storage, read_write> rotation: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> turns: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> state: array<atomic<u32>>;

@compute @workgroup_size(WIDTH)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= params.players / 2u || atomicLoad(&state[1]) == 1u) { return; }
  let turn = eigen_turn(id.x, params.round, params.players);
  if (turn.x != 0.0) { atomicMax(&state[0], 1u); }
  turns[id.x] = turn;
}

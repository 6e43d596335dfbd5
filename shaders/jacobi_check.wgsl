// Between sweeps of a Jacobi method that is recorded in full: where nothing was rotated since the last check, all is done,
// and the rounds that follow return at once. START begins anew. One invocation.
const START: bool = false;

struct Params {
  _unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// rotations since the last check, whether all is done
@group(0) @binding(1) var<storage, read_write> state: array<u32>;

@compute @workgroup_size(1)
fn main() {
  if (START) {
    state[1] = 0u;
  } else if (state[0] == 0u) {
    state[1] = 1u;
  }
  state[0] = 0u;
}

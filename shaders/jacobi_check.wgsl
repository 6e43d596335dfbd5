// Runs between the sweeps of a Jacobi method, all of which are recorded beforehand. If no pair was rotated since the last check,
// it marks the method as done, and the rounds that follow return at once. START resets the state. One invocation.
const START: bool = false;

struct Params {
  _unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [whether a pair was rotated since the last check, whether the method is done]
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

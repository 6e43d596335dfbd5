// trace[counter mod rows, :] = values; counter += 1. The row is counted on the device, so that a replayed sweep writes a new row
// each time without the host. One workgroup; `columns` read and written.
const WIDTH: u32 = 64u;

struct Params {
  rows: u32,
  columns: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<storage, read_write> trace: array<f32>;
@group(0) @binding(3) var<storage, read_write> counter: array<u32>;

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
  let row = counter[0] % params.rows;
  for (var column = lane; column < params.columns; column += WIDTH) {
    trace[row * params.columns + column] = values[column];
  }
  storageBarrier();
  if (lane == 0u) { counter[0] += 1u; }
}

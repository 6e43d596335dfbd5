// out[i] = FACTOR · x[i] + offset
const SIZE: u32 = 64u;
const FACTOR: f32 = 1.0;
const ROUND: bool = false;

struct Params { count: u32, offset: f32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(SIZE)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= params.count) { return; }
  let value = FACTOR * x[id.x] + params.offset;
  out[id.x] = select(value, round(value), ROUND);
}

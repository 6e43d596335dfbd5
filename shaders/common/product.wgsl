// What the matrix product kernels share: params, buffers, and where the slices of a batched, split product begin.
//   out[item] = activation(alpha·Σ_o A[item, o]·B[item, o] + bias), A rows×inner and B inner×columns, or transposed.
#import activation
#import index
#import numbers
#import slice

const TRANSPOSE_A: bool = false;
const TRANSPOSE_B: bool = false;
// `out` is stored columns×rows, and the bias has one value a row instead of one a column
const TRANSPOSE_OUT: bool = false;
const BIAS: bool = false;
// which operands lie as KIND says; others are f32
const PACKED_A: bool = false;
const PACKED_B: bool = false;

struct Params {
  rows: u32,
  columns: u32,
  // length of one contiguous inner sum, and how many of them are added up
  inner: u32,
  outer: u32,
  batch: u32,
  // elements between the matrices of a batch (0 where all items share one) and between the terms of the outer sum
  batch_a: u32,
  batch_b: u32,
  outer_a: u32,
  outer_b: u32,
  // terms of the inner and of the outer sum that a split adds up
  inner_chunk: u32,
  outer_chunk: u32,
  splits: u32,
  alpha: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
// bindings 1 and 2 are a and b, arrays of u32, or of `scalar` where VECTORS says how an operand is read
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

// element `at` of A
fn a_at(at: u32) -> f32 {
  if (PACKED_A) { return bitcast<f32>(bits_in(vec4<u32>(a[at / PER_WORD]).x, at)); }
  return bitcast<f32>(vec4<u32>(a[at]).x);
}

fn b_at(at: u32) -> f32 {
  if (PACKED_B) { return bitcast<f32>(bits_in(vec4<u32>(b[at / PER_WORD]).x, at)); }
  return bitcast<f32>(vec4<u32>(b[at]).x);
}

// four elements of A from `at` on, a multiple of four, where VECTORS is about A
fn a_from(at: u32) -> vec4<f32> {
  if (!PACKED_A) { return bitcast<vec4<f32>>(vec4<u32>(a[at / 4u])); }
  if (PER_WORD == 2u) { return bitcast<vec4<f32>>(bits_of(two(vec4<u32>(a[at / 2u]).x, vec4<u32>(a[at / 2u + 1u]).x))); }
  return bitcast<vec4<f32>>(bits_of(vec4<u32>(a[at / 4u])));
}

fn b_from(at: u32) -> vec4<f32> {
  if (!PACKED_B) { return bitcast<vec4<f32>>(vec4<u32>(b[at / 4u])); }
  if (PER_WORD == 2u) { return bitcast<vec4<f32>>(bits_of(two(vec4<u32>(b[at / 2u]).x, vec4<u32>(b[at / 2u + 1u]).x))); }
  return bitcast<vec4<f32>>(bits_of(vec4<u32>(b[at / 4u])));
}

// Writes one sum. With splits > 1 `out` holds the raw partial sums, splits×batch×rows×columns, for split_sum.
fn store(split: u32, item: u32, row: u32, column: u32, sum: f32) {
  var value = params.alpha * sum;
  if (BIAS) { value += bias[select(column, row, TRANSPOSE_OUT)]; }
  let at = select(row * params.columns + column, column * params.rows + row, TRANSPOSE_OUT);
  out[(split * params.batch + item) * params.rows * params.columns + at] = activate(value);
}

// Writes four neighbouring sums; `place` is (row, first column, item of the batch, split).
fn write_four(place: vec4<u32>, values: vec4<f32>) {
  for (var j = 0u; j < 4u; j++) {
    if (place.x < params.rows && place.y + j < params.columns) {
      store(place.w, place.z, place.x, place.y + j, values[j]);
    }
  }
}

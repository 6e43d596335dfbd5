// The strides of up to eight axes of an operand, the innermost axis in `low.w`. The code names the members one by one, because
// software adapters take ten times as long where a variable indexes a uniform array.

struct Axes {
  high: vec4<u32>,
  low: vec4<u32>,
}

// Σ_k index_k·stride_k, where index_k are the indices of flat index `i` in a tensor whose last `count` extents (a constant) are
// the last ones of shape_high and shape_low.
fn strided_offset(i: u32, count: u32, shape_high: vec4<u32>, shape_low: vec4<u32>, stride: Axes) -> u32 {
  if (count <= 1u) { return i * stride.low.w; }
  var rest = i / shape_low.w;
  var offset = (i - rest * shape_low.w) * stride.low.w;
  if (count == 2u) { return offset + rest * stride.low.z; }
  var next = rest / shape_low.z;
  offset += (rest - next * shape_low.z) * stride.low.z;
  rest = next;
  if (count == 3u) { return offset + rest * stride.low.y; }
  next = rest / shape_low.y;
  offset += (rest - next * shape_low.y) * stride.low.y;
  rest = next;
  if (count == 4u) { return offset + rest * stride.low.x; }
  next = rest / shape_low.x;
  offset += (rest - next * shape_low.x) * stride.low.x;
  rest = next;
  if (count == 5u) { return offset + rest * stride.high.w; }
  next = rest / shape_high.w;
  offset += (rest - next * shape_high.w) * stride.high.w;
  rest = next;
  if (count == 6u) { return offset + rest * stride.high.z; }
  next = rest / shape_high.z;
  offset += (rest - next * shape_high.z) * stride.high.z;
  rest = next;
  if (count == 7u) { return offset + rest * stride.high.y; }
  next = rest / shape_high.y;
  offset += (rest - next * shape_high.y) * stride.high.y;
  return offset + next * stride.high.x;
}

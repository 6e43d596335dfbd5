// The share of a split in a sum over inner and outer terms, for products whose sum is divided among workgroups. The importing file
// declares the params inner, outer, inner_chunk and outer_chunk.

struct Slice {
  inner_start: u32,
  inner_stop: u32,
  outer_start: u32,
  outer_stop: u32,
}

// Splits count along the inner sum first.
fn slice_of(split: u32) -> Slice {
  let parts = (params.inner + params.inner_chunk - 1u) / params.inner_chunk;
  let inner = split % parts * params.inner_chunk;
  let outer = split / parts * params.outer_chunk;
  return Slice(
    inner,
    min(inner + params.inner_chunk, params.inner),
    outer,
    min(outer + params.outer_chunk, params.outer),
  );
}

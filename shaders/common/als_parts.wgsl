// Adds up the parts that als_update's workgroups wrote for a mode: each is R·R + 1 values, the share of its rows in AᵀA and in
// ⟨M, A⟩. The importing file declares `previous_parts` and the params `previous_count` and `rank`.
#import ahead

// The value at an offset of a part, summed over all parts.
fn previous_at(offset: u32) -> f32 {
  let stride = params.rank * params.rank + 1u;
  var sum = 0.0;
  for (var p = 0u; p < params.previous_count; p += AHEAD) {
    var taken: array<f32, AHEAD>;
    for (var u = 0u; u < AHEAD; u++) {
      let value = previous_parts[min(p + u, params.previous_count - 1u) * stride + offset];
      taken[u] = select(0.0, value, p + u < params.previous_count);
    }
    for (var u = 0u; u < AHEAD; u++) { sum += taken[u]; }
  }
  return sum;
}

// x / norm; 0 where the norm is 0, so that zero columns stay zero.
fn divided(x: f32, norm: f32) -> f32 {
  return select(x / max(norm, 1e-37), 0.0, norm == 0.0);
}

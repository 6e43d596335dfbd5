// What als_update's workgroups left of a mode: R·R + 1 values each, their rows' share of AᵀA and of ⟨M, A⟩. `previous_parts` and
// its parameters `previous_count` and `rank` are the including file's.
#import ahead

// The sum of a value over all parts.
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

// Columns without a norm stay zero.
fn divided(x: f32, norm: f32) -> f32 {
  return select(x / max(norm, 1e-37), 0.0, norm == 0.0);
}

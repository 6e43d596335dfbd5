// Adds up the parts of an MTTKRP's product, `splits` of them. The importing file declares `product` and the params `splits`, `rows` and
// `rank`.
#import ahead

// The element of M at an offset of one part, summed over the parts.
fn product_at(offset: u32) -> f32 {
  if (params.splits == 1u) { return product[offset]; }
  let size = params.rows * params.rank;
  var sum = 0.0;
  for (var p = 0u; p < params.splits; p += AHEAD) {
    var taken: array<f32, AHEAD>;
    for (var u = 0u; u < AHEAD; u++) {
      let value = product[min(p + u, params.splits - 1u) * size + offset];
      taken[u] = select(0.0, value, p + u < params.splits);
    }
    for (var u = 0u; u < AHEAD; u++) { sum += taken[u]; }
  }
  return sum;
}

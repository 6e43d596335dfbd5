// The squared distance of a tile of a Kruskal tensor X̂ to the tensor X (`x`); `out` holds a sum a workgroup. STORE: X − X̂ is written to `difference`.
// HOLES: entries of X that are MISSING do not count, and differences are written `scale` times.
#import missing

const STORE: bool = false;
const HOLES: bool = false;

@group(0) @binding(6) var<storage, read> x: array<scalar>;
@group(0) @binding(7) var<storage, read_write> out: array<f32>;
@group(0) @binding(8) var<storage, read_write> difference: array<f32>;

// Σ (X − X̂)² over four rows of a tile, those from `offset` on
fn squares(place: Place, offset: u32, values: mat4x4<f32>) -> f32 {
  return squares_of_row(place, offset, values[0]) + squares_of_row(place, offset + 1u, values[1]) +
    squares_of_row(place, offset + 2u, values[2]) + squares_of_row(place, offset + 3u, values[3]);
}

fn squares_of_row(place: Place, row: u32, model: vec4<f32>) -> f32 {
  if (place.row + row >= params.middle) { return 0.0; }
  let at = (place.o * params.middle + place.row + row) * params.last + place.column;
  if (place.column + 4u <= params.last) {
    let value = x_row(at);
    var lack = value - model;
    if (HOLES) { lack = select(lack, vec4<f32>(), value == vec4<f32>(MISSING)); }
    if (STORE) {
      let stored = select(lack, params.scale * lack, HOLES);
      difference[at] = stored.x;
      difference[at + 1u] = stored.y;
      difference[at + 2u] = stored.z;
      difference[at + 3u] = stored.w;
    }
    return dot(lack, lack);
  }
  var sum = 0.0;
  for (var j = 0u; place.column + j < params.last; j++) {
    let value = x_at(at + j);
    var lack = value - model[j];
    if (HOLES) { lack = select(lack, 0.0, value == MISSING); }
    if (STORE) { difference[at + j] = select(lack, params.scale * lack, HOLES); }
    sum += lack * lack;
  }
  return sum;
}

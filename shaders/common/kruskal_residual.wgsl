// The squared distance of a tile of a Kruskal tensor X̂ to the tensor X (`x`); `out` holds a sum a workgroup. STORE: X − X̂ is written to `difference`.

const STORE: bool = false;

@group(0) @binding(6) var<storage, read> x: array<f32>;
@group(0) @binding(7) var<storage, read_write> out: array<f32>;
@group(0) @binding(8) var<storage, read_write> difference: array<f32>;

// Σ (X − X̂)² over four rows of a tile, those from `offset` on
fn squares(place: Place, offset: u32, values: mat4x4<f32>) -> f32 {
  var sum = 0.0;
  for (var i = 0u; i < 4u && place.row + offset + i < params.middle; i++) {
    let at = (place.o * params.middle + place.row + offset + i) * params.last + place.column;
    var line = 0.0;
    for (var j = 0u; j < 4u && place.column + j < params.last; j++) {
      let lack = x[at + j] - values[i][j];
      if (STORE) { difference[at + j] = lack; }
      line += lack * lack;
    }
    sum += line;
  }
  return sum;
}

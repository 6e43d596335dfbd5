// Writes a tile of a Kruskal tensor, or its difference to the tensor X (`x`), to `out`.

// out = X minus the Kruskal tensor
const DIFFERENCE: bool = false;

@group(0) @binding(6) var<storage, read_write> out: array<f32>;
@group(0) @binding(7) var<storage, read> x: array<f32>;

// Writes four rows of a tile, those from `offset` on.
fn store_rows(place: Place, offset: u32, values: mat4x4<f32>) {
  for (var i = 0u; i < 4u && place.row + offset + i < params.middle; i++) {
    let at = (place.o * params.middle + place.row + offset + i) * params.last + place.column;
    for (var j = 0u; j < 4u && place.column + j < params.last; j++) {
      var value = values[i][j];
      if (DIFFERENCE) { value = x[at + j] - value; }
      out[at + j] = value;
    }
  }
}

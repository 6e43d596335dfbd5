// Writes a tile of a Kruskal tensor, or its difference to the tensor X (`x`), to `out`.

// out = X minus the Kruskal tensor
const DIFFERENCE: bool = false;

@group(0) @binding(6) var<storage, read_write> out: array<f32>;
@group(0) @binding(7) var<storage, read> x: array<scalar>;

// Writes four rows of a tile, those from `offset` on.
fn store_rows(place: Place, offset: u32, values: mat4x4<f32>) {
  store_row(place, offset, values[0]);
  store_row(place, offset + 1u, values[1]);
  store_row(place, offset + 2u, values[2]);
  store_row(place, offset + 3u, values[3]);
}

fn store_row(place: Place, row: u32, model: vec4<f32>) {
  if (place.row + row >= params.middle) { return; }
  let at = (place.o * params.middle + place.row + row) * params.last + place.column;
  if (place.column + 4u <= params.last) {
    var value = model;
    if (DIFFERENCE) { value = x_row(at) - model; }
    out[at] = value.x;
    out[at + 1u] = value.y;
    out[at + 2u] = value.z;
    out[at + 3u] = value.w;
    return;
  }
  for (var j = 0u; place.column + j < params.last; j++) {
    var value = model[j];
    if (DIFFERENCE) { value = x_at(at + j) - value; }
    out[at + j] = value;
  }
}

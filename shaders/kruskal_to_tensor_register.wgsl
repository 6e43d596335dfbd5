// X[i, j, …, k] = Σ_r λ_r A[i, r] · B[j, r] · … · C[k, r], every invocation a 4×4 tile of the last two modes.
// flops 2·size·R; writes size, reads factors through the cache.
#import kruskal_register

// whether X minus that is wanted instead
const DIFFERENCE: bool = false;

@group(0) @binding(7) var<storage, read_write> out: array<f32>;
@group(0) @binding(8) var<storage, read> x: array<f32>;

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

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let tile = flat_workgroup(group, groups) * 64u + local;
  if (tile >= tile_count()) { return; }
  let place = place_of(tile);
  store_rows(place, 0u, kruskal_tile(place));
}

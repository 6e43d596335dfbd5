// out[workgroup] = Σ (X − X̂)² over every so-manieth tile, X̂ the Kruskal tensor that kruskal_to_tensor writes, here never
// stored. Summed by line, tile, invocation, then a tree; `total` adds up the rest. flops 2·size·R; reads X once.
#import kruskal_register

@group(0) @binding(7) var<storage, read> x: array<f32>;
@group(0) @binding(8) var<storage, read_write> out: array<f32>;

var<workgroup> sums: array<f32, 64>;

// Σ (X − X̂)² over four rows of a tile
fn squares(place: Place, offset: u32, values: mat4x4<f32>) -> f32 {
  var sum = 0.0;
  for (var i = 0u; i < 4u && place.row + offset + i < params.middle; i++) {
    let at = (place.o * params.middle + place.row + offset + i) * params.last + place.column;
    var line = 0.0;
    for (var j = 0u; j < 4u && place.column + j < params.last; j++) {
      let difference = x[at + j] - values[i][j];
      line += difference * difference;
    }
    sum += line;
  }
  return sum;
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let flat = flat_workgroup(group, groups);
  let tiles = tile_count();
  var sum = 0.0;
  for (var tile = flat * 64u + local; tile < tiles; tile += groups.x * groups.y * 64u) {
    let place = place_of(tile);
    sum += squares(place, 0u, kruskal_tile(place));
  }
  sums[local] = sum;
  for (var width = 32u; width > 0u; width /= 2u) {
    workgroupBarrier();
    if (local < width) { sums[local] += sums[local + width]; }
  }
  if (local == 0u) { out[flat] = sums[0]; }
}

// out[workgroup] = Σ (X − X̂)² over the workgroup's tiles, X̂ the Kruskal tensor that kruskal_to_tensor writes, which is not stored
// here (STORE: X − X̂ is). Tiles are dealt out to invocations in turn. Sums are made a line, then a tile, then an invocation, then by a tree; `total`
// adds up the workgroups'. flops 2·size·R; reads X once.
#import kruskal_register
#import kruskal_residual

var<workgroup> sums: array<f32, 64>;

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

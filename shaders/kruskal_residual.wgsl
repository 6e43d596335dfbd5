// out[workgroup] = Σ (X − X̂)² over the workgroup's tiles, X̂ the Kruskal tensor that kruskal_to_tensor writes, here never
// stored. Pairwise: 16 terms an invocation, then a tree; `total` adds up the rest. flops 2·size·R; reads X once.
#import index
#import kruskal

@group(0) @binding(7) var<storage, read> x: array<f32>;
@group(0) @binding(8) var<storage, read_write> out: array<f32>;

var<workgroup> sums: array<f32, 64>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let tile_columns = (params.last + 3u) / 4u;
  let tile_rows = (params.middle + 3u) / 4u;
  let flat = flat_workgroup(group, groups);
  var tile = flat * 64u + local;
  let column = tile % tile_columns * 4u;
  tile /= tile_columns;
  let row = tile % tile_rows * 4u;
  let o = tile / tile_rows;
  var sum = 0.0;
  if (o < params.outer) {
    let rows = min(vec4<u32>(row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.middle - 1u));
    let columns = min(vec4<u32>(column) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.last - 1u));
    let values = kruskal_tile(o, rows, columns);
    for (var i = 0u; i < 4u && row + i < params.middle; i++) {
      var line = 0.0;
      for (var j = 0u; j < 4u && column + j < params.last; j++) {
        let difference = x[(o * params.middle + row + i) * params.last + column + j] - values[i][j];
        line += difference * difference;
      }
      sum += line;
    }
  }
  sums[local] = sum;
  for (var width = 32u; width > 0u; width /= 2u) {
    workgroupBarrier();
    if (local < width) { sums[local] += sums[local + width]; }
  }
  if (local == 0u) { out[flat] = sums[0]; }
}

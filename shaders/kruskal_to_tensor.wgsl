// X[i, j, …, k] = Σ_r λ_r A[i, r] · B[j, r] · … · C[k, r], every invocation a 4×4 tile of the last two modes.
// flops 2·size·R; writes size, reads factors through the cache.
#import index
#import kruskal

@group(0) @binding(7) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let tile_columns = (params.last + 3u) / 4u;
  let tile_rows = (params.middle + 3u) / 4u;
  var tile = flat_workgroup(group, groups) * 64u + local;
  let column = tile % tile_columns * 4u;
  tile /= tile_columns;
  let row = tile % tile_rows * 4u;
  let o = tile / tile_rows;
  if (o >= params.outer) { return; }
  let rows = min(vec4<u32>(row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.middle - 1u));
  let columns = min(vec4<u32>(column) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.last - 1u));
  let values = kruskal_tile(o, rows, columns);
  for (var i = 0u; i < 4u && row + i < params.middle; i++) {
    for (var j = 0u; j < 4u && column + j < params.last; j++) {
      out[(o * params.middle + row + i) * params.last + column + j] = values[i][j];
    }
  }
}

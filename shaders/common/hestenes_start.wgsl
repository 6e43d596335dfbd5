// The start of one-sided Jacobi (hestenes_pair).

// Writes vec4 k of row i: `work` gets column i of A / scale, `rotation` column i of the identity.
fn start_column(i: u32, k: u32, n: u32, scale: f32) {
  var column = vec4<f32>(0.0);
  if (4u * k < n) { column.x = a[4u * k * n + i] / scale; }
  if (4u * k + 1u < n) { column.y = a[(4u * k + 1u) * n + i] / scale; }
  if (4u * k + 2u < n) { column.z = a[(4u * k + 2u) * n + i] / scale; }
  if (4u * k + 3u < n) { column.w = a[(4u * k + 3u) * n + i] / scale; }
  let at = i * ((n + 3u) / 4u) + k;
  work[at] = column;
  rotation[at] = select(vec4<f32>(0.0), vec4<f32>(1.0), vec4<u32>(0u, 1u, 2u, 3u) + 4u * k == vec4<u32>(i));
}

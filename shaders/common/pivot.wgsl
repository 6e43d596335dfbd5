// Pivots of a Cholesky factorisation, and divisions by their roots and by norms, which may be 0.

// √pivot; 0 for a pivot at or below `threshold` of the element that the diagonal of G has there.
fn root_of_pivot(pivot: f32, diagonal: f32, threshold: f32) -> f32 {
  let dependent = !(pivot > threshold * diagonal) || diagonal == 0.0;
  return select(sqrt(max(pivot, 1e-37)), 0.0, dependent);
}

fn divided(x: f32, by: f32) -> f32 { return select(x / by, 0.0, by == 0.0); }

// Flat places and positions (z, y, x) in row-major volumes of depth×height×width.

fn place_in(extents: vec3<u32>, at: vec3<u32>) -> u32 {
  return (at.x * extents.y + at.y) * extents.z + at.z;
}

fn position_in(extents: vec3<u32>, flat: u32) -> vec3<u32> {
  return vec3<u32>(flat / (extents.y * extents.z), flat / extents.z % extents.y, flat % extents.z);
}

fn volume(extents: vec3<u32>) -> u32 {
  return extents.x * extents.y * extents.z;
}

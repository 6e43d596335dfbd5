// Philox4x32-10 (Salmon, Moraes, Dror & Shaw 2011): a counter in, four random words out, the same on every adapter.

fn multiply_wide(a: u32, b: u32) -> vec2<u32> {
  // 32×32 → 64 bits from 16-bit halves: (high, low)
  let a0 = a & 0xffffu;
  let a1 = a >> 16u;
  let b0 = b & 0xffffu;
  let b1 = b >> 16u;
  let low = a0 * b0;
  let middle = a1 * b0 + (low >> 16u);
  let cross = a0 * b1 + (middle & 0xffffu);
  return vec2<u32>(a1 * b1 + (middle >> 16u) + (cross >> 16u), a * b);
}

fn random_u32x4(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
  var c = counter;
  var k = key;
  for (var round = 0u; round < 10u; round++) {
    let p = multiply_wide(0xD2511F53u, c.x);
    let q = multiply_wide(0xCD9E8D57u, c.z);
    c = vec4<u32>(q.x ^ c.y ^ k.x, q.y, p.x ^ c.w ^ k.y, p.y);
    k += vec2<u32>(0x9E3779B9u, 0xBB67AE85u);
  }
  return c;
}

// [0, 1) in steps of 2⁻²⁴: exact in f32
fn random_unit(bits: u32) -> f32 {
  return f32(bits >> 8u) * 5.9604644775390625e-8;
}

// two standard normals from two words (Box & Muller 1958)
fn random_normal2(a: u32, b: u32) -> vec2<f32> {
  // (0, 1]: the logarithm stays finite
  let radius = sqrt(-2.0 * log((f32(a >> 8u) + 1.0) * 5.9604644775390625e-8));
  let angle = 6.283185307179586 * random_unit(b);
  return radius * vec2<f32>(cos(angle), sin(angle));
}

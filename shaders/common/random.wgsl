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

// ln x for x in (0, 1], to rounding, because WGSL promises `log` only to 2⁻²¹ near 1, where Box and Muller's radii are small
fn accurate_log(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  var exponent = i32(bits >> 23u) - 127;
  var mantissa = bitcast<f32>((bits & 0x7fffffu) | 0x3f800000u);
  if (mantissa > 1.4142135) {
    mantissa *= 0.5;
    exponent += 1;
  }
  let s = (mantissa - 1.0) / (mantissa + 1.0);
  let t = s * s;
  let series = 2.0 * s * (1.0 + t * (0.33333333 + t * (0.2 + t * (0.14285714 + t * (0.11111111 + t * 0.09090909)))));
  return f32(exponent) * 0.6931471805599453 + series;
}

// (cos 2πu, sin 2πu) for u in [0, 1), to rounding, because WGSL promises `cos` and `sin` only to 2⁻¹¹
fn accurate_circle(u: f32) -> vec2<f32> {
  let quarter = u32(4.0 * u + 0.5);
  let r = (u - 0.25 * f32(quarter)) * 6.283185307179586;
  let t = r * r;
  let s = r * (1.0 + t * (-0.16666667 + t * (0.008333333 + t * (-0.0001984127 + t * 2.7557319e-6))));
  let c = 1.0 + t * (-0.5 + t * (0.041666667 + t * (-0.0013888889 + t * 2.4801587e-5)));
  switch quarter % 4u {
    case 0u: { return vec2<f32>(c, s); }
    case 1u: { return vec2<f32>(-s, c); }
    case 2u: { return vec2<f32>(-c, -s); }
    default: { return vec2<f32>(s, -c); }
  }
}

// two standard normals from two words (Box & Muller 1958)
fn random_normal2(a: u32, b: u32) -> vec2<f32> {
  // the unit number is in (0, 1], so that the logarithm stays finite
  let radius = sqrt(-2.0 * accurate_log((f32(a >> 8u) + 1.0) * 5.9604644775390625e-8));
  return radius * accurate_circle(random_unit(b));
}

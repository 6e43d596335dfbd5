// An invocation's sums in the products for GPUs, in registers.
var<private> sums: array<vec4<f32>, 16>;

// By a switch: at a variable index the sums would lie in memory for the whole kernel (a tenth of the speed on an H200), and a
// loop with barriers is not unrolled.
fn own_four(index: u32) -> vec4<f32> {
  switch (index) {
    case 0u: { return sums[0]; }
    case 1u: { return sums[1]; }
    case 2u: { return sums[2]; }
    case 3u: { return sums[3]; }
    case 4u: { return sums[4]; }
    case 5u: { return sums[5]; }
    case 6u: { return sums[6]; }
    case 7u: { return sums[7]; }
    case 8u: { return sums[8]; }
    case 9u: { return sums[9]; }
    case 10u: { return sums[10]; }
    case 11u: { return sums[11]; }
    case 12u: { return sums[12]; }
    case 13u: { return sums[13]; }
    case 14u: { return sums[14]; }
    default: { return sums[15]; }
  }
}

// Cholesky factorisation by one workgroup: common/cholesky, with R and R⁻¹ in storage buffers.
#import cholesky

@group(0) @binding(2) var<storage, read_write> r: array<f32>;
@group(0) @binding(3) var<storage, read_write> inverse: array<f32>;

fn publish(lane: u32, n: u32) {}

// Eigenvalues and eigenvectors by one workgroup: common/eigen_workgroup with the matrix and the vectors in storage buffers.
#import eigen_workgroup

@group(0) @binding(4) var<storage, read_write> work: array<f32>;
@group(0) @binding(5) var<storage, read_write> rotation: array<vec4<f32>>;

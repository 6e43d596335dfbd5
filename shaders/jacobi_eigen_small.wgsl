// Eigenvalues and eigenvectors by one workgroup: common/eigen_workgroup for n ≤ 40, with the matrix and the vectors in workgroup
// memory, where a GPU needs a tenth of the time for a round.
#import eigen_workgroup

var<workgroup> work: array<f32, 1600>;
var<workgroup> rotation: array<vec4<f32>, 400>;

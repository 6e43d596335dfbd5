// Eigenvalues and eigenvectors by one workgroup (common/eigen_workgroup), n ≤ 40: the matrix and the vectors in workgroup
// memory, where a round of a GPU's takes a tenth of the time.
#import eigen_workgroup

var<workgroup> work: array<f32, 1600>;
var<workgroup> rotation: array<vec4<f32>, 400>;

/** ml-matrix: factorisations in plain JavaScript and f64, on one core; what is picked today where there is no GPU code. */
import { EigenvalueDecomposition, Matrix, QrDecomposition, SingularValueDecomposition } from "ml-matrix";
import { version } from "./node_modules/ml-matrix/package.json";

export async function open() {
  return { name: `ml-matrix ${version}`, prepare };
}

const factorisations = {
  svd(a) {
    const {
      diagonal,
      leftSingularVectors: u,
      rightSingularVectors: v,
    } = new SingularValueDecomposition(a, {
      autoTranspose: true,
    });
    return [diagonal, u, v];
  },
  eigen(a) {
    const { realEigenvalues, eigenvectorMatrix } = new EigenvalueDecomposition(a, { assumeSymmetric: true });
    return [realEigenvalues, eigenvectorMatrix];
  },
  orthogonalise(a) {
    const { orthogonalMatrix, upperTriangularMatrix } = new QrDecomposition(a);
    return [orthogonalMatrix, upperTriangularMatrix];
  },
};

async function prepare(work, inputs) {
  const factorise = factorisations[work.op];
  if (!factorise) return null;
  const a = Matrix.from1DArray(...work.a.shape, inputs[0]);
  let results = [];
  return {
    async run(times) {
      for (let i = 0; i < times; i++) results = factorise(a);
    },
    outputs: async () => results.map((part) => Float32Array.from(Matrix.isMatrix(part) ? part.to1DArray() : part)),
    destroy() {
      results = [];
    },
  };
}

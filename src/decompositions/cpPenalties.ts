/** Penalties on the factor of one mode of CP, smooth and sparse ones, as updates: what `constraints` of cpALS names. */
import { type Scheduler, TenfoldError, type Tensor } from "../gpu/index.js";
import {
  add,
  divide,
  hals,
  innerProduct,
  map,
  matmul,
  mean,
  multiply,
  scale,
  scaleColumns,
  subtract,
  sumOfSquares,
  symmetricEigen,
  unitColumnsStep,
} from "../ops/index.js";
import { makeNonnegative } from "./cpNonnegative.js";
import { type CpUpdate, PROXIMAL } from "./cpUpdates.js";

/**
 * The update of modes beside one that has a penalty: columns of norm 1, while the weights, which the penalty is about, stay. Least squares and a
 * normalisation would undo what the penalty took off the weights.
 */
export const besidePenalty = (nonnegative: boolean): CpUpdate => ({
  advice: "another start",
  keepsDirections: true,
  ...(nonnegative && { prepare: makeNonnegative }),
  record: ({ s }, { product, normal, factor, weights }) =>
    unitColumnsStep(s, normal, product, { factor, weights, nonnegative }),
});

/**
 * Least ½·‖X − X̂‖² + λ·‖X‖·Σ|â| over the factor Â of a mode times the weights, by coordinate descent (Friedman, Hastie, Höfling & Tibshirani 2007): rows
 * are independent of each other, as the other modes' factors have all of the mixing.
 */
export function sparse(lambda: number, nonnegative: boolean, mode: number): CpUpdate {
  return {
    advice: "a smaller penalty",
    keepsDirections: true,
    ...(nonnegative && { prepare: makeNonnegative }),
    record({ s }, { product, normal, factor, weights, squaredNorm }) {
      const scaled = scaleColumns(s, factor, weights);
      const shrink = lambda * Math.sqrt(squaredNorm);
      const next = hals(s, normal, product, { factor: scaled, shrink, signed: !nonnegative });
      s.release(scaled);
      return next;
    },
    penalty(s, { factors, weights, squaredNorm }) {
      const scaled = scaleColumns(s, factors[mode]!, weights);
      const signs = map(s, scaled, "sign");
      const size = innerProduct(s, scaled, signs);
      const twice = scale(s, size, { alpha: 2 * lambda * Math.sqrt(squaredNorm) });
      s.release(scaled, signs, size);
      return twice;
    },
  };
}

/** steps of the method of multipliers in one update: the next update goes on from where they end */
const STEPS = 10;

/**
 * Least ½·‖X − X̂‖² + ½·λ·‖L·Â‖² over the factor Â of a mode times the weights. L takes second differences of neighbouring rows, at the ends with the row
 * beside the end as its own neighbour. Cosines C diagonalise L (Garcia 2010), and eigenvectors Q the matrix V of the normal equations Â·V + λ·L²·Â = M, so
 * that C·Â·Q is C·M·Q divided, entry by entry, by the sum of two eigenvalues: no digits are lost, however large λ is.
 *
 * Without negative entries, by the alternating direction method of multipliers (Huang, Sidiropoulos & Liavas 2016): such a solution with ρ·I added to V, ρ its
 * mean diagonal, and a projection, by turns. Factor and multipliers are those of the update before, so that updates end where none is better.
 */
export function smooth(lambda: number, nonnegative: boolean, mode: number): CpUpdate {
  const advice = "a smaller penalty";
  return {
    advice,
    record: () => {
      throw new TenfoldError("smooth: no run was begun; call begin, and record with the update that it returns");
    },
    begin({ allocate, engine, source }) {
      const rows = source.shape[mode]!;
      const cosines = allocate([rows, rows], "cosines");
      const curvatures = allocate([rows, 1], "curvatures");
      /** the multipliers of Â ≥ 0, divided by ρ */
      let multipliers: Tensor | undefined;
      engine.write(cosines, cosineRows(rows));
      engine.write(
        curvatures,
        Float32Array.from({ length: rows }, (_, k) => curvature(k, rows)),
      );
      /** Â of a right side M, where V has these eigenvectors, and eigenvalues that the divisor has beside λ·L²'s. */
      const solved = (s: Scheduler, right: Tensor, vectors: Tensor, divisor: Tensor): Tensor => {
        const turned = matmul(s, right, vectors);
        const waves = matmul(s, cosines, turned);
        const divided = divide(s, waves, divisor);
        const back = matmul(s, cosines, divided, { transposeA: true });
        const next = matmul(s, back, vectors, { transposeB: true });
        s.release(turned, waves, divided, back);
        return next;
      };
      return {
        advice,
        keepsDirections: true,
        ...(nonnegative && {
          prepare(start: Float32Array, rank: number) {
            makeNonnegative(start, rank);
            // another start is about to begin
            if (multipliers) engine.write(multipliers, new Float32Array(multipliers.size));
          },
        }),
        record: ({ s }, { product, normal, factor, weights }) => {
          const scaled = scaleColumns(s, factor, weights);
          const near = scale(s, scaled, { alpha: PROXIMAL });
          const right = add(s, product, near);
          const { values, vectors } = symmetricEigen(s, normal);
          // V has no negative eigenvalue but by rounding
          const positive = map(s, values, "relu");
          const shifted = map(s, positive, "identity", { beta: PROXIMAL });
          const stiff = scale(s, curvatures, { alpha: lambda });
          const divisor = add(s, stiff, shifted);
          const temporaries = [near, right, values, vectors, positive, shifted, stiff, divisor];
          if (!nonnegative) {
            const next = solved(s, right, vectors, divisor);
            s.release(scaled, ...temporaries);
            return next;
          }
          multipliers ??= allocate(factor.shape, "multipliers");
          const rho = mean(s, shifted);
          const stiffer = add(s, divisor, rho);
          let next = scaled;
          for (let step = 0; step < STEPS; step++) {
            const aim = subtract(s, next, multipliers);
            const pull = multiply(s, aim, rho);
            const pulled = add(s, right, pull);
            const free = solved(s, pulled, vectors, stiffer);
            const lifted = add(s, free, multipliers);
            s.release(next, aim, pull, pulled, free);
            next = map(s, lifted, "relu");
            subtract(s, lifted, next, { out: multipliers });
            s.release(lifted);
          }
          s.release(...temporaries, rho, stiffer);
          return next;
        },
        penalty(s, { factors, weights }) {
          const scaled = scaleColumns(s, factors[mode]!, weights);
          const waves = matmul(s, cosines, scaled);
          const roots = map(s, curvatures, "sqrt");
          const bends = multiply(s, waves, roots);
          const squares = sumOfSquares(s, bends);
          const total = scale(s, squares, { alpha: lambda });
          s.release(scaled, waves, roots, bends, squares);
          return total;
        },
      };
    },
  };
}

/** The orthonormal rows of the discrete cosine transform, n×n: eigenvectors of second differences. */
function cosineRows(n: number): Float32Array {
  // one period of cos(π·j / 2n)
  const table = Float64Array.from({ length: 4 * n }, (_, j) => Math.cos((Math.PI * j) / (2 * n)) * Math.sqrt(2 / n));
  const rows = new Float32Array(n * n).fill(Math.sqrt(1 / n), 0, n);
  for (let k = 1; k < n; k++) for (let i = 0; i < n; i++) rows[k * n + i] = table[(k * (2 * i + 1)) % (4 * n)]!;
  return rows;
}

/** The square of an eigenvalue of second differences of n rows. */
const curvature = (k: number, n: number): number => (2 - 2 * Math.cos((Math.PI * k) / n)) ** 2;

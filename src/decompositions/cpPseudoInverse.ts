import { solvePseudoInverse } from "../ops/index.js";
import type { CpUpdate } from "./cpUpdates.js";

/** A = M·V⁺: the least squares of collinear columns, too, so it needs no proximal term. */
export const byPseudoInverse: CpUpdate = {
  advice: "the solver cholesky",
  record: ({ s }, { product, normal }) => solvePseudoInverse(s, normal, product),
  correct: ({ s }, { product, normal }) => solvePseudoInverse(s, normal, product),
};

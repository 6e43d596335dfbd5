import { describe } from "vitest";
import { testMatrices, testSymmetric } from "../decompositions/judged.js";
import { records } from "../fixtures/lapack.js";

/** All matrices of the zoo, with sides up to 1024. */
describe("SVD and QR of the zoo, all shapes", () => testMatrices(records.slow));
describe("symmetric eigen of the zoo, all sides", () => testSymmetric(records.slowSymmetric));

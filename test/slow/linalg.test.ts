import { describe } from "vitest";
import { testMatrices, testSymmetric } from "../decompositions/judged.js";
import { records } from "../fixtures/lapack.js";

/** Every member of the zoo at sides up to 1024. */
describe("SVD and QR of the zoo, all shapes", () => testMatrices(records.slow));
describe("symmetric eigen of the zoo, all sides", () => testSymmetric(records.slowSymmetric));

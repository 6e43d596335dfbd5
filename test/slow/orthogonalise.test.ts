/** The paths of `orthogonalise` on adapters without subgroups, whose kernels take a software driver seconds to compile. */
import { describe, it } from "vitest";
import { plainEngine } from "../engine.js";
import { judgeOrthogonalise, MATRICES } from "../ops/judgedQr.js";

describe("orthogonalise without subgroups", () => {
  it.each([
    [513, 6],
    [767, 64],
    [768, 6],
    [3001, 24],
    [66, 65],
    [129, 129],
  ])("of %i×%i", async (m, n) => judgeOrthogonalise(await plainEngine(), Object.keys(MATRICES), m, n));
});

/** CP by Gauss-Newton, default options: all exact tensors, from three seeds. */
import { describe, expect, it } from "vitest";
import { cp } from "../../src/decompositions/index.js";
import { EXACT, exactCp } from "../decompositions/planted.js";
import { testEngine } from "../engine.js";

describe.each(EXACT)("cp of $kind factors, rank $rank, the one of count $count", (which) => {
  it("is exact from every seed", async () => {
    const engine = await testEngine();
    const { data, shape } = exactCp(which);
    using x = engine.tensor(shape, data);
    for (const seed of [0, 1, 2]) {
      const { tensor, relativeError } = await cp(engine, x, { rank: which.rank, seed });
      tensor.destroy();
      expect(relativeError).toBeLessThan(1e-5);
    }
  });
});

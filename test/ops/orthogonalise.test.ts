/** QR by every path that `orthogonalise` has; test/slow has those of an adapter without subgroups. */
import { describe, it } from "vitest";
import { testEngine } from "../engine.js";
import { judgeOrthogonalise, MATRICES } from "./judgedQr.js";

describe("orthogonalise", () => {
  it.each([
    // one block
    [1, 1],
    [300, 1],
    [5, 5],
    [255, 7],
    [64, 64],
    [511, 33],
    // a tree of two blocks, the last a row shorter
    [513, 16],
    [767, 64],
    // products, where a check says that they were enough, else a tree
    [768, 8],
    [1000, 64],
    [3001, 24],
    // panels of 32 columns, the last a single one, whole or partly filled
    [65, 65],
    [97, 96],
    [200, 96],
    [129, 129],
    [300, 129],
  ])("of %i×%i", async (m, n) => judgeOrthogonalise(await testEngine(), Object.keys(MATRICES), m, n));

  it("of 65537×5: a tree whose last block has two rows, less than columns", async () => {
    await judgeOrthogonalise(await testEngine(), ["columns 1e-5 apart", "dependent", "one entry, the last"], 65_537, 5);
  });
});

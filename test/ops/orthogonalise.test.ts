/** QR by every path of `orthogonalise` on this adapter. test/slow has the paths of an adapter without subgroups. */
import { describe, it } from "vitest";
import { testEngine } from "../engine.js";
import { judgeOrthogonalise, MATRICES } from "./judgedQr.js";

describe("orthogonalise", () => {
  it.each([
    // one block
    [1, 1],
    [300, 1],
    [5, 5],
    [30, 7],
    [64, 64],
    [511, 33],
    // a tree of blocks of rows
    [513, 16],
    [600, 64],
    // QR by products; where a check finds these inaccurate, a tree
    [768, 8],
    [800, 64],
    [2001, 24],
    // panels of 32 columns; the last one has a single column, or all, or some
    [65, 65],
    [97, 96],
    [120, 96],
    [129, 129],
    [150, 129],
  ])("of %i×%i", async (m, n) => judgeOrthogonalise(await testEngine(), Object.keys(MATRICES), m, n));

  it("of 65537×5: a tree whose last block has two rows, fewer than columns", async () => {
    await judgeOrthogonalise(await testEngine(), ["columns 1e-5 apart", "dependent", "one entry, the last"], 65_537, 5);
  });
});

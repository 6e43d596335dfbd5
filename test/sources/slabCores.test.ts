/** Solvers that take X apart, on X in slabs: by way of a core, with the error of X itself, and few reads of it. */
import { describe, expect, it } from "vitest";
import {
  blockTermALS,
  hosvd,
  nonnegativeTucker,
  tensorRingALS,
  tensorRingSVD,
  ttSVD,
  tuckerHOOI,
} from "../../src/decompositions/index.js";
import { dispose, type Engine, type Scheduler, type Tensor } from "../../src/gpu/index.js";
import { type RowReader, type Source, slabs, streamed } from "../../src/sources/index.js";
import { kruskal } from "../decompositions/planted.js";
import { evaluate, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

const SHAPE = [9, 40, 36];
const ROW = 40 * 36;
const clean = kruskal(
  SHAPE.map((extent, mode) => randomArray(2 * extent, 30 + mode).map((value) => 0.1 + Math.abs(value))),
  SHAPE,
  2,
);
const noise = randomArray(9 * ROW, 8);
const values = Float32Array.from(clean, (value, at) => value + 0.05 * noise[at]!);

/** four rows a slab */
const SLABS = [0, 4, 8];
type Made = Source & { [dispose](): void };
const rowsRead = { count: 0 };
const SOURCES: Record<string, (engine: Engine) => Promise<Made>> = {
  "slabs of the host": (engine) =>
    slabs(
      engine,
      SLABS.map((start) => {
        const stop = Math.min(SHAPE[0]!, start + 4);
        return { shape: [stop - start, 40, 36], read: () => values.subarray(start * ROW, stop * ROW) };
      }),
    ),
  streamed: (engine) => {
    const bytes = new Uint8Array(values.buffer);
    const reader: RowReader = {
      shape: SHAPE,
      format: "f32",
      async read(start, count, into) {
        rowsRead.count += count;
        await Promise.resolve();
        into.set(bytes.subarray(start * 4 * ROW, (start + count) * 4 * ROW));
      },
    };
    return streamed(engine, reader, { memory: 4.1 * 4 * 4 * ROW });
  },
};

type Result = { tensor: { full(s: Scheduler): Tensor; destroy(): void }; relativeError: number; errors?: number[] };
/** Solvers, and how often they may read X: tuckerHOOI and nonnegativeTucker go by sweeps on X itself. */
const SOLVERS: Record<string, [solve: (engine: Engine, x: Tensor | Source) => Promise<Result>, passes: number]> = {
  hosvd: [(engine, x) => hosvd(engine, x, { ranks: 2 }), 6],
  "hosvd by error": [(engine, x) => hosvd(engine, x, { relativeError: 0.2, modes: [1, 2] }), 6],
  tuckerHOOI: [(engine, x) => tuckerHOOI(engine, x, { ranks: [2, 2, 2] }), 30],
  ttSVD: [(engine, x) => ttSVD(engine, x, { ranks: 2 }), 6],
  "ttSVD by error": [(engine, x) => ttSVD(engine, x, { relativeError: 0.2 }), 6],
  tensorRingSVD: [(engine, x) => tensorRingSVD(engine, x, { ranks: 2 }), 6],
  tensorRingALS: [(engine, x) => tensorRingALS(engine, x, { ranks: 2, sweeps: 30 }), 6],
  blockTermALS: [(engine, x) => blockTermALS(engine, x, { blocks: 2, ranks: 1, sweeps: 60 }), 6],
  nonnegativeTucker: [(engine, x) => nonnegativeTucker(engine, x, { ranks: 2, sweeps: 20, tolerance: 0 }), 110],
};

describe.each(Object.entries(SOURCES))("%s", (kind, make) => {
  it.each(Object.entries(SOLVERS))("%s", async (name, [solve, passes]) => {
    const engine = await testEngine();
    const { live } = engine.memory();
    {
      using source = await make(engine);
      using x = engine.tensor(SHAPE, values);
      const whole = await solve(engine, x);
      rowsRead.count = 0;
      const result = await solve(engine, source);
      if (kind === "streamed") expect(rowsRead.count / SHAPE[0]!).toBeLessThanOrEqual(passes);
      const full = await evaluate(engine, (s) => result.tensor.full(s));
      whole.tensor.destroy();
      result.tensor.destroy();
      let [lack, all] = [0, 0];
      for (const [at, value] of values.entries()) {
        lack += (value - full[at]!) ** 2;
        all += value ** 2;
      }
      expect(Math.abs(Math.sqrt(lack / all) - result.relativeError)).toBeLessThan(5e-6);
      if (name.endsWith("by error")) expect(result.relativeError).toBeLessThan(0.2);
      // trains and rings of these ranks fit some of the noise, which lies in no few columns of a mode
      else expect(result.relativeError).toBeLessThan((/tt|Ring/.test(name) ? 1.005 : 1.001) * whole.relativeError);
      if (name.endsWith("ALS")) expect(Math.abs(result.errors!.at(-1)! - result.relativeError)).toBeLessThan(1e-4);
    }
    await engine.idle();
    expect(engine.memory().live).toBe(live);
  });
});

it("says where a core is larger than a slab", async () => {
  const engine = await testEngine();
  using source = await SOURCES["slabs of the host"]!(engine);
  await expect(ttSVD(engine, source, { ranks: 30 })).rejects.toThrow(
    "ttSVD: a tensor 9×40×36 in 3 slabs is taken apart by way of a core, and a core of 9×40×30 columns a mode is larger than a slab; take smaller ranks, or give x as one tensor",
  );
});

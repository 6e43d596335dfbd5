/** Tensors that are not one tensor of the GPU's: the same results as from one that is. */
import { describe, expect, it } from "vitest";
import {
  blockTermALS,
  cpALS,
  hosvd,
  leadingSubspace,
  stHosvd,
  ttSVD,
  tuckerHOOI,
} from "../../src/decompositions/index.js";
import { dispose, type Engine, Program, type Tensor, type TypedArray } from "../../src/gpu/index.js";
import { type HostSlab, resident, type Slabs, slabs } from "../../src/sources/index.js";
import { KruskalTensor, TuckerTensor } from "../../src/tensors/index.js";
import { kruskal } from "../decompositions/planted.js";
import { expectClose, plainEngine, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

const SHAPE = [11, 6, 7];
const sizeOf = (shape: readonly number[]): number => shape.reduce((product, extent) => product * extent, 1);

/** Of rank 3, with noise. */
function planted(shape: readonly number[], noise: number, scale = 1): Float32Array {
  const clean = kruskal(
    shape.map((extent, mode) => randomArray(3 * extent, 20 + mode)),
    [...shape],
    3,
  );
  const random = randomArray(sizeOf(shape), 7);
  return Float32Array.from(clean, (value, at) => scale * (value + noise * random[at]!));
}

/** Rows of the first mode, `counts` of them in each. */
function cut(
  data: TypedArray,
  shape: readonly number[],
  counts: readonly number[],
): { shape: number[]; data: TypedArray }[] {
  const row = data.length / shape[0]!;
  let start = 0;
  return counts.map((count) => {
    const part = data.slice(start * row, (start + count) * row);
    start += count;
    return { shape: [count, ...shape.slice(1)], data: part };
  });
}

interface HostSlabs {
  source: Slabs;
  /** how often a slab was read */
  reads: () => number;
}

async function ofHost(
  engine: Engine,
  data: TypedArray,
  shape: readonly number[],
  counts: readonly number[],
): Promise<HostSlabs> {
  let reads = 0;
  const parts = cut(data, shape, counts).map(
    ({ shape, data }): HostSlab => ({
      shape,
      async read() {
        reads++;
        await Promise.resolve();
        return data;
      },
    }),
  );
  const source = await slabs(engine, parts);
  return { source, reads: () => reads };
}

const COUNTS: Record<string, number[]> = {
  "two slabs": [6, 5],
  "slabs of one row and more": [1, 4, 6],
  "one slab": [11],
};

describe.each(Object.entries(COUNTS))("the verbs over %s", (_, counts) => {
  const data = planted(SHAPE, 0.3);
  const R = 3;
  const ranks = [2, 3, 4];

  it.each([
    ["mttkrp", [0, 1, 2]],
    ["partialMttkrp", [0, 1, 2]],
    ["project", [-1, 0, 1, 2]],
    ["unfoldedProduct", [0, 1, 2]],
    ["residual", [0, 1]],
    ["difference", [0, 1]],
  ] as const)("%s is that of one tensor", async (verb, cases) => {
    const engine = await testEngine();
    using x = engine.tensor(SHAPE, data);
    using single = await resident(engine, "test", x);
    const host = await ofHost(engine, data, SHAPE, counts);
    using source = host.source;
    const factors = SHAPE.map((extent, mode) => engine.tensor([extent, R], randomArray(R * extent, 40 + mode)));
    const bases = SHAPE.map((extent, mode) =>
      engine.tensor([extent, ranks[mode]!], randomArray(ranks[mode]! * extent, 50 + mode)),
    );
    using core = engine.tensor(ranks, randomArray(sizeOf(ranks), 60));
    using weights = engine.tensor([R], [3, 2, 1]);
    const models = [new KruskalTensor(weights, factors), new TuckerTensor(core, bases)];
    for (const mode of cases) {
      const record = (p: Program, reader: typeof single | Slabs): Tensor => {
        switch (verb) {
          case "mttkrp":
            return reader.mttkrp(p, factors, mode);
          case "partialMttkrp":
            return reader.partialMttkrp(p, factors, mode === 2 ? [1, 3] : [mode, mode + 1]);
          case "project":
            return reader.project(p, bases, { skip: mode });
          case "unfoldedProduct": {
            const shape = SHAPE.map((extent, other) => (other === mode ? 5 : extent));
            const y = p.tensor(shape);
            engine.write(y, randomArray(sizeOf(shape), 70));
            return reader.unfoldedProduct(p, y, mode);
          }
          case "residual":
            return reader.residual(p, models[mode]!);
          case "difference": {
            const difference = reader.difference();
            freed.push(difference);
            difference.refresh(p, models[0]!);
            return mode ? difference.squaredNorm(p) : difference.mttkrp(p, factors, 1);
          }
        }
      };
      const freed: { destroy(): void }[] = [];
      const results: TypedArray[] = [];
      for (const reader of [single, source]) {
        const p = new Program(engine, verb);
        const result = record(p, reader);
        using program = await p.compile();
        await program.run();
        results.push(await engine.read(result));
      }
      for (const item of freed) item.destroy();
      expectClose(results[1]!, results[0]!, 2e-6);
    }
    for (const tensor of [...factors, ...bases]) tensor.destroy();
  });
});

/** Of a result, what both sources must agree on. */
const numbersOf = async (engine: Engine, tensors: (Tensor | null)[]): Promise<TypedArray[]> =>
  await engine.read(tensors.filter((tensor) => tensor !== null));

async function expectSame(
  engine: Engine,
  [ofOne, cut]: readonly { tensors: (Tensor | null)[]; relativeError: number; sweeps: number }[],
): Promise<void> {
  expect(Math.abs(cut!.relativeError - ofOne!.relativeError)).toBeLessThan(1e-6);
  expect(cut!.sweeps).toBe(ofOne!.sweeps);
  const [expected, actual] = [await numbersOf(engine, ofOne!.tensors), await numbersOf(engine, cut!.tensors)];
  expected.forEach((values, index) => {
    // sums in another order, or by another kernel where a probe picks one, come back amplified by the sweeps of a model that has not converged
    expectClose(actual[index]!, values, 1e-4);
  });
}

describe("solvers on slabs of the host end as on one tensor", () => {
  it.each([
    ["random start", 0.3, {}],
    ["singular vectors", 0.3, { initialize: "hosvd" }],
    ["several starts, another solver", 0.3, { starts: 2, solver: "pseudoInverse" }],
    ["a fit near 1, by corrections", 0, { sweeps: 90 }],
  ] as const)("cpALS: %s", async (_, noise, options) => {
    const engine = await testEngine();
    const data = planted(SHAPE, noise);
    const { live } = engine.memory();
    {
      using x = engine.tensor(SHAPE, data);
      const { source } = await ofHost(engine, data, SHAPE, [6, 5]);
      using _source = source;
      // what sweeps are extrapolated by depends on rounding, and so do factors on the way; the end does not
      const acceleration = noise ? ("none" as const) : ("nesterov" as const);
      const all = { rank: 3, sweeps: 30, tolerance: 0, sweepsPerSubmit: 1, acceleration, ...options };
      const results = [await cpALS(engine, x, all), await cpALS(engine, source, all)];
      using a = results[0]!.tensor;
      using b = results[1]!.tensor;
      if (noise)
        await expectSame(
          engine,
          results.map(({ tensor, ...how }) => ({ ...how, tensors: [tensor.weights, ...tensor.factors] })),
        );
      else for (const { relativeError } of results) expect(relativeError).toBeLessThan(1e-5);
      expect([a.rank, b.rank]).toEqual([3, 3]);
    }
    expect(engine.memory().live).toBe(live);
  });

  it.each([
    ["tuckerHOOI", tuckerHOOI, [3, 2, 3]],
    ["tuckerHOOI, a mode left alone", tuckerHOOI, [3, 6, 3]],
    ["tuckerHOOI, mode 0 left alone", tuckerHOOI, [11, 3, 4]],
    ["tuckerHOOI, one mode truncated", tuckerHOOI, [11, 3, 7]],
    ["stHosvd", stHosvd, [3, 2, 3]],
    ["hosvd", hosvd, [3, 2, 3]],
  ] as const)("%s", async (_, solver, ranks) => {
    const engine = await testEngine();
    const data = planted(SHAPE, 0.3);
    const { live } = engine.memory();
    {
      using x = engine.tensor(SHAPE, data);
      const { source } = await ofHost(engine, data, SHAPE, [6, 5]);
      using _source = source;
      const options = { ranks, sweepsPerSubmit: 1 };
      const results = [await solver(engine, x, options), await solver(engine, source, options)];
      using _a = results[0]!.tensor;
      using _b = results[1]!.tensor;
      await expectSame(
        engine,
        results.map(({ tensor, ...how }) => ({ ...how, tensors: [tensor.core, ...tensor.factors] })),
      );
    }
    expect(engine.memory().live).toBe(live);
  });

  it("leadingSubspace", async () => {
    const engine = await testEngine();
    const data = planted(SHAPE, 0.3);
    using x = engine.tensor(SHAPE, data);
    const { source } = await ofHost(engine, data, SHAPE, [6, 5]);
    using _source = source;
    const options = { sweepsPerSubmit: 1 };
    const results = [
      await leadingSubspace(engine, x, 0, 2, options),
      await leadingSubspace(engine, source, 0, 2, options),
    ];
    await expectSame(
      engine,
      results.map(({ vectors, ...how }) => ({ ...how, tensors: [vectors] })),
    );
    for (const { vectors } of results) vectors.destroy();
  });
});

describe("slabs", () => {
  it("of the host are read twice in a sweep of CP-ALS, and once to look at them", async () => {
    const engine = await testEngine();
    const { source, reads } = await ofHost(engine, randomArray(sizeOf(SHAPE), 3), SHAPE, [6, 5]);
    using _source = source;
    expect(reads()).toBe(2);
    const readsOf = async (sweeps: number): Promise<number> => {
      const before = reads();
      const { tensor } = await cpALS(engine, source, { rank: 1, sweeps, tolerance: 0, acceleration: "none" });
      tensor.destroy();
      return reads() - before;
    };
    // beside residuals, which the first sweeps have computed, and the result
    expect((await readsOf(12)) - (await readsOf(8))).toBe(2 * 2 * 4);
  });

  it("of the GPU take no host steps: a sweep is one submit", async () => {
    const engine = await testEngine();
    const data = planted(SHAPE, 0.3);
    const parts = cut(data, SHAPE, [4, 7]).map(({ shape, data }) => engine.tensor(shape, data));
    using x = engine.tensor(SHAPE, data);
    using source = await slabs(engine, parts);
    const run = async (input: Tensor | Slabs) => {
      const before = engine.counters.submits;
      const result = await cpALS(engine, input, { rank: 3, sweeps: 16, tolerance: 0 });
      return { ...result, submits: engine.counters.submits - before };
    };
    const [ofOne, cutUp] = [await run(x), await run(source)];
    // the pass over a tensor that is no source yet
    expect(cutUp.submits).toBe(ofOne.submits - 1);
    await expectSame(
      engine,
      [ofOne, cutUp].map(({ tensor, ...how }) => ({ ...how, tensors: [tensor.weights, ...tensor.factors] })),
    );
    for (const { tensor } of [ofOne, cutUp]) tensor.destroy();
    for (const part of parts) part.destroy();
  });

  it.each([1e25, 1e-25])("of numbers near %f are scaled as one tensor is", async (scale) => {
    const engine = await testEngine();
    const data = planted(SHAPE, 0.3, scale);
    using x = engine.tensor(SHAPE, data);
    using single = await resident(engine, "test", x);
    const { source } = await ofHost(engine, data, SHAPE, [6, 5]);
    using _source = source;
    expect([source.exponent, source.largest]).toEqual([single.exponent, single.largest]);
    expect(Math.abs(source.squaredNorm / single.squaredNorm - 1)).toBeLessThan(1e-6);
    const options = { ranks: [3, 2, 3], sweepsPerSubmit: 1 };
    const results = [await tuckerHOOI(engine, x, options), await tuckerHOOI(engine, source, options)];
    await expectSame(
      engine,
      results.map(({ tensor, ...how }) => ({ ...how, tensors: [tensor.core, ...tensor.factors] })),
    );
    for (const { tensor } of results) tensor.destroy();
  });

  it("of bytes stay bytes", async () => {
    const engine = await testEngine();
    const bytes = Uint8Array.from(planted(SHAPE, 0.3), (value) => 100 + 20 * value);
    const parts = cut(bytes, SHAPE, [4, 7]).map(({ shape, data }) => engine.tensor(shape, data));
    using x = engine.tensor(SHAPE, bytes);
    using source = await slabs(engine, parts);
    const results = [
      await cpALS(engine, x, { rank: 1, sweeps: 9 }),
      await cpALS(engine, source, { rank: 1, sweeps: 9 }),
    ];
    await expectSame(
      engine,
      results.map(({ tensor, ...how }) => ({ ...how, tensors: [tensor.weights, ...tensor.factors] })),
    );
    for (const { tensor } of results) tensor.destroy();
    for (const part of parts) part.destroy();
  });

  it("of zeros have the zero decomposition", async () => {
    const engine = await testEngine();
    const { source } = await ofHost(engine, new Float32Array(sizeOf(SHAPE)), SHAPE, [6, 5]);
    using _source = source;
    const { tensor, relativeError } = await cpALS(engine, source, { rank: 2 });
    expect(relativeError).toBe(0);
    tensor.destroy();
  });

  it("name the place of what is not finite, and free what they hold", async () => {
    const engine = await testEngine();
    const { live } = engine.memory();
    const bad = planted(SHAPE, 0.3);
    bad[9 * 42 + 2 * 7 + 3] = Number.NaN;
    await expect(ofHost(engine, bad, SHAPE, [6, 5])).rejects.toThrow(
      "slabs: a tensor 11×6×7 in 2 slabs has 1 entry that is not finite, NaN at [9, 2, 3]; remove or replace it",
    );
    expect(engine.memory().live).toBe(live);
  });

  it("say what they need, and what solvers they are for", async () => {
    const engine = await testEngine();
    await expect(slabs(engine, [])).rejects.toThrow("slabs: no slabs, needs at least one");
    using a = engine.tensor([2, 3, 4]);
    using b = engine.tensor([2, 3, 5]);
    await expect(slabs(engine, [a, b])).rejects.toThrow("slabs: slab 1 is 2×3×5, needs two modes or more");
    const { source } = await ofHost(engine, planted(SHAPE, 0.3), SHAPE, [6, 5]);
    const { live } = engine.memory();
    const other = await plainEngine();
    await expect(cpALS(other, source, { rank: 2 })).rejects.toThrow(
      "cpALS: a tensor 11×6×7 in 2 slabs belongs to another",
    );
    await expect(ttSVD(engine, source, { ranks: 2 })).rejects.toThrow(
      "ttSVD: a tensor 11×6×7 in 2 slabs is taken apart by way of a core, and a core of 2×4×2 columns a mode is larger than a slab",
    );
    await expect(tuckerHOOI(engine, source, { relativeError: 0.1 })).rejects.toThrow(
      "tuckerHOOI: a tensor 11×6×7 in 2",
    );
    await expect(blockTermALS(engine, source, { blocks: 2, ranks: 2 })).rejects.toThrow(
      "blockTermALS: a tensor 11×6×7",
    );
    await engine.idle();
    expect(engine.memory().live).toBe(live);
    source[dispose]();
  });

  it("that cannot be read any more end a run by that error, and nothing is left", async () => {
    const engine = await testEngine();
    const { live } = engine.memory();
    let reads = 0;
    const parts = cut(planted(SHAPE, 0.3), SHAPE, [6, 5]).map(
      ({ shape, data }): HostSlab => ({
        shape,
        async read() {
          if (++reads > 9) throw new Error("the disk is gone");
          return data;
        },
      }),
    );
    const source = await slabs(engine, parts);
    await expect(cpALS(engine, source, { rank: 3 })).rejects.toThrow("the disk is gone");
    source[dispose]();
    await engine.idle();
    expect(engine.memory().live).toBe(live);
  });

  it("stop a run between two sweeps", async () => {
    const engine = await testEngine();
    const { source, reads } = await ofHost(engine, planted(SHAPE, 0.3), SHAPE, [6, 5]);
    using _source = source;
    const controller = new AbortController();
    const onIteration = () => controller.abort();
    const result = await cpALS(engine, source, { rank: 3, onIteration, signal: controller.signal });
    result.tensor.destroy();
    expect([result.aborted, result.sweeps]).toEqual([true, 2]);
    expect(reads()).toBeLessThan(20);
  });
});

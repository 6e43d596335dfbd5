/** What a run that is cut short leaves: a result that says so, or the reason where there is none; never memory. */
import { describe, expect, it, vi } from "vitest";
import {
  blockTermALS,
  ConvergenceError,
  cp,
  cpALS,
  cpErrorPreserving,
  hooiSweep,
  hosvd,
  nonnegativeTucker,
  parafac2,
  stHosvd,
  tensorRingALS,
  tensorRingSVD,
  ttSVD,
  tuckerHOOI,
} from "../../src/decompositions/index.js";
import { iterate, type StoppingOptions } from "../../src/decompositions/iterate.js";
import type { Engine, Tensor } from "../../src/gpu/index.js";
import { appendRow, copy } from "../../src/ops/index.js";
import { withSource } from "../../src/sources/index.js";
import { KruskalTensor } from "../../src/tensors/index.js";
import { testEngine } from "../engine.js";
import { randomArray } from "../reference.js";
import { kruskal } from "./planted.js";

/** A signal that counts how often it is asked, and aborts at one of these times. */
function abortsAt(count: number, reason: Error): { signal: AbortSignal; asked: () => number } {
  const controller = new AbortController();
  let asked = 0;
  const tell = (): AbortSignal => {
    if (++asked === count) controller.abort(reason);
    return controller.signal;
  };
  const signal = new Proxy(controller.signal, {
    get(target, key) {
      if (key === "aborted") return tell().aborted;
      if (key === "throwIfAborted") return () => tell().throwIfAborted();
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return { signal, asked: () => asked };
}

type Call = (engine: Engine, x: Tensor, signal: AbortSignal) => Promise<{ tensor: { destroy(): void } }>;

const WITHOUT_RESULT: [string, Call][] = [
  ["ttSVD", (engine, x, signal) => ttSVD(engine, x, { ranks: 3, signal })],
  ["tensorRingSVD", (engine, x, signal) => tensorRingSVD(engine, x, { ranks: 2, signal })],
  ["hosvd", (engine, x, signal) => hosvd(engine, x, { relativeError: 0.5, signal })],
  ["stHosvd", (engine, x, signal) => stHosvd(engine, x, { relativeError: 0.5, signal })],
];

const WITH_START: [string, Call][] = [
  ["tuckerHOOI by relativeError", (engine, x, signal) => tuckerHOOI(engine, x, { relativeError: 0.5, signal })],
  ["tensorRingALS", (engine, x, signal) => tensorRingALS(engine, x, { ranks: 2, signal })],
  ["cpALS from singular vectors", (engine, x, signal) => cpALS(engine, x, { rank: 3, initialize: "hosvd", signal })],
  ["nonnegativeTucker", (engine, x, signal) => nonnegativeTucker(engine, x, { ranks: 2, signal })],
  ["parafac2", (engine, x, signal) => parafac2(engine, x, { rank: 2, signal })],
  [
    "cpALS without negative entries",
    (engine, x, signal) => cpALS(engine, x, { rank: 2, nonnegative: true, initialize: "hosvd", signal }),
  ],
  ["cp from singular vectors", (engine, x, signal) => cp(engine, x, { rank: 3, initialize: "hosvd", signal })],
];

describe.each([...WITHOUT_RESULT, ...WITH_START])("an abort of %s", (_, call) => {
  it("before it begins gives the signal's reason and frees all", async () => {
    const engine = await testEngine();
    using x = engine.tensor([8, 7, 9], randomArray(504, 4));
    const reason = new Error("enough");
    const { live } = engine.memory();
    await expect(call(engine, x, AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(engine.memory().live).toBe(live);
  });
});

describe.each(WITHOUT_RESULT)("an abort of %s", (_, call) => {
  it("whenever it is looked for gives the signal's reason and frees all", async () => {
    const engine = await testEngine();
    using x = engine.tensor([8, 7, 9], randomArray(504, 4));
    const reason = new Error("enough");
    const { live } = engine.memory();
    const { signal, asked } = abortsAt(Number.POSITIVE_INFINITY, reason);
    (await call(engine, x, signal)).tensor.destroy();
    expect(engine.memory().live).toBe(live);
    const times = asked();
    expect(times).toBeGreaterThan(2);
    for (const count of new Set([2, Math.ceil(times / 2), times - 1, times])) {
      const what = `time ${count} of ${times}`;
      await expect(call(engine, x, abortsAt(count, reason).signal), what).rejects.toBe(reason);
      expect(engine.memory().live, what).toBe(live);
    }
  });
});

describe("an abort of cpErrorPreserving", () => {
  it("of a run that has not met its bound gives the signal's reason, not a word about f32", async () => {
    const engine = await testEngine();
    const [shape, m] = [[6, 5, 7], 200];
    const near = shape.map((extent, mode) => {
      const [a, b] = [randomArray(extent, 1 + mode), randomArray(extent, 5 + mode)];
      return Float32Array.from({ length: 2 * extent }, (_, e) => a[e >> 1]! + (e % 2 ? 0 : b[e >> 1]! / m));
    });
    const terms = Float64Array.from(near[0]!, (value, e) => (e % 2 ? -m : m) * value);
    using x = engine.tensor(shape, Float32Array.from(kruskal([terms, near[1]!, near[2]!], shape, 2)));
    using start = new KruskalTensor(
      engine.tensor([2], Float32Array.of(m, -m)),
      near.map((factor, mode) => engine.tensor([shape[mode]!, 2], factor)),
    );
    const { live } = engine.memory();
    const reason = new Error("enough");
    const controller = new AbortController();
    let told = 0;
    const aborted = cpErrorPreserving(engine, x, start, {
      relativeError: 1e-4,
      sweeps: 40,
      signal: controller.signal,
      onIteration() {
        told++;
        controller.abort(reason);
      },
    });
    await expect(aborted).rejects.toBe(reason);
    expect(told).toBeLessThan(12);
    expect(engine.memory().live).toBe(live);
  });
});

/** Starts that end with these errors; `begins` is told before each. */
const startsOf = (
  engine: Engine,
  x: Tensor,
  errors: readonly number[],
  stopping: StoppingOptions,
  begins: (index: number) => void = () => {},
) =>
  withSource(engine, "several starts", x, (source) =>
    iterate<Tensor>(source, {
      name: "several starts",
      stopping: { sweeps: 8, ...stopping },
      starts: errors.length,
      seed: 2 ** 32 - 1,
      zero: () => engine.tensor([1]),
      begin({ allocate }) {
        const error = allocate([1], "error");
        return {
          columns: 1,
          async start(index) {
            begins(index);
            engine.write(error, [errors[index]!]);
            return undefined;
          },
          record: ({ s }, { rows, counter }) => appendRow(s, error, rows, counter),
          errorOf: ([told]) => ({ fromResidual: told }),
          async finish() {
            const result = engine.tensor([1]);
            await engine.run((s) => void copy(s, error, { out: result }));
            return result;
          },
          residual: ({ s }, result, out) => void copy(s, result, { out }),
          restore: async (result) => result,
        };
      },
    }),
  );

describe("several starts", () => {
  const setUp = async () => {
    const engine = await testEngine();
    const x = engine.tensor([3], [1, 2, 2]);
    return { engine, x, live: engine.memory().live };
  };
  const FINISHED = { aborted: false, converged: true };
  const CUT = { aborted: true, converged: false, stalled: false };

  it("keep the best, with its seed; the one after the last seed is 0", async () => {
    const { engine, x, live } = await setUp();
    const result = await startsOf(engine, x, [0.5, 0.2, 0.4], {});
    expect(result).toMatchObject({ ...FINISHED, seed: 0 });
    expect(result.errors.at(-1)).toBeCloseTo(0.2, 6);
    result.tensor.destroy();
    expect(engine.memory().live).toBe(live);
    x.destroy();
  });

  it.each([
    ["before the second", 0, 8],
    ["in the second", 1, 4],
  ])("say that they were aborted %s, and keep the first where it is the best", async (_, start, sweeps) => {
    const { engine, x, live } = await setUp();
    const controller = new AbortController();
    const begun: number[] = [];
    const onIteration = ({ sweep }: { sweep: number }) => {
      if (begun.at(-1) === start && sweep === (start ? 1 : 8)) controller.abort();
    };
    // without a tolerance all sweeps run
    const stopping = { signal: controller.signal, onIteration, tolerance: 0, sweeps: start ? 40 : 8 };
    const result = await startsOf(engine, x, [0.2, 0.5, 0.1], stopping, (index) => begun.push(index));
    expect(begun).toEqual(start ? [0, 1] : [0]);
    expect(result).toMatchObject({ ...CUT, seed: 2 ** 32 - 1 });
    expect(result.sweeps).toBeGreaterThanOrEqual(sweeps);
    result.tensor.destroy();
    expect(engine.memory().live).toBe(live);
    x.destroy();
  });

  it("go on where one collapses, and fail only where all do", async () => {
    const { engine, x, live } = await setUp();
    for (const [errors, seed] of [
      [[0.2, Number.NaN], 2 ** 32 - 1],
      [[Number.NaN, 0.3, Number.NaN], 0],
    ] as const) {
      const result = await startsOf(engine, x, errors, {});
      expect(result).toMatchObject({ ...FINISHED, seed });
      result.tensor.destroy();
    }
    await expect(startsOf(engine, x, [Number.NaN, Number.NaN], {})).rejects.toThrow(ConvergenceError);
    expect(engine.memory().live).toBe(live);
    x.destroy();
  });

  it("take the last seed there is", async () => {
    const engine = await testEngine();
    const options = { seed: 2 ** 32 - 1, sweeps: 4 };
    using x = engine.tensor([6, 5, 4], randomArray(120, 4));
    const { live } = engine.memory();
    for (const { tensor } of [
      await blockTermALS(engine, x, { ...options, blocks: 2, ranks: 2, starts: 2 }),
      await cp(engine, x, { ...options, rank: 2, starts: 2 }),
      await cpALS(engine, x, { ...options, rank: 2, starts: 2 }),
      await tuckerHOOI(engine, x, { ...options, ranks: 2 }),
      await tensorRingALS(engine, x, { ...options, ranks: 2 }),
      await tensorRingSVD(engine, x, { seed: options.seed, ranks: 2 }),
      await ttSVD(engine, x, { seed: options.seed, ranks: 2 }),
    ])
      tensor.destroy();
    expect(engine.memory().live).toBe(live);
  });
});

describe("a failure while a solver is set up frees all:", () => {
  it("one of two sweeps cannot be recorded", async () => {
    const engine = await testEngine();
    using x = engine.tensor([3], [1, 2, 2]);
    const { live } = engine.memory();
    const reason = new Error("no cheap sweep");
    const run = withSource(engine, "half recorded", x, (source) =>
      iterate<Tensor>(source, {
        name: "half recorded",
        stopping: {},
        zero: () => engine.tensor([1]),
        begin: () => ({
          columns: 1,
          hasCheap: true,
          record({ s }, { rows, counter }, isPrecise) {
            if (!isPrecise) throw reason;
            appendRow(s, copy(s, x).rows(0, 1), rows, counter);
          },
          errorOf: () => ({ fromResidual: 1 }),
          finish: async () => engine.tensor([1]),
          residual: () => {},
          restore: async (result) => result,
        }),
      }),
    );
    await expect(run).rejects.toBe(reason);
    await engine.idle();
    await vi.waitFor(() => expect(engine.memory().live).toBe(live), 10_000);
  });

  it.each([
    ["hooiSweep", 1],
    ["hooiSweep", 2],
  ])("%s, scheduler number %i of its sweeps", async (_, failing) => {
    const engine = await testEngine();
    using x = engine.tensor([6, 5, 4], randomArray(120, 4));
    using start = (await stHosvd(engine, x, { ranks: 2 })).tensor;
    const { live } = engine.memory();
    const reason = new Error("no sweep");
    const scheduler = engine.scheduler.bind(engine);
    let count = 0;
    const spy = vi.spyOn(engine, "scheduler").mockImplementation((label?: string) => {
      if (label === "HOOI sweep" && ++count === failing) throw reason;
      return scheduler(label);
    });
    try {
      await expect(hooiSweep(engine, x, start.factors)).rejects.toBe(reason);
    } finally {
      spy.mockRestore();
    }
    await vi.waitFor(() => expect(engine.memory().live).toBe(live), 10_000);
  });

  it("a cut has no room for what is left", async () => {
    const engine = await testEngine();
    using x = engine.tensor([6, 5, 4], randomArray(120, 4));
    const { live } = engine.memory();
    const reason = new Error("out of memory");
    const tensor = engine.tensor.bind(engine);
    const spy = vi.spyOn(engine, "tensor").mockImplementation((shape, data, options) => {
      if (options?.label === "rest") throw reason;
      return tensor(shape, data, options);
    });
    try {
      for (const ranks of [2, 30]) await expect(ttSVD(engine, x, { ranks })).rejects.toBe(reason);
      await expect(ttSVD(engine, x, { relativeError: 0.3 })).rejects.toBe(reason);
    } finally {
      spy.mockRestore();
    }
    expect(engine.memory().live).toBe(live);
  });
});

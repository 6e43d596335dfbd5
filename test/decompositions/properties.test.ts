/**
 * What every solver promises, whatever it computes: one row a solver. A new solver adds a row to SOLVERS and has all of it tested.
 */
import { describe, expect, it } from "vitest";
import {
  blockTermALS,
  cp,
  cpALS,
  cpErrorPreserving,
  hosvd,
  leadingSubspace,
  nmf,
  nonnegativeTucker,
  parafac2,
  stHosvd,
  tensorRingALS,
  tensorRingSVD,
  truncatedSvd,
  ttMatrix,
  ttSVD,
  tuckerHOOI,
} from "../../src/decompositions/index.js";
import type { DType, Engine, Scheduler, Tensor } from "../../src/gpu/index.js";
import { matmul, modeProduct as multiplyMode, paste, scaleColumns } from "../../src/ops/index.js";
import { evaluate, freshEngine, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";
import { distance, plantedCp, plantedTucker, unravel } from "./planted.js";

interface Outcome {
  relativeError: number;
  /** what was told, the last of the result; null where a solver goes by no sweeps */
  errors: number[] | null;
  /** what does not change with the scale of X */
  fixed: Tensor[];
  /** what is multiplied by what X is multiplied by */
  scaled: Tensor[];
  full(s: Scheduler): Tensor;
  destroy(): void;
}

interface Solver {
  name: string;
  /** after so many sweeps, where it goes by sweeps; its options are otherwise the row's own */
  run(engine: Engine, x: Tensor<DType>, sweeps?: number): Promise<Outcome>;
  /** the largest error that a tensor of CP rank 2 may leave */
  exact: number;
  /** what its X is seen as: of as many entries as SHAPE, which it is by default */
  shape?: readonly number[];
}

const SHAPE = [7, 6, 5];
/** all sweeps are run, so that scales are compared sweep by sweep */
const all = (sweeps = 6) => ({ sweeps, tolerance: 0 });

type Fitted = {
  tensor: { full(s: Scheduler): Tensor; destroy(): void };
  relativeError: number;
  errors: number[];
};
const outcomeOf = ({ tensor, relativeError, errors }: Fitted, fixed: (Tensor | null)[], scaled: Tensor[]): Outcome => ({
  relativeError,
  errors,
  fixed: fixed.filter((factor) => factor !== null),
  scaled,
  full: (s) => tensor.full(s),
  destroy: () => tensor.destroy(),
});

const als =
  (options: Partial<Parameters<typeof cpALS>[2]>): Solver["run"] =>
  async (engine, x, sweeps) => {
    const result = await cpALS(engine, x, { rank: 3, seed: 4, ...all(sweeps), ...options });
    return outcomeOf(result, [...result.tensor.factors], [result.tensor.weights]);
  };

const gaussNewton =
  (options: Partial<Parameters<typeof cp>[2]>): Solver["run"] =>
  async (engine, x, sweeps) => {
    const result = await cp(engine, x, { rank: 3, seed: 4, ...all(sweeps), ...options });
    return outcomeOf(result, [...result.tensor.factors], [result.tensor.weights]);
  };

const tucker =
  (method: typeof hosvd, options: Parameters<typeof hosvd>[2] = { ranks: [3, 2, 3] }): Solver["run"] =>
  async (engine, x, sweeps) => {
    const result = await method(engine, x, { ...all(sweeps), ...options });
    return outcomeOf(result, [...result.tensor.factors], [result.tensor.core]);
  };

/** Of the cores all but the last have orthonormal columns. */
const train =
  (options: Parameters<typeof ttSVD>[2]): Solver["run"] =>
  async (engine, x) => {
    const { tensor, relativeError } = await ttSVD(engine, x, options);
    const columns = tensor.cores.slice(0, -1).map((core) => core.reshape([-1, core.shape[2]!]));
    return { ...outcomeOf({ tensor, relativeError, errors: [] }, columns, [tensor.cores.at(-1)!]), errors: null };
  };

const singular =
  (options: Parameters<typeof truncatedSvd>[2]): Solver["run"] =>
  async (engine, x) => {
    const result = await truncatedSvd(engine, x, options);
    const { u, values, v, relativeError } = result;
    return {
      relativeError,
      errors: null,
      fixed: [u, v],
      scaled: [values],
      full: (s) => matmul(s, scaleColumns(s, u, values), v, { transposeB: true }),
      destroy: () => result.destroy(),
    };
  };

const SOLVERS: Solver[] = [
  { name: "cp", run: gaussNewton({}), exact: 1e-5 },
  { name: "cp from singular vectors, one start", run: gaussNewton({ initialize: "hosvd", starts: 1 }), exact: 1e-5 },
  { name: "cp of rank 1, on a core", run: gaussNewton({ rank: 1, starts: 3 }), exact: 1 },
  { name: "cpALS", run: als({}), exact: 1 },
  { name: "cpALS from singular vectors", run: als({ initialize: "hosvd" }), exact: 1 },
  { name: "cpALS by the pseudo-inverse", run: als({ solver: "pseudoInverse", starts: 2 }), exact: 1 },
  { name: "cp without negative entries", run: gaussNewton({ nonnegative: true, starts: 2 }), exact: 1 },
  { name: "cpALS without negative entries", run: als({ nonnegative: true }), exact: 1 },
  { name: "cpALS with one mode without negative entries", run: als({ nonnegative: [1] }), exact: 1 },
  {
    name: "nmf",
    exact: 1,
    shape: [14, 15],
    async run(engine, x, sweeps) {
      const result = await nmf(engine, x, { rank: 3, seed: 4, ...all(sweeps) });
      return outcomeOf(result, [], []);
    },
  },
  {
    name: "nonnegativeTucker",
    exact: 1,
    async run(engine, x, sweeps) {
      const result = await nonnegativeTucker(engine, x, { ranks: [3, 2, 3], seed: 4, ...all(sweeps) });
      return outcomeOf(result, [...result.tensor.factors], [result.tensor.core]);
    },
  },
  {
    name: "parafac2",
    exact: 1e-3,
    async run(engine, x, sweeps) {
      const result = await parafac2(engine, x, { rank: 3, seed: 4, ...all(sweeps) });
      const { tensor } = result;
      const full = (s: Scheduler) => {
        const out = s.tensor(SHAPE);
        for (const [k, [rows, columns]] of tensor.shapes.entries())
          paste(s, tensor.full(s, k).reshape([1, rows, columns]), out, [k, 0, 0]);
        return out;
      };
      const fitted = { ...result, tensor: { full, destroy: () => tensor.destroy() } };
      return outcomeOf(fitted, [...tensor.factors, ...tensor.projections], [tensor.weights]);
    },
  },
  { name: "hosvd", run: tucker(hosvd), exact: 1e-6 },
  { name: "stHosvd", run: tucker(stHosvd), exact: 1e-6 },
  { name: "tuckerHOOI", run: tucker(tuckerHOOI), exact: 1e-6 },
  { name: "hosvd within an error", run: tucker(hosvd, { relativeError: 0.3 }), exact: 0.3 },
  { name: "tuckerHOOI within an error", run: tucker(tuckerHOOI, { relativeError: 0.3 }), exact: 0.3 },
  {
    name: "blockTermALS",
    exact: 1e-3,
    async run(engine, x, sweeps) {
      const result = await blockTermALS(engine, x, { blocks: 2, ranks: [2, 2, 1], starts: 2, seed: 4, ...all(sweeps) });
      const { blocks } = result.tensor;
      return outcomeOf(
        result,
        blocks.flatMap(({ factors }) => factors),
        blocks.map(({ core }) => core),
      );
    },
  },
  // a ring's scale is shared out over its cores: tensorRing.test.ts compares what they multiply to
  {
    name: "tensorRingALS",
    exact: 1e-3,
    async run(engine, x, sweeps) {
      return outcomeOf(await tensorRingALS(engine, x, { ranks: [2, 2, 3], seed: 4, ...all(sweeps) }), [], []);
    },
  },
  {
    name: "tensorRingSVD",
    exact: 1,
    async run(engine, x) {
      return { ...outcomeOf({ ...(await tensorRingSVD(engine, x, { ranks: 2 })), errors: [] }, [], []), errors: null };
    },
  },
  { name: "ttSVD", run: train({ ranks: [3, 4] }), exact: 1e-6 },
  { name: "ttSVD within an error", run: train({ relativeError: 0.3 }), exact: 0.3 },
  { name: "truncatedSvd", run: singular({ rank: 3 }), exact: 1e-6, shape: [7, 30] },
  { name: "truncatedSvd of a tall matrix", run: singular({ rank: 5 }), exact: 1e-6, shape: [42, 5] },
  { name: "truncatedSvd within an error", run: singular({ relativeError: 0.3 }), exact: 0.3, shape: [7, 30] },
  {
    name: "ttMatrix",
    exact: 1,
    shape: [14, 15],
    async run(engine, x) {
      const modes = { rowModes: [7, 2], columnModes: [3, 5] };
      const { tensor, relativeError } = await ttMatrix(engine, x, { ...modes, ranks: 4 });
      const [first, last] = tensor.cores as [Tensor, Tensor];
      const dense = { full: (s: Scheduler) => tensor.toDense(s), destroy: () => tensor.destroy() };
      const fitted = { tensor: dense, relativeError, errors: [] };
      return { ...outcomeOf(fitted, [first.reshape([-1, first.shape[3]!])], [last]), errors: null };
    },
  },
  {
    name: "cpErrorPreserving",
    exact: 1,
    async run(engine, x, sweeps) {
      const start = await cpALS(engine, x, { rank: 3, seed: 4, acceleration: "none", ...all(3) });
      try {
        // weights of few bits, which no scale rounds
        const weights = (await engine.read(start.tensor.weights)) as Float32Array;
        const unit = 2 ** (Math.floor(Math.log2(Math.max(...weights, 2 ** -140))) - 6);
        engine.write(
          start.tensor.weights,
          weights.map((weight) => Math.round(weight / unit) * unit),
        );
        const result = await cpErrorPreserving(engine, x, start.tensor, all(sweeps));
        return outcomeOf(result, [...result.tensor.factors], [result.tensor.weights]);
      } finally {
        start.tensor.destroy();
      }
    },
  },
  {
    name: "leadingSubspace",
    exact: 1e-6,
    async run(engine, x, sweeps) {
      const { vectors, relativeError, errors } = await leadingSubspace(engine, x, 1, 2, all(sweeps));
      return {
        relativeError,
        errors,
        fixed: [vectors],
        scaled: [],
        full: (s) => multiplyMode(s, multiplyMode(s, x as Tensor, vectors, 1, { transpose: true }), vectors, 1),
        destroy: () => vectors.destroy(),
      };
    },
  },
];

const DATA = {
  noise: randomArray(210, 11),
  "rank 3 and noise": plantedCp(SHAPE, 3, 0.05, 7).data,
  "nearly exact": plantedTucker(SHAPE, [3, 2, 3], 1e-3, 5).data,
  "a mean and little else": randomArray(210, 12).map((value) => Math.fround(100 + value)),
};

describe.each(SOLVERS)("$name", ({ run, exact, shape = SHAPE }) => {
  it("is the same at every scale, bit for bit", async () => {
    const engine = await testEngine();
    // eight bits an entry, so that 2⁻¹⁴⁰ loses none of them
    const coarse = randomArray(210, 13).map((value) => Math.round(value * 128));
    for (const [data, exponents] of [
      [DATA["rank 3 and noise"], [-101, 40]],
      [coarse, [-149, 100]],
    ] as const) {
      using x = engine.tensor(shape, data);
      const base = await run(engine, x);
      const [fixed, scaled] = [await engine.read(base.fixed), await engine.read(base.scaled)];
      for (const exponent of exponents) {
        using other = engine.tensor(
          shape,
          data.map((value) => value * 2 ** exponent),
        );
        const result = await run(engine, other);
        expect(result.errors, `errors at 2^${exponent}`).toEqual(base.errors);
        expect(result.relativeError).toBe(base.relativeError);
        expect(await engine.read(result.fixed), `factors at 2^${exponent}`).toEqual(fixed);
        const expected = scaled.map((values) => Float32Array.from(values, (value) => value * 2 ** exponent));
        expect(await engine.read(result.scaled), `values at 2^${exponent}`).toEqual(expected);
        result.destroy();
      }
      base.destroy();
    }
  });

  it("says where its result leaves f32", async () => {
    const engine = await testEngine();
    // of norm 14.5 · 3e38
    using x = engine.tensor(shape, new Float32Array(210).fill(3e38));
    const result = await run(engine, x).catch((error) => error);
    if (result instanceof Error)
      // terms of more than the data's rank may be larger than X, and cancel
      expect(result.message).toMatch(/of the result would be \d\.\d+e\+(3[89]|4\d), above 3\.4e38, the largest f32/);
    else {
      expect(result.scaled).toEqual([]);
      result.destroy();
    }
  });

  it.each(Object.entries(DATA))("tells errors that are errors, after every sweep: %s", async (_, data) => {
    const engine = await testEngine();
    using x = engine.tensor(shape, data);
    for (const sweeps of [1, 10]) {
      const result = await run(engine, x, sweeps);
      const full = await evaluate(engine, (s) => result.full(s));
      const error = distance(data, full);
      expect(Math.abs(result.relativeError - error)).toBeLessThan(1e-6);
      const told = result.errors?.at(-1);
      if (told !== undefined) expect(Math.abs(told - error), `after ${sweeps}`).toBeLessThan(1e-6);
      result.destroy();
    }
  });

  it("finds a zero tensor's answer at once", async () => {
    const engine = await testEngine();
    using x = engine.tensor(shape, new Float32Array(210));
    const result = await run(engine, x);
    expect(result).toMatchObject({ relativeError: 0, ...(result.errors ? { errors: [] } : {}) });
    for (const values of await engine.read(result.scaled)) expect(values.every((value) => value === 0)).toBe(true);
    for (const [index, values] of (await engine.read(result.fixed)).entries()) {
      const columns = result.fixed[index]!.shape[1]!;
      for (let r = 0; r < columns; r++) {
        const column = values.filter((_, at) => at % columns === r);
        expect(Math.hypot(...column)).toBe(1);
      }
    }
    result.destroy();
  });

  it("takes integers and bytes by value", async () => {
    const engine = await testEngine();
    const bytes = Uint8Array.from(randomArray(210, 14), (value) => 100 + 90 * value);
    using floats = engine.tensor(shape, Float32Array.from(bytes));
    const base = await run(engine, floats);
    const expected = await engine.read([...base.fixed, ...base.scaled]);
    for (const data of [bytes, Int32Array.from(bytes), Uint32Array.from(bytes)]) {
      using x = engine.tensor(shape, data);
      const result = await run(engine, x);
      expect(await engine.read([...result.fixed, ...result.scaled])).toEqual(expected);
      result.destroy();
    }
    base.destroy();
  });

  it("leaves an exact tensor's error near zero, and no memory behind", async () => {
    const engine = await testEngine();
    using x = engine.tensor(shape, plantedCp(SHAPE, 2, 0, 9).data);
    (await run(engine, x)).destroy();
    const { live } = engine.memory();
    const result = await run(engine, x, 30);
    expect(result.relativeError).toBeLessThan(exact);
    result.destroy();
    expect(engine.memory().live).toBe(live);
  });

  it("names what is not finite, and what is no tensor of its engine", async () => {
    const engine = await testEngine();
    const { live } = engine.memory();
    const data = Float32Array.from(DATA.noise);
    const at = 43;
    data[at] = Number.NaN;
    const place = unravel(at, shape).join(", ");
    using x = engine.tensor(shape, data, { label: "X" });
    await expect(run(engine, x)).rejects.toThrow(
      new RegExp(`^\\w+: X ${shape.join("×")} has 1 entry that is not finite, NaN at \\[${place}\\]`),
    );
    await expect(run(x as unknown as Engine, {} as Tensor)).rejects.toThrow(
      /the first argument is a tensor, needs an engine/,
    );
    await expect(run(engine, undefined as unknown as Tensor)).rejects.toThrow(
      /the second argument is undefined, needs a tensor/,
    );
    using other = await freshEngine();
    await expect(run(other, x)).rejects.toThrow(/belongs to another engine/);
    x.destroy();
    await expect(run(engine, x)).rejects.toThrow(/was destroyed/);
    expect(engine.memory().live).toBe(live);
  });
});

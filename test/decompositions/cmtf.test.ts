import { Matrix, solve } from "ml-matrix";
import { describe, expect, it } from "vitest";
import { type CmtfOptions, type CoupledData, cmtf, cpALS } from "../../src/decompositions/index.js";
import { slabs } from "../../src/sources/index.js";
import { evaluate, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";
import { distance, kruskal, norm, unfold, unravel } from "./planted.js";

const engine = await testEngine();

interface Set64 {
  modes: string[];
  shape: number[];
  data: Float32Array;
  weight?: number;
}

const positive = (size: number, seed: number): Float32Array =>
  randomArray(size, seed).map((value) => 0.6 + 0.5 * value);

/** Data sets with models of shared factors, and noise. */
function plant(
  sets: { modes: string; scale?: number; weight?: number }[],
  extents: Record<string, number>,
  rank: number,
  noise: number,
): Set64[] {
  const factors = Object.fromEntries(
    Object.entries(extents).map(([name, extent], at) => [name, randomArray(extent * rank, 11 + at)]),
  );
  return sets.map(({ modes, scale = 1, weight }, d) => {
    const shape = [...modes].map((name) => extents[name]!);
    const clean = kruskal(
      [...modes].map((name) => factors[name]!),
      shape,
      rank,
    );
    const errors = randomArray(clean.length, 90 + d);
    const size = (noise * norm(clean)) / norm(errors);
    const data = Float32Array.from(clean, (value, e) => scale * (value + size * errors[e]!));
    return { modes: [...modes], shape, data, ...(weight === undefined ? {} : { weight }) };
  });
}

async function withData<T>(sets: readonly Set64[], use: (data: CoupledData[]) => Promise<T>): Promise<T> {
  const tensors = sets.map(({ shape, data }) => engine.tensor(shape, data));
  try {
    return await use(
      sets.map(({ modes, weight }, d) => ({ x: tensors[d]!, modes, ...(weight === undefined ? {} : { weight }) })),
    );
  } finally {
    for (const tensor of tensors) tensor.destroy();
  }
}

/** Sweeps of coupled least squares in f64, without normalising: the models of the data sets. */
function reference(
  sets: readonly Set64[],
  start: Record<string, Float32Array>,
  rank: number,
  sweeps: number,
): Float64Array[] {
  const factors: Record<string, Float64Array> = {};
  for (const [name, values] of Object.entries(start)) {
    const lengths = Array.from({ length: rank }, (_, r) => Math.hypot(...values.filter((_, at) => at % rank === r)));
    factors[name] = Float64Array.from(values, (value, at) => value / lengths[at % rank]!);
  }
  const khatriRao = ({ modes, shape }: Set64, skip: string): number[][] => {
    const [names, extents] = [modes.filter((m) => m !== skip), shape.filter((_, k) => modes[k] !== skip)];
    const rows = extents.reduce((a, b) => a * b, 1);
    return Array.from({ length: rows }, (_, row) => {
      const at = unravel(row, extents);
      return Array.from({ length: rank }, (_, r) => names.reduce((p, m, k) => p * factors[m]![at[k]! * rank + r]!, 1));
    });
  };
  for (let sweep = 0; sweep < sweeps; sweep++)
    for (const name of Object.keys(start)) {
      const rows: number[][] = [];
      const right: number[][] = [];
      for (const set of sets) {
        const mode = set.modes.indexOf(name);
        if (mode < 0) continue;
        const share = Math.sqrt(set.weight ?? 1) / norm(set.data);
        rows.push(...khatriRao(set, name).map((row) => row.map((value) => value * Math.sqrt(set.weight ?? 1))));
        const unfolded = unfold(set.data, set.shape, mode);
        right.push(...unfolded[0]!.map((_, column) => unfolded.map((row) => row[column]! * share)));
      }
      const solved = solve(new Matrix(rows), new Matrix(right), true);
      factors[name] = Float64Array.from(solved.transpose().to1DArray());
    }
  return sets.map(({ modes, shape, data }) => {
    const model = kruskal(
      modes.map((m) => factors[m]!),
      shape,
      rank,
    );
    const size = norm(data);
    return model.map((value) => value * size);
  });
}

const rises = (errors: readonly number[]): number =>
  errors.slice(1).reduce((most, error, k) => Math.max(most, error - errors[k]!), 0);

describe("cmtf", () => {
  it.each([
    { name: "a tensor and a matrix", sets: [{ modes: "abc" }, { modes: "ad" }], extents: { a: 7, b: 6, c: 5, d: 8 } },
    {
      name: "scales far apart",
      sets: [
        { modes: "abc", scale: 1e10 },
        { modes: "ad", scale: 1e-10 },
      ],
      extents: { a: 7, b: 6, c: 5, d: 8 },
    },
    {
      name: "weights",
      sets: [
        { modes: "ab", weight: 10 },
        { modes: "bcd", weight: 0.5 },
      ],
      extents: { a: 7, b: 6, c: 4, d: 3 },
    },
    {
      name: "three sets, two modes shared",
      sets: [{ modes: "abc" }, { modes: "dab" }, { modes: "ce" }],
      extents: { a: 5, b: 6, c: 4, d: 3, e: 9 },
    },
    { name: "all modes shared", sets: [{ modes: "ab" }, { modes: "ab" }], extents: { a: 6, b: 7 } },
    { name: "one set", sets: [{ modes: "abc" }], extents: { a: 6, b: 5, c: 4 } },
  ] as { name: string; sets: Parameters<typeof plant>[0]; extents: Record<string, number> }[])(
    "takes the sweeps that f64 takes: $name",
    async ({ sets, extents }) => {
      const rank = 3;
      const data = plant(sets, extents, rank, 0.5);
      const start = Object.fromEntries(
        Object.entries(extents).map(([name, extent], at) => [name, positive(extent * rank, 40 + at)]),
      );
      for (const sweeps of [1, 3]) {
        const expected = reference(data, start, rank, sweeps);
        const result = await withData(data, (list) =>
          cmtf(engine, list, { rank, initialize: start, sweeps, tolerance: 0 }),
        );
        for (const [d, model] of result.tensor.models.entries()) {
          const full = await evaluate(engine, (s) => model.full(s));
          expect(distance(expected[d]!, full), `set ${d} after ${sweeps}`).toBeLessThan(3e-4);
          expect(Math.abs(result.relativeErrors[d]! - distance(data[d]!.data, full))).toBeLessThan(1e-6);
        }
        expect(rises(result.errors)).toBeLessThan(1e-6);
        expect(result.errors.at(-1)).toBeCloseTo(result.relativeError, 6);
        result.tensor.destroy();
      }
    },
  );

  it("finds planted models, and shares their factors", async () => {
    const extents = { person: 12, gene: 10, time: 8, drug: 9 };
    const sets = [{ modes: ["person", "gene", "time"] }, { modes: ["person", "drug"] }];
    const rank = 3;
    const factors = Object.entries(extents).map(([, extent], at) => randomArray(extent * rank, 3 + at));
    const [a, b, c, d] = factors as [Float32Array, Float32Array, Float32Array, Float32Array];
    const data: Set64[] = [
      { ...sets[0]!, shape: [12, 10, 8], data: Float32Array.from(kruskal([a, b, c], [12, 10, 8], rank)) },
      { ...sets[1]!, shape: [12, 9], data: Float32Array.from(kruskal([a, d], [12, 9], rank)) },
    ];
    const live = engine.memory().live;
    const { tensor, relativeErrors, relativeError, converged, stalled } = await withData(data, (list) =>
      cmtf(engine, list, { rank, starts: 2, sweeps: 200, tolerance: 1e-7 }),
    );
    expect(relativeError).toBeLessThan(2e-5);
    expect(Math.max(...relativeErrors)).toBeLessThan(3e-5);
    expect(converged || stalled).toBe(true);
    const [x, y] = tensor.models;
    expect(x!.factors[0]).toBe(y!.factors[0]);
    expect([...tensor.factors.keys()]).toEqual(["person", "gene", "time", "drug"]);
    expect(tensor.parameterCount).toBe(3 * (12 + 10 + 8 + 9) + 6);
    // the matrix alone has no unique model; coupled with the tensor it has: its columns are the plant's
    const factor = await y!.factors[1]!.read();
    for (let r = 0; r < rank; r++) {
      const cosines = Array.from({ length: rank }, (_, q) => {
        const [u, v] = [factor.filter((_, at) => at % rank === r), d.filter((_, at) => at % rank === q)];
        return Math.abs(u.reduce((sum, value, at) => sum + value * v[at]!, 0)) / norm(u) / norm(v);
      });
      expect(Math.max(...cosines)).toBeGreaterThan(0.9999);
    }
    tensor.destroy();
    expect(engine.memory().live).toBe(live);
  });

  it("is CP where there is one data set", async () => {
    const data = plant([{ modes: "abc" }], { a: 8, b: 7, c: 6 }, 2, 0.2);
    using x = engine.tensor([8, 7, 6], data[0]!.data);
    const coupled = await cmtf(engine, [{ x, modes: ["a", "b", "c"] }], { rank: 2, starts: 3 });
    const alone = await cpALS(engine, x, { rank: 2, starts: 3 });
    expect(Math.abs(coupled.relativeError - alone.relativeError)).toBeLessThan(1e-5);
    const weights = [...(await coupled.tensor.models[0]!.weights.read())];
    expect(weights).toEqual([...weights].sort((p, q) => q - p));
    coupled.tensor.destroy();
    alone.tensor.destroy();
  });

  it.each([
    { name: "random", options: { initialize: "random", seed: 5 } },
    { name: "hosvd", options: { initialize: "hosvd" } },
    { name: "a ridge", options: { ridge: 0.1 } },
  ] as { name: string; options: Partial<CmtfOptions> }[])("runs from $name, and again alike", async ({ options }) => {
    const data = plant([{ modes: "ab" }, { modes: "bcd" }], { a: 6, b: 5, c: 4, d: 3 }, 2, 0.3);
    const runs = [];
    for (let run = 0; run < 2; run++)
      runs.push(
        await withData(data, async (list) => {
          const { tensor, ...others } = await cmtf(engine, list, { rank: 2, sweeps: 30, ...options });
          tensor.destroy();
          return others;
        }),
      );
    expect(runs[0]).toEqual(runs[1]);
    expect(runs[0]!.relativeError).toBeLessThan(0.5);
  });

  it("reads slabs, ranks above extents, and modes of one", async () => {
    const data = plant([{ modes: "abc" }, { modes: "ad" }], { a: 6, b: 1, c: 5, d: 4 }, 2, 0.3);
    const { data: numbers, shape } = data[0]!;
    using top = engine.tensor([2, 1, 5], numbers.subarray(0, 10));
    using rest = engine.tensor([4, 1, 5], numbers.subarray(10));
    const source = await slabs(engine, [top, rest]);
    using x = engine.tensor(shape, numbers);
    using y = engine.tensor([6, 4], data[1]!.data);
    const sets = (first: CoupledData["x"]): CoupledData[] => [
      { x: first, modes: ["a", "b", "c"] },
      { x: y, modes: ["a", "d"] },
    ];
    const result = await cmtf(engine, sets(x), { rank: 7, sweeps: 60 });
    expect(result.relativeError).toBeLessThan(1e-3);
    result.tensor.destroy();
    const sliced = await cmtf(engine, sets(source), { rank: 2, sweeps: 5, tolerance: 0 });
    const resident = await cmtf(engine, sets(x), { rank: 2, sweeps: 5, tolerance: 0 });
    expect(sliced.relativeError).toBeCloseTo(resident.relativeError, 5);
    sliced.tensor.destroy();
    resident.tensor.destroy();
  });

  it("says what does not fit", async () => {
    using x = engine.tensor([3, 4, 5], randomArray(60));
    using y = engine.tensor([4, 6], randomArray(24));
    using zero = engine.tensor([3, 2], new Float32Array(6));
    using nan = engine.tensor([3, 2], [1, 2, 3, Number.NaN, 5, 6]);
    const abc = { x, modes: ["a", "b", "c"] };
    const call = (data: unknown, options: object = { rank: 2 }) =>
      cmtf(engine, data as CoupledData[], options as CmtfOptions);
    await expect(call([abc, { x: y, modes: ["a", "d"] }])).rejects.toThrow(
      'mode "a" has extent 4 in data set 1 (tensor 4×6), and 3 before it',
    );
    await expect(call([{ x, modes: ["a", "a", "b"] }])).rejects.toThrow(/needs 3 different names/);
    await expect(call([])).rejects.toThrow(/needs a list of data sets/);
    await expect(call([{ ...abc, weight: 0 }])).rejects.toThrow(/weight of data set 0 is 0, needs a number above 0/);
    await expect(call([abc, { x: zero, modes: ["a", "d"] }])).rejects.toThrow(/data set 1 .* is 0 all over/);
    await expect(call([abc, { x: nan, modes: ["a", "d"] }])).rejects.toThrow(/NaN at \[1, 1\]/);
    await expect(call([abc], { rank: 0 })).rejects.toThrow(/rank 0, needs a positive/);
    await expect(call([abc], { rank: 1, mask: 1 })).rejects.toThrow(/unknown option "mask"/);
    await expect(call([abc], { rank: 1, initialize: { a: [1, 1, 1], b: [1, 1, 1, 1] } })).rejects.toThrow(
      'no factor of mode "c", needs 5×1',
    );
    const signal = AbortSignal.abort();
    const cut = await call([abc], { rank: 2, signal, sweeps: 50, tolerance: 0 });
    expect(cut.aborted).toBe(true);
    cut.tensor.destroy();
  });
});

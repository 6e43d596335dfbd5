/** PARAFAC2 of planted and other slices, against f64, and beside TensorLy from its starts. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parafac2 } from "../../src/decompositions/index.js";
import { dispose, type Engine, Tensor } from "../../src/gpu/index.js";
import { type Masked, masked } from "../../src/sources/index.js";
import type { Parafac2Tensor } from "../../src/tensors/index.js";
import { evaluate, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";
import { norm } from "./planted.js";
import { planted, type Slice, slice } from "./slices.js";

const tensorsOf = (engine: Engine, slices: readonly Slice[]): Tensor[] =>
  slices.map(({ rows, data }) => engine.tensor([rows, data.length / rows], data));

/** ‖X_k − X̂_k‖ of every slice, and of all, by the model's numbers in f64; also whether P_k has orthonormal columns. */
async function judged(engine: Engine, model: Parafac2Tensor, slices: readonly Slice[]) {
  const { rank } = model;
  const [weights, a, b, c, ...projections] = await engine.read([model.weights, ...model.factors, ...model.projections]);
  let skew = 0;
  const errors = slices.map(({ rows, data }, k) => {
    const p = projections[k]!;
    for (let r = 0; r < rank; r++)
      for (let t = 0; t < rank; t++) {
        let sum = r === t ? -1 : 0;
        for (let i = 0; i < rows; i++) sum += p[i * rank + r]! * p[i * rank + t]!;
        skew = Math.max(skew, Math.abs(sum));
      }
    const row = Float64Array.from(weights!, (weight, r) => weight * a![k * rank + r]!);
    const full = slice(p, b!, row, c!, rank);
    return norm(full.map((value, at) => value - data[at]!));
  });
  const total = norm(errors) / norm(slices.map(({ data }) => norm(data)));
  return { errors, total, skew, a: a!, c: c!, weights: weights! };
}

describe.each([
  ["slices of several lengths, longer and shorter than wide", [9, 4, 14, 30, 5, 8], 8, 3],
  ["slices as long as the rank", [3, 3, 3, 3], 5, 3],
  ["long slices of few columns", [40, 33, 51, 27, 60], 4, 2],
  ["one component", [5, 7, 2, 1], 3, 1],
  ["many short slices", Array.from({ length: 40 }, (_, k) => 4 + (k % 3)), 6, 2],
] as const)("%s", (_, heights, columns, rank) => {
  it.each([0, 0.1])("has the error that it tells, noise %f", async (noise) => {
    const engine = await testEngine();
    const slices = planted(heights, columns, rank, noise, 3);
    const tensors = tensorsOf(engine, slices);
    const { live } = engine.memory();
    const result = await parafac2(engine, tensors, { rank, sweeps: 400, starts: 2 });
    const { errors, total, skew } = await judged(engine, result.tensor, slices);
    expect(skew).toBeLessThan(1e-5);
    expect(Math.abs(result.relativeError - total)).toBeLessThan(2e-6);
    expect(total).toBeLessThan(noise ? 1.001 * noise : 1e-3);
    result.sliceErrors.forEach((error, k) => {
      expect(Math.abs(error - errors[k]! / norm(slices[k]!.data))).toBeLessThan(5e-6);
    });
    const last = slices.length - 1;
    const full = await evaluate(engine, (s) => result.tensor.full(s, last));
    expect(norm(full.map((value, at) => value - slices[last]!.data[at]!))).toBeCloseTo(errors[last]!, 4);
    expect(result.tensor.shapes).toEqual(slices.map(({ rows }) => [rows, columns]));
    // errors fall: what makes them larger is taken back
    for (const [at, error] of result.errors.entries()) expect(error).toBeLessThanOrEqual(result.errors[at - 1] ?? 1);
    result.tensor.destroy();
    expect(engine.memory().live).toBe(live);
    for (const tensor of tensors) tensor.destroy();
  });
});

it("keeps A and C without negative entries where it is asked to", async () => {
  const engine = await testEngine();
  const slices = planted([9, 6, 12, 7], 6, 2, 0.05, 7);
  const tensors = tensorsOf(engine, slices);
  for (const nonnegative of [true, [0], [2]] as (true | number[])[]) {
    const { tensor, relativeError } = await parafac2(engine, tensors, { rank: 2, nonnegative, sweeps: 300 });
    const { a, c, weights } = await judged(engine, tensor, slices);
    const constrained = [...(nonnegative === true || nonnegative.includes(0) ? a : []), ...weights];
    if (nonnegative === true || nonnegative.includes(2)) constrained.push(...c);
    expect(Math.min(...constrained)).toBeGreaterThanOrEqual(0);
    expect(relativeError).toBeLessThan(0.052);
    tensor.destroy();
  }
  await expect(parafac2(engine, tensors, { rank: 2, nonnegative: [1] })).rejects.toThrow("a list of 0 (A) and 2 (C)");
  for (const tensor of tensors) tensor.destroy();
});

it("does not depend on scale, nor on the scales of slices beside each other", async () => {
  const engine = await testEngine();
  const slices = planted([9, 6, 12], 6, 2, 0.1, 7);
  const solve = async (scales: number[]) => {
    const tensors = tensorsOf(
      engine,
      slices.map(({ rows, data }, k) => ({ rows, data: data.map((value) => value * scales[k]!) })),
    );
    const result = await parafac2(engine, tensors, { rank: 2, sweeps: 30, tolerance: 0 });
    for (const tensor of [...tensors, result.tensor]) tensor.destroy();
    return result;
  };
  const one = await solve([1, 1, 1]);
  for (const scale of [2 ** 60, 2 ** -60]) expect((await solve([scale, scale, scale])).errors).toEqual(one.errors);
  // a slice of zeros has the error 0, and one that is small beside the others is seen
  const zero = await solve([1, 0, 1]);
  expect(zero.sliceErrors[1]).toBe(0);
  const small = await solve([1, 1e-12, 1]);
  expect(small.sliceErrors[1]).toBeLessThanOrEqual(1);
  expect((await solve([0, 0, 0])).relativeError).toBe(0);
});

it("takes few dispatches an iteration, and reads once a batch of them", async () => {
  const engine = await testEngine();
  const tensors = tensorsOf(engine, planted([9, 4, 14, 30, 5, 8], 8, 3, 0.1, 3));
  const costOf = async (sweeps: number, options: { nonnegative?: true } = {}) => {
    const { dispatches, readbacks } = engine.counters;
    const { tensor } = await parafac2(engine, tensors, { rank: 3, sweeps, tolerance: 0, ...options });
    tensor.destroy();
    return [engine.counters.dispatches - dispatches, engine.counters.readbacks - readbacks] as const;
  };
  const [short, long] = [await costOf(4), await costOf(12)];
  expect((long[0] - short[0]) / 8).toBeLessThanOrEqual(22);
  expect(long[1] - short[1]).toBe(2);
  // with non-negative factors, sweeps are dispatches of their own
  const [few, many] = [await costOf(4, { nonnegative: true }), await costOf(12, { nonnegative: true })];
  expect((many[0] - few[0]) / 8).toBeGreaterThan(40);
  expect(many[1] - few[1]).toBe(2);
  for (const tensor of tensors) tensor.destroy();
});

it("begins and ends in as many dispatches for many slices as for few", async () => {
  const engine = await testEngine();
  const costOf = async (heights: readonly number[], columns: number) => {
    const tensors = tensorsOf(engine, planted(heights, columns, 3, 0.1, 3));
    const { dispatches, readbacks } = engine.counters;
    const { tensor } = await parafac2(engine, tensors, { rank: 3, sweeps: 1, tolerance: 0 });
    for (const each of [tensor, ...tensors]) each.destroy();
    return [engine.counters.dispatches - dispatches, engine.counters.readbacks - readbacks] as const;
  };
  const alike = (count: number) => Array.from({ length: count }, (_, k) => 12 + (k % 9));
  for (const columns of [8, 30]) {
    const [few, many] = [await costOf(alike(40), columns), await costOf(alike(160), columns)];
    // 22 of them are an iteration; sums of more slices have more parts
    expect(few[0]).toBeLessThanOrEqual(100);
    expect(many[0]).toBeLessThanOrEqual(few[0] + 20);
    expect(many[1]).toBe(few[1]);
    expect(many[1]).toBeLessThanOrEqual(8);
  }
  // slices of other heights are other groups, as many as there are sizes of heights
  const apart = (count: number) => Array.from({ length: count }, (_, k) => [9, 40, 200][k % 3]!);
  const [few, many] = [await costOf(apart(30), 8), await costOf(apart(120), 8)];
  expect(many[0]).toBeLessThanOrEqual(few[0] + 20);
  expect(many[0]).toBeLessThanOrEqual(150);
  // tall and wide ones are factorised together, too
  const [some, more] = [await costOf(new Array(4).fill(800), 70), await costOf(new Array(12).fill(800), 70)];
  expect(more[0]).toBeLessThanOrEqual(some[0] + 20);
});

it("difficult slices have the errors that it tells", async () => {
  const engine = await testEngine();
  const [columns, rank] = [12, 2];
  const plain = planted([40, 20, 13, 12, 5, 2, 300, 41], columns, rank, 0.1, 11);
  const changed = (k: number, change: (value: number, row: number, column: number) => number): Slice => ({
    rows: plain[k]!.rows,
    data: plain[k]!.data.map((value, at) => change(value, Math.floor(at / columns), at % columns)),
  });
  const [row, column] = [plain[1]!.data.slice(0, columns), randomArray(20, 5)];
  const slices = [
    // rows and columns of very unlike sizes
    changed(0, (value, i) => value * 10 ** (-i / 5)),
    // one row again and again, and zeros
    changed(1, (_, i, j) => row[j]! * column[i]!),
    changed(2, () => 0),
    changed(3, (value, i) => (i ? 0 : value)),
    changed(4, (value, _, j) => value * 10 ** -j),
    ...plain.slice(5),
  ];
  for (const list of [slices, [...slices].reverse(), slices.slice(0, 4)]) {
    const tensors = tensorsOf(engine, list);
    const { live } = engine.memory();
    for (const nonnegative of [false, true]) {
      const result = await parafac2(engine, tensors, { rank, nonnegative, sweeps: 60, tolerance: 0 });
      const { errors, total, skew } = await judged(engine, result.tensor, list);
      expect(skew).toBeLessThan(1e-5);
      expect(Math.abs(result.relativeError - total)).toBeLessThan(2e-6);
      for (const [k, error] of result.sliceErrors.entries()) {
        const size = norm(list[k]!.data);
        expect(Math.abs(error * size - errors[k]!) / norm(list.flatMap(({ data }) => norm(data)))).toBeLessThan(2e-6);
        if (!size) expect(error).toBe(0);
      }
      result.tensor.destroy();
      expect(engine.memory().live).toBe(live);
    }
    for (const tensor of tensors) tensor.destroy();
  }
});

it("slices may be numbers of other kinds, a host's buffers, parts of one tensor, and the same twice", async () => {
  const engine = await testEngine();
  const [count, rows, columns] = [5, 7, 4];
  const bytes = Array.from({ length: count }, (_, k) =>
    Uint8Array.from(randomArray(rows * columns, 60 + k), (value) => Math.round(127 * (1 + value))),
  );
  const options = { rank: 2, sweeps: 12, tolerance: 0 };
  const solve = async (slices: Parameters<typeof parafac2>[1]) => {
    const { tensor, errors, sliceErrors } = await parafac2(engine, slices, options);
    tensor.destroy();
    return [...errors, ...sliceErrors];
  };
  const floats = bytes.map((data) => engine.tensor([rows, columns], Float32Array.from(data)));
  const told = await solve(floats);
  const small = bytes.map((data) => engine.tensor([rows, columns], data));
  expect(await solve(small as unknown as Tensor[])).toEqual(told);
  const all = Float32Array.from(bytes.flatMap((data) => [...data]));
  const one = engine.tensor([count, rows, columns], all);
  expect(await solve(one)).toEqual(told);
  // STORAGE and COPY_DST: nothing can be copied from it
  const lent = bytes.map((data) => {
    const buffer = engine.device.createBuffer({ size: 4 * data.length, usage: 0x88 });
    engine.device.queue.writeBuffer(buffer, 0, Float32Array.from(data));
    return engine.wrap(buffer, [rows, columns]);
  });
  expect(await solve(lent)).toEqual(told);
  for (const { buffer } of lent) buffer.destroy();
  const twice = engine.tensor([rows, columns], Float32Array.from(bytes[0]!));
  expect(await solve([floats[0]!, floats[1]!, floats[0]!])).toEqual(await solve([floats[0]!, floats[1]!, twice]));
  for (const tensor of [...floats, ...small, one, twice]) tensor.destroy();
});

interface Case {
  rank: number;
  /** null where an entry is missing */
  slices: (number | null)[][][];
  starts: { factors: number[][][]; error: number }[];
}

it("fits as well as TensorLy does in f64 from its starts", async () => {
  const engine = await testEngine();
  const file = join(import.meta.dirname, "../fixtures/parafac2.json");
  const cases = JSON.parse(readFileSync(file, "utf8")) as Case[];
  for (const { rank, slices, starts } of cases) {
    const tensors = slices.map((rows) =>
      engine.tensor(
        [rows.length, rows[0]!.length],
        Float32Array.from(rows.flat(), (value) => value ?? Number.NaN),
      ),
    );
    const hasHoles = slices.flat(2).includes(null);
    // expectation maximisation creeps
    const stopping = hasHoles ? { sweeps: 1500, tolerance: 1e-7 } : { sweeps: 400 };
    const sources = hasHoles ? await Promise.all(tensors.map((tensor) => masked(engine, tensor))) : tensors;
    for (const { factors, error } of starts) {
      const initialize = factors.map((rows) => Float32Array.from(rows.flat()));
      const { tensor, relativeError } = await parafac2(engine, sources, { rank, initialize, ...stopping });
      expect(relativeError).toBeLessThan(1.0005 * error);
      tensor.destroy();
    }
    for (const tensor of tensors) tensor.destroy();
    if (hasHoles) for (const source of sources) (source as Masked)[dispose]();
  }
});

describe("missing entries", () => {
  const columns = 8;
  const heights = [12, 9, 14, 11, 10, 13];

  it.each([0.1, 0.3])("%f of them: the model tells what they were", async (part) => {
    const engine = await testEngine();
    const slices = planted(heights, columns, 2, 0, 5);
    const isMissing = slices.map(({ data }, k) =>
      randomArray(data.length, 50 + k).map((v) => Number(v < 2 * part - 1)),
    );
    const holed = slices.map(({ rows, data }, k) => ({
      rows,
      data: data.map((value, at) => (isMissing[k]![at] ? Number.NaN : value)),
    }));
    const tensors = tensorsOf(engine, holed);
    const { live } = engine.memory();
    const sources = await Promise.all(tensors.map((tensor) => masked(engine, tensor)));
    const result = await parafac2(engine, sources, { rank: 2, sweeps: 1000, starts: 2, tolerance: 1e-7 });
    const { skew, missed, known } = await predicted(engine, result.tensor, slices, isMissing);
    expect(skew).toBeLessThan(1e-5);
    expect(result.known).toBe(isMissing.reduce((sum, list) => sum + list.filter((value) => !value).length, 0));
    expect(Math.abs(result.relativeError - known)).toBeLessThan(2e-6);
    expect(known).toBeLessThan(1e-3);
    expect(missed).toBeLessThan(0.02);
    for (const [at, error] of result.errors.entries()) expect(error).toBeLessThanOrEqual(result.errors[at - 1] ?? 1);
    result.tensor.destroy();
    for (const source of sources) source[dispose]();
    expect(engine.memory().live).toBe(live);
    for (const tensor of tensors) tensor.destroy();
  });

  it("one tensor, a list with whole slices, masks and other scales give the same", async () => {
    const engine = await testEngine();
    const slices = planted([9, 9, 9], 6, 2, 0.05, 8);
    const whole = 1;
    const holed = slices.map(({ rows, data }, k) => ({
      rows,
      data: data.map((value, at) => (k !== whole && at % 7 === k ? Number.NaN : value)),
    }));
    const options = { rank: 2, sweeps: 30, tolerance: 0 };
    const solve = async (parts: Parameters<typeof parafac2>[1]) => {
      const { tensor, errors, sliceErrors } = await parafac2(engine, parts, options);
      tensor.destroy();
      return [...errors, ...sliceErrors];
    };
    const all = engine.tensor([3, 9, 6], Float32Array.from(holed.flatMap(({ data }) => [...data])));
    using one = await masked(engine, all);
    const told = await solve(one);
    const tensors = tensorsOf(engine, holed);
    const listed = await Promise.all(tensors.map((x, k) => (k === whole ? x : masked(engine, x))));
    const apart = await solve(listed);
    apart.forEach((error, at) => {
      expect(Math.abs(error - told[at]!)).toBeLessThan(2e-6);
    });
    const far = engine.tensor(
      [3, 9, 6],
      (await all.read()).map((value) => value * 2 ** 70),
    );
    using scaled = await masked(engine, far);
    expect(await solve(scaled)).toEqual(told);
    for (const source of listed) if (!(source instanceof Tensor)) source[dispose]();
    for (const tensor of [all, far, ...tensors]) tensor.destroy();
  });
});

/** ‖X − X̂‖ / ‖X‖ of missing and of known entries, by the model's numbers in f64. */
async function predicted(
  engine: Engine,
  model: Parafac2Tensor,
  slices: readonly Slice[],
  isMissing: readonly Float32Array[],
) {
  const { rank } = model;
  const [weights, a, b, , ...projections] = await engine.read([model.weights, ...model.factors, ...model.projections]);
  const { skew, c } = await judged(engine, model, slices);
  const squares = { missing: [0, 0], known: [0, 0] };
  for (const [k, { data }] of slices.entries()) {
    const row = Float64Array.from(weights!, (weight, r) => weight * a![k * rank + r]!);
    const full = slice(projections[k]!, b!, row, c, rank);
    for (const [at, value] of data.entries()) {
      const sums = isMissing[k]![at] ? squares.missing : squares.known;
      sums[0]! += (value - full[at]!) ** 2;
      sums[1]! += value ** 2;
    }
  }
  const relative = ([error, norm]: number[]) => Math.sqrt(error! / norm!);
  return { skew, missed: relative(squares.missing), known: relative(squares.known) };
}

it("refuses slices that do not fit", async () => {
  const engine = await testEngine();
  const [a, b, c] = [engine.tensor([4, 3]), engine.tensor([4, 2]), engine.tensor([1, 3])];
  await expect(parafac2(engine, [a, b], { rank: 2 })).rejects.toThrow(
    "parafac2: slice 1 is tensor 4×2, slice 0 has 3 columns; all need as many",
  );
  await expect(parafac2(engine, [a, c], { rank: 2 })).rejects.toThrow(
    "parafac2: slice 1 has 1 rows, needs at least the rank 2; leave it out or take a smaller rank",
  );
  await expect(parafac2(engine, [a, a], { rank: 4 })).rejects.toThrow("needs 1 to 3");
  await expect(parafac2(engine, [], { rank: 1 })).rejects.toThrow("needs a list of matrices or one tensor K×I×J");
  await expect(parafac2(engine, a, { rank: 1 })).rejects.toThrow("needs K×I×J or a list of matrices");
  const [odd, block] = [
    engine.tensor([2, 3], [1, 2, 3, 4, NaN, Infinity]),
    engine.tensor([2, 2, 3], new Float32Array(12).fill(NaN, 7)),
  ];
  await expect(parafac2(engine, [a, odd], { rank: 1 })).rejects.toThrow(
    "parafac2 (slice 1): tensor 2×3 has 2 entries that are not finite, the first NaN at [1, 1]",
  );
  await expect(parafac2(engine, block, { rank: 1 })).rejects.toThrow(
    "parafac2: tensor 2×2×3 has 5 entries that are not finite, the first NaN at [1, 0, 1]",
  );
  for (const tensor of [odd, block]) tensor.destroy();
  for (const tensor of [a, b, c]) tensor.destroy();
});

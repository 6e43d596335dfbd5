/** Smooth and sparse factors of one mode: updates against f64, and planted models that are found better than without. */
import { describe, expect, it } from "vitest";
import { cp, cpALS } from "../../src/decompositions/index.js";
import { iterate } from "../../src/decompositions/iterate.js";
import { appendRow, fill } from "../../src/ops/index.js";
import { masked, Resident } from "../../src/sources/index.js";
import type { KruskalTensor } from "../../src/tensors/index.js";
import { testEngine } from "../engine.js";
import { randomArray } from "../reference.js";
import { kruskal, norm } from "./planted.js";

const SHAPE = [31, 8, 7];
const ROWS = 31;
const RANK = 2;

const unit = (values: Float32Array): Float32Array => {
  const norms = [0, 1].map((r) => Math.hypot(...values.filter((_, at) => at % RANK === r)));
  return values.map((value, at) => value / norms[at % RANK]!);
};

function planted(
  first: Float32Array,
  noise: number,
  sign: (value: number) => number = (value) => value,
): { data: Float32Array; first: Float32Array } {
  const factors = [unit(first), ...[8, 7].map((extent, k) => unit(randomArray(extent * RANK, 5 + k).map(sign)))];
  const clean = kruskal(factors, SHAPE, RANK);
  const errors = randomArray(clean.length, 99);
  const size = (noise * norm(clean)) / norm(errors);
  return { data: Float32Array.from(clean, (value, at) => value + size * errors[at]!), first: factors[0]! };
}

/** Factors in f64 of norm 1, and the first mode's times the weights. */
async function read(tensor: KruskalTensor): Promise<{ first: Float64Array; others: Float64Array[] }> {
  const [weights, ...factors] = await tensor.engine.read([tensor.weights, ...tensor.factors]);
  const [first, ...others] = factors.map((values) => Float64Array.from(values!));
  return { first: first!.map((value, at) => value * weights![at % RANK]!), others };
}

/** ½‖X − X̂‖² and its gradient with respect to the first factor. */
function gradientOf(data: Float32Array, { first, others }: { first: Float64Array; others: Float64Array[] }) {
  const gradient = new Float64Array(first.length);
  let loss = 0;
  for (const [at, value] of data.entries()) {
    const [i, j, k] = [Math.floor(at / 56), Math.floor(at / 7) % 8, at % 7];
    const products = [0, 1].map((r) => others[0]![j * RANK + r]! * others[1]![k * RANK + r]!);
    const lack = value - products.reduce((sum, product, r) => sum + product * first[i * RANK + r]!, 0);
    loss += lack ** 2 / 2;
    for (const [r, product] of products.entries()) gradient[i * RANK + r]! -= lack * product;
  }
  return { loss, gradient };
}

/** Second differences down the columns, with the ends as their own neighbours, and the same once more. */
const bend = (values: Float64Array): Float64Array =>
  values.map((value, at) => (values[at - RANK] ?? value) - 2 * value + (values[at + RANK] ?? value));

/** How near columns are, up to signs and their order: the least congruence. */
function congruence(found: Float64Array, expected: Float32Array): number {
  const inner = (r: number, t: number): number => {
    let [sum, a, b] = [0, 0, 0];
    for (let i = 0; i < ROWS; i++) {
      sum += found[i * RANK + r]! * expected[i * RANK + t]!;
      a += found[i * RANK + r]! ** 2;
      b += expected[i * RANK + t]! ** 2;
    }
    return Math.abs(sum) / Math.sqrt(a * b);
  };
  return Math.max(Math.min(inner(0, 0), inner(1, 1)), Math.min(inner(0, 1), inner(1, 0)));
}

const waves = Float32Array.from({ length: ROWS * RANK }, (_, at) =>
  at % RANK ? Math.cos((at / RANK) * 0.2) + 0.3 : Math.exp(-(((at / RANK - 10) / 6) ** 2)),
);
const spikes = randomArray(ROWS * RANK, 12).map((value, at) => (Math.floor(at / RANK) % 4 === at % RANK ? value : 0));
const options = { rank: RANK, sweeps: 400, tolerance: 1e-8, seed: 1 } as const;

describe("smooth", () => {
  it.each([1, 300])(
    "λ %f: ends where no factor of the mode is better, and nearer to the planted one",
    async (smooth) => {
      const engine = await testEngine();
      const { data, first } = planted(waves, 0.8);
      using x = engine.tensor(SHAPE, data);
      const result = await cpALS(engine, x, { ...options, constraints: { 0: { smooth } } });
      using tensor = result.tensor;
      const model = await read(tensor);
      const { loss, gradient } = gradientOf(data, model);
      // ∂/∂Â of ½‖X − X̂‖² + ½·λ·‖L·Â‖²
      const pull = bend(bend(model.first)).map((value) => smooth * value);
      const left = Math.hypot(...gradient.map((value, at) => value + pull[at]!));
      expect(left / Math.hypot(...gradient)).toBeLessThan(2e-2);
      expect(Math.abs(Math.sqrt(2 * loss) / norm(data) - result.relativeError)).toBeLessThan(1e-5);
      expect(result.converged).toBe(true);
      // what is lowered is no larger than at the best model without a penalty
      const plain = await cpALS(engine, x, options);
      using free = plain.tensor;
      const other = await read(free);
      const lowered = ({ first }: { first: Float64Array }, squares: number) =>
        squares + (smooth / 2) * Math.hypot(...bend(first)) ** 2;
      expect(lowered(model, loss)).toBeLessThan(lowered(other, gradientOf(data, other).loss));
      expect(result.relativeError).toBeGreaterThanOrEqual(plain.relativeError - 1e-5);
      if (smooth === 1) expect(congruence(model.first, first)).toBeGreaterThan(congruence(other.first, first));
    },
  );

  it.each([1, 30])("λ %f, and nothing negative: ends where f64 finds no better factor of the mode", async (smooth) => {
    const engine = await testEngine();
    const { data } = planted(waves, 0.5);
    using x = engine.tensor(SHAPE, data);
    const constraint = { smooth, nonnegative: true };
    const { live } = engine.memory();
    const result = await cpALS(engine, x, { ...options, starts: 2, constraints: { 0: constraint } });
    const model = await read(result.tensor);
    result.tensor.destroy();
    expect(engine.memory().live).toBe(live);
    expect(Math.min(...model.first)).toBe(0);
    expect([...model.first].filter((value) => value === 0).length).toBeGreaterThan(3);
    const lowered = (first: Float64Array) => {
      const { loss, gradient } = gradientOf(data, { ...model, first });
      const pull = bend(bend(first));
      return {
        objective: loss + (smooth / 2) * Math.hypot(...bend(first)) ** 2,
        gradient: gradient.map((value, at) => value + smooth * pull[at]!),
      };
    };
    expect(Math.abs(Math.sqrt(2 * gradientOf(data, model).loss) / norm(data) - result.relativeError)).toBeLessThan(
      1e-5,
    );
    // projected gradients with momentum (Beck & Teboulle 2009); columns of the others have norm 1
    const step = 1 / (RANK + 16 * smooth);
    let [best, ahead, momentum] = [model.first, model.first, 1];
    for (let pass = 0; pass < 1500; pass++) {
      const { gradient } = lowered(ahead);
      const next = ahead.map((value, at) => Math.max(0, value - step * gradient[at]!));
      const grown = (1 + Math.sqrt(1 + 4 * momentum ** 2)) / 2;
      const previous = best;
      ahead = next.map((value, at) => value + ((momentum - 1) / grown) * (value - previous[at]!));
      [best, momentum] = [next, grown];
    }
    const [found, least] = [lowered(model.first).objective, lowered(best).objective];
    expect(found / least - 1).toBeLessThan(1e-5);
    // without the constraint the planted factor has negative entries, and the objective is less
    const free = await cpALS(engine, x, { ...options, starts: 2, constraints: { 0: { smooth } } });
    expect(Math.min(...(await read(free.tensor)).first)).toBeLessThan(-0.01);
    free.tensor.destroy();
  });

  it("goes with other constraints, and with missing entries", async () => {
    const engine = await testEngine();
    const { data, first } = planted(waves, 0.2);
    using x = engine.tensor(
      SHAPE,
      data.map((value, at) => (at % 7 === 3 ? Number.NaN : value)),
    );
    using source = await masked(engine, x);
    const result = await cp(engine, source, {
      ...options,
      starts: 2,
      constraints: { 0: { smooth: 0.01 }, 1: "orthogonal", 2: "nonnegative" },
    });
    using tensor = result.tensor;
    const [, b, c] = await engine.read([...tensor.factors]);
    let inner = 0;
    for (let j = 0; j < 8; j++) inner += b![2 * j]! * b![2 * j + 1]!;
    expect(Math.abs(inner)).toBeLessThan(1e-5);
    expect(Math.min(...c!)).toBeGreaterThanOrEqual(0);
    const free = await cpALS(engine, source, { ...options, constraints: { 0: { smooth: 0.01 } } });
    using smoothed = free.tensor;
    expect(congruence((await read(smoothed)).first, first)).toBeGreaterThan(0.98);
    expect(free.relativeError).toBeLessThan(0.2);
  });
});

describe("sparse", () => {
  it.each([false, true])("nonnegative %s: ends at the least, zeros where they were planted", async (nonnegative) => {
    const engine = await testEngine();
    const sign = nonnegative ? Math.abs : (value: number) => value;
    const { data, first } = planted(spikes.map(sign), 0.3, sign);
    using x = engine.tensor(SHAPE, data);
    const lambda = 0.015;
    const result = await cpALS(engine, x, {
      ...options,
      starts: 3,
      constraints: { 0: { sparse: lambda, nonnegative } },
    });
    using tensor = result.tensor;
    const model = await read(tensor);
    const { gradient } = gradientOf(data, model);
    const threshold = lambda * norm(data);
    for (const [at, value] of model.first.entries()) {
      if (nonnegative) expect(value).toBeGreaterThanOrEqual(0);
      const pull = gradient[at]!;
      // the conditions of Karush, Kuhn and Tucker
      if (value) expect(Math.abs(pull + Math.sign(value) * threshold)).toBeLessThan(0.02 * threshold);
      else expect(nonnegative ? -pull : Math.abs(pull)).toBeLessThan(1.02 * threshold);
    }
    const zeros = [...model.first].filter((value) => value === 0).length;
    expect(zeros).toBeGreaterThan(ROWS);
    expect(zeros).toBeLessThan(ROWS * RANK - 10);
    expect(congruence(model.first, first)).toBeGreaterThan(0.95);
    expect(result.converged).toBe(true);
  });

  it("leaves nothing where the penalty is beyond everything", async () => {
    const engine = await testEngine();
    using x = engine.tensor(SHAPE, planted(spikes, 0.1).data);
    const { tensor, relativeError } = await cpALS(engine, x, { ...options, constraints: { 0: { sparse: 2 } } });
    expect(relativeError).toBeCloseTo(1, 5);
    expect([...(await tensor.weights.read())]).toEqual([0, 0]);
    tensor.destroy();
  });
});

it("penalties that cannot be had are refused", async () => {
  const engine = await testEngine();
  using x = engine.tensor([3, 2, 2], new Float32Array(12).fill(1));
  const refused = (constraints: object) =>
    expect(cpALS(engine, x, { rank: 2, constraints: constraints as never })).rejects;
  await refused({ 0: { smooth: 1 }, 1: { sparse: 1 } }).toThrow("modes 0 and 1 have penalties, needs one at most");
  await refused({ 0: { smooth: 1 }, 2: "unimodal" }).toThrow("mode 2 is unimodal and mode 0 has a penalty");
  await refused({ 0: { smooth: -1 } }).toThrow("smooth of mode 0 is -1, needs a number of at least 0");
  await refused({ 0: { sparse: "much" } }).toThrow("sparse of mode 0 is much");
  for (const both of [
    { smooth: 1, sparse: 1 },
    { fixed: [1], nonnegative: true },
    { smooth: 1, unimodal: true },
  ])
    await refused({ 0: both }).toThrow("of two constraints on one mode there are { smooth: λ, nonnegative: true }");
  await expect(cpALS(engine, x, { rank: 2, nonnegative: [0], constraints: { 0: { smooth: 1 } } })).rejects.toThrow(
    "or give { smooth: λ, nonnegative: true }",
  );
  using long = engine.tensor([6000, 2], new Float32Array(12000));
  await expect(cpALS(engine, long, { rank: 1, constraints: { 0: { smooth: 1 } } })).rejects.toThrow(
    "has 6000 rows, smooth takes at most 5792",
  );
});

it("of several starts the one is kept that minimises most, which need not be that of the smallest error", async () => {
  const engine = await testEngine();
  using x = engine.tensor([2], [3, 4]);
  const source = new Resident(x, { exponent: 0, squaredNorm: 25, largest: 4, isZero: false });
  const starts = [
    { error: 0.1, objective: 0.5 },
    { error: 0.2, objective: 0.3 },
    { error: 0.15, objective: 0.4 },
  ];
  let index = 0;
  const { seed, relativeError } = await iterate(source, {
    ...{ name: "test", stopping: { sweeps: 1, tolerance: 0 }, starts: starts.length, seed: 7 },
    zero: () => ({ destroy: () => {} }),
    begin: ({ allocate }) => {
      const row = allocate([1], "row");
      return {
        columns: 1,
        async start(at) {
          index = at;
          return undefined;
        },
        record: ({ s }, { rows, counter }) => appendRow(s, row, rows, counter),
        errorOf: () => ({ fromResidual: starts[index]!.error, objective: starts[index]!.objective }),
        finish: () => Promise.resolve({ destroy: () => {} }),
        residual: ({ s }, _, out) => void fill(s, out, 25 * starts[index]!.error ** 2),
        restore: (tensor) => Promise.resolve(tensor),
      };
    },
  });
  expect(seed).toBe(8);
  expect(relativeError).toBeCloseTo(0.2, 6);
});

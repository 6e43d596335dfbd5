/** A Gauss-Newton iteration for CP against dense f64: the Jacobian written out, the damped normal equations solved by elimination. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Engine } from "../../src/gpu/index.js";
import { GAUSS_NEWTON, GAUSS_NEWTON_SLOW, GaussNewtonState } from "../../src/ops/gaussNewton.js";
import { siblingEngine, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

let engine: Engine;
/** an engine whose workgroups share the rows of a model */
let chunked: Engine;
beforeAll(async () => {
  engine = await testEngine();
  chunked = await siblingEngine({ variants: { gaussNewtonRows: "chunks" } });
});
afterAll(() => chunked.destroy());

const sizeOf = (shape: readonly number[]) => shape.reduce((product, extent) => product * extent, 1);

/** Index of every mode, of a flat index. */
function indicesOf(flat: number, shape: readonly number[]): number[] {
  const indices: number[] = [];
  let rest = flat;
  for (const extent of [...shape].reverse()) {
    indices.unshift(rest % extent);
    rest = Math.floor(rest / extent);
  }
  return indices;
}

/** X − X̂ and the derivative of X̂ by every entry of every factor, row by row of X. */
function linearise(x: ArrayLike<number>, factors: readonly number[][], shape: readonly number[], rank: number) {
  const starts = shape.map((_, mode) => rank * shape.slice(0, mode).reduce((sum, extent) => sum + extent, 0));
  const unknowns = rank * shape.reduce((sum, extent) => sum + extent, 0);
  const jacobian: number[][] = [];
  const residual: number[] = [];
  for (let flat = 0; flat < sizeOf(shape); flat++) {
    const indices = indicesOf(flat, shape);
    const row = new Array<number>(unknowns).fill(0);
    let model = 0;
    for (let r = 0; r < rank; r++) {
      const entries = indices.map((index, mode) => factors[mode]![index * rank + r]!);
      model += entries.reduce((product, entry) => product * entry, 1);
      for (const [mode, index] of indices.entries())
        row[starts[mode]! + index * rank + r] = entries.reduce((p, entry, k) => (k === mode ? p : p * entry), 1);
    }
    jacobian.push(row);
    residual.push(x[flat]! - model);
  }
  return { jacobian, residual, starts, unknowns };
}

/** Solves a·x = b by elimination with pivots. */
function solve(a: number[][], b: number[]): number[] {
  const n = b.length;
  const rows = a.map((row, i) => [...row, b[i]!]);
  for (let k = 0; k < n; k++) {
    let best = k;
    for (let i = k + 1; i < n; i++) if (Math.abs(rows[i]![k]!) > Math.abs(rows[best]![k]!)) best = i;
    [rows[k], rows[best]] = [rows[best]!, rows[k]!];
    for (let i = k + 1; i < n; i++) {
      const factor = rows[i]![k]! / rows[k]![k]!;
      for (let j = k; j <= n; j++) rows[i]![j]! -= factor * rows[k]![j]!;
    }
  }
  const x = new Array<number>(n).fill(0);
  for (let i = n - 1; i >= 0; i--) {
    let sum = rows[i]![n]!;
    for (let j = i + 1; j < n; j++) sum -= rows[i]![j]! * x[j]!;
    x[i] = sum / rows[i]![i]!;
  }
  return x;
}

/** The accepted factors after one iteration from `factors`: balanced columns, and the damping that a first iteration has. */
function balanced(factors: readonly number[][], shape: readonly number[], rank: number, fixed: readonly number[]) {
  const norms = factors.map((factor, mode) =>
    Array.from({ length: rank }, (_, r) => {
      let sum = 0;
      for (let i = 0; i < shape[mode]!; i++) sum += factor[i * rank + r]! ** 2;
      return Math.sqrt(sum);
    }),
  );
  const free = shape.map((_, mode) => mode).filter((mode) => !fixed.includes(mode));
  return factors.map((factor, mode) =>
    factor.map((value, at) => {
      if (fixed.includes(mode)) return value;
      const common = free.reduce((product, k) => product * norms[k]![at % rank]!, 1) ** (1 / free.length);
      return (value * common) / norms[mode]![at % rank]!;
    }),
  );
}

/** One iteration on the GPU: what was accepted, what is tried next, and the numbers of every model. */
async function iterateOnce(
  x: Float32Array,
  starts: readonly (readonly number[][])[],
  shape: readonly number[],
  rank: number,
  fixed: readonly number[],
  engine: Engine,
) {
  const models = starts.length;
  using state = new GaussNewtonState(engine, shape, rank, shape[0]!, { models, fixed });
  using tensor = engine.tensor(shape, x);
  using differences = engine.tensor([models, ...shape]);
  const stacked = new Float32Array(state.trial.size);
  const place = (mode: number, i: number, model: number, r: number) =>
    ((state.starts[mode]! + i) * models + model) * rank + r;
  starts.forEach((factors, model) => {
    factors.forEach((factor, mode) => {
      factor.forEach((value, at) => void (stacked[place(mode, Math.floor(at / rank), model, at % rank)] = value));
    });
  });
  engine.write(state.trial, stacked);
  await engine.run((s) => {
    state.evaluate(s, tensor, differences);
    state.step(s);
  });
  const [accepted, trial, scalars] = (await engine.read([
    state.accepted,
    state.trial,
    state.scalars,
  ])) as Float32Array[];
  const factorsOf = (values: Float32Array, model: number) =>
    shape.map((extent, mode) =>
      Array.from({ length: extent * rank }, (_, at) => values[place(mode, Math.floor(at / rank), model, at % rank)]!),
    );
  return starts.map((_, model) => ({
    accepted: factorsOf(accepted!, model),
    trial: factorsOf(trial!, model),
    numbers: scalars!.subarray(model * GAUSS_NEWTON.perModel, (model + 1) * GAUSS_NEWTON.perModel),
  }));
}

const randomFactors = (shape: readonly number[], rank: number, seed: number): number[][] =>
  shape.map((extent, mode) => [...randomArray(extent * rank, seed + mode)]);

describe.each([true, false])("one iteration, each model by one workgroup: %s,", (isSole) => {
  for (const { shape, rank, models = 1, fixed = [] as number[] } of [
    { shape: [4, 5, 3], rank: 2 },
    { shape: [5, 7], rank: 1 },
    { shape: [3, 2, 4, 3], rank: 3, models: 3 },
    { shape: [2, 3, 2, 2, 2], rank: 2 },
    { shape: [6, 1, 5], rank: 2 },
    { shape: [5, 4, 6], rank: 3, fixed: [1] },
    { shape: [4, 4, 4], rank: 9, models: 2 },
    { shape: [71, 2, 2], rank: 3, fixed: [2] },
  ]) {
    const what = `${shape.join("×")}, rank ${rank}${models > 1 ? `, ${models} models` : ""}${fixed.length ? ", a fixed mode" : ""}`;
    it(`of ${what} is that of dense f64`, async () => {
      const x = randomArray(sizeOf(shape), 1);
      const starts = Array.from({ length: models }, (_, model) => randomFactors(shape, rank, 100 + 10 * model));
      const results = await iterateOnce(x, starts, shape, rank, fixed, isSole ? engine : chunked);
      for (const [model, { accepted, trial, numbers }] of results.entries()) {
        const factors = balanced(starts[model]!, shape, rank, fixed);
        const { jacobian, residual, starts: begins, unknowns } = linearise(x, factors, shape, rank);
        const loss = residual.reduce((sum, value) => sum + value * value, 0) / 2;
        expect(Math.abs(numbers[GAUSS_NEWTON.loss]! / loss - 1)).toBeLessThan(1e-5);
        for (const [mode, factor] of factors.entries()) {
          const largest = Math.max(...factor.map(Math.abs));
          const off = Math.max(...factor.map((value, at) => Math.abs(accepted[mode]![at]! - value)));
          expect(off / largest).toBeLessThan(1e-5);
        }
        // (JᵀJ + λI)·p = Jᵀ·(X − X̂), for the modes that are free
        const damping = numbers[GAUSS_NEWTON.damping]!;
        const isFixed = (at: number) =>
          fixed.some((mode) => at >= begins[mode]! && at < begins[mode]! + shape[mode]! * rank);
        const free = Array.from({ length: unknowns }, (_, at) => at).filter((at) => !isFixed(at));
        const normal = free.map((_, i) => free.map((_, j) => (i === j ? damping : 0)));
        const right = free.map(() => 0);
        for (const [at, row] of jacobian.entries()) {
          const entries = free.map((index) => row[index]!);
          for (const [i, entry] of entries.entries()) {
            if (entry === 0) continue;
            right[i]! += entry * residual[at]!;
            for (const [j, other] of entries.entries()) normal[i]![j]! += entry * other;
          }
        }
        const exact = solve(normal, right);
        const taken = factors.flatMap((factor, mode) =>
          factor.map((_, at) => trial[mode]![at]! - accepted[mode]![at]!),
        );
        // in the norm that the normal equations make: directions in which they are flat do not matter
        const energy = (p: number[]) =>
          p.reduce((sum, value, i) => sum + value * normal[i]!.reduce((row, entry, j) => row + entry * p[j]!, 0), 0);
        const off = energy(exact.map((value, i) => taken[free[i]!]! - value)) / energy(exact);
        // conjugate gradients end after 25 steps, or at a thousandth of their first residual
        expect(off).toBeLessThan(3e-3);
        // ½·(⟨D, P⟩ + λ‖P‖²), which others than one workgroup tell with the next step
        if (isSole)
          expect(Math.abs(numbers[GAUSS_NEWTON.promised]! / promiseOf(exact, right, damping) - 1)).toBeLessThan(3e-3);
        for (const at of taken.keys()) if (isFixed(at)) expect(taken[at]).toBe(0);
      }
    });
  }
});

describe.each([true, false])("several iterations, each model by one workgroup: %s,", (isSole) => {
  const shape = [5, 4, 6];
  const x = randomArray(sizeOf(shape), 3);

  /** Runs iterations on models side by side, of R columns or fewer; after each, what was accepted, what is tried next, and the numbers. */
  async function run(
    starts: readonly (readonly number[][])[],
    rank: number,
    iterations: number,
    convergence?: { tolerance: number; noise: number; exact: number },
  ) {
    const on = isSole ? engine : chunked;
    const models = starts.length;
    using state = new GaussNewtonState(on, shape, rank, shape[0]!, { models, ...(convergence && { convergence }) });
    using tensor = on.tensor(shape, x);
    using differences = on.tensor([models, ...shape]);
    const stacked = new Float32Array(state.trial.size);
    const place = (mode: number, i: number, model: number) => ((state.starts[mode]! + i) * models + model) * rank;
    const widths = starts.map((factors) => factors[0]!.length / shape[0]!);
    for (const [model, factors] of starts.entries())
      for (const [mode, factor] of factors.entries())
        for (let i = 0; i < shape[mode]!; i++)
          stacked.set(factor.slice(i * widths[model]!, (i + 1) * widths[model]!), place(mode, i, model));
    on.write(state.trial, stacked);
    const rows = (values: Float32Array, model: number) =>
      shape.map((extent, mode) =>
        Array.from({ length: extent }, (_, i) => [
          ...values.subarray(place(mode, i, model), place(mode, i, model) + rank),
        ]),
      );
    const history = [];
    for (let iteration = 0; iteration < iterations; iteration++) {
      await on.run((s) => {
        state.evaluate(s, tensor, differences);
        state.step(s);
      });
      const [accepted, trial, scalars] = (await on.read([
        state.accepted,
        state.trial,
        state.scalars,
      ])) as Float32Array[];
      history.push(
        starts.map((_, model) => ({
          accepted: rows(accepted!, model),
          trial: rows(trial!, model),
          numbers: [...scalars!.subarray(model * GAUSS_NEWTON.perModel, (model + 1) * GAUSS_NEWTON.perModel)],
        })),
      );
    }
    return history;
  }

  it("a model of lower rank goes beside others as it does alone, and its columns of zeros stay zero", async () => {
    for (const narrow of [1, 2]) {
      const starts = [randomFactors(shape, narrow, 5), randomFactors(shape, 3, 50)];
      const beside = await run(starts, 3, 12);
      const alone = await run([starts[0]!], narrow, 12);
      for (const [iteration, [{ accepted, trial, numbers }]] of (beside as [(typeof beside)[0][0]][]).entries()) {
        for (const factor of [...accepted, ...trial])
          for (const row of factor) expect(row.slice(narrow).every((value) => value === 0)).toBe(true);
        const expected = alone[iteration]![0]!;
        const loss = expected.numbers[GAUSS_NEWTON.loss]!;
        expect(Math.abs(numbers[GAUSS_NEWTON.loss]! / loss - 1)).toBeLessThan(1e-4);
        expect(numbers[GAUSS_NEWTON.accepted]).toBe(expected.numbers[GAUSS_NEWTON.accepted]);
      }
      // the models are different ones
      const last = beside.at(-1)!;
      expect(last[1]!.numbers[GAUSS_NEWTON.loss]).toBeLessThan(last[0]!.numbers[GAUSS_NEWTON.loss]!);
    }
  });

  it("a model that has converged stands still, and others go on", async () => {
    const starts = [randomFactors(shape, 1, 5), randomFactors(shape, 3, 50)];
    const history = await run(starts, 3, 40, { tolerance: 1e-4, noise: 0, exact: 0 });
    const free = await run(starts, 3, 40);
    const isOver = ([model]: (typeof history)[0]) => model!.numbers[GAUSS_NEWTON.slow]! >= GAUSS_NEWTON_SLOW;
    const end = history.findIndex(isOver);
    expect(end).toBeGreaterThan(3);
    expect(end).toBeLessThan(36);
    for (const later of history.slice(end + 1)) {
      expect(later[0]!.accepted).toEqual(history[end]![0]!.accepted);
      expect(later[0]!.numbers[GAUSS_NEWTON.iterations]).toBe(end + 1);
      expect(later[0]!.numbers[GAUSS_NEWTON.loss]).toBe(history[end]![0]!.numbers[GAUSS_NEWTON.loss]);
    }
    for (const at of [end, history.length - 1]) {
      const [told, other] = [history, free].map((run) => run[at]![1]!);
      if (told!.numbers[GAUSS_NEWTON.slow]! < GAUSS_NEWTON_SLOW)
        expect(told).toMatchObject({ accepted: other!.accepted });
    }
    expect(history[end + 1]![1]!.numbers[GAUSS_NEWTON.iterations]).toBe(end + 2);
  });

  it("a model below the exact loss has converged at once, and none does by default", async () => {
    const starts = [randomFactors(shape, 2, 5)];
    const history = await run(starts, 2, 4, { tolerance: 1e-6, noise: 0, exact: 1e9 });
    expect(history.at(-1)![0]!.numbers[GAUSS_NEWTON.iterations]).toBe(isSole ? 1 : 2);
    const free = await run(starts, 2, 4);
    expect(free.at(-1)![0]!.numbers[GAUSS_NEWTON.iterations]).toBe(4);
    expect(free.at(-1)![0]!.numbers[GAUSS_NEWTON.slow]).toBe(0);
  });
});

const promiseOf = (step: number[], right: number[], damping: number) =>
  step.reduce((sum, p, i) => sum + p * right[i]! + damping * p * p, 0) / 2;

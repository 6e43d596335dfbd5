/** Cases of one sweep of a decomposition from fixed start factors. */
import { CpSolver, gaussNewtonIteration, hooiSweep } from "../../src/decompositions/index.js";
import { sizeOf } from "../../src/gpu/index.js";
import type { Case, Planted, Values } from "../case.js";
import type { Goal } from "../goals.js";
import { planted, values } from "../inputs.js";
import { kernelTime, readAll, replay } from "../ours.js";
import * as reference from "../reference.js";
import { named } from "./products.js";

const NOISE = 0.05;

/** One sweep of CP-ALS over a third-order tensor. A further run starts from the factors of the run before it. */
export function cpSweepCase(shape: readonly number[], rank: number, goals: readonly Goal[] = []): Case {
  const x: Planted = { shape, seed: 31, rank, noise: NOISE };
  const factors = shape.map((extent, mode): Values => ({ shape: [extent, rank], seed: 41 + mode, low: 0, high: 1 }));
  const size = sizeOf(shape);
  const words = shape.reduce((sum, extent) => sum + extent * rank, 0);
  return {
    name: `CP-ALS sweep ${named(shape)} R${rank}`,
    shapes: `${shape.join("×")}, ${rank} terms`,
    flops: shape.length * 2 * size * rank,
    bytes: 4 * (2 * size + 2 * words),
    work: { op: "cpSweep", x, factors },
    tolerance: 1e-3,
    goals,
    // the dimension tree reads the tensor twice, for any number of modes
    counts: { reads: 2, dispatches: 12, submits: 1, readbacks: 0 },
    async prepare(engine, [tensor, ...start]) {
      const data = engine.tensor(shape, tensor);
      const solver = await CpSolver.create(data, { rank });
      await solver.start(start);
      let first: Float32Array[] | null = null;
      return {
        async run(times) {
          await replay(engine, solver.sweep, times);
          first ??= await readAll(engine, [solver.weights, ...solver.factors]);
        },
        outputs: async () => first!,
        kernelTime: () => kernelTime(solver.sweep),
        reads: solver.sweep.reads(data),
        destroy() {
          solver.destroy();
          data.destroy();
        },
      };
    },
    inputs: () => [planted(x), ...factors.map(values)],
    reference: ([tensor, ...start]) => reference.cpSweep(tensor!, shape, start),
  };
}

/** One iteration of Gauss-Newton for a third-order CP model. A further run goes on from the run before it. */
export function gaussNewtonCase(shape: readonly number[], rank: number, dispatches: number): Case {
  const x: Planted = { shape, seed: 31, rank, noise: NOISE };
  const factors = shape.map((extent, mode): Values => ({ shape: [extent, rank], seed: 41 + mode, low: 0, high: 1 }));
  const size = sizeOf(shape);
  return {
    name: `CP by Gauss-Newton iteration ${named(shape)} R${rank}`,
    shapes: `${shape.join("×")}, ${rank} terms`,
    // X̂, and the MTTKRPs of X − X̂ by way of two partial ones
    flops: 3 * 2 * size * rank,
    // X, and the difference: written, and read twice for the MTTKRPs
    bytes: 4 * 4 * size,
    work: { op: "gaussNewton", x, factors },
    // conjugate gradients end where their residual has fallen to a thousandth
    tolerance: 1e-2,
    counts: { reads: 1, dispatches, submits: 1, readbacks: 0 },
    async prepare(engine, [tensor, ...start]) {
      const data = engine.tensor(shape, tensor);
      const iteration = await gaussNewtonIteration(engine, data, start);
      let first: Float32Array[] | null = null;
      return {
        async run(times) {
          await replay(engine, iteration.schedule, times);
          first ??= await readAll(engine, [...iteration.trial, iteration.numbers]);
        },
        outputs: async () => first!,
        kernelTime: () => kernelTime(iteration.schedule),
        reads: iteration.schedule.reads(data),
        destroy() {
          iteration.destroy();
          data.destroy();
        },
      };
    },
    inputs: () => [planted(x), ...factors.map(values)],
    reference: ([tensor, ...start]) => reference.gaussNewtonStep(tensor!, shape, start),
  };
}

/** One sweep of HOOI from factors near those of the planted tensor. */
export function hooiSweepCase(shape: readonly number[], ranks: readonly number[], goals: readonly Goal[] = []): Case {
  const rank = Math.min(...ranks);
  const x: Planted = { shape, seed: 51, rank, noise: NOISE };
  const factors = shape.map((extent, mode): Values => ({ shape: [extent, ranks[mode]!], seed: 61 + mode }));
  const size = sizeOf(shape);
  /** What products of a tensor with factors of some modes cost, in the order of falling reduction, and the size of what is left. */
  const projected = (current: number, modes: readonly number[]): { flops: number; left: number } =>
    modes
      .map((mode) => ({ mode, keep: ranks[mode]! / shape[mode]! }))
      .sort((a, b) => a.keep - b.keep)
      .reduce(({ flops, left }, { mode, keep }) => ({ flops: flops + 2 * left * ranks[mode]!, left: left * keep }), {
        flops: 0,
        left: current,
      });
  // the longest mode alone, and the others by way of what they share
  const longest = shape.indexOf(Math.max(...shape));
  const others = [...shape.keys()].filter((mode) => mode !== longest);
  const shared = projected(size, [longest]);
  const flops = others.reduce(
    (sum, mode) =>
      sum +
      projected(
        shared.left,
        others.filter((other) => other !== mode),
      ).flops,
    projected(size, others).flops + shared.flops,
  );
  return {
    name: `HOOI sweep ${named(shape)} R${named(ranks).replace(/[³×].*/, "")}`,
    shapes: `${shape.join("×")} to ${ranks.join("×")}`,
    flops,
    bytes: 4 * 2 * size,
    work: { op: "hooiSweep", x, ranks, factors },
    tolerance: 1e-3,
    goals,
    counts: { reads: 2, dispatches: 80, submits: 1, readbacks: 0 },
    async prepare(engine, [tensor, ...start]) {
      const data = engine.tensor(shape, tensor);
      const current = start.map((factor, mode) => engine.tensor([shape[mode]!, ranks[mode]!], factor));
      const sweep = await hooiSweep(engine, data, current);
      let first: Float32Array[] | null = null;
      return {
        async run(times) {
          await replay(engine, sweep.schedule, times);
          first ??= await readAll(engine, current);
        },
        outputs: async () => first!,
        kernelTime: () => kernelTime(sweep.schedule),
        reads: sweep.schedule.reads(data),
        destroy() {
          sweep.destroy();
          for (const item of [data, ...current]) item.destroy();
        },
      };
    },
    inputs: () => [planted(x), ...start()],
    reference: ([tensor]) => reference.tuckerFactors(tensor!, shape, made(), ranks),
  };

  /** The factors of the planted tensor. */
  function made(): Float32Array[] {
    return shape.map((extent, mode) => values({ shape: [extent, rank], seed: x.seed * 16 + mode + 1 }));
  }

  /** Start factors with orthonormal columns, between the planted subspaces and random ones. */
  function start(): Float32Array[] {
    const wanted = made();
    return factors.map((factor, mode) => {
      const columns = ranks[mode]!;
      const mixed = Float64Array.from(values(factor), (value, index) => {
        const column = index % columns;
        return column < rank ? value + 2 * wanted[mode]![Math.floor(index / columns) * rank + column]! : value;
      });
      return Float32Array.from(reference.orthonormal(mixed, columns));
    });
  }
}

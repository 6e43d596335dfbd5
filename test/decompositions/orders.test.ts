/** Every decomposition, of tensors of orders 2 to 8, with small extents and modes of one. */
import { describe, expect, it } from "vitest";
import {
  blockTermALS,
  cmtf,
  cp,
  cpALS,
  hosvd,
  stHosvd,
  tensorRingALS,
  tensorRingSVD,
  ttCross,
  ttSVD,
  tuckerHOOI,
} from "../../src/decompositions/index.js";
import type { Engine, Scheduler, Tensor } from "../../src/gpu/index.js";
import { evaluate, testEngine } from "../engine.js";
import { distance, kruskal } from "./planted.js";

interface Result {
  tensor: { full(s: Scheduler): Tensor; destroy(): void };
  relativeError: number;
}

const SHAPES = [
  [5, 4],
  [1, 6],
  [4, 1, 5],
  [1, 1, 1],
  [3, 2, 1, 4],
  [2, 3, 2, 2, 3],
  [2, 1, 2, 3, 1, 2],
  [2, 2, 2, 2, 2, 2, 2],
  [2, 1, 2, 2, 1, 2, 2, 2],
];

/** Decompositions at rank 1 or so. */
const SOLVERS: Record<string, (engine: Engine, x: Tensor, rank: number) => Promise<Result>> = {
  cpALS: (engine, x, rank) => cpALS(engine, x, { rank, starts: 2, sweeps: 60 }),
  cp: (engine, x, rank) => cp(engine, x, { rank, sweeps: 60 }),
  hosvd: (engine, x, ranks) => hosvd(engine, x, { ranks }),
  stHosvd: (engine, x, ranks) => stHosvd(engine, x, { ranks }),
  tuckerHOOI: (engine, x, ranks) => tuckerHOOI(engine, x, { ranks }),
  "tuckerHOOI by error": (engine, x) => tuckerHOOI(engine, x, { relativeError: 1e-4 }),
  ttSVD: (engine, x, ranks) => ttSVD(engine, x, { ranks }),
  "ttSVD by error": (engine, x) => ttSVD(engine, x, { relativeError: 1e-4 }),
  ttCross: (engine, x) => ttCross(engine, x, { samples: 100 }),
  tensorRingSVD: (engine, x, ranks) => tensorRingSVD(engine, x, { ranks }),
  tensorRingALS: (engine, x, ranks) => tensorRingALS(engine, x, { ranks, sweeps: 10 }),
  blockTermALS: (engine, x, ranks) => blockTermALS(engine, x, { blocks: 1, ranks, sweeps: 20 }),
  cmtf: async (engine, x, rank) => {
    const result = await cmtf(engine, [{ x, modes: x.shape.map((_, mode) => `mode ${mode}`) }], { rank, sweeps: 60 });
    const { tensor } = result;
    return { ...result, tensor: { full: (s) => tensor.models[0]!.full(s), destroy: () => tensor.destroy() } };
  },
};

const positive = (shape: readonly number[], rank: number): Float32Array =>
  Float32Array.from(
    kruskal(
      shape.map((extent, mode) =>
        Float64Array.from({ length: extent * rank }, (_, at) => 1 + ((at * 7 + mode * 3) % 5) / 4),
      ),
      [...shape],
      rank,
    ),
  );

describe.each(SHAPES)("a tensor of extents %j and more", (...shape) => {
  it.each(Object.entries(SOLVERS))("%s finds one of rank 1, and is honest about one of rank 2", async (_, solve) => {
    const engine = await testEngine();
    for (const rank of [1, 2]) {
      const data = positive(shape, rank);
      using x = engine.tensor(shape, data);
      const { tensor, relativeError } = await solve(engine, x, 1);
      const error = distance(data, await evaluate(engine, (s) => tensor.full(s)));
      expect(Math.abs(error - relativeError)).toBeLessThan(2e-6);
      expect(error).toBeLessThan(rank === 1 ? 1e-4 : 0.3);
      tensor.destroy();
    }
  });
});

/** Runs that are stopped and go on: they end where a run that was not stopped does. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import {
  type BlockTermOptions,
  blockTermALS,
  type CheckpointOptions,
  CpSolver,
  type CpSolverOptions,
  cp,
  cpALS,
  type Decomposition,
  parafac2,
  type StoppingOptions,
  stHosvd,
  tuckerHOOI,
} from "../../src/decompositions/index.js";
import type { Engine, Scheduler, Tensor } from "../../src/gpu/index.js";
import { checkpointFile } from "../../src/node/index.js";
import { type Masked, masked, type Source, slabs } from "../../src/sources/index.js";
import { type KruskalTensor, Parafac2Tensor, type TuckerTensor } from "../../src/tensors/index.js";
import { evaluate, siblingEngine, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";
import { plantedCp } from "./planted.js";

const folder = mkdtempSync(join(tmpdir(), "checkpoint-"));
afterAll(() => rmSync(folder, { recursive: true }));

const SHAPE = [9, 8, 7];
const { data } = plantedCp(SHAPE, 3, 0.2, 5);

/** Keeps bytes in memory. */
function memory(every = 0) {
  const kept: { bytes: Uint8Array | null; saves: number } = { bytes: null, saves: 0 };
  const checkpoint = {
    every,
    // as readFileSync gives them
    load: () => kept.bytes && Buffer.from(kept.bytes),
    save: (bytes: Uint8Array) => {
      kept.bytes = bytes;
      kept.saves++;
    },
  };
  return { kept, checkpoint };
}

type Result = Decomposition<KruskalTensor | TuckerTensor | Parafac2Tensor>;
/** X̂, of PARAFAC2 the first slice of it. */
const fullOf = (s: Scheduler, { tensor }: Result) =>
  tensor instanceof Parafac2Tensor ? tensor.full(s, 0) : tensor.full(s);
type Solve = (engine: Engine, x: Tensor | Source, options: StoppingOptions & CheckpointOptions) => Promise<Result>;
const common = { sweepsPerSubmit: 2 };
const slabbed = (engine: Engine, x: Tensor) => slabs(engine, [x]);
const holed = (engine: Engine, x: Tensor) =>
  masked(engine, x, { mask: randomArray(x.size, 3).map((value) => (value > -0.5 ? 1 : 0)) });
const itself = async (_: Engine, x: Tensor) => x;

interface Case {
  solve: Solve;
  noise?: number;
  shape?: number[];
  source?: (engine: Engine, x: Tensor) => Promise<Tensor | Source>;
}
const CASES: Record<string, Case> = {
  "cp, one start after the other": {
    solve: (engine, x, options) => cp(engine, x, { rank: 3, starts: 2, ...common, ...options }),
    source: slabbed,
  },
  "cp from starts side by side": {
    solve: (engine, x, options) => cp(engine, x, { rank: 3, initialize: "random", ...common, ...options }),
  },
  "cp from starts on a core": {
    solve: (engine, x, options) => cp(engine, x, { rank: 2, seed: 5, ...common, ...options }),
    shape: [13, 12, 11],
  },
  "cp with a fixed factor": {
    solve: (engine, x, options) =>
      cp(engine, x, { rank: 2, starts: 1, fixed: { 1: randomArray(2 * SHAPE[1]!, 8) }, ...common, ...options }),
  },
  "cp of known entries": {
    solve: (engine, x, options) => cp(engine, x, { rank: 2, starts: 2, ...common, ...options }),
    source: holed,
  },
  cpALS: { solve: (engine, x, options) => cpALS(engine, x, { rank: 3, seed: 4, ...common, ...options }) },
  "cpALS near a fit of 1": {
    solve: (engine, x, options) => cpALS(engine, x, { rank: 3, seed: 4, ...common, ...options }),
    noise: 1e-4,
  },
  "cpALS from two starts": {
    solve: (engine, x, options) => cpALS(engine, x, { rank: 2, starts: 2, ...common, ...options }),
    source: slabbed,
  },
  "cpALS of known entries": {
    solve: (engine, x, options) => cpALS(engine, x, { rank: 2, ...common, ...options }),
    source: holed,
  },
  parafac2: {
    solve: (engine, x, options) => parafac2(engine, x as Tensor, { rank: 2, starts: 2, ...common, ...options }),
  },
  "parafac2 without negative entries, of known ones": {
    solve: (engine, x, options) => parafac2(engine, x as Masked, { rank: 2, nonnegative: true, ...common, ...options }),
    source: holed,
  },
  tuckerHOOI: { solve: (engine, x, options) => tuckerHOOI(engine, x, { ranks: [2, 3, 2], ...common, ...options }) },
  "tuckerHOOI from random factors": {
    solve: (engine, x, options) =>
      tuckerHOOI(engine, x, { ranks: [2, null, 2], initialize: "random", ...common, ...options }),
    source: slabbed,
  },
};

describe.each(Object.entries(CASES))("%s", (_, { solve, noise = 0.2, shape = SHAPE, source = itself }) => {
  it.each([
    ["out of sweeps", { sweeps: 14, tolerance: 0 }],
    ["by its tolerance", { sweeps: 60, tolerance: 1e-4 }],
  ])("ends %s where it would have, after every abort", async (_, limits) => {
    const engine = await testEngine();
    const { live } = engine.memory();
    {
      using x = engine.tensor(shape, plantedCp(shape, 3, noise, 5).data);
      const input = await source(engine, x);
      const plain = await solve(engine, input, limits);
      const { kept, checkpoint } = memory();
      let runs = 0;
      let result: Result;
      for (;;) {
        const controller = new AbortController();
        let told = 0;
        const onIteration = () => {
          if (++told === 3) controller.abort();
        };
        result = await solve(engine, input, { ...limits, checkpoint, onIteration, signal: controller.signal });
        runs++;
        if (!result.aborted) break;
        result.tensor.destroy();
        expect(runs).toBeLessThan(60);
      }
      if (limits.tolerance === 0) {
        expect(runs).toBeGreaterThan(2);
        expect(result.sweeps).toBe(plain.sweeps);
      }
      expect(result.converged).toBe(plain.converged);
      // of starts that end at the same error, either may be the result: a run goes on for up to a batch after its rule is met
      const isSameStart = result.seed === plain.seed;
      if (limits.tolerance === 0) expect(isSameStart).toBe(true);
      const shared = isSameStart ? Math.min(result.errors.length, plain.errors.length) : 0;
      for (let sweep = 0; sweep < shared; sweep++)
        expect(Math.abs(result.errors[sweep]! - plain.errors[sweep]!)).toBeLessThan(1e-5);
      // and expectation maximisation creeps on by about the tolerance a sweep
      const creeping = source === holed ? 4 : 1;
      expect(Math.abs(result.relativeError - plain.relativeError)).toBeLessThan(creeping * limits.tolerance || 1e-6);
      const [a, b] = [
        await evaluate(engine, (s) => fullOf(s, plain)),
        await evaluate(engine, (s) => fullOf(s, result)),
      ];
      let [lack, all] = [0, 0];
      for (const [at, value] of a.entries()) [lack, all] = [lack + (value - b[at]!) ** 2, all + value ** 2];
      expect(Math.sqrt(lack / all)).toBeLessThan(limits.tolerance ? 0.03 : 1e-3);
      // a run that is over is the result at once
      let sweeps = 0;
      const bytes = kept.bytes;
      const again = await solve(engine, input, { ...limits, checkpoint, onIteration: () => sweeps++ });
      expect([again.relativeError, sweeps, again.converged]).toEqual([result.relativeError, 0, result.converged]);
      expect(kept.bytes).toEqual(bytes);
      for (const { tensor } of [plain, result, again]) tensor.destroy();
      if (input !== x) (input as Masked)[Symbol.dispose]();
    }
    await engine.idle();
    expect(engine.memory().live).toBe(live);
  });
});

describe("a checkpoint", () => {
  it("goes on after an error, from what was kept last", async () => {
    const engine = await testEngine();
    const file = join(folder, "run.checkpoint");
    let reads = 0;
    const source = await slabs(engine, [
      {
        shape: [4, 8, 7],
        read() {
          if (++reads === 14) throw new Error("the disk is gone");
          return data.slice(0, 4 * 56);
        },
      },
      { shape: [5, 8, 7], read: () => data.slice(4 * 56) },
    ]);
    using _ = source;
    const run = (onIteration: () => void) =>
      cpALS(engine, source, {
        rank: 2,
        sweeps: 10,
        tolerance: 0,
        checkpoint: checkpointFile(file, { every: 0 }),
        onIteration,
      });
    await expect(run(() => {})).rejects.toThrow("the disk is gone");
    let told = 0;
    const { tensor, sweeps } = await run(() => told++);
    expect(sweeps).toBe(10);
    expect(told).toBeLessThan(9);
    tensor.destroy();
  });

  it("is kept now and then, and at the end", async () => {
    const engine = await testEngine();
    using x = engine.tensor(SHAPE, data);
    const savesOf = async (every: number) => {
      const { kept, checkpoint } = memory(every);
      (await cpALS(engine, x, { rank: 2, sweeps: 8, tolerance: 0, sweepsPerSubmit: 1, checkpoint })).tensor.destroy();
      return kept.saves;
    };
    expect(await savesOf(1e6)).toBe(1);
    expect(await savesOf(0)).toBeGreaterThan(4);
  });

  it("of another run, of another tensor, or damaged, is refused by name", async () => {
    const engine = await testEngine();
    using x = engine.tensor(SHAPE, data);
    using y = engine.tensor(SHAPE, randomArray(504, 2));
    const { kept, checkpoint } = memory();
    const run = (input: Tensor | Source, options: object) =>
      cpALS(engine, input, { rank: 2, sweeps: 3, tolerance: 0, checkpoint, ...options });
    (await run(x, {})).tensor.destroy();
    await expect(run(x, { rank: 3 })).rejects.toThrow("cpALS: the checkpoint is of a run with rank 2, this one has 3");
    await expect(run(x, { seed: 7 })).rejects.toThrow("is of a run with seed 0, this one has 7");
    await expect(run(y, {})).rejects.toThrow("cpALS: the checkpoint is of another tensor; take another file");
    using holes = await masked(engine, x, { mask: randomArray(504, 3).map((value) => (value > -0.5 ? 1 : 0)) });
    await expect(run(holes, {})).rejects.toThrow("is of another tensor");
    await expect(tuckerHOOI(engine, x, { ranks: 2, checkpoint })).rejects.toThrow('is of a run with method "cpALS"');
    const bytes = kept.bytes!;
    const damaged = bytes.slice();
    damaged[bytes.length - 5]! ^= 1;
    for (const wrong of [bytes.subarray(0, bytes.length - 8), bytes.subarray(0, 21), bytes.subarray(0, 90), damaged]) {
      kept.bytes = wrong;
      await expect(run(x, {})).rejects.toThrow("cpALS: the checkpoint is damaged; take another file, or remove it");
    }
    kept.bytes = new TextEncoder().encode("hello");
    await expect(run(x, {})).rejects.toThrow("the checkpoint is none of tenfold's");
    await expect(run(x, { checkpoint: {} })).rejects.toThrow("needs an object with load and save");
    kept.bytes = bytes;
    const { tensor, sweeps } = await run(x, { sweeps: 5 });
    expect(sweeps).toBe(5);
    tensor.destroy();
  });

  it("of a permuted tensor, of other missing entries or other factors is refused", async () => {
    const engine = await testEngine();
    using x = engine.tensor(SHAPE, data);
    using swapped = engine.tensor(
      SHAPE,
      Float32Array.of(...data.slice(56, 112), ...data.slice(0, 56), ...data.slice(112)),
    );
    const { checkpoint } = memory();
    (await cpALS(engine, x, { rank: 2, sweeps: 3, checkpoint })).tensor.destroy();
    await expect(cpALS(engine, swapped, { rank: 2, sweeps: 3, checkpoint })).rejects.toThrow("is of another tensor");
    const maskOf = (first: number) => Uint8Array.from(data, (_, at) => (at % 5 === first ? 0 : 1));
    using holes = await masked(engine, x, { mask: maskOf(0) });
    using others = await masked(engine, x, { mask: maskOf(1).fill(1, 500) });
    const second = memory().checkpoint;
    (await cpALS(engine, holes, { rank: 2, sweeps: 3, checkpoint: second })).tensor.destroy();
    await expect(cpALS(engine, others, { rank: 2, checkpoint: second })).rejects.toThrow("is of another tensor");
    const begin = (seed: number) => SHAPE.map((extent, mode) => randomArray(2 * extent, seed + mode));
    const third = memory().checkpoint;
    const from = (seed: number) =>
      cp(engine, x, { rank: 2, sweeps: 3, initialize: begin(seed), compression: "none", checkpoint: third });
    (await from(1)).tensor.destroy();
    await expect(from(7)).rejects.toThrow(/is of a run with initialize "factors \w+", this one has "factors \w+"/);
  });

  it.each<[string, object, number[], boolean]>([
    ["on a core", {}, [13, 12, 11], false],
    ["beside each other, more of them as they do not agree", {}, [9, 8, 7], false],
    ["one after the other on a core", {}, [13, 12, 11], true],
    ["that end where the others have ended", { tolerance: 1e-4, sweeps: 200 }, [9, 8, 7], false],
  ])("goes on with starts %s after every abort", async (_, limits, shape, isAlone) => {
    const engine = isAlone ? await siblingEngine({ variants: { gaussNewtonShared: 256 } }) : await testEngine();
    using x = engine.tensor(shape, plantedCp(shape, 3, 0.2, 5).data);
    const options = { rank: 2, tolerance: 0, sweeps: 12, sweepsPerSubmit: 1, ...limits };
    let plainTold = 0;
    const plain = await cp(engine, x, { ...options, onStarts: () => plainTold++ });
    const { kept, checkpoint } = memory();
    const run = async () => {
      const controller = new AbortController();
      const until = kept.saves + 4;
      const save = (bytes: Uint8Array) => {
        checkpoint.save(bytes);
        if (kept.saves === until) controller.abort();
      };
      let told = 0;
      const watch = { onStarts: () => told++, signal: controller.signal };
      const result = await cp(engine, x, { ...options, checkpoint: { ...checkpoint, save }, ...watch });
      return { result, told };
    };
    let runs = 0;
    let toldOfAll = 0;
    for (;;) {
      const { result, told } = await run();
      runs++;
      toldOfAll += told;
      expect(kept.bytes).not.toBeNull();
      const { aborted, relativeError, errors, starts } = result;
      result.tensor.destroy();
      if (aborted) {
        expect(runs).toBeLessThan(60);
        continue;
      }
      expect([relativeError, errors, starts]).toEqual([plain.relativeError, plain.errors, plain.starts]);
      break;
    }
    expect(runs).toBeGreaterThan(3);
    // nothing is done again
    expect(toldOfAll).toBe(plainTold);
    const again = await run();
    expect([again.told, again.result.relativeError]).toEqual([0, plain.relativeError]);
    plain.tensor.destroy();
    again.result.tensor.destroy();
    if (isAlone) engine.destroy();
  });

  it("of starts is refused beside other options, another tensor and where it is damaged", async () => {
    const engine = await testEngine();
    using x = engine.tensor(SHAPE, data);
    using y = engine.tensor(SHAPE, randomArray(504, 2));
    const { kept, checkpoint } = memory();
    const run = (input: Tensor, options: object) => cp(engine, input, { rank: 2, sweeps: 3, checkpoint, ...options });
    (await run(x, {})).tensor.destroy();
    await expect(run(x, { rank: 3 })).rejects.toThrow("cp: the checkpoint is of a run with rank 2, this one has 3");
    await expect(run(x, { sweeps: 4 })).rejects.toThrow("is of a run with sweeps 3, this one has 4");
    await expect(run(y, {})).rejects.toThrow("cp: the checkpoint is of another tensor");
    await expect(cpALS(engine, x, { rank: 2, checkpoint })).rejects.toThrow("is of a run of cp with starts of its own");
    const bytes = kept.bytes!;
    for (const wrong of [bytes.subarray(0, 30), bytes.subarray(0, 500)]) {
      kept.bytes = wrong;
      await expect(run(x, {})).rejects.toThrow("cp: the checkpoint is damaged; take another file, or remove it");
    }
    kept.bytes = new TextEncoder().encode("hello");
    await expect(run(x, {})).rejects.toThrow("the checkpoint is none of tenfold's");
    const other = memory();
    (await cpALS(engine, x, { rank: 2, sweeps: 3, checkpoint: other.checkpoint })).tensor.destroy();
    await expect(run(x, { checkpoint: other.checkpoint })).rejects.toThrow("is of a run without starts of its own");
  });

  it("is refused where there can be none", async () => {
    const engine = await testEngine();
    using x = engine.tensor(SHAPE, data);
    using holes = await holed(engine, x);
    const { checkpoint } = memory();
    const refused = async (result: Promise<unknown>, why: string) => await expect(result).rejects.toThrow(why);
    await refused(stHosvd(engine, x, { ranks: 2, checkpoint }), "stHosvd: takes no checkpoint here; take tuckerHOOI");
    await refused(tuckerHOOI(engine, x, { relativeError: 0.5, checkpoint }), "takes no checkpoint with relativeError");
    await refused(tuckerHOOI(engine, x, { ranks: [2, 8, 7], checkpoint }), "where one mode at most is truncated");
    await refused(tuckerHOOI(engine, holes, { ranks: 2, checkpoint }), "where entries are missing; take cp or cpALS");
    await refused(
      cp(engine, x, { rank: 2, nonnegative: true, checkpoint }),
      "cp: takes no checkpoint with constraints",
    );
    await refused(cpALS(engine, x, { rank: 2, nonnegative: [0], checkpoint }), "takes no checkpoint with constraints");
    await refused(CpSolver.create(x, { rank: 2, checkpoint } as CpSolverOptions), "CpSolver: takes no checkpoint");
    const options = { blocks: 2, ranks: 1, checkpoint } as BlockTermOptions;
    await refused(blockTermALS(engine, x, options), 'unknown option "checkpoint"');
  });
});

import { CholeskyDecomposition, inverse, Matrix, solve } from "ml-matrix";
import { describe, expect, it } from "vitest";
import { blockTermALS, cpALS, tuckerHOOI } from "../../src/decompositions/index.js";
import type { Engine, Tensor } from "../../src/gpu/index.js";
import { BlockTermTensor, TuckerTensor } from "../../src/tensors/index.js";
import { evaluate, siblingEngine, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";
import { distance, modeProduct, plantedTucker, unfold } from "./planted.js";
import { watched } from "./watched.js";

/** A sum of Tucker tensors. */
function planted(shape: number[], ranks: number[], blocks: number, noise: number): Float32Array {
  const parts = Array.from({ length: blocks }, (_, g) => plantedTucker(shape, ranks, 0, 31 * g + 2).data);
  const clean = Float32Array.from(parts[0]!, (_, e) => parts.reduce((sum, part) => sum + part[e]!, 0));
  const errors = randomArray(clean.length, 5);
  const size = (values: Float32Array) => Math.hypot(...values);
  const scale = (noise * size(clean)) / size(errors);
  return clean.map((value, e) => value + scale * errors[e]!);
}

const rises = (errors: readonly number[]): number =>
  errors.slice(1).reduce((most, error, k) => Math.max(most, error - errors[k]!), 0);

describe("blockTermALS", () => {
  it.each([
    { shape: [12, 11, 10], ranks: [2, 2, 2], blocks: 2 },
    { shape: [16, 12, 3, 3], ranks: [2, 3, 3, 3], blocks: 3 },
  ])("finds $blocks planted blocks of ranks $ranks; the error never rises", async ({ shape, ranks, blocks }) => {
    const engine = await testEngine();
    const data = planted(shape, ranks, blocks, 0.02);
    using x = engine.tensor(shape, data);
    const result = await blockTermALS(engine, x, { blocks, ranks, starts: 4, sweeps: 60, tolerance: 1e-5 });
    expect(result.relativeError).toBeLessThan(0.0205);
    expect(result.relativeError).toBeGreaterThan(0.01);
    expect(rises(result.errors)).toBeLessThan(2e-6);
    expect(distance(data, await evaluate(engine, (s) => result.tensor.full(s)))).toBeCloseTo(result.relativeError, 5);
    expect(result.tensor.parameterCount).toBe(
      blocks *
        (ranks.reduce((a, b) => a * b, 1) +
          ranks.reduce((sum, rank, mode) => sum + (rank < shape[mode]! ? rank * shape[mode]! : 0), 0)),
    );
    result.tensor.destroy();
  });

  it("finds blocks without noise to five digits", async () => {
    const engine = await testEngine();
    const [shape, ranks] = [
      [10, 9, 3, 3],
      [2, 2, 3, 3],
    ] as [number[], number[]];
    using x = engine.tensor(shape, planted(shape, ranks, 2, 0));
    const { tensor, relativeError } = await blockTermALS(engine, x, { blocks: 2, ranks, starts: 2, tolerance: 1e-7 });
    expect(relativeError).toBeLessThan(1e-5);
    tensor.destroy();
  });

  it("never rises on data of full rank, and beats its own start", async () => {
    const engine = await testEngine();
    using x = engine.tensor([10, 9, 9], randomArray(810, 4));
    const few = await blockTermALS(engine, x, { blocks: 4, ranks: [2, 2, 9], sweeps: 1 });
    const many = await blockTermALS(engine, x, { blocks: 4, ranks: [2, 2, 9], sweeps: 24, tolerance: 0 });
    expect(many.errors).toHaveLength(24);
    expect(rises(many.errors)).toBeLessThan(2e-6);
    expect(many.relativeError).toBeLessThan(few.relativeError - 0.01);
    few.tensor.destroy();
    many.tensor.destroy();
  });

  it("moves less with a larger ridge, and never up", async () => {
    const engine = await testEngine();
    using x = engine.tensor([10, 9, 8], randomArray(720, 4));
    const options = { blocks: 3, ranks: [2, 2, 2], sweeps: 6, tolerance: 0 };
    const errors: number[] = [];
    for (const ridge of [1e-6, 10, 1e3]) {
      const result = await blockTermALS(engine, x, { ...options, ridge });
      expect(rises(result.errors)).toBeLessThan(2e-6);
      errors.push(result.relativeError);
      result.tensor.destroy();
    }
    expect(errors[1]!).toBeGreaterThan(errors[0]! + 1e-3);
    expect(errors[2]!).toBeGreaterThan(errors[1]! + 1e-3);
  });

  it("is Tucker with one block, and CP with blocks of rank one", async () => {
    const engine = await testEngine();
    using x = engine.tensor([11, 10, 9], plantedTucker([11, 10, 9], [4, 4, 4], 0.3, 6).data);
    const tucker = await tuckerHOOI(engine, x, { ranks: [3, 3, 2], tolerance: 1e-7 });
    const one = await blockTermALS(engine, x, { blocks: 1, ranks: [3, 3, 2], tolerance: 1e-6 });
    expect(one.relativeError).toBeCloseTo(tucker.relativeError, 4);
    const cp = await cpALS(engine, x, { rank: 2, starts: 2, tolerance: 1e-6, sweeps: 100 });
    const ranksOne = await blockTermALS(engine, x, { blocks: 2, ranks: [1, 1, 1], tolerance: 1e-5, sweeps: 100 });
    expect(ranksOne.relativeError).toBeLessThan(cp.relativeError + 0.02);
    expect(ranksOne.relativeError).toBeGreaterThan(cp.relativeError - 1e-3);
    for (const { tensor } of [tucker, one, cp, ranksOne]) tensor.destroy();
  });

  it("says what does not fit, and leaves no memory", async () => {
    const engine = await testEngine();
    using x = engine.tensor([4, 4, 4], randomArray(64));
    await expect(blockTermALS(engine, x, { blocks: 0, ranks: [1, 1, 1] })).rejects.toThrow(/0 blocks/);
    await expect(blockTermALS(engine, x, { blocks: 2, ranks: [1, 1] })).rejects.toThrow(/needs one for each/);
    const before = engine.memory().live;
    (await blockTermALS(engine, x, { blocks: 2, ranks: [2, 2, 4], sweeps: 3 })).tensor.destroy();
    expect(engine.memory().live).toBe(before);
  });

  it("takes the sweep that f64 takes, block by block", async () => {
    const engine = await testEngine();
    const [shape, ranks, blocks, ridge] = [[7, 6, 5], [2, 2, 2], 2, 1e-3] as const;
    const data = randomArray(210, 8);
    using x = engine.tensor(shape, data);
    const start: F64Block[] = [];
    let rest = data;
    for (let block = 0; block < blocks; block++) {
      using from = engine.tensor(shape, rest);
      const { tensor } = await tuckerHOOI(engine, from, { ranks, seed: 5 + block, sweeps: 30 });
      start.push(await blockOf(tensor));
      const full = await evaluate(engine, (s) => tensor.full(s));
      rest = rest.map((value, e) => value - full[e]!);
      tensor.destroy();
    }
    const expected = f64Sweep(start, data, [...shape], ridge);
    const { tensor } = await blockTermALS(engine, x, { blocks, ranks, seed: 5, ridge, sweeps: 1 });
    const model = await evaluate(engine, (s) => tensor.full(s));
    expect(distance(expected, model)).toBeLessThan(1e-5);
    expect(
      distance(
        rest.map((value, e) => data[e]! - value),
        model,
      ),
    ).toBeGreaterThan(1e-2);
    tensor.destroy();
  });

  it("takes the sweep that f64 takes where blocks have different ranks, from blocks of the caller's", async () => {
    const engine = await testEngine();
    const shape = [7, 6, 5];
    const lists = [
      [3, 3, 1],
      [2, 2, 1],
      [1, 1, 1],
    ];
    const ridge = 1e-3;
    const data = randomArray(210, 8);
    using x = engine.tensor(shape, data);
    using start = startOf(engine, shape, lists, 3);
    const blocks: F64Block[] = [];
    for (const block of start.blocks) blocks.push(await blockOf(block));
    for (const [sweeps, tolerance] of [
      [1, 1e-5],
      [4, 1e-4],
    ] as const) {
      const { tensor, errors } = await blockTermALS(engine, x, {
        ranks: lists,
        initialize: start,
        ridge,
        sweeps,
        tolerance: 0,
      });
      let expected = new Float64Array(0);
      const copies = blocks.map((block) => ({ ...block, factors: block.factors.map((factor) => factor.clone()) }));
      for (let sweep = 0; sweep < sweeps; sweep++)
        expected = f64Sweep(copies, data, shape, ridge) as Float64Array<ArrayBuffer>;
      const model = await evaluate(engine, (s) => tensor.full(s));
      expect(distance(expected, model)).toBeLessThan(tolerance);
      expect(tensor.blocks.map(({ ranks }) => [...ranks])).toEqual(lists);
      expect(rises(errors)).toBeLessThan(2e-6);
      tensor.destroy();
    }
  });

  it.each([
    {
      name: "(L, L, 1) terms of different L",
      shape: [12, 11, 9],
      ranks: [
        [3, 3, 1],
        [2, 2, 1],
      ],
    },
    {
      name: "blocks of different ranks",
      shape: [10, 9, 8],
      ranks: [
        [3, 2, 2],
        [1, 2, 2],
      ],
    },
    {
      name: "a block that has a mode in full",
      shape: [9, 8, 3],
      ranks: [
        [2, 2, 3],
        [2, 2, 1],
      ],
    },
    {
      name: "a mode that all have in full",
      shape: [9, 8, 3],
      ranks: [
        [3, 2, 3],
        [1, 2, 3],
      ],
    },
    {
      name: "order 4",
      shape: [6, 5, 6, 4],
      ranks: [
        [2, 2, 2, 2],
        [1, 1, 1, 1],
      ],
    },
    {
      name: "a mode of one",
      shape: [8, 1, 9],
      ranks: [
        [2, 1, 2],
        [1, 1, 1],
      ],
    },
  ])("finds planted $name from near it, and is honest about the error", async ({ shape, ranks }) => {
    const engine = await testEngine();
    using plant = startOf(engine, shape, ranks, 7);
    const data = await evaluate(engine, (s) => plant.full(s));
    using x = engine.tensor(shape, data);
    // from random starts f64, too, ends in false minima most of the time
    using near = await disturbed(engine, plant, 0.1);
    const options = { ranks, sweeps: 120, tolerance: 1e-7 };
    const result = await blockTermALS(engine, x, { ...options, initialize: near });
    const far = await blockTermALS(engine, x, { ...options, sweeps: 10 });
    expect(result.errors[0]).toBeGreaterThan(result.relativeError);
    for (const { tensor, relativeError, errors } of [result, far]) {
      const full = await evaluate(engine, (s) => tensor.full(s));
      expect(Math.abs(relativeError - distance(data, full))).toBeLessThan(1e-6);
      expect(rises(errors)).toBeLessThan(2e-6);
      expect(tensor.blocks.map((block) => [...block.ranks])).toEqual(ranks);
      tensor.destroy();
    }
    expect(result.relativeError).toBeLessThan(2e-5);
  });

  it.each([1, 1e12, 1e-12])("begins at given blocks, times %f, and at random ones", async (scale) => {
    const engine = await testEngine();
    const shape = [8, 7, 6];
    const lists = [
      [2, 3, 2],
      [2, 1, 2],
    ];
    using plant = startOf(engine, shape, lists, 5, scale);
    const data = await evaluate(engine, (s) => plant.full(s));
    using x = engine.tensor(shape, data);
    const near = await blockTermALS(engine, x, { blocks: 2, ranks: lists, initialize: plant, sweeps: 2 });
    expect(near.errors[0]).toBeLessThan(1e-5);
    const runs = [];
    for (const seed of [1, 1, 2]) {
      const run = await blockTermALS(engine, x, { ranks: lists, initialize: "random", seed, sweeps: 5, tolerance: 0 });
      runs.push(run.errors);
      expect(rises(run.errors)).toBeLessThan(2e-6);
      run.tensor.destroy();
    }
    expect(runs[0]).toEqual(runs[1]);
    expect(runs[0]).not.toEqual(runs[2]);
    near.tensor.destroy();
  });

  it("says which start or ranks do not fit", async () => {
    const engine = await testEngine();
    using x = engine.tensor([4, 4, 4], randomArray(64));
    using start = startOf(engine, [4, 4, 4], [[2, 2, 1]], 5);
    const call = (options: object) => blockTermALS(engine, x, options as Parameters<typeof blockTermALS>[2]);
    await expect(call({ ranks: [[2, 2, 2]], initialize: start })).rejects.toThrow(
      "blockTermALS: initialize has blocks of ranks 2×2×1 and shape 4×4×4, needs 2×2×2 and 4×4×4",
    );
    await expect(call({ blocks: 2, ranks: [[2, 2, 1]] })).rejects.toThrow(/1 lists of ranks for 2 blocks/);
    await expect(call({ ranks: [[2, 2, 1], 2] })).rejects.toThrow(/ranks is .* or such a list for each block/);
    await expect(call({ ranks: [[3, 1, 1]] })).rejects.toThrow(/rank 3 for mode 0 is more than the 1/);
    await expect(call({ blocks: 1, ranks: 2, initialize: "hosv" })).rejects.toThrow(
      /needs "hosvd", "random" or a BlockTermTensor/,
    );
    const live = engine.memory().live;
    (
      await call({
        ranks: [
          [2, 2, 1],
          [1, 1, 1],
        ],
        initialize: "random",
        sweeps: 2,
      })
    ).tensor.destroy();
    expect(engine.memory().live).toBe(live);
  });

  it("reaches what f32 can tell of exact blocks", async () => {
    const engine = await testEngine();
    for (const [shape, ranks, blocks] of [
      [[12, 11, 10], [2, 2, 2], 3],
      [[10, 9, 3, 3], [2, 2, 3, 3], 2],
    ] as const) {
      using x = engine.tensor(shape, planted([...shape], [...ranks], blocks, 0));
      const options = { blocks, ranks, starts: 2, sweeps: 80, tolerance: 1e-7 };
      const { tensor, relativeError, converged, stalled } = await blockTermALS(engine, x, options);
      expect(relativeError).toBeLessThan(1e-6);
      expect(converged || stalled).toBe(true);
      tensor.destroy();
    }
  });

  const offset = randomArray(1000, 5).map((value) => 1000 + value);
  const single = new Float32Array(1000);
  single[437] = -3;
  it.each([
    { name: "a mean of 1000 and noise", shape: [10, 10, 10], data: offset, most: 5.6e-4 },
    { name: "one entry", shape: [10, 10, 10], data: single, most: 1e-6 },
    { name: "a mode of one", shape: [10, 1, 100], data: randomArray(1000, 6), most: 0.95 },
    { name: "blocks that cancel", shape: [12, 11, 10], data: opposed(), most: 2e-3 },
    {
      name: "more blocks than it has room for",
      shape: [4, 5, 4],
      data: randomArray(80, 7),
      blocks: 6,
      ranks: 3,
      most: 1e-6,
    },
    { name: "no mode to divide", shape: [4, 5, 4], data: randomArray(80, 7), ranks: [4, 5, 4], most: 1e-7 },
    { name: "one mode to divide", shape: [4, 5, 4], data: randomArray(80, 7), ranks: [1, 5, 4], most: 0.8 },
  ])("is right about $name", async ({ shape, data, blocks = 2, ranks = 2, most }) => {
    const engine = await testEngine();
    using x = engine.tensor(shape, data);
    for (const sweeps of [1, 6, 30]) {
      const result = await blockTermALS(engine, x, { blocks, ranks, sweeps, tolerance: 0 });
      const error = distance(data, await evaluate(engine, (s) => result.tensor.full(s)));
      expect(Math.abs(result.relativeError - error)).toBeLessThan(1e-6);
      expect(Math.abs(result.errors.at(-1)! - error), `after ${sweeps}`).toBeLessThan(1e-6);
      expect(rises(result.errors)).toBeLessThan(1e-6);
      if (sweeps === 30) expect(error).toBeLessThan(most);
      result.tensor.destroy();
    }
  });

  it("stays on the GPU, with one tensor of X's size besides X", async () => {
    using engine = await siblingEngine();
    using x = engine.tensor([48, 40, 36], randomArray(48 * 40 * 36, 3));
    const { read, held } = await watched(engine, async (onIteration) => {
      const options = { blocks: 3, ranks: 3, starts: 2, sweeps: 4, onIteration };
      (await blockTermALS(engine, x, options)).tensor.destroy();
    });
    expect(read.filter(({ label }) => /factor|core|basis/.test(label))).toEqual([]);
    expect(Math.max(...read.map(({ size }) => size))).toBeLessThan(1024);
    // X, the residual and the products of one mode's update; it was 4.8 with X̂, X − X̂ and Z in the large
    expect(held / x.bytes).toBeLessThan(3.4);
  });

  it("refuses what it does not know, by name", async () => {
    const engine = await testEngine();
    using x = engine.tensor([4, 4, 4], randomArray(64));
    const call = (options: object) => blockTermALS(engine, x, options as Parameters<typeof blockTermALS>[2]);
    await expect(call({ blocks: 2, ranks: 2, rank: 2 })).rejects.toThrow('blockTermALS: unknown option "rank"; it has');
    await expect(call({ blocks: 2 })).rejects.toThrow('blockTermALS: option "ranks" is missing');
    await expect(call({ ranks: 2 })).rejects.toThrow('blockTermALS: option "blocks" is missing');
    await expect(call({ blocks: 2, ranks: 2, starts: 0 })).rejects.toThrow(
      /starts is 0, needs a whole number, 1 or more/,
    );
    await expect(call({ blocks: 2, ranks: 2, ridge: -1 })).rejects.toThrow(/ridge is -1, needs/);
  });
});

/** Two blocks that nearly cancel: the difference of near ones, enlarged. */
function opposed(): Float32Array {
  const shape = [12, 11, 10];
  const part = (turn: number) => {
    let full: ArrayLike<number> = randomArray(8, 3);
    const current = [2, 2, 2];
    shape.forEach((extent, mode) => {
      const [a, b] = [randomArray(2 * extent, 20 + mode), randomArray(2 * extent, 40 + mode)];
      full = modeProduct(
        full,
        current,
        a.map((value, e) => value + turn * b[e]!),
        extent,
        mode,
      );
      current[mode] = extent;
    });
    return full;
  };
  const [one, other] = [part(0), part(0.05)];
  return Float32Array.from(one, (value, e) => 20 * (value - other[e]!));
}

/** Random blocks. */
function startOf(engine: Engine, shape: number[], lists: number[][], seed: number, scale = 1): BlockTermTensor {
  return new BlockTermTensor(
    lists.map((ranks, g) => {
      const core = randomArray(
        ranks.reduce((a, b) => a * b, 1),
        seed + 40 * g,
      );
      return new TuckerTensor(
        engine.tensor(
          ranks,
          core.map((value) => scale * value),
        ),
        shape.map((extent, mode) =>
          engine.tensor([extent, ranks[mode]!], randomArray(extent * ranks[mode]!, seed + 40 * g + mode + 1)),
        ),
      );
    }),
  );
}

/** The same blocks with other numbers, by this part of the numbers' range. */
async function disturbed(engine: Engine, { blocks }: BlockTermTensor, part: number): Promise<BlockTermTensor> {
  const moved = async (tensor: Tensor, seed: number): Promise<Tensor> => {
    const noise = randomArray(tensor.size, seed);
    return engine.tensor(
      tensor.shape,
      (await tensor.read()).map((value, at) => value + part * noise[at]!),
    );
  };
  const result: TuckerTensor[] = [];
  for (const [g, { core, factors }] of blocks.entries()) {
    const others: Tensor[] = [];
    for (const [mode, factor] of factors.entries()) others.push(await moved(factor!, 500 + 10 * g + mode));
    result.push(new TuckerTensor(await moved(core, 600 + g), others));
  }
  return new BlockTermTensor(result);
}

interface F64Block {
  core: ArrayLike<number>;
  ranks: readonly number[];
  factors: Matrix[];
}

async function blockOf({ core, factors, engine }: TuckerTensor): Promise<F64Block> {
  const matrices: Matrix[] = [];
  for (const factor of factors) {
    const [rows, columns] = factor!.shape as [number, number];
    matrices.push(Matrix.from1DArray(rows, columns, [...(await engine.read(factor!))]));
  }
  return { core: await engine.read(core), ranks: core.shape, factors: matrices };
}

/** A block's core times its factors, but that of one mode. */
function basisOf({ core, ranks, factors }: F64Block, skip = -1): ArrayLike<number> {
  const current = [...ranks];
  return factors.reduce((full, factor, mode) => {
    if (mode === skip) return full;
    const next = modeProduct(full, current, factor.to1DArray(), factor.rows, mode);
    current[mode] = factor.rows;
    return next;
  }, core);
}

const sumOf = (blocks: readonly F64Block[]): Float64Array => {
  const parts = blocks.map((block) => basisOf(block));
  return Float64Array.from(parts[0]!, (_, e) => parts.reduce((sum, part) => sum + part[e]!, 0));
};

/** One sweep in f64: X̂ after proximal steps of all factors together, mode by mode, and after those of the cores. */
function f64Sweep(blocks: F64Block[], data: ArrayLike<number>, shape: number[], ridge: number): Float64Array {
  const left = () => sumOf(blocks).map((value, e) => data[e]! - value);
  shape.forEach((extent, mode) => {
    const rows = blocks.flatMap((block) => {
      const seen = shape.map((other, k) => (k === mode ? block.ranks[mode]! : other));
      return unfold(basisOf(block, mode), seen, mode);
    });
    const z = new Matrix(rows);
    const normals = z.mmul(z.transpose());
    const lift = (ridge * normals.trace()) / z.rows;
    for (let n = 0; n < z.rows; n++) normals.set(n, n, normals.get(n, n) + lift);
    const gradient = new Matrix(unfold(left(), shape, mode)).mmul(z.transpose());
    const step = solve(normals, gradient.transpose()).transpose();
    let first = 0;
    blocks.forEach((block) => {
      const rank = block.ranks[mode]!;
      const factor = Matrix.add(block.factors[mode]!, step.subMatrix(0, extent - 1, first, first + rank - 1));
      first += rank;
      // orthonormal columns, and a core that makes up for them
      const r = new CholeskyDecomposition(factor.transpose().mmul(factor)).lowerTriangularMatrix.transpose();
      block.factors[mode] = factor.mmul(inverse(r));
      block.core = modeProduct(block.core, block.ranks, r.to1DArray(), rank, mode);
    });
  });
  for (const block of blocks) {
    let seen: ArrayLike<number> = left();
    const current = [...shape];
    block.factors.forEach((factor, mode) => {
      seen = modeProduct(seen, current, factor.transpose().to1DArray(), factor.columns, mode);
      current[mode] = factor.columns;
    });
    block.core = Float64Array.from(block.core, (value, e) => value + seen[e]!);
  }
  return sumOf(blocks);
}

/** Errors that are promised are kept, by the ranks that f64 takes or one more; what f32 cannot promise is refused. */
import { describe, expect, it } from "vitest";
import { tensorRingSVD, truncatedSvd, ttMatrix, ttSVD } from "../../src/decompositions/index.js";
import { type Engine, TenfoldError } from "../../src/gpu/index.js";
import { evaluate, testEngine } from "../engine.js";
import { svd } from "../reference/svd.js";
import { matmul, randomArray } from "../reference.js";
import { distance, kruskal, norm, unravel } from "./planted.js";

const SHAPES = [
  [9, 8, 10],
  [5, 6, 4, 5],
];
const PROMISES = [0.3, 1e-2, 1e-4, 1e-6];
const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

const filled = (shape: readonly number[], entry: (place: number[], at: number) => number): Float32Array =>
  Float32Array.from({ length: size(shape) }, (_, at) => entry(unravel(at, shape), at));

const noisy = (shape: readonly number[]) => randomArray(size(shape), 4);
const DATA: Record<string, (shape: readonly number[]) => Float32Array> = {
  "1 / (1 + i + j + …)": (shape) => filled(shape, (place) => 1 / (1 + place.reduce((a, b) => a + b, 0))),
  "a chain of gaussians": (shape) =>
    filled(shape, (place) => {
      const x = place.map((at, mode) => at / (shape[mode]! - 1));
      return Math.exp(-2 * x.reduce((sum, value, mode) => sum + (mode ? (value - x[mode - 1]!) ** 2 : 0), 0));
    }),
  random: noisy,
  "rank 2 and noise of 1e-4": (shape) => {
    const factors = shape.map((extent, mode) => randomArray(2 * extent, 20 + mode));
    const clean = kruskal(factors, [...shape], 2);
    const noise = noisy(shape);
    return Float32Array.from(clean, (value, at) => value + (1e-4 * noise[at]! * norm(clean)) / norm(noise));
  },
  "1000 and noise": (shape) => noisy(shape).map((value) => 1000 + value),
  graded: (shape) => {
    const noise = noisy(shape);
    return filled(shape, (place, at) => noise[at]! * 10 ** -place.reduce((a, b) => a + b, 0));
  },
  "times 1e-30": (shape) => noisy(shape).map((value) => 1e-30 * value),
};

/** The ranks of TT-SVD in f64 (Oseledets 2011), every step losing an equal part of what may still be lost. */
function exactRanks(data: ArrayLike<number>, shape: readonly number[], asked: number): number[] {
  let rest: ArrayLike<number> = data;
  let allowed = (asked * norm(data)) ** 2;
  const ranks: number[] = [];
  for (const [k, extent] of shape.slice(0, -1).entries()) {
    const budget = allowed / (shape.length - 1 - k);
    const rows = (ranks.at(-1) ?? 1) * extent;
    const columns = rest.length / rows;
    const { values, v } = svd(rest, rows, columns);
    let rank = values.length;
    for (let cut = 0; rank > 1; rank--) {
      const next = cut + values[rank - 1]! ** 2;
      if (next > budget) break;
      cut = next;
    }
    for (const value of values.slice(rank)) allowed -= value ** 2;
    ranks.push(rank);
    rest = Float64Array.from({ length: rank * columns }, (_, at) => {
      const r = Math.floor(at / columns);
      return values[r]! * v[(at % columns) * values.length + r]!;
    });
  }
  return ranks;
}

/** A call by an error: what is told of it, its ranks, and what it is of the data, in f64. */
type Promised = (
  engine: Engine,
  data: Float32Array,
  shape: readonly number[],
  asked: number,
) => Promise<{ relativeError: number; ranks: readonly number[]; back: ArrayLike<number> }>;

const byTensor =
  (solver: typeof ttSVD | typeof tensorRingSVD): Promised =>
  async (engine, data, shape, asked) => {
    using x = engine.tensor(shape, data);
    const { tensor, relativeError } = await solver(engine, x, { relativeError: asked });
    const { ranks } = tensor;
    const back = await evaluate(engine, (s) => tensor.full(s));
    tensor.destroy();
    // the first two ranks of a ring share out what the first unfolding has
    return { relativeError, ranks: solver === ttSVD ? ranks.slice(1, -1) : [ranks[0]! * ranks[1]!], back };
  };

const MODES: Record<number, { rowModes: number[]; columnModes: number[] }> = {
  3: { rowModes: [3, 4, 2], columnModes: [3, 2, 5] },
  4: { rowModes: [5, 2, 2, 1], columnModes: [1, 3, 2, 5] },
};

/** The matrix whose paired modes make the tensor, or the tensor of such a matrix. */
function paired(from: ArrayLike<number>, shape: readonly number[], toMatrix: boolean): Float32Array {
  const { rowModes, columnModes } = MODES[shape.length]!;
  const columns = size(columnModes);
  const out = new Float32Array(from.length);
  for (let at = 0; at < out.length; at++) {
    const place = unravel(at, shape);
    const [row, column] = place.reduce(
      ([i, j], index, k) => [
        i * rowModes[k]! + Math.floor(index / columnModes[k]!),
        j * columnModes[k]! + (index % columnModes[k]!),
      ],
      [0, 0],
    );
    const there = row * columns + column;
    if (toMatrix) out[there] = from[at]!;
    else out[at] = from[there]!;
  }
  return out;
}

const SOLVERS: Record<string, Promised> = {
  ttSVD: byTensor(ttSVD),
  tensorRingSVD: byTensor(tensorRingSVD),
  async ttMatrix(engine, data, shape, asked) {
    const modes = MODES[shape.length]!;
    using w = engine.tensor([size(modes.rowModes), size(modes.columnModes)], paired(data, shape, true));
    const { tensor, relativeError } = await ttMatrix(engine, w, { ...modes, relativeError: asked });
    const dense = await evaluate(engine, (s) => tensor.toDense(s));
    tensor.destroy();
    const ranks = tensor.cores.slice(1).map((core) => core.shape[0]!);
    return { relativeError, ranks, back: paired(dense, shape, false) };
  },
  async truncatedSvd(engine, data, shape, asked) {
    const [m, n] = matrixOf(shape);
    using a = engine.tensor([m, n], data);
    using result = await truncatedSvd(engine, a, { relativeError: asked });
    const [u, values, v] = await engine.read([result.u, result.values, result.v]);
    const { rank, relativeError } = result;
    const scaled = Float64Array.from(u!, (value, at) => value * values![at % rank]!);
    return { relativeError, ranks: [rank], back: matmul(scaled, v!, m, rank, n, { transposeB: true }) };
  },
};
const matrixOf = (shape: readonly number[]) => [shape[0]!, size(shape) / shape[0]!] as const;

/** Of order 3 and 4 by turns, some of both. */
const CASES = Object.keys(DATA).flatMap((kind, index) =>
  SHAPES.filter((_, k) => index < 2 || index % 2 === k).map((shape) => [kind, shape.join("×"), shape] as const),
);

describe("a promised error is kept", () => {
  it.each(CASES)("%s, %s", async (kind, _, shape) => {
    const engine = await testEngine();
    const data = DATA[kind]!(shape);
    for (const asked of PROMISES) {
      const exact = exactRanks(data, shape, asked);
      for (const [name, call] of Object.entries(SOLVERS)) {
        const what = `${name} by ${asked}`;
        const { relativeError, ranks, back } = await call(engine, data, shape, asked);
        const error = distance(data, back);
        expect(error, what).toBeLessThanOrEqual(asked);
        expect(Math.abs(relativeError - error), what).toBeLessThan(1e-6);
        const least = name === "truncatedSvd" ? exactRanks(data, matrixOf(shape), asked) : exact;
        for (const [k, rank] of ranks.entries())
          expect(rank, `${what}: ${ranks.join(", ")}, in f64 ${least.join(", ")}`).toBeLessThanOrEqual(least[k]! + 1);
      }
    }
  });
});

describe.each(Object.entries(SOLVERS))("%s", (name, call) => {
  it("refuses what f32 cannot promise, keeps the least that it says, and leaves no memory behind", async () => {
    const engine = await testEngine();
    for (const kind of ["1 / (1 + i + j + …)", "1000 and noise"]) {
      const shape = SHAPES[0]!;
      const data = DATA[kind]!(shape);
      await call(engine, data, shape, 0.3);
      const { live } = engine.memory();
      const refusal = await call(engine, data, shape, 1e-8).catch((error) => error);
      expect(engine.memory().live).toBe(live);
      expect(refusal).toBeInstanceOf(TenfoldError);
      const least =
        /^(\w+): relativeError 1e-8 is less than f32 can promise of this tensor; the least that it can is (\S+)$/;
      expect(refusal.message).toMatch(least);
      const [, who, value] = least.exec(refusal.message)!;
      expect(who).toBe(name);
      expect(Number(value)).toBeLessThan(1e-6);
      const { relativeError, back } = await call(engine, data, shape, Number(value));
      expect(relativeError).toBeLessThanOrEqual(Number(value));
      expect(distance(data, back)).toBeLessThanOrEqual(1.01 * Number(value));
    }
  });

  it("of zeros is 0 by rank 1, whatever is promised", async () => {
    const engine = await testEngine();
    for (const asked of [0.3, 1e-8]) {
      const { relativeError, ranks, back } = await call(engine, new Float32Array(720), SHAPES[0]!, asked);
      expect(relativeError).toBe(0);
      expect(ranks.every((rank) => rank === 1)).toBe(true);
      expect(Array.from(back).every((value) => value === 0)).toBe(true);
    }
  });
});

/** Cases of products, on which decompositions and networks spend most of their time. */
import { sizeOf } from "../../src/gpu/index.js";
import { gram, lowRankMatmul, matmul, modeProduct, mttkrp, prefersLowRank } from "../../src/ops/index.js";
import type { Case, Values } from "../case.js";
import type { Goal } from "../goals.js";
import { values } from "../inputs.js";
import * as reference from "../reference.js";

/** Bytes of f32 arrays of these sizes. */
const words = (...sizes: number[]): number => 4 * sizes.reduce((sum, size) => sum + size, 0);

/** C = A·B. */
export function matmulCase(rows: number, inner: number, columns: number, goals: readonly Goal[] = []): Case {
  const a: Values = { shape: [rows, inner], seed: 1 };
  const b: Values = { shape: [inner, columns], seed: 2 };
  const square = rows === inner && inner === columns;
  return {
    name: square ? `matmul ${rows}` : `matmul ${rows}×${inner}×${columns}`,
    shapes: `${rows}×${inner} · ${inner}×${columns}`,
    flops: 2 * rows * inner * columns,
    bytes: words(rows * inner, inner * columns, rows * columns),
    work: { op: "matmul", a, b },
    tolerance: 1e-4,
    choice: "matmul",
    goals,
    counts: { reads: 1, dispatches: 2, submits: 1, readbacks: 0 },
    run: (s, [x, y]) => [matmul(s, x!, y!)],
    inputs: () => [values(a), values(b)],
    reference: ([x, y]) => reference.product(x!, y!, inner, columns),
  };
}

/** AᵀA of a tall matrix. */
export function gramCase(rows: number, columns: number, goals: readonly Goal[] = []): Case {
  const a: Values = { shape: [rows, columns], seed: 3 };
  return {
    name: `gram ${rows}×${columns}`,
    shapes: `(${rows}×${columns})ᵀ · ${rows}×${columns}`,
    flops: 2 * rows * columns * columns,
    bytes: words(rows * columns, columns * columns),
    work: { op: "gram", a },
    tolerance: 1e-4,
    choice: "matmul",
    goals,
    counts: { dispatches: 2, submits: 1, readbacks: 0 },
    run: (s, [x]) => [gram(s, x!)],
    inputs: () => [values(a)],
    reference: ([x]) => reference.gram(x!, columns),
  };
}

/** X ×ₙ U with U J×Iₙ. */
export function modeProductCase(
  shape: readonly number[],
  size: number,
  mode: number,
  goals: readonly Goal[] = [],
): Case {
  const x: Values = { shape, seed: 4 };
  const u: Values = { shape: [size, shape[mode]!], seed: 5 };
  const out = (sizeOf(shape) / shape[mode]!) * size;
  return {
    name: `mode product ${named(shape)} × ${size}, mode ${mode}`,
    shapes: `${shape.join("×")} ×${subscript(mode)} ${size}×${shape[mode]}`,
    flops: 2 * sizeOf(shape) * size,
    bytes: words(sizeOf(shape), size * shape[mode]!, out),
    work: { op: "modeProduct", x, u, mode },
    tolerance: 1e-4,
    choice: "matmul",
    goals,
    counts: { reads: 1, dispatches: 2, submits: 1, readbacks: 0 },
    run: (s, [tensor, matrix]) => [modeProduct(s, tensor!, matrix!, mode)],
    inputs: () => [values(x), values(u)],
    reference: ([tensor, matrix]) => reference.modeProduct(tensor!, shape, matrix!, mode),
  };
}

/** x·Aᵀ·Bᵀ, a dense layer of low rank, in one dispatch or two, by the layer's rule (`prefersLowRank`). */
export function lowRankCase(rows: number, inputs: number, rank: number, outputs: number): Case {
  const x: Values = { shape: [rows, inputs], seed: 17 };
  const a: Values = { shape: [rank, inputs], seed: 18 };
  const b: Values = { shape: [outputs, rank], seed: 19 };
  return {
    name: `low rank ${rows}×${inputs}×${rank}×${outputs}`,
    shapes: `${rows}×${inputs} · (${rank}×${inputs})ᵀ · (${outputs}×${rank})ᵀ`,
    flops: 2 * rows * rank * (inputs + outputs),
    bytes: words(rows * inputs, inputs * rank, rank * outputs, rows * outputs),
    work: { op: "lowRank", x, a, b },
    tolerance: 1e-4,
    choice: "lowRank",
    counts: { reads: 1, dispatches: 4, submits: 1, readbacks: 0 },
    run: (s, [samples, first, last]) => [
      prefersLowRank(samples!, first!, last!)
        ? lowRankMatmul(s, samples!, first!, last!)
        : matmul(s, matmul(s, samples!, first!, { transposeB: true }), last!, { transposeB: true }),
    ],
    inputs: () => [values(x), values(a), values(b)],
    reference([samples, first, last]) {
      const between = new Float64Array(rows * rank);
      for (let row = 0; row < rows; row++)
        for (let k = 0; k < rank; k++)
          for (let i = 0; i < inputs; i++)
            between[row * rank + k]! += samples![row * inputs + i]! * first![k * inputs + i]!;
      return reference.entries(rows * outputs, rank, (index) => {
        const [row, output] = [Math.floor(index / outputs), index % outputs];
        let sum = 0;
        for (let k = 0; k < rank; k++) sum += between[row * rank + k]! * last![output * rank + k]!;
        return sum;
      });
    },
  };
}

/** An MTTKRP: the unfolded tensor times the Khatri-Rao product of the other modes' factors. */
export function mttkrpCase(shape: readonly number[], rank: number, mode: number, goals: readonly Goal[] = []): Case {
  const x: Values = { shape, seed: 6 };
  const factors = shape.map((extent, index): Values => ({ shape: [extent, rank], seed: 7 + index }));
  const others = shape.filter((_, index) => index !== mode).reduce((sum, extent) => sum + extent, 0);
  return {
    name: `MTTKRP ${named(shape)} R${rank}, mode ${mode}`,
    shapes: `${shape.join("×")}, ${rank} columns`,
    flops: 2 * sizeOf(shape) * rank,
    bytes: words(sizeOf(shape), others * rank, shape[mode]! * rank),
    work: { op: "mttkrp", x, factors, mode },
    tolerance: 1e-4,
    choice: "mttkrp",
    goals,
    // with more than three modes a partial product may take a dispatch of its own
    counts: { reads: 1, dispatches: shape.length, submits: 1, readbacks: 0 },
    run: (s, [tensor, ...rest]) => [mttkrp(s, tensor!, rest, mode)],
    inputs: () => [values(x), ...factors.map(values)],
    reference: ([tensor, ...rest]) => reference.mttkrp(tensor!, shape, rest, mode),
  };
}

/** A shape in short: `256³`, `60×50×40×30`. */
export function named(shape: readonly number[]): string {
  const cube = shape.every((extent) => extent === shape[0]);
  return cube ? `${shape[0]}${shape.length === 3 ? "³" : `^${shape.length}`}` : shape.join("×");
}

const subscript = (mode: number): string => "₀₁₂₃₄₅₆₇₈₉"[mode]!;

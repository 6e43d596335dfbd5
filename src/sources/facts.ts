import { type Engine, type Scheduler, TenfoldError, type Tensor } from "../gpu/index.js";
import { inspect, inspection, sumOfSquares } from "../ops/index.js";

/**
 * Largest magnitudes from 2⁻¹⁰ to 2¹⁴ stay as they are. Solvers take Gram matrices of products X·Xᵀ·A: of 2³⁰ entries of 2¹⁴ those reach
 * 2¹¹⁶, and rounding errors beside entries of 2⁻¹⁰ are still seen at 2⁻⁹⁰, inside f32 either way. There a power of two changes no digit of
 * any result.
 */
const SAFE = [-10, 14] as const;

/** The power of two that X is divided by: 0 where its largest magnitude is safe as it is. */
export function exponentOf(largest: number): number {
  const exponent = largest ? Math.floor(Math.log2(largest)) : 0;
  return exponent >= SAFE[0] && exponent <= SAFE[1] ? 0 : exponent;
}

/** What is looked at: X, or rows of it. */
export interface Looked {
  /** names X in errors */
  name: string;
  shape: readonly number[];
  /** where the rows begin in X */
  firstRow?: number;
}

/**
 * Looks at entries in one pass and one readback. `record` gives them as f32.
 *
 * @throws TenfoldError for NaN and infinity: how many, and where the first is
 */
export async function look(
  engine: Engine,
  operation: string,
  { name, shape, firstRow = 0 }: Looked,
  record: (s: Scheduler) => Tensor,
): Promise<{ largest: number; squaredNorm: number }> {
  using seen = engine.tensor([4], new Uint32Array(4), { label: "inspection" });
  using norm = engine.tensor([1], null, { label: "squared norm" });
  await engine.run((s) => {
    const x = record(s);
    inspect(s, x, seen);
    sumOfSquares(s, x, { out: norm });
  }, `${operation} input`);
  const [words, squared] = await engine.read([seen, norm]);
  const { notFinite, first, largest } = inspection(words!);
  if (first) {
    const entries = notFinite === 1 ? "1 entry that is" : `${notFinite} entries that are`;
    const [row, ...rest] = indexOf(first.index, shape);
    const where = `${notFinite === 1 ? "" : "the first "}${first.kind} at [${[row! + firstRow, ...rest].join(", ")}]`;
    throw new TenfoldError(
      `${operation}: ${name} has ${entries} not finite, ${where}; remove or replace ${notFinite === 1 ? "it" : "them"}`,
    );
  }
  return { largest, squaredNorm: squared![0]! };
}

/** Multi-index of a flat index. */
function indexOf(flat: number, shape: readonly number[]): number[] {
  const index: number[] = [];
  let rest = flat;
  for (const extent of [...shape].reverse()) {
    index.unshift(rest % extent);
    rest = Math.floor(rest / extent);
  }
  return index;
}

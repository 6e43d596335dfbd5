import { type DType, type Engine, Program, type Tensor } from "../gpu/index.js";
import { type Inspection, inspect, inspection } from "../ops/index.js";

/**
 * Largest magnitudes from 2⁻¹⁰ to 2¹⁶ stay as they are, so that 16-bit numbers are read as they lie. Solvers take Gram matrices of products
 * X·Xᵀ·A: of 2³⁰ entries below 2¹⁶ those stay below 2¹²⁴, and rounding errors beside entries of 2⁻¹⁰ are still seen at 2⁻⁹⁰, inside f32 either
 * way. There a power of two changes no digit of any result.
 */
const SAFE = [-10, 15] as const;

/** The power of two that X is divided by: 0 where its largest magnitude is safe as it is. */
export function exponentOf(largest: number): number {
  const exponent = largest ? Math.floor(Math.log2(largest)) : 0;
  return exponent >= SAFE[0] && exponent <= SAFE[1] ? 0 : exponent;
}

/** What is looked at: X, or slabs of it. */
export interface Looked {
  /** names X in errors */
  name: string;
  shape: readonly number[];
  /** the first row of every slab, where there are several */
  starts?: readonly number[];
}

/** the numbers of a slab lie so far apart, where views may begin */
const APART = 64;

/** What is known of a part of the entries after a look. */
export interface Seen extends Inspection {
  /** of what is finite, if all is */
  squaredNorm: number;
}

/** Looks at so many parts of entries in one pass and one readback. `record` gives them, part by part. */
export async function see(
  engine: Engine,
  operation: string,
  count: number,
  record: (p: Program, see: (x: Tensor<DType>, part: number) => void) => void,
): Promise<Seen[]> {
  using seen = engine.tensor([count, APART], new Uint32Array(count * APART), { label: "inspection" });
  using norms = engine.tensor([count, APART], null, { label: "squared norms" });
  const inspectPart = ({ s }: Program, x: Tensor<DType>, part: number): void => {
    const squaredNorm = norms
      .rows(part, part + 1)
      .reshape([APART])
      .rows(0, 1);
    const findings = seen
      .rows(part, part + 1)
      .reshape([APART])
      .rows(0, 4);
    inspect(s, x, findings, { squaredNorm });
  };
  await Program.run(engine, (p) => record(p, (x, part) => inspectPart(p, x, part)), `${operation} input`);
  const [words, squares] = await engine.read([seen, norms]);
  return Array.from({ length: count }, (_, part) => ({
    ...inspection(words.subarray(part * APART, part * APART + 4)),
    squaredNorm: squares[part * APART]!,
  }));
}

/**
 * Looks at entries in one pass and one readback. `record` gives them, slab by slab.
 *
 * @throws TenfoldError for NaN and infinity: how many, and where the first is
 */
export async function look(
  engine: Engine,
  operation: string,
  { name, shape, starts = [0] }: Looked,
  record: (p: Program, see: (x: Tensor<DType>, slab: number) => void) => void,
): Promise<{ largest: number; squaredNorm: number }> {
  const inspections = await see(engine, operation, starts.length, record);
  const notFinite = inspections.reduce((sum, slab) => sum + slab.notFinite, 0);
  if (notFinite) {
    const slab = inspections.findIndex(({ first }) => first);
    const first = { ...inspections[slab]!.first!, shape, start: starts[slab]! };
    throw (await import("./notFinite.js")).notFiniteError(operation, name, notFinite, first);
  }
  return {
    largest: inspections.reduce((most, { largest }) => Math.max(most, largest), 0),
    squaredNorm: inspections.reduce((sum, slab) => sum + slab.squaredNorm, 0),
  };
}

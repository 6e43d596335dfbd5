import gramsShader from "../../shaders/column_grams.wgsl?late";
import shader from "../../shaders/unit_columns.wgsl?late";
import { type Engine, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { setting } from "./adapter.js";
import { assertCall, assertShape } from "./shapes.js";

const grid = ({ groups }: Readonly<Record<string, number>>) => [groups!];
const gramsKernel = new Kernel(gramsShader, grid);
const kernel = new Kernel(shader, grid);

/** Matrices in one call. */
export const MOST_MATRICES = 8;
/** Columns whose norms are in workgroup memory. */
const MOST_COLUMNS = 1024;

/** Whether {@link columnParts} and {@link unitColumns} are better than an op for each step: they know no tiles, which large ranks want. */
export const prefersUnitColumns = (rank: number): boolean => rank <= 32;

/** Shares of Gram matrices: a row a workgroup, R·R + 1 numbers; a temporary of the schedule. */
export interface ColumnParts {
  parts: Tensor;
  /** rows of a matrix that a workgroup takes */
  chunk: number;
}

/** A matrix in a stack. */
export interface StackedMatrix {
  rows: number;
  /** the place of its first element */
  start: number;
}

/** Rows that a workgroup takes: of 64 and more on a processor, of 32 and more on a GPU. */
export const chunkOf = (engine: Engine, rows: number): number =>
  Math.max(32, setting(engine, "alsRows"), Math.ceil(rows / (4 * setting(engine, "alsWorkgroups"))));

const widthOf = (engine: Engine): number => Math.min(64, setting(engine, "soleWorkgroup"));

const padded = (list: readonly number[]): number[] => Array.from({ length: MOST_MATRICES }, (_, at) => list[at] ?? 0);

function assertStack(operation: string, stack: Tensor, matrices: readonly StackedMatrix[], rank: number): void {
  if (!matrices.length || matrices.length > MOST_MATRICES || rank > MOST_COLUMNS)
    throw new ShapeError(
      `${operation}: ${matrices.length} matrices of ${rank} columns, needs 1 to ${MOST_MATRICES} of at most ${MOST_COLUMNS}`,
    );
  for (const { rows, start } of matrices)
    if (start < 0 || start + rows * rank > stack.size)
      throw new ShapeError(`${operation}: a matrix ${rows}×${rank} at ${start} leaves ${stack}`);
}

/** Shares of the Gram matrices of matrices that lie in one tensor, for {@link unitColumns}: one dispatch. */
export function columnParts(
  s: Scheduler,
  stack: Tensor,
  matrices: readonly StackedMatrix[],
  rank: number,
): ColumnParts {
  assertCall("columnParts", s, { stack });
  assertStack("columnParts", stack, matrices, rank);
  const chunk = chunkOf(s.engine, Math.max(...matrices.map(({ rows }) => rows)));
  const groups = matrices.reduce((sum, { rows }) => sum + Math.ceil(rows / chunk), 0);
  const parts = s.tensor([groups, rank ** 2 + 1], { label: "shares of Gram matrices" });
  s.run(
    gramsKernel.with({ WIDTH: widthOf(s.engine) }),
    { stack, parts },
    {
      rank,
      chunk,
      count: matrices.length,
      groups,
      rows: padded(matrices.map(({ rows }) => rows)),
      starts: padded(matrices.map(({ start }) => start)),
    },
  );
  return { parts, chunk };
}

export interface UnitColumns {
  /** what has the matrices */
  stack: Tensor;
  matrices: readonly StackedMatrix[];
  /** as `halsUpdate` or {@link columnParts} gives them; released */
  parts: ColumnParts;
  /** written, at the same places as in the stack: the matrices, their columns of norm 1 */
  factors: Tensor;
  /** a row a mode, R² or more numbers: those of `modes`, one a matrix, are written, with the Gram matrices */
  grams: Tensor;
  modes: readonly number[];
  /** [R], written: the product over the matrices of the norms of their columns */
  weights: Tensor;
  /** whether a factor keeps its column where that of the matrix is zero; false by default */
  keep?: boolean;
  /** of the last mode of a sweep */
  last?: {
    /** ‖x‖² */
    squaredNorm: number;
    /**
     * four parts of equal size (2 or more), written: ‖x‖² − ‖x − x̂‖² begins the first two, Σ‖terms‖² stands second in the second, the third begins
     * with −1, the fourth with ‖x − x̂‖². The parts are those of `halsUpdate`
     */
    values: Tensor;
    /** a ring of rows like `values`, and a count of those written ([1], u32): the next row is written where there is a ring */
    trace?: { rows: Tensor; counter: Tensor<"u32"> } | undefined;
  };
}

/** Brings the columns of matrices in a stack to norm 1, and writes the Gram matrices of the results: one dispatch. */
export function unitColumns(s: Scheduler, operands: UnitColumns): void {
  assertCall("unitColumns", s);
  const { stack, matrices, parts, factors, grams, modes, weights, keep = false, last } = operands;
  const rank = weights.size;
  assertStack("unitColumns", stack, matrices, rank);
  assertStack("unitColumns", factors, matrices, rank);
  const [count, stride] = grams.shape as [number, number];
  if (
    grams.order !== 2 ||
    stride < rank ** 2 ||
    modes.length !== matrices.length ||
    modes.some((mode) => mode >= count)
  )
    throw new ShapeError(`unitColumns: grams are ${grams}, need a row of ${rank ** 2} or more for each of ${modes}`);
  const groups = matrices.reduce((sum, { rows }) => sum + Math.ceil(rows / parts.chunk), 0);
  assertShape("unitColumns", "parts", parts.parts, [groups, rank ** 2 + 1]);
  const unused = [
    ...(last ? [] : [s.tensor([1], { label: "no values" })]),
    ...(last?.trace ? [] : [s.tensor([1], { label: "no trace" }), s.tensor([1], { dtype: "u32", label: "no count" })]),
  ];
  const values = last?.values ?? (unused[0] as Tensor);
  const [rows, counter] = last?.trace
    ? [last.trace.rows, last.trace.counter]
    : (unused.slice(-2) as [Tensor, Tensor<"u32">]);
  s.run(
    kernel.with({
      WIDTH: widthOf(s.engine),
      MOST: 32 * Math.ceil(rank / 32),
      KEEP: keep,
      LAST: last !== undefined,
      APPEND: last?.trace !== undefined,
      AHEAD: setting(s.engine, "readAhead"),
    }),
    { stack, parts: parts.parts, factors, grams, weights, values, trace: rows, counter },
    {
      rank,
      chunk: parts.chunk,
      count: matrices.length,
      groups,
      stride,
      step: last ? values.size / 4 : 0,
      trace_rows: rows.shape[0]!,
      squared_norm: last?.squaredNorm ?? 0,
      rows: padded(matrices.map((matrix) => matrix.rows)),
      starts: padded(matrices.map(({ start }) => start)),
      modes: padded(modes),
    },
  );
  s.release(parts.parts, ...unused);
}

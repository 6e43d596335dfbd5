import shader from "../../shaders/strided_copy.wgsl?late";
import { formatShape, grid1d, Kernel, type Params, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { assertCall } from "./shapes.js";

const kernel = new Kernel(shader, ({ size }, { WIDTH }) => grid1d(size!, WIDTH!));
/** axes that the shaders can tell apart */
export const MOST_AXES = 8;

/** Elements between neighbours along each mode of a row-major tensor. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length).fill(1);
  for (let mode = shape.length - 2; mode >= 0; mode--) strides[mode] = strides[mode + 1]! * shape[mode + 1]!;
  return strides;
}

/** Joins axes that lie behind each other in memory for every operand, and drops axes of extent 1. */
export function collapseAxes(
  shape: readonly number[],
  ...strides: number[][]
): { shape: number[]; strides: number[][] } {
  const joined: { extent: number; strides: number[] }[] = [];
  shape.forEach((extent, axis) => {
    if (extent === 1) return;
    const steps = strides.map((operand) => operand[axis]!);
    const last = joined.at(-1);
    if (last?.strides.every((stride, operand) => stride === steps[operand]! * extent)) {
      last.extent *= extent;
      last.strides = steps;
    } else joined.push({ extent, strides: steps });
  });
  return {
    shape: joined.map(({ extent }) => extent),
    strides: strides.map((_, operand) => joined.map((axis) => axis.strides[operand]!)),
  };
}

/** The params `NAME_high` and `NAME_low` of the shaders: eight axes, padded at the front. */
export function axesParams(name: string, values: readonly number[], filler: number): Params {
  const all = [...new Array<number>(MOST_AXES - values.length).fill(filler), ...values];
  return { [`${name}_high`]: all.slice(0, 4), [`${name}_low`]: all.slice(4) };
}

/**
 * The same axes counted in vec4s: where the innermost axis is contiguous and a multiple of 4 long for every operand, and all other
 * strides and the offset are multiples of 4. Null elsewhere.
 */
export function inVectors(
  shape: readonly number[],
  strides: readonly (readonly number[])[],
  offset = 0,
): { shape: number[]; strides: number[][] } | null {
  const inner = shape.length - 1;
  const areAligned = (values: readonly number[]) => values.every((value, axis) => axis === inner || value % 4 === 0);
  if (inner < 0 || shape[inner]! % 4 || offset % 4) return null;
  if (!strides.every((steps) => steps[inner] === 1 && areAligned(steps))) return null;
  return {
    shape: shape.map((extent, axis) => (axis === inner ? extent / 4 : extent)),
    strides: strides.map((steps) => steps.map((stride, axis) => (axis === inner ? 1 : stride / 4))),
  };
}

/** @internal Axes that lie behind each other joined, and the steps between their elements. */
export interface Axes {
  shape: number[];
  steps: number[];
}

/** @internal Joins axes; refuses more of them than the shaders tell apart. */
export function joined(operation: string, axes: readonly number[], steps: number[]): Axes {
  const { shape, strides } = collapseAxes(axes, steps);
  if (shape.length > MOST_AXES)
    throw new ShapeError(`${operation}: ${formatShape(axes)} has more than ${MOST_AXES} axes that move apart`);
  return { shape, steps: strides[0]! };
}

/** @internal Records a copy of axes that lie `steps` apart: in `x`, or in `out` where it is pasted into. */
export function record(
  s: Scheduler,
  x: Tensor,
  out: Tensor,
  { shape, steps }: Axes,
  offset: number,
  paste = false,
): void {
  const vectors = inVectors(shape, [steps], offset);
  const unit = vectors ? 4 : 1;
  s.run(
    kernel.with({ AXES: Math.max(1, shape.length), PASTE: paste, scalar: vectors ? "vec4f" : "f32" }),
    { x, out },
    {
      size: (paste ? x : out).size / unit,
      offset: offset / unit,
      ...axesParams("shape", vectors?.shape ?? shape, 1),
      ...axesParams("stride", vectors?.strides[0] ?? steps, 0),
    },
  );
}

/** A copy of `x`, into `out` (as many elements) or a temporary. Rows of either may lie apart (`rowStride` of `engine.wrap`). */
export function copy(s: Scheduler, x: Tensor, options: { out?: Tensor | undefined } = {}): Tensor {
  assertCall("copy", s, { x });
  const out = options.out ?? s.tensor(x.shape, { label: x.label });
  if (out.size !== x.size) throw new ShapeError(`copy: ${x} has ${x.size} elements, out ${out} has ${out.size}`);
  if (x.rowStride !== null && out.rowStride !== null) {
    const packed = copy(s, x);
    copy(s, packed, { out });
    s.release(packed);
  } else if (x.rowStride !== null) record(s, x.padded, out, rowsOf(x), 0);
  else if (out.rowStride !== null) record(s, x, out.padded, rowsOf(out), 0, true);
  else record(s, x, out, joined("copy", [x.size], [1]), 0);
  return out;
}

/** The axes of a tensor whose rows lie apart. */
const rowsOf = ({ shape, size, rowStride }: Tensor): Axes =>
  joined("copy", [shape[0]!, size / shape[0]!], [rowStride!, 1]);

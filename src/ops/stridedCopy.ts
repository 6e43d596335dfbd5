import shader from "../../shaders/strided_copy.wgsl";
import { formatShape, grid1d, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { assertShape } from "./shapes.js";

const kernel = new Kernel(shader, ({ size }, { WIDTH }) => grid1d(size!, WIDTH!));
const MOST_AXES = 8;

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
    const own = strides.map((each) => each[axis]!);
    const last = joined.at(-1);
    if (last?.strides.every((stride, operand) => stride === own[operand]! * extent)) {
      last.extent *= extent;
      last.strides = own;
    } else joined.push({ extent, strides: own });
  });
  return {
    shape: joined.map(({ extent }) => extent),
    strides: strides.map((_, operand) => joined.map((axis) => axis.strides[operand]!)),
  };
}

/** Pads axes at the front to the eight of the shaders. */
export const padAxes = (values: readonly number[], filler: number): number[] => [
  ...new Array<number>(MOST_AXES - values.length).fill(filler),
  ...values,
];

function record(
  s: Scheduler,
  x: Tensor,
  out: Tensor,
  shape: readonly number[],
  strides: number[],
  offset: number,
): void {
  const collapsed = collapseAxes(shape, strides);
  if (collapsed.shape.length > MOST_AXES)
    throw new ShapeError(`permute: ${formatShape(shape)} has more than ${MOST_AXES} axes that move apart`);
  s.run(
    kernel.with({ AXES: Math.max(1, collapsed.shape.length) }),
    { x, out },
    { size: out.size, offset, shape: padAxes(collapsed.shape, 1), stride: padAxes(collapsed.strides[0]!, 0) },
  );
}

/** A copy of `x`, into `out` (as many elements) or a temporary. */
export function copy(s: Scheduler, x: Tensor, options: { out?: Tensor | undefined } = {}): Tensor {
  const out = options.out ?? s.tensor(x.shape, { label: x.label });
  if (out.size !== x.size) throw new ShapeError(`copy: ${x} has ${x.size} elements, out ${out} has ${out.size}`);
  record(s, x, out, [x.size], [1], 0);
  return out;
}

/** Reorders the modes: axis k of the result is axis `axes[k]` of `x`, as in numpy.transpose. */
export function permute(
  s: Scheduler,
  x: Tensor,
  axes: readonly number[],
  options: { out?: Tensor | undefined } = {},
): Tensor {
  if (axes.length !== x.order || new Set(axes).size !== x.order || axes.some((axis) => !(axis in x.shape)))
    throw new ShapeError(`permute: axes ${axes.join(", ")} of ${x}, needs each of 0 to ${x.order - 1} once`);
  const shape = axes.map((axis) => x.shape[axis]!);
  if (options.out) assertShape("permute", "out", options.out, shape);
  const out = options.out ?? s.tensor(shape, { label: `${x.label} permuted` });
  const strides = stridesOf(x.shape);
  record(
    s,
    x,
    out,
    shape,
    axes.map((axis) => strides[axis]!),
    0,
  );
  return out;
}

/** The block of `x` that begins at `starts` and has the shape `sizes`. */
export function slice(
  s: Scheduler,
  x: Tensor,
  starts: readonly number[],
  sizes: readonly number[],
  options: { out?: Tensor | undefined } = {},
): Tensor {
  const fits = (start: number, axis: number) =>
    start >= 0 && sizes[axis]! >= 1 && start + sizes[axis]! <= x.shape[axis]!;
  if (starts.length !== x.order || sizes.length !== x.order || !starts.every(fits))
    throw new ShapeError(
      `slice: from ${starts.join(", ")} a block of ${formatShape(sizes)} of ${x}, it does not reach so far`,
    );
  if (options.out) assertShape("slice", "out", options.out, sizes);
  const out = options.out ?? s.tensor(sizes, { label: `${x.label} slice` });
  const strides = stridesOf(x.shape);
  const offset = starts.reduce((sum, start, axis) => sum + start * strides[axis]!, 0);
  record(s, x, out, sizes, strides, offset);
  return out;
}

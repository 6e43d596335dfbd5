import { formatShape, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { assertCall, assertShape } from "./shapes.js";
import { joined, record, stridesOf } from "./stridedCopy.js";

/** The block of `x` that begins at `starts` and has the shape `sizes`. */
export function slice(
  s: Scheduler,
  x: Tensor,
  starts: readonly number[],
  sizes: readonly number[],
  options: { out?: Tensor | undefined } = {},
): Tensor {
  assertCall("slice", s, { x });
  if (!reaches(x.shape, starts, sizes))
    throw new ShapeError(
      `slice: from ${starts.join(", ")} a block of ${formatShape(sizes)} of ${x}, it does not reach so far`,
    );
  if (options.out) assertShape("slice", "out", options.out, sizes);
  const out = options.out ?? s.tensor(sizes, { label: `${x.label} slice` });
  const strides = stridesOf(x.shape);
  record(s, x, out, joined("slice", sizes, strides), offsetOf(starts, strides));
  return out;
}

/** Writes `x` into `out` as the block that begins at `starts`; the rest of `out` stays. The inverse of {@link slice}. */
export function paste(s: Scheduler, x: Tensor, out: Tensor, starts: readonly number[]): void {
  assertCall("paste", s, { x, out });
  if (!reaches(out.shape, starts, x.shape))
    throw new ShapeError(`paste: ${x} does not fit into ${out} from ${starts.join(", ")}`);
  const strides = stridesOf(out.shape);
  record(s, x, out, joined("paste", x.shape, strides), offsetOf(starts, strides), true);
}

/** Whether a block of extents `sizes` that begins at `starts` lies within a tensor of this shape. */
const reaches = (shape: readonly number[], starts: readonly number[], sizes: readonly number[]): boolean =>
  starts.length === shape.length &&
  sizes.length === shape.length &&
  starts.every((start, axis) => start >= 0 && sizes[axis]! >= 1 && start + sizes[axis]! <= shape[axis]!);

const offsetOf = (starts: readonly number[], strides: readonly number[]): number =>
  starts.reduce((sum, start, axis) => sum + start * strides[axis]!, 0);

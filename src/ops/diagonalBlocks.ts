import shader from "../../shaders/diagonal_blocks.wgsl";
import { formatShape, grid1d, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { assertCall, assertShape } from "./shapes.js";
import { axesParams, MOST_AXES } from "./stridedCopy.js";

const kernel = new Kernel(shader, ({ size }, { WIDTH }) => grid1d(size!, WIDTH!));

export interface DiagonalBlocksOptions {
  /** the only block that stays; all by default */
  only?: number | undefined;
  /** where to write, in the shape of `x` */
  out?: Tensor | undefined;
  /** is added to `out` within the blocks, and the rest of `out` stays */
  add?: boolean;
}

/**
 * `x` within the blocks on its diagonal and 0 elsewhere. Block g takes the indices g·w to (g + 1)·w − 1 of every mode of
 * width w in `widths`; a mode of width null is not divided: every block has all of it.
 */
export function diagonalBlocks(
  s: Scheduler,
  x: Tensor,
  widths: readonly (number | null)[],
  { only, out: target, add = false }: DiagonalBlocksOptions = {},
): Tensor {
  assertCall("diagonalBlocks", s, { x });
  const counts = widths.flatMap((width, mode) => (width ? [x.shape[mode]! / width] : []));
  const [blocks] = counts;
  if (widths.length !== x.order || counts.some((count) => count !== blocks || !Number.isInteger(count)))
    throw new ShapeError(
      `diagonalBlocks: widths ${widths.map((width) => width ?? "all").join(", ")} of ${x}, needs a width for each mode that divides it into as many blocks`,
    );
  if (only !== undefined && !(Number.isInteger(only) && only >= 0 && only < (blocks ?? 1)))
    throw new ShapeError(`diagonalBlocks: block ${only} of ${blocks ?? 1} in ${x}`);
  if (add && !target) throw new ShapeError(`diagonalBlocks: nothing to add ${x} to, needs out`);
  if (target) assertShape("diagonalBlocks", "out", target, x.shape);
  // neighbours that are not divided are one axis
  const axes: { extent: number; width: number }[] = [];
  x.shape.forEach((extent, mode) => {
    const width = widths[mode] ?? 0;
    const last = axes.at(-1);
    if (last && !last.width && !width) last.extent *= extent;
    else axes.push({ extent, width });
  });
  if (axes.length > MOST_AXES)
    throw new ShapeError(
      `diagonalBlocks: ${formatShape(x.shape)} has ${axes.length} axes to tell apart, needs at most ${MOST_AXES}`,
    );
  const out = target ?? s.tensor(x.shape, { label: "diagonal blocks" });
  s.run(
    kernel.with({ AXES: axes.length, ONE: only !== undefined, ADD: add }),
    { x, out },
    {
      size: x.size,
      block: only ?? 0,
      ...axesParams(
        "shape",
        axes.map(({ extent }) => extent),
        1,
      ),
      ...axesParams(
        "width",
        axes.map(({ width }) => width),
        0,
      ),
    },
  );
  return out;
}

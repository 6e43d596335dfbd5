import shader from "../../shaders/permute_tiles.wgsl";
import { grid1d, Kernel, type Scheduler, ShapeError, sizeOf, type Tensor } from "../gpu/index.js";
import { setting } from "./adapter.js";
import { assertCall, assertShape } from "./shapes.js";
import { type Axes, axesParams, joined, record, stridesOf } from "./stridedCopy.js";

const tiles = new Kernel(shader, ({ tiles_p, tiles_q, others }) => grid1d(tiles_p! * tiles_q! * others!, 1));
const TILE = 32;

/** Reorders the modes: axis k of the result is axis `axes[k]` of `x`, as in numpy.transpose. */
export function permute(
  s: Scheduler,
  x: Tensor,
  axes: readonly number[],
  options: { out?: Tensor | undefined } = {},
): Tensor {
  assertCall("permute", s, { x });
  if (axes.length !== x.order || new Set(axes).size !== x.order || axes.some((axis) => !(axis in x.shape)))
    throw new ShapeError(`permute: axes ${axes.join(", ")} of ${x}, needs each of 0 to ${x.order - 1} once`);
  const shape = axes.map((axis) => x.shape[axis]!);
  if (options.out) assertShape("permute", "out", options.out, shape);
  const out = options.out ?? s.tensor(shape, { label: `${x.label} permuted` });
  const strides = stridesOf(x.shape);
  const steps = axes.map((axis) => strides[axis]!);
  const apart = joined("permute", shape, steps);
  if (!tiled(s, x, out, apart)) record(s, x, out, apart, 0);
  return out;
}

/** Records a permutation by tiles where that pays: neighbours in `out` lie far apart in `x`. */
function tiled(s: Scheduler, x: Tensor, out: Tensor, { shape, steps }: Axes): boolean {
  const p = shape.length - 1;
  const q = steps.indexOf(1);
  if (q < 0 || q >= p || Math.min(shape[p]!, shape[q]!) < setting(s.engine, "permuteTiles")) return false;
  recordTiles(s, x, out, shape, steps);
  return true;
}

/** @internal Records a permutation by tiles; some axis but the last has stride 1. Axes as `collapseAxes` gives them. */
export function recordTiles(
  s: Scheduler,
  x: Tensor,
  out: Tensor,
  shape: readonly number[],
  strides: readonly number[],
): void {
  const p = shape.length - 1;
  const q = strides.indexOf(1);
  const strideOut = stridesOf(shape);
  const others = [...shape.keys()].filter((axis) => axis !== p && axis !== q);
  const pick = (values: readonly number[]) => others.map((axis) => values[axis]!);
  s.run(
    tiles.with({ AXES: Math.max(1, others.length) }),
    { x, out },
    {
      tiles_p: Math.ceil(shape[p]! / TILE),
      tiles_q: Math.ceil(shape[q]! / TILE),
      others: sizeOf(pick(shape)),
      extent_p: shape[p]!,
      extent_q: shape[q]!,
      stride_p: strides[p]!,
      stride_q: strideOut[q]!,
      offset: 0,
      ...axesParams("shape", pick(shape), 1),
      ...axesParams("stride_x", pick(strides), 0),
      ...axesParams("stride_out", pick(strideOut), 0),
    },
  );
}

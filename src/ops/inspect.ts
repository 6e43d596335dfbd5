import shader from "../../shaders/inspect.wgsl";
import { Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { bitsOf } from "./bits.js";
import { assertCall, assertShape } from "./shapes.js";

/** entries that one invocation looks at before more workgroups are started, and the most of those */
const RUN = 16;
const MOST_WORKGROUPS = 1024;

const kernel = new Kernel(shader, ({ size }, { WIDTH }) => [
  Math.min(MOST_WORKGROUPS, Math.ceil(size! / (WIDTH! * RUN))),
]);

/**
 * Counts what is not finite in an f32 tensor and finds its largest finite magnitude, into `found` ([4], u32, zeros before): read
 * it with {@link inspection}.
 */
export function inspect(s: Scheduler, x: Tensor, found: Tensor<"u32">): Tensor<"u32"> {
  assertCall("inspect", s, { x, found });
  if (x.dtype !== "f32") throw new ShapeError(`inspect: ${x} is ${x.dtype}, needs f32`);
  if (found.dtype !== "u32") throw new ShapeError(`inspect: found is ${found.dtype}, needs u32`);
  assertShape("inspect", "found", found, [4]);
  s.run(kernel, { x: bitsOf(x), found }, { size: x.size });
  return found;
}

/** What {@link inspect} found. */
export interface Inspection {
  /** entries that are NaN or infinite */
  notFinite: number;
  /** flat index of the first of them, and what it is */
  first: { index: number; kind: "NaN" | "infinity" } | null;
  /** largest magnitude of those that are finite */
  largest: number;
}

/** Reads the words that {@link inspect} left. */
export function inspection(found: ArrayLike<number>): Inspection {
  const placeOf = (word: number): number => (word ? 0xffffffff - word : Number.POSITIVE_INFINITY);
  const [nan, infinity] = [placeOf(found[1]!), placeOf(found[2]!)];
  const largest = new Float32Array(Uint32Array.of(found[3]!).buffer)[0]!;
  const first =
    nan < infinity
      ? ({ index: nan, kind: "NaN" } as const)
      : Number.isFinite(infinity)
        ? ({ index: infinity, kind: "infinity" } as const)
        : null;
  return { notFinite: found[0]!, first, largest };
}

import shader from "../../shaders/inspect.wgsl?late";
import { type DType, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { bitsOf, readingOf } from "./bits.js";
import { assertCall, assertShape } from "./shapes.js";

/**
 * Entries, or fours of them, that one invocation looks at before there are more workgroups, and the most workgroups. What a workgroup's invocations found is
 * put together in eight steps, which cost software adapters more than 16 entries did.
 */
const RUN = 128;
const MOST_WORKGROUPS = 1024;

const kernel = new Kernel(shader, ({ size }, { WIDTH }) => [
  Math.min(MOST_WORKGROUPS, Math.ceil(size! / (WIDTH! * RUN))),
]);

/**
 * Counts what is not finite in a tensor and finds its largest finite magnitude, into `findings` ([4], u32, zeros before):
 * read them with {@link inspection}.
 */
export function inspect(s: Scheduler, x: Tensor<DType>, findings: Tensor<"u32">): Tensor<"u32"> {
  assertCall("inspect", s, { x, findings });
  if (findings.dtype !== "u32") throw new ShapeError(`inspect: findings are ${findings.dtype}, needs u32`);
  assertShape("inspect", "findings", findings, [4]);
  const bits = bitsOf(x);
  const inVectors = x.size % 4 === 0;
  s.run(
    kernel.with(readingOf(x, inVectors)),
    { x: bits, words: bits, findings },
    { size: inVectors ? x.size / 4 : x.size },
  );
  return findings;
}

/** What {@link inspect} says of a tensor. */
export interface Inspection {
  /** entries that are NaN or infinite */
  notFinite: number;
  /** flat index and kind of the first entry that is NaN or infinite */
  first: { index: number; kind: "NaN" | "infinity" } | null;
  /** largest magnitude of the finite entries */
  largest: number;
}

/** Reads the words that {@link inspect} left. */
export function inspection(words: ArrayLike<number>): Inspection {
  const placeOf = (word: number): number => (word ? 0xffffffff - word : Number.POSITIVE_INFINITY);
  const [nan, infinity] = [placeOf(words[1]!), placeOf(words[2]!)];
  const largest = new Float32Array(Uint32Array.of(words[3]!).buffer)[0]!;
  const first =
    nan < infinity
      ? ({ index: nan, kind: "NaN" } as const)
      : Number.isFinite(infinity)
        ? ({ index: infinity, kind: "infinity" } as const)
        : null;
  return { notFinite: words[0]!, first, largest };
}

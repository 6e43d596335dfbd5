import shader from "../../shaders/inspect.wgsl?late";
import { type DType, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { bitsOf, readingOf } from "./bits.js";
import { sum } from "./reduce.js";
import { assertCall, assertShape } from "./shapes.js";

/**
 * Entries, or fours of them, that one invocation looks at before there are more workgroups, and the most workgroups. What a workgroup's invocations found is
 * put together in eight steps, which cost software adapters more than 16 entries did.
 */
const RUN = 128;
const MOST_WORKGROUPS = 1024;

const workgroups = (size: number, width: number): number => Math.min(MOST_WORKGROUPS, Math.ceil(size / (width * RUN)));

const kernel = new Kernel(shader, ({ size }, { WIDTH }) => [workgroups(size!, WIDTH!)]);

/**
 * Counts what is not finite in a tensor and finds its largest finite magnitude, into `findings` ([4], u32, zeros before):
 * read them with {@link inspection}. `squaredNorm` ([1]) gets the sum of the squares of what is finite, if all is.
 */
export function inspect(
  s: Scheduler,
  x: Tensor<DType>,
  findings: Tensor<"u32">,
  { squaredNorm }: { squaredNorm?: Tensor } = {},
): Tensor<"u32"> {
  assertCall("inspect", s, { x, findings });
  if (findings.dtype !== "u32") throw new ShapeError(`inspect: findings are ${findings.dtype}, needs u32`);
  assertShape("inspect", "findings", findings, [4]);
  const bits = bitsOf(x);
  const inVectors = x.size % 4 === 0;
  const size = inVectors ? x.size / 4 : x.size;
  if (squaredNorm) assertShape("inspect", "squaredNorm", squaredNorm, [1]);
  const parts = squaredNorm ? workgroups(size, Number(kernel.constants.WIDTH)) : 1;
  const squares = s.tensor([parts], { label: "squares of parts" });
  s.run(
    kernel.with({ SQUARES: squaredNorm !== undefined, ...readingOf(x, inVectors) }),
    { x: bits, words: bits, findings, squares },
    { size },
  );
  if (squaredNorm) sum(s, squares, { out: squaredNorm });
  s.release(squares);
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

import shader from "../../shaders/core_steps.wgsl?late";
import { Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { setting } from "./adapter.js";
import { assertCall, assertShape } from "./shapes.js";

const kernel = new Kernel(shader, () => [1]);

/** multiplications of a step that one workgroup makes sooner than several dispatches do */
const MOST_WORK = 2 ** 17;

/** Whether steps for a core of this shape are {@link coreSteps}. */
export const fusesCoreSteps = (ranks: readonly number[]): boolean =>
  ranks.length <= 8 &&
  ranks.reduce((product, rank) => product * rank, 1) * ranks.reduce((sum, rank) => sum + rank, 0) <= MOST_WORK;

export interface CoreSteps {
  /** R_1×…×R_N, no entry negative: changed in place */
  core: Tensor;
  /** of its shape: X times all factors */
  product: Tensor;
  /** a row a mode, which begins with the R_n×R_n Gram matrix of its factor */
  grams: Tensor;
  steps: number;
  /** ‖x‖² */
  squaredNorm: number;
  /** [1], written: ‖x − x̂‖² */
  error: Tensor;
}

/**
 * Steps of accelerated projected gradients (FISTA, Beck & Teboulle 2009) for the core of a Tucker tensor without negative entries, and the squared
 * error of what they end at, by one workgroup: for cores that are small ({@link fusesCoreSteps}).
 */
export function coreSteps(s: Scheduler, { core, product, grams, steps, squaredNorm, error }: CoreSteps): void {
  assertCall("coreSteps", s, { core, product, grams, error });
  assertShape("coreSteps", "product", product, core.shape);
  const [modes, stride] = grams.shape as [number, number];
  if (core.order > 8 || grams.order !== 2 || modes !== core.order || stride < Math.max(...core.shape) ** 2)
    throw new ShapeError(`coreSteps: grams are ${grams} for a core ${core}, need a row a mode with its Gram matrix`);
  assertShape("coreSteps", "error", error, [1]);
  const work = s.tensor([4, core.size], { label: "core work" });
  s.run(
    kernel.with({ WIDTH: setting(s.engine, "soleWorkgroup") }),
    { product, grams, core, work, error },
    {
      size: core.size,
      order: core.order,
      stride,
      steps,
      squared_norm: squaredNorm,
      ranks: Array.from({ length: 8 }, (_, mode) => core.shape[mode] ?? 1),
    },
  );
  s.release(work);
}

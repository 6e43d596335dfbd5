import { dispose, type Engine, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { matmul } from "../ops/index.js";

/** X ≈ W·H without negative entries, the result of `nmf`. Its tensors live on the GPU until {@link destroy}. */
export class NonnegativeFactors {
  /** @throws ShapeError where W has not as many columns as H has rows */
  constructor(
    /** I×R */
    readonly w: Tensor,
    /** R×J; its rows have the norms of W's columns */
    readonly h: Tensor,
  ) {
    if (w.order !== 2 || h.order !== 2 || w.shape[1] !== h.shape[0])
      throw new ShapeError(`NonnegativeFactors: W is ${w}, H is ${h}; need I×R and R×J`);
  }

  get engine(): Engine {
    return this.w.engine;
  }

  get rank(): number {
    return this.w.shape[1]!;
  }

  /** I, J */
  get shape(): number[] {
    return [this.w.shape[0]!, this.h.shape[1]!];
  }

  /** Numbers stored: R(I + J). */
  get parameterCount(): number {
    return this.w.size + this.h.size;
  }

  /** Records W·H, into `out` where one is given. */
  full(s: Scheduler, out?: Tensor): Tensor {
    return matmul(s, this.w, this.h, { out });
  }

  /** Frees W and H. */
  destroy(): void {
    this.w.destroy();
    this.h.destroy();
  }

  [dispose](): void {
    this.destroy();
  }
}

/** What cases are held to; verdicts.ts says whether a result reaches it. */

/**
 * What our time is divided by: that of a peer, or the sum of our own kernels' times. Or what our rate is a share of: that of register-only
 * multiply-adds (`FMA probe`), or of the floor under the work's time (`floor`: see verdicts.ts).
 */
export type Yardstick =
  | "best peer"
  | "jax-js"
  | "ml-matrix"
  | "TensorLy on CUDA"
  | "torch on CUDA"
  | "its kernels"
  | "FMA probe"
  | "floor";

export interface Goal {
  against: Yardstick;
  /** our time ÷ the yardstick's, at most; of the probe and the floor: the share that we reach, at least */
  limit: number;
  /** the kind of adapter of which it is asked; any where left out */
  on?: "software" | "GPU";
}

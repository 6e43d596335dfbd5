/** What cases are held to; verdicts.ts says whether a result reaches it. */

/** What our time is divided by: that of a peer, or the sum of our own kernels' times. Or the probe whose rate is the yardstick. */
export type Yardstick =
  | "best peer"
  | "jax-js"
  | "ml-matrix"
  | "TensorLy on CUDA"
  | "its kernels"
  | "FMA probe"
  | "copy probe";

export interface Goal {
  against: Yardstick;
  /** our time ÷ the yardstick's, at most; of a probe: the share of its rate, at least */
  limit: number;
  /** the kind of adapter of which it is asked; any where left out */
  on?: "software" | "GPU";
}

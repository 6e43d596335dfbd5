/** fewest sweeps that a run must have gone on slowly for, and the most that are averaged over against noise */
const FEWEST = 3;
const MOST = 64;
/** sweeps without progress after which a run has stalled */
const PATIENCE = 16;
/** how far the change over a window must stand clear of the noise of its ends */
const CLEAR = 4;

/**
 * By how much a relative error e = ‖X − X̂‖/‖X‖ may differ from sweep to sweep through rounding alone: e² is a sum in f32, known to one part
 * in 2²⁴ if it is of the residual's own entries, and rounding X̂ to f32 adds to it at right angles. From norms that cancel, ‖X‖² − ‖X̂‖²,
 * it is 1/e² times as much, and again as many times as the terms that cancel are larger than ‖X‖² (`amplification`; 0: not from norms).
 */
export const noiseOf = (error: number, amplification = 0): number => {
  const positive = Math.max(error, 1e-20);
  const own = 6e-8 * error + Math.min(1e-7, 1e-14 / positive);
  return own + Math.min(3e-4, (6e-8 * amplification) / positive);
};

/**
 * Says when a run is over, from the errors told sweep by sweep.
 *
 * - `converged`: over the last sweeps the error changed by less than the tolerance in each and on average. These are three sweeps where
 *   f32 tells the errors well enough, and up to 64 where noise is large beside the tolerance, so that it does not decide their mean.
 * - `stalled`: the tolerance asks for more than even that can tell, and in the last 16 sweeps the error fell by less than its noise.
 *
 * A least squares sweep cannot raise the error. Where it does, that is noise too, and counts as such.
 */
export class StoppingRule {
  converged = false;
  stalled = false;
  readonly #errors: number[] = [];
  readonly #noises: number[] = [];

  constructor(readonly tolerance: number) {}

  /** Takes the error of the next sweep. */
  tell(error: number, amplification = 0): void {
    this.#errors.push(error);
    this.#noises.push(noiseOf(error, amplification));
    if (this.tolerance === 0 || this.converged || this.stalled) return;
    const noise = Math.max(...this.#noises.slice(-PATIENCE), this.#largestRise());
    const window = Math.max(FEWEST, Math.ceil((CLEAR * noise) / this.tolerance));
    const told = this.#errors.length;
    if (window <= MOST) {
      if (told <= window) return;
      const changes = Array.from({ length: window }, (_, back) => this.#change(back));
      const isSlow = changes.every((change) => Math.abs(change) < this.tolerance + 2 * noise);
      const mean = changes.reduce((sum, change) => sum + change, 0) / window;
      this.converged = isSlow && Math.abs(mean) < this.tolerance;
    } else if (told > PATIENCE) {
      const before = Math.min(...this.#errors.slice(0, -PATIENCE));
      this.stalled = before - Math.min(...this.#errors.slice(-PATIENCE)) < noise;
    }
  }

  /** How much the error fell in a sweep, counted back from the last. */
  #change(back: number): number {
    const at = this.#errors.length - 1 - back;
    return this.#errors[at - 1]! - this.#errors[at]!;
  }

  #largestRise(): number {
    let largest = 0;
    for (let back = 0; back < Math.min(PATIENCE, this.#errors.length - 1); back++)
      largest = Math.max(largest, -this.#change(back));
    return largest;
  }
}

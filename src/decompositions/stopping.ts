/** a run has converged after at least this many slow sweeps; where noise is large, changes are averaged over up to MOST sweeps */
const FEWEST = 3;
const MOST = 64;
/** what further sweeps take off is so little, at this part of the tolerance, that they are not waited for: one slow step tells as much as FEWEST */
export const SURE = 1e-3;
/** sweeps without progress after which a run has stalled */
const PATIENCE = 16;
/** a window is so long that the tolerance over it is this many times the noise of one error */
const CLEAR = 4;

/**
 * By how much a relative error e = ‖X − X̂‖/‖X‖ may differ from sweep to sweep through rounding alone.
 *
 * Summed from the entries of X − X̂, e² is known to one part in 2²⁴, and rounding X̂ to f32 adds an error that is orthogonal to X − X̂.
 * From norms, ‖X‖² − ‖X̂‖² cancels, so the noise is 1/e² times as large; where terms of the model cancel as well, it grows by how much
 * larger than ‖X‖² they are (`amplification`; 0 says that the error is not from norms).
 */
export const noiseOf = (error: number, amplification = 0): number => {
  const positive = Math.max(error, 1e-20);
  const rounding = 6e-8 * error + Math.min(1e-7, 1e-14 / positive);
  return rounding + Math.min(3e-4, (6e-8 * amplification) / positive);
};

/**
 * Says when a run is over, from the errors told sweep by sweep.
 *
 * - `converged`: over a window of sweeps the error changed by less than the tolerance, in each sweep and on average. The window has three
 *   sweeps where noise is small beside the tolerance, and up to 64 where it is not, so that noise does not decide the mean.
 * - `stalled`: the tolerance is below what a window of 64 sweeps can tell, and in the last 16 sweeps the error fell by less than its noise.
 *
 * A least squares sweep cannot raise the error: a rise that is seen is counted as noise.
 */
export class StoppingRule {
  converged = false;
  stalled = false;
  readonly #errors: number[] = [];
  readonly #noises: number[] = [];
  /** how often running `foresee` was told less than the tolerance */
  #slow = 0;

  constructor(readonly tolerance: number) {}

  /**
   * Takes by how much the next step is to lower the error, as a part of it: below the tolerance three times running, or once below a thousandth of
   * it, the run has converged. Unlike the difference of two errors, that is known to more digits than noise has. 0 says that it is less than noise.
   */
  foresee(part: number): void {
    this.#slow = part < this.tolerance ? this.#slow + 1 : 0;
    if (part > 0 && part < SURE * this.tolerance) this.#slow = FEWEST;
    this.converged ||= this.tolerance > 0 && this.#slow >= FEWEST;
  }

  /** There is nothing left to be done: the run has converged. */
  end(): void {
    this.converged ||= this.tolerance > 0;
  }

  /** Takes the error of the next sweep. */
  tell(error: number, amplification = 0): void {
    this.#errors.push(error);
    this.#noises.push(noiseOf(error, amplification));
    if (this.tolerance === 0 || this.converged || this.stalled) return;
    const noise = Math.max(...this.#noises.slice(-PATIENCE), this.#largestRise());
    const window = Math.max(FEWEST, Math.ceil((CLEAR * noise) / this.tolerance));
    const count = this.#errors.length;
    if (window <= MOST) {
      if (count <= window) return;
      const changes = Array.from({ length: window }, (_, back) => this.#change(back));
      const isSlow = changes.every((change) => Math.abs(change) < this.tolerance + 2 * noise);
      const mean = changes.reduce((sum, change) => sum + change, 0) / window;
      this.converged = isSlow && Math.abs(mean) < this.tolerance;
    } else if (count > PATIENCE) {
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

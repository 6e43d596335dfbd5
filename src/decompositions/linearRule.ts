import { noiseOf, StoppingRule, SURE } from "./stopping.js";

/**
 * The rule of iterations that converge linearly, as powers of a matrix do: over as soon as the last three steps say that the next one will lower the
 * error by less than a thousandth of the tolerance, or else by the rule of all others. The larger one of two rates counts, because the first of
 * several vectors converge faster than the last. Before the first sweep, of a random basis, the relative error is taken for 1.
 */
export class LinearRule extends StoppingRule {
  /** how much the error fell in the last sweeps, at least by what rounding hides */
  readonly #steps: number[] = [];
  #last = 1;

  override tell(error: number, amplification = 0): void {
    super.tell(error, amplification);
    this.#steps.push(Math.max(Math.abs(this.#last - error), noiseOf(error, amplification)));
    this.#last = error;
    const [before, one, two] = this.#steps.slice(-3) as [number, number, number];
    if (this.#steps.length < 3) return;
    const rate = Math.max(one / before, two / one);
    if (Math.min(1, rate) * two < SURE * this.tolerance) this.end();
  }
}

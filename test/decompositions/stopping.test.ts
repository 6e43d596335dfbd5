import { describe, expect, it } from "vitest";
import { LinearRule } from "../../src/decompositions/linearRule.js";
import { StoppingRule } from "../../src/decompositions/stopping.js";
import { randomArray } from "../reference.js";

/** Tells errors until the rule ends the run, or all of them. */
function run(tolerance: number, errors: Iterable<number>, amplification = 0): StoppingRule & { sweeps: number } {
  const rule = Object.assign(new StoppingRule(tolerance), { sweeps: 0 });
  for (const error of errors) {
    rule.tell(error, amplification);
    rule.sweeps++;
    if (rule.converged || rule.stalled) break;
  }
  return rule;
}
const series = (count: number, f: (sweep: number) => number) => Array.from({ length: count }, (_, at) => f(at));

describe("StoppingRule", () => {
  it("is met when the error changes by less than the tolerance, three sweeps on end", () => {
    // changes 1e-3, 5e-4, … the eleventh is below 1e-6
    const rule = run(
      1e-6,
      series(60, (at) => 0.01 + 2e-3 * 0.5 ** at),
    );
    expect(rule).toMatchObject({ converged: true, stalled: false });
    expect(rule.sweeps).toBeGreaterThanOrEqual(13);
    expect(rule.sweeps).toBeLessThanOrEqual(15);
  });

  it("is not met by two sweeps that are equal by chance", () => {
    const errors = series(40, (at) => 0.05 - 1e-4 * at);
    errors[20] = errors[19]!;
    errors[21] = errors[19]!;
    expect(run(1e-6, errors)).toMatchObject({ converged: false, stalled: false, sweeps: 40 });
  });

  it("sees slow progress through noise that is larger than it", () => {
    const noise = randomArray(400, 3);
    // 2e-6 a sweep under noise of 1e-6
    const errors = series(400, (at) => 0.3 - 2e-6 * at + 1e-6 * noise[at]!);
    expect(run(1e-6, errors, 5).converged).toBe(false);
    const still = series(400, (at) => 0.3 - 1e-7 * at + 1e-6 * noise[at]!);
    expect(run(1e-6, still, 5)).toMatchObject({ converged: true, stalled: false });
  });

  it("stalls where the tolerance asks for more than f32 has, and nothing moves", () => {
    const noise = randomArray(400, 4);
    const errors = series(400, (at) => 0.5 + 1e-3 * 0.5 ** at + 1e-7 * noise[at]!);
    const rule = run(1e-10, errors);
    expect(rule).toMatchObject({ converged: false, stalled: true });
    expect(rule.sweeps).toBeLessThan(60);
    // as long as the error falls by more than its noise in 16 sweeps, it goes on
    expect(
      run(
        1e-10,
        series(400, (at) => 0.5 - 1e-7 * at),
      ),
    ).toMatchObject({ stalled: false, sweeps: 400 });
  });

  it("lets a tolerance of 0 run all sweeps", () => {
    expect(
      run(
        0,
        series(100, () => 0.1),
      ),
    ).toMatchObject({ converged: false, stalled: false, sweeps: 100 });
    expect(
      run(
        1e-6,
        series(100, () => 0),
      ),
    ).toMatchObject({ converged: true });
  });
});

describe("LinearRule", () => {
  /** The sweep after which the rule is over, of at most 60. */
  const endOf = (errorOf: (sweep: number) => number, tolerance = 1e-6): number => {
    const rule = new LinearRule(tolerance);
    for (let sweep = 1; sweep <= 60; sweep++) {
      rule.tell(errorOf(sweep));
      if (rule.converged) return sweep;
    }
    return Number.POSITIVE_INFINITY;
  };

  it("is over as soon as nothing more is to come", () => {
    expect(endOf((sweep) => 0.1 + 1e-3 ** sweep)).toBe(4);
    expect(endOf((sweep) => 0.1 + 1e-4 ** sweep)).toBe(3);
    // exact, and to the last digit of f32: no faster than by the rule of all others
    expect(endOf((sweep) => 1e-7 * (1 + 0.1 * Math.sin(sweep)))).toBe(4);
  });

  it("waits for the slowest of several vectors", () => {
    for (const rate of [0.99, 0.9, 0.5]) {
      const errorOf = (sweep: number): number => 0.1 + 1e-3 ** sweep + 2e-5 * rate ** sweep;
      const end = endOf(errorOf);
      // what is left, beside the change of a sweep that the tolerance allows
      expect(errorOf(end) - 0.1).toBeLessThan(Math.max(1e-6, 1e-6 / (1 - rate)));
      expect(end).toBeGreaterThan(4);
    }
  });

  it("has no end without a tolerance", () => {
    expect(endOf((sweep) => 0.1 + 1e-4 ** sweep, 0)).toBe(Number.POSITIVE_INFINITY);
  });
});

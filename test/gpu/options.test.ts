import { describe, expect, it } from "vitest";
import { checkOptions, type OptionRules, oneOf, optionRules } from "../../src/gpu/index.js";

interface Options {
  rank: number;
  initialize?: "random" | "hosvd";
  sweeps?: number;
  tolerance?: number;
  ranks?: number | readonly number[];
}

const rules: OptionRules<Options> = {
  rank: { ...optionRules.positive, required: true },
  initialize: oneOf("random", "hosvd"),
  sweeps: { ...optionRules.positive, elsewhere: "maxiter iterations" },
  tolerance: optionRules.atLeastZero,
  ranks: optionRules.ranks,
};
const check = (options: unknown) => () => checkOptions("fit", options as Options, rules);

describe("checkOptions", () => {
  it("takes what the rules allow, and undefined as left out", () => {
    expect(check({ rank: 3 })).not.toThrow();
    expect(check({ rank: 3, initialize: undefined, sweeps: 2, tolerance: 0, ranks: [1, 2] })).not.toThrow();
    expect(check({ rank: 3, ranks: Uint32Array.of(2, 2) })).not.toThrow();
  });

  it.each([
    [{ rank: 3, mask: [1] }, 'fit: unknown option "mask"; it has rank, initialize, sweeps, tolerance, ranks'],
    [{ rank: 3, tol: 1e-3 }, "it has rank, initialize, sweeps, tolerance, ranks; did you mean tolerance?"],
    [{ rank: 3, initialise: "random" }, "did you mean initialize?"],
    [{ rank: 3, max_iter: 3 }, "did you mean sweeps?"],
    [{ Rank: 3 }, "did you mean rank?"],
    [{ rank: 3, initialize: "svd" }, 'fit: initialize is "svd", needs one of "random", "hosvd"'],
    [{ rank: 3, sweeps: Number.NaN }, "fit: sweeps is NaN, needs a whole number, 1 or more"],
    [{ rank: 2.5 }, "fit: rank is 2.5, needs a whole number, 1 or more"],
    [{ rank: "3" }, 'fit: rank is "3", needs a whole number, 1 or more'],
    [{ rank: 3, tolerance: -1 }, "fit: tolerance is -1, needs a number, 0 or more"],
    [{ rank: 3, ranks: [2, 0] }, "fit: ranks is [2, 0], needs a whole number, 1 or more, or a list of them"],
    [{}, 'fit: option "rank" is missing, needs a whole number, 1 or more'],
    [undefined, "fit: options are undefined, needs an object with rank; it has rank, initialize"],
    [3, "fit: options are 3, needs an object with rank"],
    [[3], "fit: options are [3], needs an object with rank"],
  ])("refuses %o", (options, message) => {
    expect(check(options)).toThrow(message);
  });

  it("suggests nothing for a name that is like no other", () => {
    expect(check({ rank: 3, mask: [1] })).toThrow(/ranks$/);
  });

  it("says what to do in place of an option that there is none of", () => {
    const call = () => checkOptions("fit", { rank: 3, mask: [1] } as Options, rules, { mask: "give masked(x)" });
    expect(call).toThrow(
      'fit: unknown option "mask"; it has rank, initialize, sweeps, tolerance, ranks; give masked(x)',
    );
  });
});

import { tuckerHOOI } from "../../decompositions/index.js";
import { InputError } from "../context.js";
import { byMode, type Method, readArrays, tuckerFactors } from "./method.js";
import { askedOf, checkRanksOrError, multilinear } from "./ranks.js";

const NAME = "tucker";

export const tucker: Method = {
  name: NAME,
  summary: "a core and a factor a mode, by HOOI from the truncated HOSVD",
  takes: ["ranks", "error", "sweeps", "tolerance", "seed", "memory", "missing", "checkpoint"],
  algorithms: ["hooi"],
  saves: [
    "core (R0×R1×…) and factor_0, … (extent×rank) with orthonormal columns:",
    "numpy.einsum('abc,ia,jb,kc->ijk', core, factor_0, factor_1, factor_2)",
  ],
  draws: "tucker",
  examples: ["X.npy --method tucker --ranks 15,10,10 --out result.npz", "X.npy --method tucker --error 0.01"],

  check(options) {
    checkRanksOrError(NAME, options, "one number a mode");
    const { checkpoint, error, missing } = options;
    if (checkpoint === undefined) return;
    if (error !== undefined) throw new InputError("--checkpoint goes with --ranks, and not with --error");
    if (missing) throw new InputError("--checkpoint and --missing: tucker takes one of them; cp takes both");
  },

  prepare(request) {
    const { options } = request;
    const { error, seed = 0, sweeps = 100 } = options;
    const asked = error === undefined ? { ranks: multilinear(request) } : { relativeError: error };
    return {
      label: `tucker, ${askedOf(options)}`,
      unit: "sweeps",
      most: sweeps,
      async solve(engine, x, { stopping }) {
        const result = await tuckerHOOI(engine, x, { ...asked, seed, ...stopping });
        const { tensor } = result;
        const ranks = [...tensor.core.shape];
        return {
          title: `Tucker, ranks ${ranks.join(", ")}`,
          ranks,
          tensor,
          model: tensor,
          relativeError: result.relativeError,
          course: result,
          async arrays(exponent) {
            const { present, identities, notes } = tuckerFactors(tensor.shape, tensor.factors);
            const [core, ...read] = await readArrays(engine, [["core", tensor.core], ...present], ["core"], exponent);
            return { arrays: [core!, ...byMode([...read, ...identities])], notes };
          },
        };
      },
    };
  },
};

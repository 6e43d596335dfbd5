import { ttSVD } from "../../decompositions/index.js";
import { type Method, readArrays } from "./method.js";
import { askedOf, between, checkRanksOrError } from "./ranks.js";

const NAME = "tensor-train";

export const tensorTrain: Method = {
  name: NAME,
  summary: "a core a mode, each multiplied with the next, by TT-SVD",
  takes: ["ranks", "error", "seed"],
  algorithms: ["svd"],
  saves: [
    "core_0, core_1, … (rank before×extent×rank after; 1 at both ends):",
    "numpy.einsum('aib,bjc,ckd->ijk', core_0, core_1, core_2)",
  ],
  draws: "train",
  examples: ["X.npy --method tensor-train --error 1e-3", "X.npy --method tensor-train --ranks 8,8 --out train.npz"],

  check: (options) => checkRanksOrError(NAME, options, "one number for each two modes that are neighbours"),

  prepare(request) {
    const { options, shape } = request;
    const { error, seed = 0 } = options;
    const asked =
      error === undefined
        ? { ranks: between(request, shape.length - 1, "pairs of neighbouring modes") }
        : { relativeError: error };
    return {
      label: `${NAME}, ${askedOf(options)}`,
      unit: "%",
      most: 100,
      async solve(engine, x, { direct }) {
        const { tensor, relativeError } = await ttSVD(engine, x, { ...asked, seed, ...direct });
        const ranks = tensor.ranks.slice(1, -1);
        return {
          title: `tensor train, ranks ${ranks.join(", ")}`,
          ranks,
          tensor,
          model: tensor,
          relativeError,
          async arrays(exponent) {
            const named = tensor.cores.map((core, place) => [`core_${place}`, core] as const);
            return { arrays: await readArrays(engine, named, [named.at(-1)![0]], exponent), notes: [] };
          },
        };
      },
    };
  },
};

import { tensorRingALS, tensorRingSVD } from "../../decompositions/index.js";
import { InputError } from "../context.js";
import { type Method, readArrays } from "./method.js";
import { askedOf, between, checkRanksOrError } from "./ranks.js";

const NAME = "tensor-ring";

export const tensorRing: Method = {
  name: NAME,
  summary: "a train whose last core is multiplied with the first",
  takes: ["ranks", "error", "algorithm", "sweeps", "tolerance", "seed"],
  algorithms: ["svd", "als"],
  saves: [
    "core_0, core_1, … (rank before×extent×rank after):",
    "numpy.einsum('aib,bjc,cka->ijk', core_0, core_1, core_2)",
  ],
  draws: "ring",
  examples: ["X.npy --method tensor-ring --ranks 4", "X.npy --method tensor-ring --ranks 4,4,4 --algorithm als"],

  check(options) {
    checkRanksOrError(NAME, options, "one number a mode");
    const { algorithm, error, sweeps, tolerance } = options;
    if (algorithm === "als") {
      if (error !== undefined) throw new InputError("--error is for --algorithm svd; als takes --ranks");
      return;
    }
    for (const [name, value] of Object.entries({ sweeps, tolerance }))
      if (value !== undefined) throw new InputError(`--${name} is for --algorithm als; svd has no sweeps`);
  },

  prepare(request) {
    const { options, shape, algorithm } = request;
    const { error, seed = 0, sweeps = 100 } = options;
    const ranks = error === undefined ? between(request, shape.length, "modes") : null;
    const isAls = algorithm === "als";
    return {
      label: `${NAME}, ${askedOf(options)}`,
      unit: isAls ? "sweeps" : "%",
      most: isAls ? sweeps : 100,
      async solve(engine, x, { stopping, direct }) {
        const asked = ranks === null ? { relativeError: error! } : { ranks };
        const course = isAls ? await tensorRingALS(engine, x, { ranks: ranks!, seed, ...stopping }) : null;
        const { tensor, relativeError } = course ?? (await tensorRingSVD(engine, x, { ...asked, seed, ...direct }));
        return {
          title: `tensor ring, ranks ${tensor.ranks.join(", ")}`,
          ranks: [...tensor.ranks],
          tensor,
          model: tensor,
          relativeError,
          ...(course && { course }),
          async arrays(exponent) {
            const named = tensor.cores.map((core, place) => [`core_${place}`, core] as const);
            return { arrays: await readArrays(engine, named, [named.at(-1)![0]], exponent), notes: [] };
          },
        };
      },
    };
  },
};

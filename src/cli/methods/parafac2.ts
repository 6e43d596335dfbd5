import { parafac2 as decompose } from "../../decompositions/index.js";
import { formatShape } from "../../gpu/index.js";
import { InputError } from "../context.js";
import { type Method, readArrays, tensorOf } from "./method.js";

const NAME = "parafac2";
const SWEEPS = 500;

export const parafac2: Method = {
  name: NAME,
  summary: "of slices X[k]: projections, and A, B, C for all of them",
  takes: ["rank", "starts", "sweeps", "tolerance", "init", "seed", "nonnegative"],
  algorithms: ["als"],
  saves: [
    "weights (R), a (K×R), b (R×R), c (J×R), projection_0, projection_1, … (I×R):",
    "projection_0 @ b @ numpy.diag(weights * a[0]) @ c.T",
  ],
  examples: ["X.npy --method parafac2 --rank 3 --out parafac2.npz"],

  check({ rank, init }) {
    if (rank === undefined) throw new InputError(`--method ${NAME} needs --rank R, one number`);
    if (init !== undefined && init !== "random" && init !== "svd")
      throw new InputError(`--init ${init} is none of ${NAME}. Allowed choices are svd, random.`);
  },

  prepare({ file, shape, options }) {
    const { starts = 1, seed = 0, sweeps = SWEEPS, init = "svd", nonnegative = false } = options;
    const rank = options.rank!;
    if (shape.length !== 3)
      throw new InputError(`${file}: shape ${formatShape(shape)}, --method ${NAME} needs K×I×J, slices of mode 0`);
    const most = Math.min(shape[1]!, shape[2]!);
    if (rank > most)
      throw new InputError(`${file}: rank ${rank}, slices ${formatShape(shape.slice(1))} have at most ${most}`);
    return {
      label: `${NAME}, rank ${rank}`,
      unit: "iterations",
      most: sweeps,
      async solve(engine, x, { stopping }) {
        const initialize = init === "random" ? "random" : "svd";
        const result = await decompose(engine, tensorOf(NAME, x), {
          rank,
          initialize,
          starts,
          seed,
          nonnegative,
          ...stopping,
        });
        const { tensor, relativeError, sliceErrors } = result;
        const worst = sliceErrors.indexOf(Math.max(...sliceErrors));
        return {
          title: `PARAFAC2, rank ${rank}`,
          ranks: [rank],
          tensor,
          relativeError,
          course: result,
          lines: [["worst slice", `${worst}, with an error of ${sliceErrors[worst]!.toPrecision(3)}`]],
          async arrays(exponent) {
            const [a, b, c] = tensor.factors;
            const named = [
              ...([
                ["weights", tensor.weights],
                ["a", a],
                ["b", b],
                ["c", c],
              ] as const),
              ...tensor.projections.map((projection, k) => [`projection_${k}`, projection] as const),
            ];
            return { arrays: await readArrays(engine, named, ["weights"], exponent), notes: [] };
          },
        };
      },
    };
  },
};

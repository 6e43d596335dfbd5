import { nmf as factorise } from "../../decompositions/index.js";
import { formatShape } from "../../gpu/index.js";
import { InputError } from "../context.js";
import { type Method, readArrays, tensorOf } from "./method.js";

const NAME = "nmf";
const SWEEPS = 200;

export const nmf: Method = {
  name: NAME,
  summary: "of a matrix: W·H without negative entries",
  takes: ["rank", "starts", "sweeps", "tolerance", "init", "seed"],
  algorithms: ["hals"],
  saves: ["w (m×R) and h (R×n): w @ h"],
  examples: ["A.npy --method nmf --rank 5 --out nmf.npz"],

  check({ rank, init }) {
    if (rank === undefined) throw new InputError(`--method ${NAME} needs --rank R, one number`);
    if (init !== undefined && init !== "random" && init !== "nndsvd")
      throw new InputError(`--init ${init} is none of ${NAME}. Allowed choices are nndsvd, random.`);
  },

  prepare({ file, shape, options }) {
    const { rank, starts = 1, seed = 0, sweeps = SWEEPS, init = "nndsvd" } = options;
    if (shape.length !== 2)
      throw new InputError(
        `${file}: shape ${formatShape(shape)}, --method ${NAME} needs a matrix; for tensors there is cp --nonnegative`,
      );
    return {
      label: `${NAME}, rank ${rank}`,
      unit: "sweeps",
      most: sweeps,
      async solve(engine, x, { stopping }) {
        const initialize = init === "random" ? "random" : "nndsvd";
        const result = await factorise(engine, tensorOf(NAME, x), {
          rank: rank!,
          initialize,
          starts,
          seed,
          ...stopping,
        });
        const { tensor, relativeError } = result;
        return {
          title: `NMF, rank ${rank}`,
          ranks: [rank!],
          tensor,
          relativeError,
          course: result,
          lines: negativeLines(result),
          async arrays(exponent) {
            const named = [["w", tensor.w] as const, ["h", tensor.h] as const];
            return { arrays: await readArrays(engine, named, ["h"], exponent), notes: [] };
          },
        };
      },
    };
  },
};

/** What is said where X has negative entries, which no model without them reaches. */
export const negativeLines = ({ negativePart }: { negativePart?: number }): [name: string, text: string][] =>
  negativePart
    ? [["negative part", `${negativePart.toPrecision(3)}: the relative error of max(X, 0), the least that is possible`]]
    : [];

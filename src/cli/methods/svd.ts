import { truncatedSvd } from "../../decompositions/index.js";
import { formatShape } from "../../gpu/index.js";
import { KruskalTensor } from "../../tensors/index.js";
import { InputError } from "../context.js";
import { type Method, readArrays, tensorOf } from "./method.js";

const NAME = "svd";

export const svd: Method = {
  name: NAME,
  summary: "of a matrix: its leading singular values and vectors",
  takes: ["rank", "error", "seed"],
  algorithms: ["svd"],
  saves: ["u (m×R), values (R) and v (n×R):", "u @ numpy.diag(values) @ v.T"],
  draws: "kruskal",
  examples: ["A.npy --method svd --rank 5 --out svd.npz"],

  check({ rank, error }) {
    if (rank !== undefined && error !== undefined) throw new InputError("--rank and --error: give one of them");
    if (rank === undefined && error === undefined)
      throw new InputError(`--method ${NAME} needs --rank R, or --error e, which finds it`);
  },

  prepare({ file, shape, options }) {
    const { rank, error, seed = 0 } = options;
    if (shape.length !== 2)
      throw new InputError(
        `${file}: shape ${formatShape(shape)}, --method ${NAME} needs a matrix; for tensors there are cp and tucker`,
      );
    const most = Math.min(...shape);
    if (rank !== undefined && rank > most)
      throw new InputError(`${file}: rank ${rank}, a matrix ${formatShape(shape)} has at most ${most}`);
    const asked = rank === undefined ? { relativeError: error! } : { rank };
    return {
      label: `${NAME}, ${rank === undefined ? `error ${error}` : `rank ${rank}`}`,
      unit: "%",
      most: 100,
      async solve(engine, x, { direct }) {
        const result = await truncatedSvd(engine, tensorOf(NAME, x), { ...asked, seed, ...direct });
        const { u, values, v, relativeError } = result;
        const [largest, ...others] = await engine.read(values);
        const smallest = others.at(-1) ?? largest!;
        return {
          title: `SVD, rank ${result.rank}`,
          ranks: [result.rank],
          tensor: { parameterCount: u.size + values.size + v.size, destroy: () => result.destroy() },
          model: new KruskalTensor(values, [u, v]),
          relativeError,
          lines: smallest
            ? [["condition", `${(largest! / smallest).toPrecision(3)}: largest singular value by smallest`]]
            : [],
          async arrays(exponent) {
            const named = [["u", u] as const, ["values", values] as const, ["v", v] as const];
            return { arrays: await readArrays(engine, named, ["values"], exponent), notes: [] };
          },
        };
      },
    };
  },
};

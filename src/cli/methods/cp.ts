import { type CpStarts, cpALS, cp as cpGaussNewton, type Decomposition } from "../../decompositions/index.js";
import { formatShape } from "../../gpu/index.js";
import type { KruskalTensor } from "../../tensors/index.js";
import { InputError } from "../context.js";
import { readFactor, readFactors } from "../tensorFile.js";
import { type Method, type Request, type Run, readArrays } from "./method.js";
import { negativeLines } from "./nmf.js";
import type { MethodOptions } from "./options.js";

const SWEEPS: Record<string, number> = { "gauss-newton": 500, als: 100 };
const STARTS: Record<string, number> = { "gauss-newton": 4, als: 1 };

type Result = Decomposition<KruskalTensor> & { starts?: CpStarts };

export const cp: Method = {
  name: "cp",
  summary: "a sum of rank-one terms",
  takes: [
    "rank",
    "algorithm",
    "starts",
    "sweeps",
    "tolerance",
    "init",
    "fixed",
    "nonnegative",
    "seed",
    "memory",
    "missing",
    "checkpoint",
  ],
  algorithms: ["gauss-newton", "als"],
  saves: [
    "weights (R) and factor_0, factor_1, … (extent×R) with columns of length 1:",
    "numpy.einsum('r,ir,jr,kr->ijk', weights, factor_0, factor_1, factor_2)",
  ],
  draws: "kruskal",
  examples: [
    "X.npy --rank 10",
    "X.npy --method cp --rank 10 --out result.npz",
    "X.npy --rank 10 --starts 16",
    "X.npy --rank 10 --init result.npz --out better.npz",
    "X.npy --rank 3 --fixed 0:spectra.npy",
    "X.npy --rank 10 --nonnegative",
    "X.npy --rank 10 --algorithm als --init hosvd --tolerance 0",
  ],

  check({ rank, ranks, algorithm, init, fixed, nonnegative, checkpoint }) {
    if (rank === undefined)
      throw new InputError(
        ranks ? "--method cp needs --rank R, one number" : "--rank R (cp) or --ranks R,R,… (tucker) is needed",
      );
    if (nonnegative && fixed) throw new InputError("--nonnegative and --fixed: give one of them");
    if (nonnegative && checkpoint !== undefined)
      throw new InputError("--nonnegative and --checkpoint: give one of them");
    if (algorithm !== "als") return;
    if (fixed) throw new InputError("--fixed is for --algorithm gauss-newton");
    if (init && !isWord(init))
      throw new InputError(`--init ${init} is for --algorithm gauss-newton; als takes random or hosvd`);
  },

  async prepare(request): Promise<Run> {
    const { options, algorithm } = request;
    const rank = rankOf(request);
    const { init = "random", seed = 0, nonnegative = false } = options;
    const initialize = isWord(init) ? init : readFactors(init, request.shape, rank);
    const fixed = await fixedOf(request, rank);
    const starts = options.starts ?? (typeof initialize === "string" ? STARTS[algorithm]! : 1);
    return {
      label: `cp, rank ${rank}`,
      unit: algorithm === "als" ? "sweeps" : "iterations",
      most: options.sweeps ?? SWEEPS[algorithm]!,
      async solve(engine, x, { stopping }) {
        const result: Result =
          algorithm === "als"
            ? await cpALS(engine, x, {
                rank,
                initialize: initialize as "random" | "hosvd",
                starts,
                seed,
                nonnegative,
                ...stopping,
              })
            : await cpGaussNewton(engine, x, { rank, initialize, fixed, starts, seed, nonnegative, ...stopping });
        const { tensor } = result;
        return {
          title: `CP, rank ${rank}`,
          ranks: [rank],
          tensor,
          model: tensor,
          relativeError: result.relativeError,
          course: result,
          ...(result.starts && { starts: result.starts }),
          lines: negativeLines(result),
          async arrays(exponent) {
            const factors = tensor.factors.map((factor, mode) => [`factor_${mode}`, factor] as const);
            const named = [["weights", tensor.weights] as const, ...factors];
            return { arrays: await readArrays(engine, named, ["weights"], exponent), notes: [] };
          },
        };
      },
    };
  },
};

const isWord = (init: string): init is "random" | "hosvd" => init === "random" || init === "hosvd";

function rankOf({ file, shape, options }: Request): number {
  const rank = options.rank!;
  // any tensor is a sum of as many rank-one terms as it has fibres along its longest mode
  const most = shape.reduce((product, extent) => product * extent, 1) / Math.max(...shape);
  if (rank > most)
    throw new InputError(
      `${file}: rank ${rank} is larger than ${most}, which is enough for any tensor of shape ${formatShape(shape)}`,
    );
  return rank;
}

/** The factors that `--fixed` names, by mode. */
async function fixedOf({ file, shape, options }: Request, rank: number): Promise<Record<number, Float32Array>> {
  const { fixed = new Map() }: MethodOptions = options;
  for (const mode of fixed.keys())
    if (mode >= shape.length)
      throw new InputError(
        `--fixed ${mode}:${fixed.get(mode)}: ${file} has modes 0 to ${shape.length - 1} (shape ${formatShape(shape)})`,
      );
  if (fixed.size === shape.length) throw new InputError("--fixed names every mode; at least one must be free");
  const factors: Record<number, Float32Array> = {};
  for (const [mode, name] of fixed) factors[mode] = await readFactor(name, [shape[mode]!, rank]);
  return factors;
}

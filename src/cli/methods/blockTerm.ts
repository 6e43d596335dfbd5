import { blockTermALS } from "../../decompositions/index.js";
import { InputError } from "../context.js";
import { byMode, type Method, readArrays, tuckerFactors } from "./method.js";
import { multilinear } from "./ranks.js";

const NAME = "block-term";

export const blockTerm: Method = {
  name: NAME,
  summary: "a sum of Tucker tensors, its blocks, by alternating least squares",
  takes: ["blocks", "ranks", "starts", "sweeps", "tolerance", "seed"],
  algorithms: ["als"],
  saves: [
    "of each block g: block_g_core and block_g_factor_0, …; X is about the sum of",
    "numpy.einsum('abc,ia,jb,kc->ijk', block_0_core, block_0_factor_0, …)",
  ],
  draws: "blocks",
  examples: ["X.npy --method block-term --blocks 3 --ranks 2,2,2"],

  check({ blocks, ranks }) {
    if (blocks === undefined || !ranks)
      throw new InputError(`--method ${NAME} needs --blocks G and --ranks, one number a mode`);
  },

  prepare(request) {
    const { blocks, starts = 1, seed = 0, sweeps = 100 } = request.options;
    const asked = multilinear(request);
    return {
      label: `${NAME}, ${blocks} blocks`,
      unit: "sweeps",
      most: sweeps,
      async solve(engine, x, { stopping }) {
        const result = await blockTermALS(engine, x, { blocks: blocks!, ranks: asked, starts, seed, ...stopping });
        const { tensor } = result;
        const ranks = [...tensor.blocks[0]!.core.shape];
        return {
          title: `${blocks} block terms of ranks ${ranks.join(", ")}`,
          ranks,
          tensor,
          model: tensor,
          relativeError: result.relativeError,
          course: result,
          async arrays(exponent) {
            const saved: Awaited<ReturnType<typeof readArrays>> = [];
            const notes: string[] = [];
            for (const [g, { core, factors }] of tensor.blocks.entries()) {
              const of = tuckerFactors(tensor.shape, factors, `block_${g}_`);
              const name = `block_${g}_core`;
              const [first, ...read] = await readArrays(engine, [[name, core], ...of.present], [name], exponent);
              saved.push(first!, ...byMode([...read, ...of.identities]));
              notes.push(...of.notes);
            }
            return { arrays: saved, notes };
          },
        };
      },
    };
  },
};

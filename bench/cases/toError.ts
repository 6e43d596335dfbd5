/** Cases of an entire decomposition, from a tensor to a model as good as asked for. */
import {
  type CpDecomposition,
  cp,
  cpALS,
  type Decomposition,
  type StoppingOptions,
} from "../../src/decompositions/index.js";
import type { Engine, Tensor } from "../../src/gpu/index.js";
import { countReads } from "../../src/sources/index.js";
import type { KruskalTensor } from "../../src/tensors/index.js";
import type { Case, Inputs, Modelled, Prepared, Values } from "../case.js";
import { modelled, values } from "../inputs.js";
import { readAll } from "../ours.js";
import { relativeErrorOf } from "../reference.js";
import { named } from "./products.js";

/** of a tensor that is exactly of the rank: what f32 reaches with some room */
const EXACT = 1e-5;
/** how much larger than the noise the error of a noisy tensor's model may be: the best model is a little nearer than the planted one */
const ROOM = 1.002;

type Solve = (
  x: Tensor,
  stopping: Pick<StoppingOptions, "signal" | "onIteration">,
) => Promise<Decomposition<KruskalTensor> | CpDecomposition>;

/**
 * CP to an error: by `cp`, with its defaults, and by `cpALS` from one random start. A run is what a user calls, from a tensor on the GPU to a
 * model; it is stopped by its signal when an iteration tells an error that is small enough, and its model is checked in f64. `counts` are
 * what `cp` may take at slim sizes; who has not reached the error after `sweeps` is said not to.
 */
export function cpToErrorCase(
  kind: string,
  shape: readonly number[],
  rank: number,
  cosine: number | null,
  noise: number,
  { counts, sweeps }: Pick<Case, "counts"> & { sweeps: number },
): Case {
  const x: Modelled = { shape, seed: 71, rank, cosine, noise };
  const factors = shape.map((extent, mode): Values => ({ shape: [extent, rank], seed: 81 + mode, low: 0, high: 1 }));
  const error = noise ? Number(((ROOM * noise) / Math.sqrt(1 + noise ** 2)).toPrecision(4)) : EXACT;
  const prepare = (what: string, solve: (engine: Engine) => Solve) => async (engine: Engine, inputs: Inputs) =>
    await runs(engine, shape, inputs[0]!, error, what, solve(engine));
  return {
    name: `CP to error ${error < 1e-3 ? error.toExponential() : error}, ${kind} ${named(shape)} R${rank}`,
    shapes: `${shape.join("×")}, ${rank} terms`,
    flops: 0,
    bytes: 0,
    work: { op: "cpToError", x, rank, error, sweeps, factors },
    tolerance: error,
    isTarget: true,
    large: true,
    counts,
    // the signal stops a run a batch after the error is told: it is no reason to stop before
    prepare: prepare("iterations", (engine) => (tensor, stopping) => cp(engine, tensor, { rank, ...stopping })),
    alternatives: {
      cpALS: prepare(
        "sweeps",
        (engine) => (tensor, stopping) => cpALS(engine, tensor, { rank, sweeps, tolerance: 0, ...stopping }),
      ),
    },
    inputs: () => [modelled(x), ...factors.map(values)],
    reference: ([tensor]) => relativeErrorOf(tensor!, shape),
  };
}

async function runs(
  engine: Engine,
  shape: readonly number[],
  data: Float32Array,
  error: number,
  what: string,
  solve: Solve,
): Promise<Prepared> {
  const x = engine.tensor(shape, data);
  const reads = countReads(x);
  let model: Float32Array[] = [];
  let taken = { sweeps: 0, passes: 0 };
  return {
    async run(times) {
      for (let run = 0; run < times; run++) {
        const before = reads.passes;
        const stop = new AbortController();
        const { tensor, sweeps } = await solve(x, {
          signal: stop.signal,
          onIteration: ({ relativeError }) => void (relativeError <= error && stop.abort()),
        });
        model = await readAll(engine, [tensor.weights, ...tensor.factors]);
        taken = { sweeps, passes: reads.passes - before };
        tensor.destroy();
      }
    },
    outputs: async () => model,
    get reads() {
      return Math.round(10 * taken.passes) / 10;
    },
    get way() {
      return `${taken.sweeps} ${what}`;
    },
    destroy: () => x.destroy(),
  };
}

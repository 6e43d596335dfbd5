import {
  checkOptions,
  type DType,
  type Engine,
  type OptionRules,
  oneOf,
  optionRules,
  ShapeError,
  type Tensor,
} from "../gpu/index.js";
import { map, permute, scaleColumns, uniform } from "../ops/index.js";
import { checkCall, resident } from "../sources/index.js";
import { type KruskalTensor, NonnegativeFactors } from "../tensors/index.js";
import { cpConstrained } from "./cp.js";
import { type Decomposition, type StoppingOptions, stoppingRules } from "./iterate.js";
import { TensorScope } from "./tensorScope.js";
import { truncatedSvd } from "./truncatedSvd.js";

export interface NmfOptions extends StoppingOptions {
  /** R, the number of components; scikit-learn calls it n_components */
  rank: number;
  /**
   * `nndsvd`, the default: the larger parts of one sign of the leading singular vectors (Boutsidis & Gallopoulos 2008), random beyond their
   * number; `random`: uniform numbers
   */
  initialize?: "nndsvd" | "random";
  /** runs this many starts, all but the first of them random, and keeps the best; 1 by default */
  starts?: number;
  seed?: number;
}

const rules: OptionRules<NmfOptions> = {
  rank: { ...optionRules.positive, required: true },
  initialize: oneOf("nndsvd", "random"),
  starts: optionRules.positive,
  seed: optionRules.seed,
  ...stoppingRules,
};

/**
 * Non-negative matrix factorisation X ≈ W·H, with W (I×R) and H (R×J) of the least ‖X − W·H‖ without negative entries, by accelerated
 * hierarchical alternating least squares (Cichocki & Phan 2009; Gillis & Glineur 2012). X may have negative entries: `negativePart` tells how
 * much of ‖X‖ they are.
 *
 * @throws ShapeError where x is no matrix
 */
export async function nmf(
  engine: Engine,
  x: Tensor<DType>,
  options: NmfOptions,
): Promise<Decomposition<NonnegativeFactors>> {
  checkCall(engine, "nmf", x);
  checkOptions("nmf", options, rules);
  if (x.order !== 2) throw new ShapeError(`nmf: ${x} has order ${x.order}, needs a matrix`);
  const { initialize = "nndsvd", rank, ...others } = options;
  using source = await resident(engine, "nmf", x);
  const start =
    initialize === "nndsvd" && !source.isZero
      ? await nndsvd(engine, source.x, rank, others.seed ?? 0, others.signal)
      : "random";
  const { tensor, ...how } = await cpConstrained("nmf", source, {
    ...others,
    rank,
    initialize: start,
    nonnegative: true,
  });
  using _ = tensor;
  return { ...how, tensor: await matrices(tensor) };
}

/** W and H of a CP model of a matrix; the weights are shared out. */
async function matrices(model: KruskalTensor): Promise<NonnegativeFactors> {
  const { engine, weights, rank } = model;
  const [a, b] = model.factors as [Tensor, Tensor];
  using scope = new TensorScope(engine);
  const w = scope.allocate(a.shape, "W");
  const h = scope.allocate([rank, b.shape[0]!], "H");
  await engine.run((s) => {
    const roots = map(s, weights, "sqrt");
    scaleColumns(s, a, roots, { out: w });
    const columns = scaleColumns(s, b, roots);
    permute(s, columns, [1, 0], { out: h });
    s.release(roots, columns);
  }, "NMF result");
  return scope.handOut(new NonnegativeFactors(w, h));
}

/**
 * Of every leading pair of singular vectors the parts of one sign, positive or negative in both, whose product is larger (Boutsidis &
 * Gallopoulos 2008): I×R and J×R, row-major. Columns beyond the number of singular values are uniform random numbers.
 */
async function nndsvd(
  engine: Engine,
  x: Tensor,
  rank: number,
  seed: number,
  signal: AbortSignal | undefined,
): Promise<[Float32Array, Float32Array]> {
  const [rows, columns] = x.shape as [number, number];
  const count = Math.min(rank, rows, columns);
  using factors = await truncatedSvd(engine, x, { rank: count, seed, ...(signal && { signal }) });
  const [u, v] = await engine.read([factors.u, factors.v]);
  using scope = new TensorScope(engine);
  const random = [rows, columns].map((extent, mode) => scope.allocate([extent, rank], `start ${mode}`));
  await engine.run((s) => {
    for (const [mode, out] of random.entries()) uniform(s, out.shape, { seed, stream: mode, out });
  }, "NMF start");
  const starts = (await engine.read(random)) as [Float32Array, Float32Array];
  for (let r = 0; r < count; r++) {
    const partOf = (vectors: Float32Array, sign: number) => {
      let squares = 0;
      for (let at = r; at < vectors.length; at += count) squares += Math.max(0, sign * vectors[at]!) ** 2;
      return Math.sqrt(squares);
    };
    const sign = partOf(u!, 1) * partOf(v!, 1) >= partOf(u!, -1) * partOf(v!, -1) ? 1 : -1;
    [u!, v!].forEach((vectors, side) => {
      for (let row = 0; row < vectors.length / count; row++)
        starts[side]![row * rank + r] = Math.max(0, sign * vectors[row * count + r]!);
    });
  }
  return starts;
}

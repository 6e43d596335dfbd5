import { MOST_FACTORISED, truncatedSvd } from "../../decompositions/index.js";
import {
  checkOptions,
  type Engine,
  type OptionRules,
  optionRules,
  required,
  type Scheduler,
  ShapeError,
  type Tensor,
} from "../../gpu/index.js";
import { lowRankMatmul, prefersLowRank } from "../../ops/index.js";
import { activatedProduct } from "../activated.js";
import { Chain } from "../chain.js";
import type { Pass } from "../layer.js";
import { layerKind } from "../layerKind.js";
import { assertEngine, dataRules } from "../layerRules.js";
import { Linear } from "../layers.js";
import type { FitMemory } from "./fitMemory.js";
import { choleskyFactor, matrixProduct, transpose, type Values } from "./hostMatrices.js";
import { Products } from "./products.js";
import {
  biasBoundOf,
  type DenseSource,
  denseWeights,
  type FactorisedOptions,
  factorisedRules,
  gainOf,
  varianceStart,
} from "./source.js";

export interface SvdLinearOptions extends FactorisedOptions {
  inputs: number;
  outputs: number;
  /** R */
  rank: number;
  /** start values: first rank×inputs, last outputs×rank; random ones by default */
  factors?: { first: Float32Array; last: Float32Array };
}

const svdLinearRules: OptionRules<SvdLinearOptions> = {
  inputs: required(optionRules.positive),
  outputs: required(optionRules.positive),
  rank: required(optionRules.positive),
  factors: { needs: "start values { first, last }", is: (value) => typeof value === "object" && value !== null },
  ...factorisedRules,
};

/**
 * A dense layer of rank R as two dense layers (Denton, Zaremba, Bruna, LeCun & Fergus 2014): I→R without a bias, then R→O.
 * R(I + O) weights, and as many multiplications a sample.
 *
 * @throws TenfoldError where an option is unfit
 */
export class SvdLinear extends Chain {
  readonly method = "svd";
  readonly inputs: number;
  readonly outputs: number;
  readonly rank: number;
  readonly first: Linear;
  readonly last: Linear;

  constructor(options: SvdLinearOptions) {
    checkOptions("SvdLinear", options, svdLinearRules);
    const { inputs, outputs, rank, factors, bias, activation, start = "uniform" } = options;
    const first = new Linear(inputs, rank, { bias: false, weight: factors?.first, start: varianceStart(inputs) });
    const last = new Linear(rank, outputs, {
      bias: bias ?? true,
      activation: activation ?? "none",
      weight: factors?.last,
      start: varianceStart(rank, gainOf(start), biasBoundOf(start, inputs)),
    });
    super(`SVD ${inputs}→${rank}→${outputs}`, [first, last]);
    this.inputs = inputs;
    this.outputs = outputs;
    this.rank = rank;
    this.first = first;
    this.last = last;
  }

  /** Outside training both products are one dispatch where that is faster on the adapter. */
  override forward(s: Scheduler, x: Tensor, pass: Pass): Tensor {
    const { first, last } = this;
    const [a, b] = [first.weight.value, last.weight.value];
    if (pass.training || !prefersLowRank(x, a, b)) return super.forward(s, x, pass);
    this.outputShape(x.shape.slice(1));
    return activatedProduct(s, last.activation, (activation) =>
      lowRankMatmul(s, x, a, b, { bias: last.bias?.value, activation }),
    );
  }

  /** The dense weight that the two stand for, outputs×inputs. */
  async toDense(): Promise<Float32Array> {
    const [first, last] = [await this.first.weight.read(), await this.last.weight.read()];
    return Float32Array.from(matrixProduct(last, first, this.outputs, this.rank, this.inputs));
  }
}

export const svdLinearKind = /* @__PURE__ */ layerKind(
  "svdLinear",
  SvdLinear,
  ({ inputs, outputs, rank, last: { bias, activation } }) => ({
    ...{ inputs, outputs, rank, bias: bias !== null, activation },
  }),
  (f) => {
    const extents = { inputs: f.count("inputs"), outputs: f.count("outputs"), rank: f.count("rank") };
    return new SvdLinear({ ...extents, ...f.output() });
  },
);

/** What a fit may know about a layer's inputs: it then approximates the layer's outputs instead of its weight. */
export interface DataAware {
  /** second moments E[x·xᵀ] of the layer's inputs x, n×n */
  covariance?: Values | undefined;
  /**
   * added to the diagonal of the covariance, as a share of its mean diagonal, because a singular covariance has no inverse. By
   * default 1e-6; 1e-4 for trains, rings and Tucker tensors
   */
  ridge?: number;
  /** @internal results that other fits of the same layer share */
  memory?: FitMemory | undefined;
}

export interface SvdLinearFit extends DataAware {
  /** R */
  rank: number;
  /** seed of the SVD's start, 0 by default */
  seed?: number;
}

/**
 * The best approximation Ŵ of rank R of a trained dense layer's weight W, by its SVD, with √Σ in both factors. With the
 * covariance C of the inputs, Ŵ has the least error of the outputs, tr((W − Ŵ)·C·(W − Ŵ)ᵀ): Ŵ = U·Uᵀ·W for the left singular
 * vectors U of W·L, where L·Lᵀ = C. Because Ŵ is made without L⁻¹, it approximates W in directions too that no input had, as
 * there are with few samples.
 *
 * @throws TenfoldError where an argument is unfit, ShapeError where the covariance has another size
 */
export async function svdLinear(engine: Engine, source: DenseSource, fit: SvdLinearFit): Promise<SvdLinear> {
  assertEngine("svdLinear", engine);
  checkOptions("svdLinear", fit, { ...dataRules, rank: required(optionRules.positive) });
  const { rank, covariance, ridge = 1e-6, seed = 0, memory } = fit;
  const { inputs, outputs, weight, bias, activation } = await denseWeights(source);
  if (covariance && covariance.length !== inputs * inputs)
    throw new ShapeError(`svdLinear: covariance of ${covariance.length} numbers, needs ${inputs}×${inputs}`);
  const root = covariance ? choleskyFactor(covariance, inputs, ridge) : null;
  const settings = { root, seed, memory, name: `svdLinear ${root ? ridge : "plain"}` };
  const factors = await splitMatrix(engine, weight, [outputs, inputs], rank, settings);
  return new SvdLinear({
    inputs,
    outputs,
    rank,
    factors: { first: factors.right, last: factors.left },
    bias: bias ?? false,
    activation,
  });
}

/** A matrix as left·right of rank R: rows×R and R×columns. */
interface SplitMatrix {
  left: Float32Array;
  right: Float32Array;
}

/** How a matrix is split. */
interface SplitOptions {
  /** L, columns×columns; null for the identity */
  root: Values | null;
  seed: number;
  memory: FitMemory | undefined;
  /** of A and L in the memory */
  name: string;
}

/**
 * A ≈ left·right of rank R, with the least ‖(A − left·right)·L‖. Column r of `left` is as long as row r of `right`. Where an SVD has all
 * vectors anyway, one of them serves every rank.
 *
 * @param values A, rows×columns
 */
export async function splitMatrix(
  engine: Engine,
  values: Values,
  [rows, columns]: readonly [number, number],
  rank: number,
  { root, seed, memory, name }: SplitOptions,
): Promise<SplitMatrix> {
  const most = Math.min(rows, columns);
  const split = (rank: number) => splitBySvd(engine, values, [rows, columns], rank, root, seed);
  if (!memory || rank > most || most > MOST_FACTORISED) return split(rank);
  const { left, right } = await memory.of(`${name} of all ranks`, () => split(most));
  return {
    left: Float32Array.from({ length: rows * rank }, (_, e) => left[Math.floor(e / rank) * most + (e % rank)]!),
    right: right.slice(0, rank * columns),
  };
}

async function splitBySvd(
  engine: Engine,
  values: Values,
  [rows, columns]: readonly [number, number],
  rank: number,
  root: Values | null,
  seed: number,
): Promise<SplitMatrix> {
  using products = new Products(engine);
  // L is lower triangular, and products are of rows
  const whitened = root
    ? await products.rows(values, transpose(root, columns, columns), [rows, columns, columns])
    : values;
  using a = engine.tensor([rows, columns], whitened);
  using result = await truncatedSvd(engine, a, { rank, seed });
  const [u, sigma, v] = await engine.read([result.u, result.values, result.v]);
  // right = Uᵀ·A; without a root this is Σ·Vᵀ, which the SVD has computed
  const turned = root
    ? await products.rows(transpose(u!, rows, rank), transpose(values, rows, columns), [rank, columns, rows])
    : transpose(v!, columns, rank);
  const right = Float64Array.from(turned);
  const lengths = new Float64Array(rank);
  for (let r = 0; r < rank; r++) {
    for (let j = 0; j < columns; j++) {
      if (!root) right[r * columns + j]! *= sigma![r]!;
      lengths[r]! += right[r * columns + j]! ** 2;
    }
    lengths[r] = Math.sqrt(lengths[r]!);
  }
  return {
    left: Float32Array.from(u!, (value, e) => value * Math.sqrt(lengths[e % rank]!)),
    right: Float32Array.from(right, (value, e) => value / Math.sqrt(lengths[Math.floor(e / columns)]! || 1)),
  };
}

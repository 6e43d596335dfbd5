import { truncatedSvd } from "../../decompositions/index.js";
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
import { Chain } from "../chain.js";
import type { Pass } from "../layer.js";
import { Linear } from "../layers.js";
import { assertEngine, dataRules, layerRules } from "../options.js";
import { choleskyFactor, multiply, type Values } from "./numeric.js";
import { biasBoundOf, type DenseSource, denseWeights, type FactorisedOptions, gainOf, startOf } from "./source.js";

export interface SvdLinearOptions extends FactorisedOptions {
  inputs: number;
  outputs: number;
  rank: number;
  /** start values: first rank×inputs, last outputs×rank; random ones where they are not given */
  factors?: { first: Float32Array; last: Float32Array };
}

const svdLinearRules: OptionRules<SvdLinearOptions> = {
  inputs: required(optionRules.positive),
  outputs: required(optionRules.positive),
  rank: required(optionRules.positive),
  factors: { needs: "start values { first, last }", is: (value) => typeof value === "object" && value !== null },
  bias: layerRules.bias,
  activation: layerRules.activation,
  start: layerRules.factorStart,
};

/**
 * A dense layer of rank R as two: inputs→R without bias, R→outputs (Denton, Zaremba, Bruna, LeCun & Fergus 2014). R(I + O)
 * weights and as many multiplications.
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
    const first = new Linear(inputs, rank, { bias: false, weight: factors?.first, start: startOf(inputs) });
    const last = new Linear(rank, outputs, {
      bias: bias ?? true,
      activation: activation ?? "none",
      weight: factors?.last,
      start: startOf(rank, gainOf(start), biasBoundOf(start, inputs)),
    });
    super(`SVD ${inputs}→${rank}→${outputs}`, [first, last]);
    this.inputs = inputs;
    this.outputs = outputs;
    this.rank = rank;
    this.first = first;
    this.last = last;
  }

  /** For a few samples outside training both products are one dispatch. */
  override forward(s: Scheduler, x: Tensor, pass: Pass): Tensor {
    const { first, last } = this;
    const [a, b] = [first.weight.value, last.weight.value];
    if (pass.training || !prefersLowRank(x, a, b)) return super.forward(s, x, pass);
    this.outputShape(x.shape.slice(1));
    return lowRankMatmul(s, x, a, b, { bias: last.bias?.value, activation: last.activation });
  }

  /** The dense weight that it stands for, outputs×inputs. */
  async toDense(): Promise<Float32Array> {
    const [first, last] = [await this.first.weight.read(), await this.last.weight.read()];
    return Float32Array.from(multiply(last, first, this.outputs, this.rank, this.inputs));
  }
}

/** Second moments E[x·xᵀ] of a layer's inputs, n×n, for fits that weigh errors by what the inputs are. */
export interface DataAware {
  covariance?: Values | undefined;
  /** what its eigenvalues are lifted by, times their mean: 1e-6 by default */
  ridge?: number;
}

export interface SvdLinearFit extends DataAware {
  rank: number;
  seed?: number;
}

/**
 * A trained dense layer's best approximation of rank R, √Σ on both sides. With the inputs' covariance C the error of the
 * outputs is least instead, tr((W − Ŵ)·C·(W − Ŵ)ᵀ), by the left singular vectors U of W·L with L·Lᵀ = C: Ŵ = U·Uᵀ·W. No
 * L⁻¹ is taken, so directions that the inputs never had, as with few samples, keep what of W the layer still has room for.
 */
export async function svdLinear(engine: Engine, source: DenseSource, fit: SvdLinearFit): Promise<SvdLinear> {
  assertEngine("svdLinear", engine);
  checkOptions("svdLinear", fit, { ...dataRules, rank: required(optionRules.positive) });
  const { rank, covariance, ridge = 1e-6, seed = 0 } = fit;
  const { inputs, outputs, weight, bias, activation } = await denseWeights(source);
  if (covariance && covariance.length !== inputs * inputs)
    throw new ShapeError(`svdLinear: covariance of ${covariance.length} numbers, needs ${inputs}×${inputs}`);
  const root = covariance ? choleskyFactor(covariance, inputs, ridge) : null;
  const factors = await splitMatrix(engine, weight, [outputs, inputs], rank, root, seed);
  return new SvdLinear({
    inputs,
    outputs,
    rank,
    factors: { first: factors.right, last: factors.left },
    bias: bias ?? false,
    activation,
  });
}

/**
 * A ≈ left·right of rank R, columns of left and rows of right equally long; least in ‖(A − left·right)·L‖ where an L
 * (columns×columns) is given.
 */
export async function splitMatrix(
  engine: Engine,
  values: Values,
  [rows, columns]: readonly [number, number],
  rank: number,
  root: Values | null = null,
  seed = 0,
): Promise<{ left: Float32Array; right: Float32Array }> {
  using a = engine.tensor([rows, columns], root ? multiply(values, root, rows, columns, columns) : values);
  using result = await truncatedSvd(engine, a, { rank, seed });
  const [u, sigma, v] = await engine.read([result.u, result.values, result.v]);
  // Uᵀ·A is Σ·Vᵀ where A itself was decomposed
  const right = new Float64Array(rank * columns);
  const lengths = new Float64Array(rank);
  for (let r = 0; r < rank; r++) {
    for (let j = 0; j < columns; j++) {
      let sum = 0;
      if (root) for (let i = 0; i < rows; i++) sum += u![i * rank + r]! * values[i * columns + j]!;
      else sum = v![j * rank + r]! * sigma![r]!;
      right[r * columns + j] = sum;
      lengths[r]! += sum * sum;
    }
    lengths[r] = Math.sqrt(lengths[r]!);
  }
  return {
    left: Float32Array.from(u!, (value, e) => value * Math.sqrt(lengths[e % rank]!)),
    right: Float32Array.from(right, (value, e) => value / Math.sqrt(lengths[Math.floor(e / columns)]! || 1)),
  };
}

import {
  checkOptions,
  type Engine,
  formatShape,
  type OptionRules,
  required,
  type Scheduler,
  ShapeError,
  TenfoldError,
  type Tensor,
} from "../../gpu/index.js";
import { type Epilogue, matmul, permute } from "../../ops/index.js";
import type { Parameter } from "../layer.js";
import { layerKind } from "../layerKind.js";
import { assertEngine, dataRules, layerRules } from "../layerRules.js";
import { asTrainCores, type Merged, mergeBackward, mergeCores, mergeValues, ringCores, ringRanks } from "./cores.js";
import { FactorisedDense } from "./factorisedDense.js";
import { matrixProduct, permuteValues, transpose } from "./hostMatrices.js";
import { fitRing, ringFitRules } from "./ringFit.js";
import {
  assertModes,
  coreRules,
  type DenseSource,
  denseWeights,
  type FactorisedOptions,
  factorisedRules,
  modesOptions,
  product,
} from "./source.js";
import type { DataAware } from "./svdLinear.js";
import { COVARIANCE_OR_ERROR, dataAwareFit, unwhiten } from "./whitening.js";

export interface TensorRingLinearOptions extends FactorisedOptions {
  /** m_1…m_p, which multiply to the number of inputs */
  inputModes: readonly number[];
  /** n_1…n_q, which multiply to the number of outputs */
  outputModes: readonly number[];
  /** r_1…r_{p+q}, or one number for all; core k is r_k×extent×r_{k+1} */
  ranks: number | readonly number[];
  /** start values of every core; random ones by default */
  cores?: readonly Float32Array[];
}

const ringRules: OptionRules<TensorRingLinearOptions> = {
  ...coreRules,
  ...factorisedRules,
};

/**
 * A dense layer whose weight, split into p input modes and q output modes, is a tensor ring (Wang, Sun, Eriksson, Wang &
 * Aggarwal 2018). Every batch merges the cores of the inputs into a matrix I×(r_1·r_{p+1}), and those of the outputs into a matrix
 * (r_1·r_{p+1})×O. A sample then takes r_1·r_{p+1}·(I + O) multiplications.
 *
 * @throws TenfoldError where an option is unfit, ShapeError where modes, ranks or cores do not fit
 */
export class TensorRingLinear extends FactorisedDense {
  readonly method = "tensorRing";
  readonly name: string;
  readonly inputModes: readonly number[];
  readonly outputModes: readonly number[];
  /** r_1, …, r_{p+q} */
  readonly ranks: readonly number[];
  readonly factors: readonly Parameter[];
  /** tensors of the training pass recorded last, for its backward pass */
  #recorded: { x: Tensor; z: Tensor; sides: [Side, Side] } | null = null;

  constructor(options: TensorRingLinearOptions) {
    checkOptions("TensorRingLinear", options, ringRules);
    const { inputModes, outputModes, ranks, cores, ...dense } = options;
    super(product(inputModes), product(outputModes), dense);
    const extents = [...inputModes, ...outputModes];
    const d = extents.length;
    if (!inputModes.length || !outputModes.length)
      throw new ShapeError("TensorRingLinear: needs modes for inputs and for outputs");
    const r = ringRanks("TensorRingLinear", ranks, d);
    this.inputModes = inputModes;
    this.outputModes = outputModes;
    this.ranks = r;
    this.name = `Tensor ring ${formatShape(inputModes)}→${formatShape(outputModes)} (${r.join(", ")})`;
    // an output sums over the input modes, not over the output modes
    const values = { cores, start: dense.start ?? "uniform" };
    this.factors = ringCores(this.name, extents, r, values, (k) => k < inputModes.length);
  }

  /** r_1·r_{p+1}·(I + O) a sample, without merging the cores, which is done once a batch. */
  get multiplications(): number {
    return this.#rank * (this.inputs + this.outputs);
  }

  get #rank(): number {
    return this.ranks[0]! * this.ranks[this.inputModes.length]!;
  }

  #sideOf(s: Scheduler, from: number, to: number, axes: readonly number[], keep: boolean): Side {
    const cores = asTrainCores(this.factors.slice(from, to));
    const merged = mergeCores(s, cores, keep);
    const [left, extent, , right] = merged.full.shape as [number, number, number, number];
    const matrix = permute(s, merged.full.reshape([left, extent, right]), axes);
    if (cores.length > 1) s.release(merged.full);
    return { cores, merged, matrix };
  }

  protected contract(s: Scheduler, x: Tensor, training: boolean, epilogue: Epilogue): Tensor {
    const p = this.inputModes.length;
    // the merged cores r_1×I×r_{p+1} as I×(r_1·r_{p+1}), and r_{p+1}×O×r_1 as (r_1·r_{p+1})×O
    const first = this.#sideOf(s, 0, p, [1, 0, 2], training);
    const last = this.#sideOf(s, p, this.factors.length, [2, 0, 1], training);
    const z = matmul(s, x, first.matrix.reshape([this.inputs, this.#rank]));
    const y = matmul(s, z, last.matrix.reshape([this.#rank, this.outputs]), {
      bias: this.bias?.value,
      activation: epilogue,
    });
    if (training) this.#recorded = { x, z, sides: [first, last] };
    else s.release(z, first.matrix, last.matrix);
    return y;
  }

  protected contractBackward(s: Scheduler, dz: Tensor, inputGradient: boolean): Tensor | null {
    const { x, z, sides } = this.#recorded!;
    this.#recorded = null;
    const [first, last] = sides;
    const p = this.inputModes.length;
    const [left, right] = [this.ranks[0]!, this.ranks[p]!];
    const dLast = matmul(s, z, dz, { transposeA: true });
    this.#sideBackward(s, last, dLast.reshape([left, right, this.outputs]), [1, 2, 0], p);
    const inner = matmul(s, dz, last.matrix.reshape([this.#rank, this.outputs]), { transposeB: true });
    const dFirst = matmul(s, x, inner, { transposeA: true });
    this.#sideBackward(s, first, dFirst.reshape([this.inputs, left, right]), [1, 0, 2], 0);
    const dx = inputGradient
      ? matmul(s, inner, first.matrix.reshape([this.inputs, this.#rank]), { transposeB: true })
      : null;
    s.release(z, inner, first.matrix, last.matrix);
    return dx;
  }

  #sideBackward(s: Scheduler, side: Side, dMatrix: Tensor, axes: readonly number[], from: number): void {
    const dFull = permute(s, dMatrix, axes);
    s.release(dMatrix);
    const gradients = side.cores.map((core, k) => this.factors[from + k]!.gradient.reshape(core.shape));
    const [left, extent, right] = dFull.shape as [number, number, number];
    mergeBackward(s, side.cores, gradients, side.merged, dFull.reshape([left, extent, 1, right]));
  }

  async toDense(): Promise<Float32Array> {
    const p = this.inputModes.length;
    const cores = await Promise.all(this.factors.map((factor) => factor.read()));
    const side = (from: number, to: number, axes: readonly number[]) => {
      const shapes = this.factors
        .slice(from, to)
        .map(({ shape: [left, extent, right] }) => [left!, extent!, 1, right!]);
      const full = mergeValues(cores.slice(from, to), shapes);
      const [left, right] = [shapes[0]![0]!, shapes.at(-1)![3]!];
      return permuteValues(full, [left, full.length / left / right, right], axes);
    };
    const first = side(0, p, [1, 0, 2]);
    const last = side(p, cores.length, [2, 0, 1]);
    const full = matrixProduct(first, last, this.inputs, this.#rank, this.outputs);
    return Float32Array.from(transpose(full, this.inputs, this.outputs));
  }
}

export const tensorRingLinearKind = /* @__PURE__ */ layerKind(
  "tensorRingLinear",
  TensorRingLinear,
  ({ inputModes, outputModes, ranks, bias, activation }) => ({
    ...{ inputModes, outputModes, ranks, bias: bias !== null, activation },
  }),
  (f) => new TensorRingLinear(modesOptions(f)),
);

/** The cores of the inputs, or those of the outputs. */
interface Side {
  cores: Tensor[];
  merged: Merged;
  /** the merged cores as one factor of the product */
  matrix: Tensor;
}

export interface TensorRingLinearFit extends DataAware {
  /** m_1…m_p, which multiply to the number of inputs */
  inputModes: readonly number[];
  /** n_1…n_q, which multiply to the number of outputs */
  outputModes: readonly number[];
  /** ranks of the cores, or one number for all: the fit is TR-SVD, then alternating least squares from its result */
  ranks?: number | readonly number[];
  /** in place of `ranks`: relative error of the weight, ‖W − Ŵ‖ ÷ ‖W‖, up to which TR-SVD chooses the ranks */
  relativeError?: number;
  /** most sweeps of alternating least squares, 30 by default; 0 for TR-SVD alone */
  sweeps?: number;
  /** seed of the SVDs' starts, 0 by default */
  seed?: number;
}

const fitRules: OptionRules<TensorRingLinearFit> = {
  ...dataRules,
  inputModes: required(layerRules.modes),
  outputModes: required(layerRules.modes),
  ...ringFitRules,
};

/**
 * A trained dense layer as a tensor ring. With a covariance of the inputs, the weight and the weight whitened mode by mode are
 * both fitted, and the fit whose outputs are nearer is returned.
 *
 * @throws TenfoldError where an argument is unfit, or a covariance meets a `relativeError`; ShapeError where the modes do not
 * fit the layer
 */
export async function tensorRingLinear(
  engine: Engine,
  source: DenseSource,
  fit: TensorRingLinearFit,
): Promise<TensorRingLinear> {
  assertEngine("tensorRingLinear", engine);
  checkOptions("tensorRingLinear", fit, fitRules);
  const { inputModes, outputModes } = fit;
  if (fit.covariance && fit.relativeError !== undefined)
    throw new TenfoldError(`tensorRingLinear: ${COVARIANCE_OR_ERROR}`);
  const dense = await denseWeights(source);
  const { inputs, outputs, bias, activation } = dense;
  assertModes("tensorRingLinear: inputs", inputModes, inputs);
  assertModes("tensorRingLinear: outputs", outputModes, outputs);
  return dataAwareFit(dense, inputModes, fit, "tensorRingLinear", async (values, roots) => {
    using w = engine.tensor([...inputModes, ...outputModes], values);
    const { ranks, cores } = await fitRing(engine, w, fit);
    const shapeOf = (k: number) => [ranks[k]!, w.shape[k]!, ranks[(k + 1) % ranks.length]!];
    return new TensorRingLinear({
      inputModes,
      outputModes,
      ranks,
      cores: cores.map((core, k) => (roots[k] ? unwhiten(core, shapeOf(k), 1, roots[k]) : core)),
      bias: bias ?? false,
      activation,
    });
  });
}

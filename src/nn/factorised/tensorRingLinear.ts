import { tensorRingALS, tensorRingSVD } from "../../decompositions/index.js";
import {
  checkOptions,
  type Engine,
  formatShape,
  type OptionRules,
  optionRules,
  required,
  type Scheduler,
  ShapeError,
  TenfoldError,
  type Tensor,
} from "../../gpu/index.js";
import { matmul, normal, permute } from "../../ops/index.js";
import { Parameter } from "../layer.js";
import { assertEngine, dataRules, layerRules } from "../layerRules.js";
import { FactorisedDense } from "./factorisedDense.js";
import { multiply, permuteValues, transpose } from "./hostMatrices.js";
import { type Merged, mergeBackward, mergeCores, mergeValues } from "./merge.js";
import {
  assertModes,
  type DenseSource,
  denseWeights,
  type FactorisedOptions,
  factorisedRules,
  gainOf,
} from "./source.js";
import type { DataAware } from "./svdLinear.js";
import { inputsFirst, kroneckerRoots, nearest, unwhiten, whiten } from "./whitening.js";

export interface TensorRingLinearOptions extends FactorisedOptions {
  /** m_1…m_p, multiplying to the inputs */
  inputModes: readonly number[];
  /** n_1…n_q, multiplying to the outputs */
  outputModes: readonly number[];
  /** r_1…r_{p+q}, core k being r_k×extent×r_{k+1}, or one for all */
  ranks: number | readonly number[];
  /** start values; random ones where they are not given */
  cores?: readonly Float32Array[];
}

/** @internal */
export const ringRules: OptionRules<TensorRingLinearOptions> = {
  inputModes: required(layerRules.modes),
  outputModes: required(layerRules.modes),
  ranks: required(optionRules.ranks),
  cores: layerRules.valueLists,
  ...factorisedRules,
};

/**
 * A dense layer whose weight, split into p input and q output modes, is a tensor ring (Wang, Sun, Eriksson, Wang & Aggarwal
 * 2018). The cores of either side are merged once a batch, into inputs×(r_1·r_{p+1}) and (r_1·r_{p+1})×outputs; a sample then
 * costs r_1·r_{p+1}·(I + O) multiplications.
 */
export class TensorRingLinear extends FactorisedDense {
  readonly method = "tensorRing";
  readonly name: string;
  readonly inputModes: readonly number[];
  readonly outputModes: readonly number[];
  /** r_1, …, r_{p+q} */
  readonly ranks: readonly number[];
  readonly factors: readonly Parameter[];
  #kept: { x: Tensor; z: Tensor; sides: [Side, Side] } | null = null;

  constructor(options: TensorRingLinearOptions) {
    checkOptions("TensorRingLinear", options, ringRules);
    const { inputModes, outputModes, ranks, cores, ...dense } = options;
    const product = (modes: readonly number[]) => modes.reduce((a, b) => a * b, 1);
    super(product(inputModes), product(outputModes), dense);
    const extents = [...inputModes, ...outputModes];
    const d = extents.length;
    const own = typeof ranks === "number" ? new Array<number>(d).fill(ranks) : ranks;
    if (!inputModes.length || !outputModes.length)
      throw new ShapeError("TensorRingLinear: needs modes for inputs and for outputs");
    if (own.length !== d || own.some((rank) => !(Number.isInteger(rank) && rank >= 1)))
      throw new ShapeError(`TensorRingLinear: ranks ${own.join(", ")}, needs ${d} positive whole numbers`);
    this.inputModes = inputModes;
    this.outputModes = outputModes;
    this.ranks = own;
    this.name = `Tensor ring ${formatShape(inputModes)}→${formatShape(outputModes)} (${own.join(", ")})`;
    this.factors = extents.map((extent, k) => {
      const shape = [own[k]!, extent, own[(k + 1) % d]!];
      const size = product(shape);
      if (cores && cores[k]?.length !== size)
        throw new ShapeError(`${this.name}: core ${k} has ${cores[k]?.length} numbers, needs ${formatShape(shape)}`);
      const terms = own[k]! * (k < inputModes.length ? extent : 1);
      const deviation = Math.sqrt((k === d - 1 ? gainOf(dense.start ?? "uniform") : 1) / terms);
      const initialize = (s: Scheduler, out: Tensor, seed: number) =>
        void normal(s, out.shape, { seed, deviation, out });
      return new Parameter(`core${k}`, shape, cores?.[k] ?? initialize);
    });
  }

  /** r_1·r_{p+1}·(I + O). Merging the cores, once a batch, comes on top. */
  get multiplications(): number {
    return this.#rank * (this.inputs + this.outputs);
  }

  get #rank(): number {
    return this.ranks[0]! * this.ranks[this.inputModes.length]!;
  }

  #sideOf(s: Scheduler, from: number, to: number, axes: readonly number[], keep: boolean): Side {
    const cores = this.factors.slice(from, to).map(({ value }) => {
      const [left, extent, right] = value.shape as [number, number, number];
      return value.reshape([left, extent, 1, right]);
    });
    const merged = mergeCores(s, cores, keep);
    const [left, extent, , right] = merged.full.shape as [number, number, number, number];
    const matrix = permute(s, merged.full.reshape([left, extent, right]), axes);
    if (cores.length > 1) s.release(merged.full);
    return { cores, merged, matrix };
  }

  protected contract(s: Scheduler, x: Tensor, training: boolean): Tensor {
    const p = this.inputModes.length;
    // r_1×I×r_{p+1} as I×(r_1·r_{p+1}), and r_{p+1}×O×r_1 as (r_1·r_{p+1})×O
    const first = this.#sideOf(s, 0, p, [1, 0, 2], training);
    const last = this.#sideOf(s, p, this.factors.length, [2, 0, 1], training);
    const z = matmul(s, x, first.matrix.reshape([this.inputs, this.#rank]));
    const y = matmul(s, z, last.matrix.reshape([this.#rank, this.outputs]), {
      bias: this.bias?.value,
      activation: this.activation,
    });
    if (training) this.#kept = { x, z, sides: [first, last] };
    else s.release(z, first.matrix, last.matrix);
    return y;
  }

  protected contractBackward(s: Scheduler, dz: Tensor, inputGradient: boolean): Tensor | null {
    const { x, z, sides } = this.#kept!;
    this.#kept = null;
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
    const full = multiply(first, last, this.inputs, this.#rank, this.outputs);
    return Float32Array.from(transpose(full, this.inputs, this.outputs));
  }
}

/** The cores of one side merged. */
interface Side {
  cores: Tensor[];
  merged: Merged;
  matrix: Tensor;
}

export interface TensorRingLinearFit extends DataAware {
  inputModes: readonly number[];
  outputModes: readonly number[];
  /** found by alternating least squares from the start that TR-SVD gives */
  ranks?: number | readonly number[];
  /** instead of ranks: the weight's, kept by TR-SVD */
  relativeError?: number;
  /** of the alternating least squares, 30 by default; 0 leaves what TR-SVD gives */
  sweeps?: number;
  seed?: number;
}

/** @internal */
export const ringFitRules: OptionRules<TensorRingLinearFit> = {
  ...dataRules,
  inputModes: required(layerRules.modes),
  outputModes: required(layerRules.modes),
  ranks: optionRules.ranks,
  relativeError: optionRules.share,
  sweeps: optionRules.count,
};

/**
 * A trained dense layer as a tensor ring. With the inputs' covariance the weight is whitened mode by mode, and what brings
 * the outputs nearer, this or the plain fit, is taken.
 */
export async function tensorRingLinear(
  engine: Engine,
  source: DenseSource,
  fit: TensorRingLinearFit,
): Promise<TensorRingLinear> {
  assertEngine("tensorRingLinear", engine);
  checkOptions("tensorRingLinear", fit, ringFitRules);
  const { inputModes, outputModes, ranks, relativeError, sweeps = 30, covariance, ridge = 1e-4, seed = 0 } = fit;
  const { inputs, outputs, weight, bias, activation } = await denseWeights(source);
  assertModes("tensorRingLinear: inputs", inputModes, inputs);
  assertModes("tensorRingLinear: outputs", outputModes, outputs);
  const matrix = inputsFirst(weight, outputs);
  const find = async (values: Float64Array, roots: readonly Float64Array[] | null): Promise<TensorRingLinear> => {
    using w = engine.tensor([...inputModes, ...outputModes], values);
    const { tensor } =
      ranks !== undefined && sweeps > 0
        ? await tensorRingALS(engine, w, { ranks, sweeps, seed, tolerance: 1e-5 })
        : await tensorRingSVD(engine, w, {
            seed,
            ...(ranks !== undefined && { ranks }),
            ...(relativeError !== undefined && { relativeError }),
          });
    const shapes = tensor.cores.map(({ shape }) => shape);
    const cores = (await engine.read([...tensor.cores])) as Float32Array[];
    const found = tensor.ranks;
    tensor.destroy();
    return new TensorRingLinear({
      inputModes,
      outputModes,
      ranks: found,
      cores: cores.map((core, k) => (roots?.[k] ? unwhiten(core, shapes[k]!, 1, roots[k]!) : core)),
      bias: bias ?? false,
      activation,
    });
  };
  const plain = await find(matrix, null);
  if (!covariance) return plain;
  if (relativeError !== undefined)
    throw new TenfoldError("tensorRingLinear: a covariance goes with ranks, the relative error is that of the weight");
  const roots = kroneckerRoots(covariance, inputModes, ridge);
  const whitened = await find(whiten(matrix, [...inputModes, outputs], roots), roots);
  return nearest(weight, outputs, covariance, [plain, whitened]);
}

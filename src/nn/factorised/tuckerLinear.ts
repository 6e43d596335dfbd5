import { tuckerHOOI } from "../../decompositions/index.js";
import {
  checkOptions,
  type Engine,
  formatShape,
  type OptionRules,
  optionRules,
  required,
  type Scheduler,
  ShapeError,
  type Tensor,
} from "../../gpu/index.js";
import { type Epilogue, matmul, modeProduct, unfoldedProduct } from "../../ops/index.js";
import { Parameter } from "../layer.js";
import { layerKind } from "../layerKind.js";
import { assertEngine, dataRules, layerRules } from "../layerRules.js";
import { normalValues } from "../startValues.js";
import { FactorisedDense } from "./factorisedDense.js";
import { permuteValues } from "./hostMatrices.js";
import {
  assertModes,
  type DenseSource,
  denseWeights,
  type FactorisedOptions,
  factorisedRules,
  gainOf,
  modesOptions,
  product,
} from "./source.js";
import type { DataAware } from "./svdLinear.js";
import { dataAwareFit, unwhiten } from "./whitening.js";

export interface TuckerLinearOptions extends FactorisedOptions {
  /** m_1…m_p, which multiply to the number of inputs I: [I], or [C, H, W] where the inputs are flattened feature maps */
  inputModes: readonly number[];
  /** n_1…n_q, which multiply to the number of outputs */
  outputModes: readonly number[];
  /** a rank for every input mode, then every output mode; a mode of full rank has no factor */
  ranks: readonly number[];
  /** start values: the core (all input ranks × all output ranks) and a factor extent×rank for every mode, null at full rank */
  values?: { core: Float32Array; factors: readonly (Float32Array | null)[] };
}

const tuckerRules: OptionRules<TuckerLinearOptions> = {
  inputModes: required(layerRules.modes),
  outputModes: required(layerRules.modes),
  ranks: required(layerRules.modes),
  values: { needs: "start values { core, factors }", is: (value) => typeof value === "object" && value !== null },
  ...factorisedRules,
};

/** A product of the sample with the factor of one mode. */
interface Step {
  factor: Parameter;
  /** mode of the sample, counted without the batch */
  mode: number;
}

/**
 * A dense layer whose weight, split into input and output modes, is a Tucker tensor, as in the tensor contraction and regression
 * layers of Kossaifi et al. 2020. Factors shrink the input modes to their ranks, the core maps the input ranks to the output
 * ranks, and factors expand these to the output modes. With one input and one output mode it is I→R→R→O, the dense layer of Kim
 * et al. 2016.
 *
 * @throws TenfoldError where an option is unfit, ShapeError where ranks or start values do not fit
 */
export class TuckerLinear extends FactorisedDense {
  readonly method = "tucker";
  readonly name: string;
  readonly inputModes: readonly number[];
  readonly outputModes: readonly number[];
  readonly ranks: readonly number[];
  readonly core: Parameter;
  readonly factors: readonly Parameter[];
  /** products before the core, in their order, and after it */
  readonly #before: readonly Step[];
  readonly #after: readonly Step[];
  /** of the training pass recorded last: the inputs of all products in their order, the core's product included */
  #productInputs: Tensor[] = [];

  constructor(options: TuckerLinearOptions) {
    checkOptions("TuckerLinear", options, tuckerRules);
    const { inputModes, outputModes, ranks, values, ...dense } = options;
    super(product(inputModes), product(outputModes), dense);
    const extents = [...inputModes, ...outputModes];
    const p = inputModes.length;
    if (
      ranks.length !== extents.length ||
      ranks.some((rank, k) => !(Number.isInteger(rank) && rank >= 1 && rank <= extents[k]!))
    )
      throw new ShapeError(
        `TuckerLinear: ranks ${ranks.join(", ")}, needs one from 1 to the extent for each of the modes ${formatShape(extents)}`,
      );
    this.inputModes = inputModes;
    this.outputModes = outputModes;
    this.ranks = ranks;
    this.name = `Tucker ${formatShape(inputModes)}→${formatShape(outputModes)} (${ranks.join(", ")})`;
    const random = (terms: number) => normalValues(Math.sqrt(1 / terms));
    const coreShape = [product(ranks.slice(0, p)), product(ranks.slice(p))];
    this.core = new Parameter(
      "core",
      coreShape,
      values?.core ?? random(coreShape[0]! / gainOf(dense.start ?? "uniform")),
    );
    const steps = extents.map((extent, k): Step | null => {
      const rank = ranks[k]!;
      if (rank === extent) return null;
      const start = values?.factors[k] ?? random(k < p ? extent : rank);
      return { factor: new Parameter(`factor${k}`, [extent, rank], start), mode: k < p ? k : k - p };
    });
    // to save multiplications, the factor that shrinks its mode most comes first before the core, and after the core the one
    // that expands its mode least
    const growth = ({ factor: { shape } }: Step) => shape[0]! / shape[1]!;
    const present = (from: number, to: number) => steps.slice(from, to).filter((step): step is Step => step !== null);
    this.#before = present(0, p).sort((a, b) => growth(b) - growth(a));
    this.#after = present(p, extents.length).sort((a, b) => growth(a) - growth(b));
    this.factors = [
      ...present(0, p).map(({ factor }) => factor),
      this.core,
      ...present(p, extents.length).map(({ factor }) => factor),
    ];
  }

  get multiplications(): number {
    let total = 0;
    let size = this.inputs;
    for (const { factor } of this.#before) {
      const [extent, rank] = factor.shape as [number, number];
      total += size * rank;
      size = (size / extent) * rank;
    }
    total += size * this.core.shape[1]!;
    size = this.core.shape[1]!;
    for (const { factor } of this.#after) {
      const [extent, rank] = factor.shape as [number, number];
      size = (size / rank) * extent;
      total += size * rank;
    }
    return total;
  }

  protected contract(s: Scheduler, x: Tensor, training: boolean, epilogue: Epilogue): Tensor {
    const batch = x.shape[0]!;
    const p = this.inputModes.length;
    const productInputs: Tensor[] = [];
    let z = x.reshape([batch, ...this.inputModes]);
    const move = (next: Tensor): void => {
      if (training) productInputs.push(z);
      else if (z.storage !== x.storage) s.release(z);
      z = next;
    };
    for (const { factor, mode } of this.#before) move(modeProduct(s, z, factor.value, mode + 1, { transpose: true }));
    move(matmul(s, z.reshape([batch, -1]), this.core.value));
    z = z.reshape([batch, ...this.ranks.slice(p)]);
    for (const { factor, mode } of this.#after) move(modeProduct(s, z, factor.value, mode + 1));
    if (training) this.#productInputs = productInputs;
    return this.finish(s, z, epilogue);
  }

  protected contractBackward(s: Scheduler, dz: Tensor, inputGradient: boolean): Tensor | null {
    const productInputs = this.#productInputs;
    const batch = dz.shape[0]!;
    const x = productInputs[0]!;
    let gradient = dz.reshape([batch, ...this.outputModes]);
    const move = (next: Tensor | null, used: Tensor): void => {
      if (gradient.storage !== dz.storage) s.release(gradient);
      if (used.storage !== x.storage) s.release(used);
      if (next) gradient = next;
    };
    for (const { factor, mode } of [...this.#after].reverse()) {
      const input = productInputs.pop()!;
      unfoldedProduct(s, gradient, input, mode + 1, { out: factor.gradient });
      move(modeProduct(s, gradient, factor.value, mode + 1, { transpose: true }), input);
    }
    const input = productInputs.pop()!;
    const flat = gradient.reshape([batch, -1]);
    matmul(s, input.reshape([batch, -1]), flat, { transposeA: true, out: this.core.gradient });
    const first = !this.#before.length;
    const inner = first && !inputGradient ? null : matmul(s, flat, this.core.value, { transposeB: true });
    move(inner?.reshape(input.shape) ?? null, input);
    for (const [index, { factor, mode }] of [...this.#before].reverse().entries()) {
      const before = productInputs.pop()!;
      unfoldedProduct(s, before, gradient, mode + 1, { out: factor.gradient });
      const wanted = inputGradient || index < this.#before.length - 1;
      const next = wanted ? modeProduct(s, gradient, factor.value, mode + 1) : null;
      move(next, before);
      if (!next) return null;
    }
    return inner ? gradient.reshape([batch, this.inputs]) : null;
  }

  async toDense(): Promise<Float32Array> {
    const p = this.inputModes.length;
    let full: Float64Array = Float64Array.from(await this.core.read());
    let shape = [...this.ranks];
    for (const [steps, offset] of [[this.#before, 0] as const, [this.#after, p] as const]) {
      for (const { factor, mode } of steps) {
        const values = await factor.read();
        const [extent, rank] = factor.shape as [number, number];
        const at = mode + offset;
        const before = product(shape.slice(0, at));
        const after = product(shape.slice(at + 1));
        const next = new Float64Array(before * extent * after);
        for (let b = 0; b < before; b++)
          for (let i = 0; i < extent; i++)
            for (let r = 0; r < rank; r++)
              for (let a = 0; a < after; a++)
                next[(b * extent + i) * after + a]! += values[i * rank + r]! * full[(b * rank + r) * after + a]!;
        full = next;
        shape = shape.map((value, k) => (k === at ? extent : value));
      }
    }
    return Float32Array.from(permuteValues(full, [this.inputs, this.outputs], [1, 0]));
  }
}

export const tuckerLinearKind = /* @__PURE__ */ layerKind(
  "tuckerLinear",
  TuckerLinear,
  ({ inputModes, outputModes, ranks, bias, activation }) => ({
    ...{ inputModes, outputModes, ranks, bias: bias !== null, activation },
  }),
  (f) => new TuckerLinear(modesOptions(f)),
);

export interface TuckerLinearFit extends DataAware {
  /** modes that multiply to the number of inputs; [inputs] by default */
  inputModes?: readonly number[];
  /** modes that multiply to the number of outputs; [outputs] by default */
  outputModes?: readonly number[];
  /** a rank for every input mode, then every output mode */
  ranks: readonly number[];
  /** most sweeps of HOOI, 50 by default */
  sweeps?: number;
  /** seed of HOOI's start, 0 by default */
  seed?: number;
}

const tuckerFitRules: OptionRules<TuckerLinearFit> = {
  ...dataRules,
  inputModes: layerRules.modes,
  outputModes: layerRules.modes,
  ranks: required(layerRules.modes),
  sweeps: optionRules.count,
};

/**
 * A trained dense layer as a Tucker tensor, by higher-order orthogonal iteration (HOOI). With a covariance of the inputs, the
 * weight and the weight whitened along the input modes are both fitted, and the fit whose outputs are nearer is returned. Modes of
 * full rank are not whitened.
 *
 * @throws TenfoldError where an argument is unfit, ShapeError where the modes do not fit the layer
 */
export async function tuckerLinear(engine: Engine, source: DenseSource, fit: TuckerLinearFit): Promise<TuckerLinear> {
  assertEngine("tuckerLinear", engine);
  checkOptions("tuckerLinear", fit, tuckerFitRules);
  const dense = await denseWeights(source);
  const { inputs, outputs, bias, activation } = dense;
  const { inputModes = [inputs], outputModes = [outputs], ranks, sweeps = 50, seed = 0 } = fit;
  assertModes("tuckerLinear: inputs", inputModes, inputs);
  assertModes("tuckerLinear: outputs", outputModes, outputs);
  const fitted = async (values: Float64Array, roots: readonly (Float64Array | null)[]): Promise<TuckerLinear> => {
    using w = engine.tensor([...inputModes, ...outputModes], values);
    const { tensor } = await tuckerHOOI(engine, w, { ranks, sweeps, seed });
    const factors: (Float32Array | null)[] = [];
    for (const [mode, factor] of tensor.factors.entries()) {
      const values = factor && (await engine.read(factor));
      factors.push(values && roots[mode] ? unwhiten(values, factor.shape, 0, roots[mode]) : values);
    }
    const core = await engine.read(tensor.core);
    tensor.destroy();
    const start = { core, factors };
    return new TuckerLinear({ inputModes, outputModes, ranks, values: start, bias: bias ?? false, activation });
  };
  return dataAwareFit(dense, inputModes, fit, "tuckerLinear", fitted, (mode) => ranks[mode]! < inputModes[mode]!);
}

import { ttMatrix } from "../../decompositions/index.js";
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
import { type Epilogue, matmul, mayMerge, modeProduct, permute, unfoldedProduct, workCost } from "../../ops/index.js";
import { releaseTemporaries } from "../graph.js";
import type { Parameter } from "../layer.js";
import { layerKind } from "../layerKind.js";
import { assertEngine, dataRules, layerRules } from "../layerRules.js";
import { coreParameter, type Merged, mergeBackward, mergeCores, mergeCost, mergeValues } from "./cores.js";
import { FactorisedDense } from "./factorisedDense.js";
import { transpose } from "./hostMatrices.js";
import {
  assertModes,
  coreRules,
  type DenseSource,
  denseWeights,
  type FactorisedOptions,
  factorisedRules,
  gainOf,
  modesOptions,
  product,
} from "./source.js";
import type { DataAware } from "./svdLinear.js";
import { COVARIANCE_OR_ERROR, dataAwareFit, unwhiten } from "./whitening.js";

export interface TtLinearOptions extends FactorisedOptions {
  /** m_1…m_d, which multiply to the number of inputs */
  inputModes: readonly number[];
  /** n_1…n_d, as many as the input modes, which multiply to the number of outputs */
  outputModes: readonly number[];
  /** r_1…r_{d-1}, or one number for all; a rank above the largest that its unfolding can have is lowered to it */
  ranks: number | readonly number[];
  /** start values of every core, r_{k-1}×m_k×n_k×r_k; random ones by default */
  cores?: readonly Float32Array[];
  /**
   * `modes` contracts the input with one core after the other. `dense` merges all cores into the weight and multiplies once.
   * A list has the sizes of groups of neighbouring cores that are merged. `auto` (the default) takes the groups that cost
   * least for the batch at hand
   */
  contraction?: "auto" | "modes" | "dense" | readonly number[];
}

const CONTRACTION = {
  needs: '"auto", "modes", "dense" or sizes of groups of cores',
  is: (value: unknown) => ["auto", "modes", "dense"].includes(value as string) || layerRules.modes.is(value),
};
/** as `optionRules.ranks`, or an empty list, because a train of one core has no ranks */
const RANKS = {
  needs: optionRules.ranks.needs,
  is: (value: unknown) => optionRules.ranks.is(value) || (Array.isArray(value) && value.length === 0),
};

const ttLinearRules: OptionRules<TtLinearOptions> = {
  ...coreRules,
  ranks: required(RANKS),
  contraction: CONTRACTION,
  ...factorisedRules,
};

/**
 * r_0…r_d, with every rank lowered to the largest that its unfolding can have.
 *
 * @param sizes m_k·n_k of every core
 * @throws ShapeError unless there are d − 1 ranks
 */
export function ttRanks(ranks: number | readonly number[], sizes: readonly number[]): number[] {
  const d = sizes.length;
  const wanted = typeof ranks === "number" ? new Array<number>(d - 1).fill(ranks) : ranks;
  if (wanted.length !== d - 1 || wanted.some((rank) => !(Number.isInteger(rank) && rank >= 1)))
    throw new ShapeError(`TT ranks ${wanted.join(", ")}, needs ${d - 1} positive whole numbers`);
  const before = (k: number) => product(sizes.slice(0, k));
  const after = (k: number) => product(sizes.slice(k));
  return [1, ...wanted.map((rank, k) => Math.min(rank, before(k + 1), after(k + 1))), 1];
}

/** The order in which a batch is contracted with the cores. The cores of a group are merged first. */
export interface Contraction {
  /** the end of the train at which the contraction starts */
  direction: "left" | "right";
  /** cores from `start` to below `stop`, in the order of the cores in the train */
  groups: readonly (readonly [start: number, stop: number])[];
}

/** A group of cores that a forward pass has merged, for its backward pass. */
interface Group {
  cores: Tensor[];
  merged: Merged;
  /** the merged cores as a matrix: the modes that it contracts × the modes that it puts in their place */
  matrix: Tensor;
}

/**
 * A dense layer whose weight is a TT-matrix (Novikov, Podoprikhin, Osokin & Vetrov 2015). It has Σ r_{k-1}·r_k·m_k·n_k weights.
 * Neighbouring cores are merged in groups, and the input is contracted with one group after the other; every step is a mode
 * product, which copies nothing. The groups, and the end of the train to start at, are those of least cost for the batch at hand:
 * single cores for low ranks and few samples, all cores in one group for high ranks or many samples.
 *
 * @throws TenfoldError where an option is unfit, ShapeError where modes, ranks, cores or groups do not fit
 */
export class TensorTrainLinear extends FactorisedDense {
  readonly method = "tensorTrain";
  readonly name: string;
  readonly inputModes: readonly number[];
  readonly outputModes: readonly number[];
  /** r_0…r_d */
  readonly ranks: readonly number[];
  readonly contraction: "auto" | "modes" | "dense" | readonly number[];
  /** the cores, r_{k-1}×m_k×n_k×r_k */
  readonly factors: readonly Parameter[];
  /** of the training pass recorded last: its contraction, the inputs of its steps, and its groups in the order of the steps */
  #recorded: { plan: Contraction; inputs: Tensor[]; groups: Group[] } | null = null;

  constructor(options: TtLinearOptions) {
    checkOptions("TensorTrainLinear", options, ttLinearRules);
    const { inputModes, outputModes, ranks, cores, contraction = "auto", ...dense } = options;
    super(product(inputModes), product(outputModes), dense);
    const d = inputModes.length;
    if (d !== outputModes.length || !d)
      throw new ShapeError(
        `TensorTrainLinear: modes ${formatShape(inputModes)} and ${formatShape(outputModes)}, needs as many of both`,
      );
    if (typeof contraction !== "string" && contraction.reduce((a, b) => a + b, 0) !== d)
      throw new ShapeError(`TensorTrainLinear: groups of ${contraction.join(", ")} cores, needs ${d} in all`);
    this.inputModes = inputModes;
    this.outputModes = outputModes;
    this.ranks = ttRanks(
      ranks,
      inputModes.map((m, k) => m * outputModes[k]!),
    );
    this.contraction = contraction;
    this.name = `TT ${formatShape(inputModes)}→${formatShape(outputModes)} (${this.ranks.slice(1, -1).join(", ")})`;
    this.factors = inputModes.map((_, k) => {
      const shape = this.#shapeOf(k, k + 1);
      const deviation = Math.sqrt((k === d - 1 ? gainOf(dense.start ?? "uniform") : 1) / (shape[0] * shape[1]));
      return coreParameter(this.name, k, shape, cores, deviation);
    });
  }

  /** Shape r×M×N×r' of the merged cores from `start` to below `stop`. */
  #shapeOf(start: number, stop: number): [number, number, number, number] {
    return [
      this.ranks[start]!,
      product(this.inputModes.slice(start, stop)),
      product(this.outputModes.slice(start, stop)),
      this.ranks[stop]!,
    ];
  }

  /** What one step of a contraction takes for one sample: multiplications, and elements of its input and output together. */
  #step(
    [start, stop]: readonly [number, number],
    direction: Contraction["direction"],
  ): { multiplications: number; elements: number } {
    const [left, m, n, right] = this.#shapeOf(start, stop);
    const [before, after] =
      direction === "left"
        ? [product(this.outputModes.slice(0, start)), product(this.inputModes.slice(stop))]
        : [product(this.inputModes.slice(0, start)), product(this.outputModes.slice(stop))];
    const [contracted, produced] = direction === "left" ? [left * m, n * right] : [m * right, left * n];
    return {
      multiplications: before * after * contracted * produced,
      elements: before * after * (contracted + produced),
    };
  }

  /** Σ r_{k-1}·r_k·(n_1…n_k)·(m_k…m_d) a sample, for single cores from the left; or the same from the right where that is less. */
  get multiplications(): number {
    const steps = (direction: Contraction["direction"]) =>
      this.inputModes.reduce((total, _, k) => total + this.#step([k, k + 1], direction).multiplications, 0);
    return Math.min(steps("left"), steps("right"));
  }

  /** Cost of a group for a batch, in multiplications: merging its cores, and the step with the merged cores. */
  #groupCost(
    engine: Engine,
    group: readonly [number, number],
    direction: Contraction["direction"],
    batch: number,
  ): number {
    const [start, stop] = group;
    const step = this.#step(group, direction);
    const turned = direction === "right" ? 1 : 0;
    const merges = stop - start - 1;
    const shapes = Array.from({ length: stop - start }, (_, k) => this.#shapeOf(start + k, start + k + 1));
    const moved = merges || turned ? 3 * product(this.#shapeOf(start, stop)) : 0;
    return workCost(engine, {
      multiplications: batch * step.multiplications + mergeCost(shapes),
      elements: batch * step.elements + moved,
      dispatches: 1 + 2 * merges + turned,
    });
  }

  /** @internal Cost of a contraction for a batch, in multiplications. */
  costOf(engine: Engine, { direction, groups }: Contraction, batch: number): number {
    return groups.reduce((total, group) => total + this.#groupCost(engine, group, direction, batch), 0);
  }

  /** The contraction that a batch of this size takes on the engine's adapter. */
  contractionOf(engine: Engine, batch: number): Contraction {
    assertEngine("contractionOf", engine);
    const { contraction } = this;
    const d = this.inputModes.length;
    const plans = (["left", "right"] as const).map((direction): Contraction => {
      if (contraction === "auto") return { direction, groups: this.#cheapestGroups(engine, direction, batch) };
      const sizes =
        contraction === "modes" ? new Array<number>(d).fill(1) : contraction === "dense" ? [d] : [...contraction];
      let stop = 0;
      return { direction, groups: sizes.map((size) => [stop, (stop += size)] as const) };
    });
    const [left, right] = plans as [Contraction, Contraction];
    return this.costOf(engine, left, batch) <= this.costOf(engine, right, batch) ? left : right;
  }

  /**
   * The groups that cost least in this direction, by dynamic programming: the cost of a group does not depend on the other
   * groups.
   */
  #cheapestGroups(engine: Engine, direction: Contraction["direction"], batch: number): Contraction["groups"] {
    const d = this.inputModes.length;
    const best: { cost: number; groups: Contraction["groups"] }[] = [{ cost: 0, groups: [] }];
    for (let stop = 1; stop <= d; stop++) {
      let [least, cut] = [Number.POSITIVE_INFINITY, stop - 1];
      for (let start = 0; start < stop; start++) {
        if (stop - start > 1 && !mayMerge(engine, product(this.#shapeOf(start, stop)))) continue;
        const cost = best[start]!.cost + this.#groupCost(engine, [start, stop], direction, batch);
        if (cost < least) [least, cut] = [cost, start];
      }
      best.push({ cost: least, groups: [...best[cut]!.groups, [cut, stop]] });
    }
    return best[d]!.groups;
  }

  protected contract(s: Scheduler, x: Tensor, training: boolean, epilogue: Epilogue): Tensor {
    const plan = this.contractionOf(s.engine, x.shape[0]!);
    const ordered = plan.direction === "left" ? plan.groups : [...plan.groups].reverse();
    const single = ordered.length === 1;
    const groups: Group[] = [];
    const inputs: Tensor[] = [];
    let z = x;
    for (const range of ordered) {
      const group = this.#merge(s, range, plan.direction, training);
      const next = single
        ? matmul(s, z, group.matrix, { bias: this.bias?.value, activation: epilogue })
        : modeProduct(s, this.#atStep(z, range, plan.direction), group.matrix, 1, { transpose: true });
      if (training) {
        groups.push(group);
        inputs.push(z);
      } else {
        releaseTemporaries(s, [group.matrix]);
        if (z !== x) s.release(z);
      }
      z = next;
    }
    if (training) this.#recorded = { plan, inputs, groups };
    return single ? z : this.finish(s, z, epilogue);
  }

  protected contractBackward(s: Scheduler, dz: Tensor, inputGradient: boolean): Tensor | null {
    const { plan, inputs, groups } = this.#recorded!;
    const { direction } = plan;
    this.#recorded = null;
    const ordered = direction === "left" ? plan.groups : [...plan.groups].reverse();
    let gradient = dz;
    for (let index = ordered.length - 1; index >= 0; index--) {
      const range = ordered[index]!;
      const { matrix } = groups[index]!;
      const before = this.#atStep(inputs[index]!, range, direction);
      const after = gradient.reshape([before.shape[0]!, -1, before.shape[2]!]);
      const single = range[1] - range[0] === 1 && direction === "left";
      const out = single ? this.factors[range[0]]!.gradient.reshape(matrix.shape) : undefined;
      const dMatrix = unfoldedProduct(s, before, after, 1, { out });
      const next = index > 0 || inputGradient ? modeProduct(s, after, matrix, 1) : null;
      if (gradient !== dz) s.release(gradient);
      if (index > 0) s.release(inputs[index]!);
      releaseTemporaries(s, [matrix]);
      if (!single) this.#mergeBackward(s, range, direction, groups[index]!, dMatrix);
      if (!next) return null;
      gradient = next;
    }
    return gradient.reshape([-1, this.inputs]);
  }

  /** A step's input as a tensor of order 3, with the modes that the step contracts as its mode 1. */
  #atStep(z: Tensor, [start, stop]: readonly [number, number], direction: "left" | "right"): Tensor {
    const [left, m, , right] = this.#shapeOf(start, stop);
    const after = product((direction === "left" ? this.inputModes : this.outputModes).slice(stop));
    return z.reshape([-1, direction === "left" ? left * m : m * right, after]);
  }

  #merge(s: Scheduler, [start, stop]: readonly [number, number], direction: "left" | "right", keep: boolean): Group {
    const cores = this.factors.slice(start, stop).map(({ value }) => value);
    const merged = mergeCores(s, cores, keep);
    const [left, m, n, right] = merged.full.shape as [number, number, number, number];
    if (direction === "left") return { cores, merged, matrix: merged.full.reshape([left * m, n * right]) };
    const matrix = permute(s, merged.full, [1, 3, 0, 2]).reshape([m * right, left * n]);
    releaseTemporaries(s, [merged.full]);
    return { cores, merged, matrix };
  }

  #mergeBackward(
    s: Scheduler,
    [start, stop]: readonly [number, number],
    direction: "left" | "right",
    { cores, merged }: Group,
    dMatrix: Tensor,
  ): void {
    const [left, m, n, right] = this.#shapeOf(start, stop);
    const gradients = this.factors.slice(start, stop).map(({ gradient }) => gradient);
    let dFull = dMatrix.reshape([left, m, n, right]);
    if (direction === "right") {
      const out = stop - start === 1 ? gradients[0] : undefined;
      dFull = permute(s, dMatrix.reshape([m, right, left, n]), [2, 0, 3, 1], { out });
      s.release(dMatrix);
      if (out) return;
    }
    mergeBackward(s, cores, gradients, merged, dFull);
  }

  async toDense(): Promise<Float32Array> {
    const cores = await Promise.all(this.factors.map((factor) => factor.read()));
    const full = mergeValues(
      cores,
      cores.map((_, k) => this.#shapeOf(k, k + 1)),
    );
    return Float32Array.from(transpose(full, this.inputs, this.outputs));
  }
}

export const tensorTrainLinearKind = /* @__PURE__ */ layerKind(
  "tensorTrainLinear",
  TensorTrainLinear,
  ({ inputModes, outputModes, ranks, contraction, bias, activation }) => ({
    ...{ inputModes, outputModes, ranks: ranks.slice(1, -1) },
    // sizes of groups suit one size of batch, so a file holds "auto": the loaded layer chooses groups for each batch
    contraction: typeof contraction === "string" ? contraction : "auto",
    ...{ bias: bias !== null, activation },
  }),
  (f) =>
    new TensorTrainLinear({ ...modesOptions(f), contraction: f.choice("contraction", ["auto", "modes", "dense"]) }),
);

export interface TtLinearFit extends DataAware {
  /** m_1…m_d, which multiply to the number of inputs */
  inputModes: readonly number[];
  /** n_1…n_d, as many as the input modes, which multiply to the number of outputs */
  outputModes: readonly number[];
  /** r_1…r_{d-1}, or one number for all */
  ranks?: number | readonly number[];
  /** in place of `ranks`: relative error of the weight, ‖W − Ŵ‖ ÷ ‖W‖, up to which TT-SVD chooses the ranks */
  relativeError?: number;
  contraction?: TtLinearOptions["contraction"];
  /** seed of the SVDs' starts, 0 by default */
  seed?: number;
}

const ttFitRules: OptionRules<TtLinearFit> = {
  ...dataRules,
  inputModes: required(layerRules.modes),
  outputModes: required(layerRules.modes),
  ranks: RANKS,
  relativeError: optionRules.share,
  contraction: CONTRACTION,
};

/**
 * A trained dense layer as a TT-matrix, by TT-SVD with these ranks, or with the ranks that a relative error of the weight takes.
 * With a covariance of the inputs, the weight and the weight whitened mode by mode are both fitted, and the fit whose outputs are
 * nearer is returned.
 *
 * @throws TenfoldError where an argument is unfit, or a covariance meets a `relativeError`; ShapeError where the modes do not
 * fit the layer
 */
export async function ttLinear(engine: Engine, source: DenseSource, fit: TtLinearFit): Promise<TensorTrainLinear> {
  assertEngine("ttLinear", engine);
  checkOptions("ttLinear", fit, ttFitRules);
  const { inputModes, outputModes, ranks, relativeError, contraction, seed = 0 } = fit;
  if (fit.covariance && relativeError !== undefined) throw new TenfoldError(`ttLinear: ${COVARIANCE_OR_ERROR}`);
  const dense = await denseWeights(source);
  const { inputs, outputs, bias, activation } = dense;
  assertModes("ttLinear: inputs", inputModes, inputs);
  assertModes("ttLinear: outputs", outputModes, outputs);
  return dataAwareFit(dense, inputModes, fit, "ttLinear", async (values, roots) => {
    using w = engine.tensor([inputs, outputs], values);
    const { tensor } = await ttMatrix(engine, w, {
      rowModes: inputModes,
      columnModes: outputModes,
      seed,
      ...(ranks !== undefined && { ranks }),
      ...(relativeError !== undefined && { relativeError }),
    });
    const shapes = tensor.cores.map(({ shape }) => shape);
    const cores = await engine.read([...tensor.cores]);
    const trainRanks = tensor.ranks.slice(1, -1);
    tensor.destroy();
    return new TensorTrainLinear({
      inputModes,
      outputModes,
      ranks: trainRanks,
      cores: cores.map((core, k) => (roots[k] ? unwhiten(core, shapes[k]!, 1, roots[k]) : core)),
      bias: bias ?? false,
      activation,
      ...(contraction !== undefined && { contraction }),
    });
  });
}

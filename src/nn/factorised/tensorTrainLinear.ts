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
import { matmul, modeProduct, normal, permute, unfoldedProduct } from "../../ops/index.js";
import { releaseTemporaries } from "../chain.js";
import { Parameter } from "../layer.js";
import { assertEngine, dataRules, layerRules } from "../layerRules.js";
import { FactorisedDense } from "./factorisedDense.js";
import { transpose } from "./hostMatrices.js";
import { type Merged, mergeBackward, mergeCores, mergeCost, mergeValues } from "./merge.js";
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

export interface TtLinearOptions extends FactorisedOptions {
  /** m_1…m_d, multiplying to the inputs */
  inputModes: readonly number[];
  /** n_1…n_d, multiplying to the outputs */
  outputModes: readonly number[];
  /** r_1…r_{d-1}, or one for all; each is lowered to what its unfolding has */
  ranks: number | readonly number[];
  /** start values, r_{k-1}×m_k×n_k×r_k each; random ones where they are not given */
  cores?: readonly Float32Array[];
  /**
   * `modes` contracts the input with one core after the other; `dense` puts the weight together and multiplies once; numbers
   * are sizes of groups of neighbouring cores that are merged. `auto` (the default) takes what costs least for the batch
   * at hand
   */
  contraction?: "auto" | "modes" | "dense" | readonly number[];
}

const CONTRACTION = {
  needs: '"auto", "modes", "dense" or sizes of groups of cores',
  is: (value: unknown) => ["auto", "modes", "dense"].includes(value as string) || layerRules.modes.is(value),
};
/** a train of one core has no ranks */
const RANKS = {
  needs: optionRules.ranks.needs,
  is: (value: unknown) => optionRules.ranks.is(value) || (Array.isArray(value) && value.length === 0),
};

const ttLinearRules: OptionRules<TtLinearOptions> = {
  inputModes: required(layerRules.modes),
  outputModes: required(layerRules.modes),
  ranks: required(RANKS),
  cores: layerRules.valueLists,
  contraction: CONTRACTION,
  ...factorisedRules,
};

/** r_0…r_d with each lowered to what its unfolding can have. */
export function ttRanks(ranks: number | readonly number[], sizes: readonly number[]): number[] {
  const d = sizes.length;
  const wanted = typeof ranks === "number" ? new Array<number>(d - 1).fill(ranks) : ranks;
  if (wanted.length !== d - 1 || wanted.some((rank) => !(Number.isInteger(rank) && rank >= 1)))
    throw new ShapeError(`TT ranks ${wanted.join(", ")}, needs ${d - 1} positive whole numbers`);
  const before = (k: number) => product(sizes.slice(0, k));
  const after = (k: number) => product(sizes.slice(k));
  return [1, ...wanted.map((rank, k) => Math.min(rank, before(k + 1), after(k + 1))), 1];
}

/** How a batch goes through the cores: in groups that are merged first, from one side to the other. */
export interface Contraction {
  direction: "left" | "right";
  /** cores from `start` to below `stop`, in order of the cores */
  groups: readonly (readonly [start: number, stop: number])[];
}

/** What a dispatch costs beside its multiplications, and an element that is read or written, in multiplications. */
const DISPATCH = 1e5;
const ELEMENT = 4;
/** elements of a weight that is put together: what a storage binding holds */
const MOST_MERGED = 2 ** 25;

const product = (values: readonly number[]): number => values.reduce((a, b) => a * b, 1);

/** A group of cores, merged, as a forward pass leaves it for the backward pass. */
interface Group {
  cores: Tensor[];
  merged: Merged;
  /** what is contracted × what comes in its place */
  matrix: Tensor;
}

/**
 * A dense layer whose weight is a TT-matrix (Novikov, Podoprikhin, Osokin & Vetrov 2015): Σ r_{k-1}·r_k·m_k·n_k weights. The
 * input is contracted where it lies with one group of neighbouring cores after the other, merged beforehand; every step is
 * a mode product, without unfolding. Groups and side are those of least cost for the batch at hand: every core by itself
 * for low ranks and few samples, the whole weight put together for high ones.
 */
export class TensorTrainLinear extends FactorisedDense {
  readonly method = "tensorTrain";
  readonly name: string;
  readonly inputModes: readonly number[];
  readonly outputModes: readonly number[];
  /** r_0, …, r_d */
  readonly ranks: readonly number[];
  readonly contraction: "auto" | "modes" | "dense" | readonly number[];
  /** the cores, r_{k-1}×m_k×n_k×r_k */
  readonly factors: readonly Parameter[];
  /** of the forward pass recorded last: how, the inputs of all steps, the groups in order of the steps */
  #kept: { plan: Contraction; inputs: Tensor[]; groups: Group[] } | null = null;

  constructor(options: TtLinearOptions) {
    checkOptions("TensorTrainLinear", options, ttLinearRules);
    const { inputModes, outputModes, ranks, cores, contraction = "auto", ...dense } = options;
    super(product(inputModes), product(outputModes), dense);
    const d = inputModes.length;
    if (d !== outputModes.length || !d)
      throw new ShapeError(
        `TensorTrainLinear: modes ${formatShape(inputModes)} and ${formatShape(outputModes)}, need to be as many`,
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
      if (cores && cores[k]?.length !== product(shape))
        throw new ShapeError(`${this.name}: core ${k} has ${cores[k]?.length} numbers, needs ${formatShape(shape)}`);
      const deviation = Math.sqrt((k === d - 1 ? gainOf(dense.start ?? "uniform") : 1) / (shape[0] * shape[1]));
      const initialize = (s: Scheduler, out: Tensor, seed: number) =>
        void normal(s, out.shape, { seed, deviation, out });
      return new Parameter(`core${k}`, shape, cores?.[k] ?? initialize);
    });
  }

  /** r×M×N×r' of the cores from `start` to below `stop`, merged. */
  #shapeOf(start: number, stop: number): [number, number, number, number] {
    return [
      this.ranks[start]!,
      product(this.inputModes.slice(start, stop)),
      product(this.outputModes.slice(start, stop)),
      this.ranks[stop]!,
    ];
  }

  /** Multiplications a sample of one step of a contraction, and elements of its input and output. */
  #step(
    [start, stop]: readonly [number, number],
    direction: Contraction["direction"],
  ): { multiplications: number; elements: number } {
    const [left, m, n, right] = this.#shapeOf(start, stop);
    const [before, after] =
      direction === "left"
        ? [product(this.outputModes.slice(0, start)), product(this.inputModes.slice(stop))]
        : [product(this.inputModes.slice(0, start)), product(this.outputModes.slice(stop))];
    const [taken, given] = direction === "left" ? [left * m, n * right] : [m * right, left * n];
    return { multiplications: before * after * taken * given, elements: before * after * (taken + given) };
  }

  /** Σ r_{k-1}·r_k·(n_1…n_k)·(m_k…m_d) of core after core from the left, or its mirror image where that is less. */
  get multiplications(): number {
    const steps = (direction: Contraction["direction"]) =>
      this.inputModes.reduce((total, _, k) => total + this.#step([k, k + 1], direction).multiplications, 0);
    return Math.min(steps("left"), steps("right"));
  }

  /** What a group costs a batch: merging its cores, and the step with what they merge to. */
  #groupCost(group: readonly [number, number], direction: Contraction["direction"], batch: number): number {
    const [start, stop] = group;
    const { multiplications, elements } = this.#step(group, direction);
    const turned = direction === "right" ? 1 : 0;
    const merges = stop - start - 1;
    const shapes = Array.from({ length: stop - start }, (_, k) => this.#shapeOf(start + k, start + k + 1));
    const dispatches = 1 + 2 * merges + turned;
    const moved = merges || turned ? 3 * product(this.#shapeOf(start, stop)) : 0;
    return batch * (multiplications + ELEMENT * elements) + mergeCost(shapes) + DISPATCH * dispatches + ELEMENT * moved;
  }

  /** @internal What a contraction costs a batch, in multiplications. */
  costOf({ direction, groups }: Contraction, batch: number): number {
    return groups.reduce((total, group) => total + this.#groupCost(group, direction, batch), 0);
  }

  /** How a batch of this size is contracted. */
  contractionOf(batch: number): Contraction {
    const { contraction } = this;
    const d = this.inputModes.length;
    const plans = (["left", "right"] as const).map((direction): Contraction => {
      if (contraction === "auto") return { direction, groups: this.#cheapestGroups(direction, batch) };
      const sizes =
        contraction === "modes" ? new Array<number>(d).fill(1) : contraction === "dense" ? [d] : [...contraction];
      let stop = 0;
      return { direction, groups: sizes.map((size) => [stop, (stop += size)] as const) };
    });
    const [left, right] = plans as [Contraction, Contraction];
    return this.costOf(left, batch) <= this.costOf(right, batch) ? left : right;
  }

  /** The cut of the row of cores into groups that costs least from one side: what a group costs depends on no other. */
  #cheapestGroups(direction: Contraction["direction"], batch: number): Contraction["groups"] {
    const d = this.inputModes.length;
    const best: { cost: number; groups: Contraction["groups"] }[] = [{ cost: 0, groups: [] }];
    for (let stop = 1; stop <= d; stop++) {
      let [least, cut] = [Number.POSITIVE_INFINITY, stop - 1];
      for (let start = 0; start < stop; start++) {
        if (stop - start > 1 && product(this.#shapeOf(start, stop)) > MOST_MERGED) continue;
        const cost = best[start]!.cost + this.#groupCost([start, stop], direction, batch);
        if (cost < least) [least, cut] = [cost, start];
      }
      best.push({ cost: least, groups: [...best[cut]!.groups, [cut, stop]] });
    }
    return best[d]!.groups;
  }

  protected contract(s: Scheduler, x: Tensor, training: boolean): Tensor {
    const plan = this.contractionOf(x.shape[0]!);
    const ordered = plan.direction === "left" ? plan.groups : [...plan.groups].reverse();
    const whole = ordered.length === 1;
    const groups: Group[] = [];
    const inputs: Tensor[] = [];
    let z = x;
    for (const range of ordered) {
      const group = this.#merge(s, range, plan.direction, training);
      const next = whole
        ? matmul(s, z, group.matrix, { bias: this.bias?.value, activation: this.activation })
        : modeProduct(s, this.#seen(z, range, plan.direction), group.matrix, 1, { transpose: true });
      if (training) {
        groups.push(group);
        inputs.push(z);
      } else {
        releaseTemporaries(s, [group.matrix]);
        if (z !== x) s.release(z);
      }
      z = next;
    }
    if (training) this.#kept = { plan, inputs, groups };
    return whole ? z : this.finish(s, z);
  }

  protected contractBackward(s: Scheduler, dz: Tensor, inputGradient: boolean): Tensor | null {
    const { plan, inputs, groups } = this.#kept!;
    const { direction } = plan;
    this.#kept = null;
    const ordered = direction === "left" ? plan.groups : [...plan.groups].reverse();
    let gradient = dz;
    for (let index = ordered.length - 1; index >= 0; index--) {
      const range = ordered[index]!;
      const { matrix } = groups[index]!;
      const before = this.#seen(inputs[index]!, range, direction);
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

  /** The tensor at a step as before × what is contracted × after. */
  #seen(z: Tensor, [start, stop]: readonly [number, number], direction: "left" | "right"): Tensor {
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

export interface TtLinearFit extends DataAware {
  inputModes: readonly number[];
  outputModes: readonly number[];
  ranks?: number | readonly number[];
  /** instead of ranks: the weight's, kept by TT-SVD */
  relativeError?: number;
  contraction?: TtLinearOptions["contraction"];
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
 * A trained dense layer as a TT-matrix, by TT-SVD: by ranks, or by the weight's relative error. With the inputs' covariance
 * the weight is whitened mode by mode (by the Kronecker product that is nearest to the covariance), and what brings the
 * outputs nearer, this or the plain fit, is taken.
 */
export async function ttLinear(engine: Engine, source: DenseSource, fit: TtLinearFit): Promise<TensorTrainLinear> {
  assertEngine("ttLinear", engine);
  checkOptions("ttLinear", fit, ttFitRules);
  const { inputModes, outputModes, ranks, relativeError, contraction, covariance, ridge = 1e-4, seed = 0 } = fit;
  const { inputs, outputs, weight, bias, activation } = await denseWeights(source);
  assertModes("ttLinear: inputs", inputModes, inputs);
  assertModes("ttLinear: outputs", outputModes, outputs);
  const matrix = inputsFirst(weight, outputs);
  const find = async (values: Float64Array, roots: readonly Float64Array[] | null): Promise<TensorTrainLinear> => {
    using w = engine.tensor([inputs, outputs], values);
    const { tensor } = await ttMatrix(engine, w, {
      rowModes: inputModes,
      columnModes: outputModes,
      seed,
      ...(ranks !== undefined && { ranks }),
      ...(relativeError !== undefined && { relativeError }),
    });
    const shapes = tensor.cores.map(({ shape }) => shape);
    const cores = (await engine.read([...tensor.cores])) as Float32Array[];
    const found = tensor.ranks.slice(1, -1);
    tensor.destroy();
    return new TensorTrainLinear({
      inputModes,
      outputModes,
      ranks: found,
      cores: roots ? cores.map((core, k) => unwhiten(core, shapes[k]!, 1, roots[k]!)) : cores,
      bias: bias ?? false,
      activation,
      ...(contraction !== undefined && { contraction }),
    });
  };
  const plain = await find(matrix, null);
  if (!covariance) return plain;
  if (relativeError !== undefined)
    throw new TenfoldError("ttLinear: a covariance goes with ranks, the relative error is that of the weight itself");
  const roots = kroneckerRoots(covariance, inputModes, ridge);
  const whitened = await find(whiten(matrix, [...inputModes, outputs], roots), roots);
  return nearest(weight, outputs, covariance, [plain, whitened]);
}

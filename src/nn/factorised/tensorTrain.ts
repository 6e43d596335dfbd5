import { ttMatrix } from "../../decompositions/index.js";
import { type Engine, formatShape, type Scheduler, ShapeError, type Tensor } from "../../gpu/index.js";
import { matmul, modeProduct, normal, permute, unfoldedProduct } from "../../ops/index.js";
import { Parameter } from "../layer.js";
import { FactorisedDense } from "./dense.js";
import { type Merged, mergeBackward, mergeCores, mergeCost, mergeValues } from "./merge.js";
import { permuteValues, transpose } from "./numeric.js";
import { assertModes, type DenseSource, denseWeights, type FactorisedOptions, gainOf } from "./source.js";

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
   * `modes` contracts the input with one core after the other; `dense` puts the weight together and multiplies once, which
   * takes fewer multiplications for large batches and ranks. `auto` (the default) counts both for the batch at hand
   */
  contraction?: "auto" | "modes" | "dense";
}

/** r_0…r_d with each lowered to what its unfolding can have. */
export function ttRanks(ranks: number | readonly number[], sizes: readonly number[]): number[] {
  const d = sizes.length;
  const wanted = typeof ranks === "number" ? new Array<number>(d - 1).fill(ranks) : ranks;
  if (wanted.length !== d - 1 || wanted.some((rank) => !(Number.isInteger(rank) && rank >= 1)))
    throw new ShapeError(`TT ranks ${wanted.join(", ")}, needs ${d - 1} positive whole numbers`);
  const before = (k: number) => sizes.slice(0, k).reduce((a, b) => a * b, 1);
  const after = (k: number) => sizes.slice(k).reduce((a, b) => a * b, 1);
  return [1, ...wanted.map((rank, k) => Math.min(rank, before(k + 1), after(k + 1))), 1];
}

/**
 * A dense layer whose weight is a TT-matrix (Novikov, Podoprikhin, Osokin & Vetrov 2015): Σ r_{k-1}·r_k·m_k·n_k weights. The
 * input is contracted with one core after the other where it lies, from the left or the right, whichever costs less; every
 * step is a mode product, and no unfolding or permutation is needed.
 */
export class TensorTrainLinear extends FactorisedDense {
  readonly method = "tensorTrain";
  readonly name: string;
  readonly inputModes: readonly number[];
  readonly outputModes: readonly number[];
  /** r_0, …, r_d */
  readonly ranks: readonly number[];
  /** which core is contracted first; also how the cores are stored */
  readonly direction: "left" | "right";
  readonly contraction: "auto" | "modes" | "dense";
  /** cores as they are stored: r_{k-1}×m_k×n_k×r_k, or m_k×r_k×r_{k-1}×n_k for contraction from the right */
  readonly factors: readonly Parameter[];
  #steps: Tensor[] = [];
  #merged: (Merged & { cores: Tensor[] }) | null = null;

  constructor({ inputModes, outputModes, ranks, cores, contraction = "auto", ...dense }: TtLinearOptions) {
    const [inputs, outputs] = [inputModes, outputModes].map((modes) => modes.reduce((a, b) => a * b, 1)) as [
      number,
      number,
    ];
    super(inputs, outputs, dense);
    if (inputModes.length !== outputModes.length)
      throw new ShapeError(
        `TensorTrainLinear: modes ${formatShape(inputModes)} and ${formatShape(outputModes)}, need to be as many`,
      );
    this.inputModes = inputModes;
    this.outputModes = outputModes;
    this.ranks = ttRanks(
      ranks,
      inputModes.map((m, k) => m * outputModes[k]!),
    );
    this.contraction = contraction;
    this.direction = this.#cost("left") <= this.#cost("right") ? "left" : "right";
    this.name = `TT ${formatShape(inputModes)}→${formatShape(outputModes)} (${this.ranks.slice(1, -1).join(", ")})`;
    const last = this.direction === "left" ? inputModes.length - 1 : 0;
    this.factors = inputModes.map((_, k) => {
      const shape = this.#shapeOf(k);
      const size = shape.reduce((a, b) => a * b, 1);
      if (cores && cores[k]?.length !== size)
        throw new ShapeError(`${this.name}: core ${k} has ${cores[k]?.length} numbers, needs ${formatShape(shape)}`);
      const [left, m, n, right] = shape;
      const terms = m! * (this.direction === "left" ? left! : right!);
      const deviation = Math.sqrt((k === last ? gainOf(dense.start ?? "uniform") : 1) / terms);
      const stored = this.direction === "left" ? shape : [m!, right!, left!, n!];
      const given = cores && Float32Array.from(this.#stored(cores[k]!, k));
      const initialize = (s: Scheduler, out: Tensor, seed: number) =>
        void normal(s, out.shape, { seed, deviation, out });
      return new Parameter(`core${k}`, stored, given ?? initialize);
    });
  }

  /** r_{k-1}×m_k×n_k×r_k */
  #shapeOf(k: number): [number, number, number, number] {
    return [this.ranks[k]!, this.inputModes[k]!, this.outputModes[k]!, this.ranks[k + 1]!];
  }

  #stored(core: Float32Array, k: number): ArrayLike<number> {
    return this.direction === "left" ? core : permuteValues(core, this.#shapeOf(k), [1, 3, 0, 2]);
  }

  /** Multiplications a sample of contracting from one side. */
  #cost(direction: "left" | "right"): number {
    const d = this.inputModes.length;
    const product = (values: readonly number[]) => values.reduce((a, b) => a * b, 1);
    let total = 0;
    for (let k = 0; k < d; k++) {
      const [done, rest] =
        direction === "left" ? [this.outputModes, this.inputModes] : [this.inputModes, this.outputModes];
      total += this.ranks[k]! * this.ranks[k + 1]! * product(done.slice(0, k + 1)) * product(rest.slice(k));
    }
    return total;
  }

  /** Σ r_{k-1}·r_k·(n_1…n_k)·(m_k…m_d) from the left, the mirror image from the right: the smaller of the two. */
  get multiplications(): number {
    return Math.min(this.#cost("left"), this.#cost("right"));
  }

  /** How a batch of this size is contracted. */
  contractionOf(batch: number): "modes" | "dense" {
    if (this.contraction !== "auto") return this.contraction;
    const merging = mergeCost(this.inputModes.map((_, k) => this.#shapeOf(k)));
    const size = this.inputs * this.outputs;
    // a weight beyond a storage binding is not formed
    return size <= 2 ** 25 && merging + batch * size < batch * this.multiplications ? "dense" : "modes";
  }

  protected contract(s: Scheduler, x: Tensor, training: boolean): Tensor {
    if (this.contractionOf(x.shape[0]!) === "dense") return this.#dense(s, x, training);
    const kept = [x];
    let z = x;
    for (const k of this.#order) {
      const next = modeProduct(s, this.#seen(z, k), this.#matrix(this.factors[k]!.value, k), 1, { transpose: true });
      if (training) kept.push(next);
      else if (z !== x) s.release(z);
      z = next;
    }
    if (!training) return this.finish(s, z);
    kept.pop();
    this.#steps = kept;
    this.#merged = null;
    return this.finish(s, z);
  }

  protected contractBackward(s: Scheduler, dz: Tensor, inputGradient: boolean): Tensor | null {
    if (this.#merged) return this.#denseBackward(s, dz, inputGradient);
    const order = this.#order;
    let gradient = dz;
    for (let index = order.length - 1; index >= 0; index--) {
      const k = order[index]!;
      const { value, gradient: out } = this.factors[k]!;
      const before = this.#seen(this.#steps[index]!, k);
      const after = gradient.reshape([before.shape[0]!, -1, before.shape[2]!]);
      unfoldedProduct(s, before, after, 1, { out: this.#matrix(out, k) });
      const wanted = index > 0 || inputGradient;
      const next = wanted ? modeProduct(s, after, this.#matrix(value, k), 1) : null;
      if (gradient !== dz) s.release(gradient);
      if (index > 0) s.release(this.#steps[index]!);
      if (!next) return null;
      gradient = next;
    }
    return gradient.reshape([-1, this.inputs]);
  }

  get #order(): number[] {
    const order = this.inputModes.map((_, k) => k);
    return this.direction === "left" ? order : order.reverse();
  }

  /** A core as the matrix of its mode product: what is contracted × what comes in its place. */
  #matrix(core: Tensor, k: number): Tensor {
    const [left, m, n, right] = this.#shapeOf(k);
    return core.reshape(this.direction === "left" ? [left * m, n * right] : [m * right, left * n]);
  }

  /** The tensor at a step as before × what is contracted × after. */
  #seen(z: Tensor, k: number): Tensor {
    const [left, m, , right] = this.#shapeOf(k);
    const [extent, rest] =
      this.direction === "left" ? [left * m, this.inputModes.slice(k + 1)] : [m * right, this.outputModes.slice(k + 1)];
    return z.reshape([-1, extent, rest.reduce((a, b) => a * b, 1)]);
  }

  #dense(s: Scheduler, x: Tensor, training: boolean): Tensor {
    const cores = this.factors.map(({ value }) =>
      this.direction === "left" ? value : permute(s, value, [2, 0, 3, 1]),
    );
    const merged = mergeCores(s, cores, training);
    const weight = merged.full.reshape([this.inputs, this.outputs]);
    const y = matmul(s, x, weight, { bias: this.bias?.value, activation: this.activation });
    if (training) {
      this.#merged = { ...merged, cores };
      this.#steps = [x];
    } else {
      if (cores.length > 1) s.release(weight);
      if (this.direction === "right") s.release(...(cores.length > 1 ? cores : [cores[0]!]));
    }
    return y;
  }

  #denseBackward(s: Scheduler, dz: Tensor, inputGradient: boolean): Tensor | null {
    const { cores, ...merged } = this.#merged!;
    this.#merged = null;
    const weight = merged.full.reshape([this.inputs, this.outputs]);
    const dx = inputGradient ? matmul(s, dz, weight, { transposeB: true }) : null;
    if (cores.length > 1) s.release(weight);
    const dFull = matmul(s, this.#steps[0]!, dz, { transposeA: true }).reshape(merged.full.shape);
    const right = this.direction === "right";
    const gradients = this.factors.map(({ gradient }, k) => (right ? s.tensor(this.#shapeOf(k)) : gradient));
    mergeBackward(s, cores, gradients, merged, dFull);
    if (right) {
      this.factors.forEach(({ gradient }, k) => {
        permute(s, gradients[k]!, [1, 3, 0, 2], { out: gradient });
      });
      s.release(...gradients, ...cores);
    }
    return dx;
  }

  /** The cores, r_{k-1}×m_k×n_k×r_k each. */
  async cores(): Promise<Float32Array[]> {
    const stored = await Promise.all(this.factors.map((factor) => factor.read()));
    return stored.map((core, k) =>
      this.direction === "left" ? core : Float32Array.from(permuteValues(core, this.factors[k]!.shape, [2, 0, 3, 1])),
    );
  }

  async toDense(): Promise<Float32Array> {
    const cores = await this.cores();
    const full = mergeValues(
      cores,
      cores.map((_, k) => this.#shapeOf(k)),
    );
    return Float32Array.from(transpose(full, this.inputs, this.outputs));
  }
}

export interface TtLinearFit {
  inputModes: readonly number[];
  outputModes: readonly number[];
  ranks?: number | readonly number[];
  /** instead of ranks: the weight's, kept by TT-SVD */
  relativeError?: number;
  contraction?: "auto" | "modes" | "dense";
  seed?: number;
}

/** A trained dense layer as a TT-matrix, by TT-SVD: by ranks, or by the weight's relative error. */
export async function ttLinear(engine: Engine, source: DenseSource, fit: TtLinearFit): Promise<TensorTrainLinear> {
  const { inputModes, outputModes, ranks, relativeError, contraction = "auto", seed = 0 } = fit;
  const { inputs, outputs, weight, bias, activation } = await denseWeights(source);
  assertModes("ttLinear: inputs", inputModes, inputs);
  assertModes("ttLinear: outputs", outputModes, outputs);
  using w = engine.tensor([inputs, outputs], transpose(weight, outputs, inputs));
  const { tensor } = await ttMatrix(engine, w, {
    rowModes: inputModes,
    columnModes: outputModes,
    seed,
    ...(ranks !== undefined && { ranks }),
    ...(relativeError !== undefined && { relativeError }),
  });
  const cores = (await engine.read([...tensor.cores])) as Float32Array[];
  const found = tensor.ranks.slice(1, -1);
  tensor.destroy();
  return new TensorTrainLinear({
    inputModes,
    outputModes,
    ranks: found,
    cores,
    bias: bias ?? false,
    activation,
    contraction,
  });
}

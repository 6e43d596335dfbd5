import {
  type DType,
  dispose,
  type Engine,
  formatShape,
  holds,
  type Program,
  type Scheduler,
  ShapeError,
  type Tensor,
} from "../gpu/index.js";
import {
  accumulate,
  kruskalDifference,
  kruskalResidual,
  type MttkrpOptions,
  modeProduct,
  mttkrp,
  partialMttkrp,
  squaredDistance,
  sumOfSquares,
  toFloat,
  unfoldedProduct,
} from "../ops/index.js";
import { KruskalTensor } from "../tensors/index.js";
import { exponentOf, look } from "./facts.js";
import { overModes } from "./overModes.js";
import {
  checkCall,
  type Difference,
  type Facts,
  type Model,
  type ProjectOptions,
  type Reader,
  type Source,
} from "./source.js";

/** One tensor of the GPU's, read as it lies: each verb is the op of its name. */
export class TensorReader implements Reader {
  /** @param numbers of any dtype, where `x` is overridden to give them as f32 */
  constructor(readonly numbers: Tensor<DType>) {}

  /** its entries as f32 */
  get x(): Tensor {
    return this.numbers as Tensor;
  }

  get engine(): Engine {
    return this.numbers.engine;
  }

  get shape(): readonly number[] {
    return this.numbers.shape;
  }

  get order(): number {
    return this.numbers.order;
  }

  get size(): number {
    return this.numbers.size;
  }

  mttkrp(p: Program, factors: readonly Tensor[], mode: number, options?: MttkrpOptions): Tensor {
    return mttkrp(p.s, this.numbers, factors, mode, options);
  }

  partialMttkrp(p: Program, factors: readonly Tensor[], keep: readonly [start: number, stop: number]): Tensor {
    return partialMttkrp(p.s, this.numbers, factors, keep);
  }

  /** The largest reduction comes first, so that every product but the first reads little. */
  project({ s }: Program, factors: readonly (Tensor | null)[], { skip, out }: ProjectOptions = {}): Tensor {
    const modes = [...factors.keys()].filter((mode) => factors[mode] && mode !== skip);
    if (!modes.length)
      throw new ShapeError(`project: no factor to project ${formatShape(this.shape)} with, needs one of another mode`);
    const reduction = (mode: number) => factors[mode]!.shape[1]! / factors[mode]!.shape[0]!;
    modes.sort((a, b) => reduction(a) - reduction(b));
    let product: Tensor<DType> = this.numbers;
    for (const mode of modes) {
      const isLast = mode === modes.at(-1);
      const next = modeProduct(s, product, factors[mode]!, mode, {
        transpose: true,
        ...(isLast && out ? { out } : {}),
      });
      if (product !== this.numbers) s.release(product);
      product = next;
    }
    return product as Tensor;
  }

  unfoldedProduct(p: Program, y: Tensor, mode: number): Tensor {
    return unfoldedProduct(p.s, this.numbers, y, mode);
  }

  /** A Kruskal tensor is compared without being written out, and so is a product of two matrices. */
  residual({ s }: Program, model: Model, options: { out?: Tensor } = {}): Tensor {
    if (model instanceof KruskalTensor) return kruskalResidual(s, this.numbers, model.weights, model.factors, options);
    const product = model.asProduct?.(s);
    if (product) {
      const { factors, temporaries } = product;
      const matrix = this.numbers.reshape(factors.map(({ shape }) => shape[0]!));
      const squared = kruskalResidual(s, matrix, null, factors, options);
      s.release(...temporaries);
      return squared;
    }
    const full = s.tensor(this.shape, { label: "model" });
    model.full(s, full);
    const squared = squaredDistance(s, this.numbers, full, options);
    s.release(full);
    return squared;
  }

  tensor(_operation: string, _s?: Scheduler): Tensor {
    return this.x;
  }

  toString(): string {
    return String(this.numbers);
  }
}

/** A source that is one tensor of the GPU's, as f32. */
export class Resident extends TensorReader implements Source {
  readonly exponent: number;
  readonly squaredNorm: number;
  readonly largest: number;
  readonly isZero: boolean;

  constructor(
    x: Tensor,
    facts: Facts,
    /** whether x was made for the source, and is freed with it */
    private readonly isCopy = false,
  ) {
    super(x);
    this.exponent = facts.exponent;
    this.squaredNorm = facts.squaredNorm;
    this.largest = facts.largest;
    this.isZero = facts.isZero;
  }

  difference(): Difference {
    return differenceOf(this.numbers);
  }

  [dispose](): void {
    if (this.isCopy) this.x.destroy();
  }
}

/** A difference of a tensor of any dtype, as f32. */
export function differenceOf(numbers: Tensor<DType>): Difference {
  const difference = numbers.engine.tensor(numbers.shape, null, { label: "difference" });
  difference.storage.tally = numbers.storage.tally;
  return new ResidentDifference(numbers, difference);
}

/** A tensor that holds x − x̂. */
class ResidentDifference extends TensorReader implements Difference {
  constructor(
    readonly minuend: Tensor<DType>,
    difference: Tensor,
  ) {
    super(difference);
  }

  refresh({ s }: Program, model: Model): void {
    if (model instanceof KruskalTensor)
      return void kruskalDifference(s, this.minuend, model.weights, model.factors, { out: this.x });
    model.full(s, this.x);
    if (holds(this.minuend, "f32")) return void accumulate(s, this.minuend, this.x, { beta: -1 });
    const minuend = toFloat(s, this.minuend);
    accumulate(s, minuend, this.x, { beta: -1 });
    s.release(minuend);
  }

  squaredNorm({ s }: Program, options: { out?: Tensor } = {}): Tensor {
    return sumOfSquares(s, this.x, options);
  }

  evaluate(p: Program, model: KruskalTensor, out: { squaredNorm: Tensor; product: (mode: number) => Tensor }): void {
    const { squaredNorm } = out;
    kruskalDifference(p.s, this.minuend, model.weights, model.factors, { out: this.x, squaredNorm });
    overModes(p, this, model.factors, { out: out.product });
  }

  destroy(): void {
    this.x.destroy();
  }
}

/**
 * Makes a source of one tensor, in one pass over it and one readback. Integers and bytes become f32 of the same value. Entries
 * of 2¹⁶ and more, or all below 2⁻¹⁰, are multiplied by the power of two that brings the largest between 1 and 2, so that no square
 * overflows or vanishes; f(2ᵏX) is then 2ᵏ·f(X) exactly.
 *
 * @throws TenfoldError for what is no tensor of this engine, and for NaN and infinity: how many, and where the first is
 */
export async function resident(engine: Engine, operation: string, x: Tensor<DType>): Promise<Resident> {
  checkCall(engine, operation, x);
  const copies: Tensor[] = [];
  const copy = (): Tensor => {
    const tensor = engine.tensor(x.shape, null, { label: x.label });
    tensor.storage.tally = x.storage.tally;
    copies.push(tensor);
    return tensor;
  };
  try {
    const floats = holds(x, "f32") ? x : copy();
    const { largest, squaredNorm } = await look(engine, operation, { name: String(x), shape: x.shape }, ({ s }, see) =>
      see(floats === x ? floats : toFloat(s, x, { out: floats }), 0),
    );
    const exponent = exponentOf(largest);
    if (!exponent) {
      const facts = { exponent, squaredNorm, largest, isZero: largest === 0 };
      return new Resident(floats, facts, floats !== x);
    }
    const { scaleDown } = await import("./scaleDown.js");
    const scaled = copy();
    const facts = await scaleDown(operation, floats, scaled, { exponent, largest });
    if (floats !== x) copies.splice(copies.indexOf(floats), 1)[0]!.destroy();
    return new Resident(scaled, facts, true);
  } catch (error) {
    for (const tensor of copies) tensor.destroy();
    throw error;
  }
}

/** Large tensors of bytes, halves and integers: in a file of its own, since few programs have them. */
import { type DType, dispose, type Engine, holds, type Scheduler, TenfoldError, type Tensor } from "../gpu/index.js";
import { toFloat } from "../ops/index.js";
import { exponentOf, look } from "./facts.js";
import { differenceOf, TensorReader } from "./resident.js";
import type { Difference, Source } from "./source.js";

/** A source that is a caller's tensor of other numbers than f32, which verbs read as they lie. Nothing of it is scaled. */
export class PackedResident extends TensorReader implements Source {
  readonly exponent = 0;

  constructor(
    numbers: Tensor<DType>,
    readonly squaredNorm: number,
    readonly largest: number,
  ) {
    super(numbers);
  }

  get isZero(): boolean {
    return this.largest === 0;
  }

  override get x(): never {
    throw new TenfoldError(`${this.numbers} is read as it lies, and is no tensor of f32`);
  }

  override tensor(operation: string, s?: Scheduler): Tensor {
    if (!s)
      throw new TenfoldError(`${operation}: ${this.numbers} is read as it lies, and this takes one tensor of f32`);
    return toFloat(s, this.numbers);
  }

  difference(): Difference {
    return differenceOf(this.numbers);
  }

  [dispose](): void {}
}

/** A source of a tensor that verbs read as it lies, unless that is f32, or to be scaled. */
export async function packedResident(
  engine: Engine,
  operation: string,
  x: Tensor<DType>,
): Promise<PackedResident | null> {
  if (holds(x, "f32")) return null;
  const seen = { name: String(x), shape: x.shape };
  const { largest, squaredNorm } = await look(engine, operation, seen, (_, see) => see(x, 0));
  return exponentOf(largest) ? null : new PackedResident(x, squaredNorm, largest);
}

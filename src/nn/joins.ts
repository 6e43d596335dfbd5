import {
  checkOptions,
  formatShape,
  optionRules,
  type Scheduler,
  ShapeError,
  sizeOf,
  type Tensor,
} from "../gpu/index.js";
import { add, batchMatmul, multiply, paste, slice, sum } from "../ops/index.js";
import { Join } from "./join.js";
import type { Counts, Pass } from "./layer.js";
import type { Fields } from "./layerKind.js";

const isSame = (a: readonly number[], b: readonly number[]): boolean => formatShape(a) === formatShape(b);
const listed = (shapes: readonly (readonly number[])[]): string => shapes.map(formatShape).join(" and ");

/** The sum of two or more values of the same shape, element by element, as at the end of a residual block. */
export class Add extends Join {
  readonly name = "Add";

  outputShape(inputs: readonly (readonly number[])[]): number[] {
    if (inputs.length < 2) throw new ShapeError(`Add: ${inputs.length} input, needs two or more`);
    if (!inputs.every((shape) => isSame(shape, inputs[0]!)))
      throw new ShapeError(`Add: samples of shapes ${listed(inputs)}, needs the same shape`);
    return [...inputs[0]!];
  }

  forward(s: Scheduler, inputs: readonly Tensor[]): Tensor {
    return inputs.slice(1).reduce((total, next, at) => {
      const out = add(s, total, next);
      if (at > 0) s.release(total);
      return out;
    }, inputs[0]!);
  }

  backward(_: Scheduler, dy: Tensor, wanted: readonly boolean[]): Tensor[] {
    return wanted.map(() => dy);
  }

  counts(): Counts {
    return { weights: 0, biases: 0, multiplications: 0 };
  }
}

/**
 * The product of two values, element by element. Where the second value has extents 1 from some mode on, as channels×1×1 beside
 * channels×height×width, each of its elements multiplies all that stand there in the first value.
 */
export class Multiply extends Join {
  readonly name = "Multiply";
  #inputs: readonly Tensor[] = [];

  outputShape(inputs: readonly (readonly number[])[]): number[] {
    const [a, b] = inputs;
    if (inputs.length !== 2) throw new ShapeError(`Multiply: ${inputs.length} inputs, needs two`);
    let shared = 0;
    while (shared < a!.length && a![shared] === b![shared]) shared++;
    if (a!.length !== b!.length || b!.slice(shared).some((extent) => extent !== 1))
      throw new ShapeError(
        `Multiply: samples of shapes ${listed(inputs)}, needs the same shape, or 1 in the last modes of the second`,
      );
    return [...a!];
  }

  forward(s: Scheduler, inputs: readonly Tensor[], { training }: Pass): Tensor {
    if (training) this.#inputs = inputs;
    return multiply(s, inputs[0]!, inputs[1]!);
  }

  backward(s: Scheduler, dy: Tensor, wanted: readonly boolean[]): (Tensor | null)[] {
    const [a, b] = this.#inputs as [Tensor, Tensor];
    const da = wanted[0] ? multiply(s, dy, b) : null;
    if (!wanted[1]) return [da, null];
    const product = multiply(s, dy, a);
    if (isSame(a.shape, b.shape)) return [da, product];
    const db = sum(s, product.reshape([b.size, -1]), { axis: 1 });
    s.release(product);
    return [da, db.reshape(b.shape)];
  }

  /** A multiplication an element. */
  counts(inputs: readonly (readonly number[])[]): Counts {
    return { weights: 0, biases: 0, multiplications: sizeOf(inputs[0]!) };
  }
}

/** Values behind each other along one mode, as the feature maps of a dense block. All other extents are the same. */
export class Concat extends Join {
  readonly name: string;
  readonly axis: number;
  #inputs: readonly (readonly number[])[] = [];

  /** @param options.axis the mode of a sample, 0 by default: the channels */
  constructor(options: { axis?: number } = {}) {
    super();
    checkOptions("Concat", options, { axis: optionRules.count });
    this.axis = options.axis ?? 0;
    this.name = this.axis === 0 ? "Concat" : `Concat along mode ${this.axis}`;
  }

  outputShape(inputs: readonly (readonly number[])[]): number[] {
    const { axis, name } = this;
    const first = inputs[0];
    const others = (shape: readonly number[]): number[] => shape.filter((_, mode) => mode !== axis);
    if (!first || axis >= first.length)
      throw new ShapeError(`${name}: samples of shapes ${listed(inputs)} have no mode ${axis}`);
    if (!inputs.every((shape) => shape.length === first.length && isSame(others(shape), others(first))))
      throw new ShapeError(`${name}: samples of shapes ${listed(inputs)} may differ along mode ${axis} alone`);
    return first.map((extent, mode) => (mode === axis ? inputs.reduce((sum, shape) => sum + shape[axis]!, 0) : extent));
  }

  forward(s: Scheduler, inputs: readonly Tensor[], { training }: Pass): Tensor {
    const shapes = inputs.map(({ shape }) => shape);
    if (training) this.#inputs = shapes;
    const samples = shapes.map((shape) => shape.slice(1));
    const out = s.tensor([shapes[0]![0]!, ...this.outputShape(samples)], { label: this.name });
    for (const [which, starts] of this.#starts(shapes).entries()) paste(s, inputs[which]!, out, starts);
    return out;
  }

  backward(s: Scheduler, dy: Tensor, wanted: readonly boolean[]): (Tensor | null)[] {
    const starts = this.#starts(this.#inputs);
    return this.#inputs.map((shape, which) => (wanted[which] ? slice(s, dy, starts[which]!, shape) : null));
  }

  /** Where the values of these shapes, batch×…, begin. */
  #starts(shapes: readonly (readonly number[])[]): number[][] {
    let at = 0;
    return shapes.map((shape) => {
      const starts = shape.map((_, mode) => (mode === this.axis + 1 ? at : 0));
      at += shape[this.axis + 1]!;
      return starts;
    });
  }

  counts(): Counts {
    return { weights: 0, biases: 0, multiplications: 0 };
  }
}

/**
 * The matrix product of two values: of their last two modes, …×rows×inner times …×inner×columns, for every index of the modes before
 * these. Attention has two of them: of queries and keys, and of weights and values (Vaswani et al. 2017).
 */
export class MatMul extends Join {
  readonly name = "MatMul";
  #inputs: readonly Tensor[] = [];

  outputShape(inputs: readonly (readonly number[])[]): number[] {
    if (inputs.length !== 2) throw new ShapeError(`MatMul: ${inputs.length} inputs, needs two`);
    const [a, b] = inputs as [readonly number[], readonly number[]];
    if (a.length < 2 || !isSame(a.slice(0, -2), b.slice(0, -2)) || a.at(-1) !== b.at(-2))
      throw new ShapeError(`MatMul: samples of shapes ${listed(inputs)}, needs …×rows×inner and …×inner×columns`);
    return [...a.slice(0, -1), b.at(-1)!];
  }

  forward(s: Scheduler, inputs: readonly Tensor[], { training }: Pass): Tensor {
    if (training) this.#inputs = inputs;
    const [a, b] = inputs as [Tensor, Tensor];
    const sample = this.outputShape(inputs.map(({ shape }) => shape.slice(1)));
    return batchMatmul(s, matrices(a), matrices(b)).reshape([a.shape[0]!, ...sample]);
  }

  backward(s: Scheduler, dy: Tensor, wanted: readonly boolean[]): (Tensor | null)[] {
    const [a, b] = this.#inputs as [Tensor, Tensor];
    const products = matrices(dy);
    return [
      wanted[0] ? batchMatmul(s, products, matrices(b), { transposeB: true }).reshape(a.shape) : null,
      wanted[1] ? batchMatmul(s, matrices(a), products, { transposeA: true }).reshape(b.shape) : null,
    ];
  }

  counts(inputs: readonly (readonly number[])[]): Counts {
    return { weights: 0, biases: 0, multiplications: sizeOf(inputs[0]!) * inputs[1]!.at(-1)! };
  }
}

/** The matrices of the last two modes, one behind the other. */
const matrices = (x: Tensor): Tensor => x.reshape([-1, ...x.shape.slice(-2)]);

/** One class of joins in files. A subclass is of no kind. */
export interface JoinKind {
  name: string;
  is(join: Join): boolean;
  optionsOf(join: Join): Record<string, unknown>;
  build(fields: Fields): Join;
}

/** Every join that a file may hold. */
export const JOIN_KINDS: readonly JoinKind[] = [
  { name: "add", is: (join) => join.constructor === Add, optionsOf: () => ({}), build: () => new Add() },
  { name: "multiply", is: (join) => join.constructor === Multiply, optionsOf: () => ({}), build: () => new Multiply() },
  {
    name: "concat",
    is: (join) => join.constructor === Concat,
    optionsOf: (join) => ({ axis: (join as Concat).axis }),
    build: (f) => new Concat({ axis: f.index("axis") }),
  },
  { name: "matMul", is: (join) => join.constructor === MatMul, optionsOf: () => ({}), build: () => new MatMul() },
];

/** Layers that move or repeat the elements of a sample, and compute nothing. */
import {
  checkOption,
  checkOptions,
  formatShape,
  optionRules,
  required,
  type Scheduler,
  ShapeError,
  sizeOf,
  type Tensor,
} from "../gpu/index.js";
import { averagePool2d, fill, multiply, type Pair, pair, paste, permute, scale, slice } from "../ops/index.js";
import type { Counts, Layer } from "./layer.js";
import { layerKind } from "./layerKind.js";
import { layerRules } from "./layerRules.js";

const NOTHING: Counts = { weights: 0, biases: 0, multiplications: 0 };

/** Gives a sample another shape of as many elements. The output is a view: nothing is copied. */
export class Reshape implements Layer {
  readonly name: string;
  readonly parameters = [];
  #input: readonly number[] = [];

  /** @param shape of one sample of the output */
  constructor(readonly shape: readonly number[]) {
    checkOption("Reshape", "shape", shape, layerRules.modes);
    this.name = `Reshape to ${formatShape(shape)}`;
  }

  outputShape(input: readonly number[]): number[] {
    if (sizeOf(input) !== sizeOf(this.shape))
      throw new ShapeError(`${this.name}: samples of shape ${formatShape(input)} have ${sizeOf(input)} elements`);
    return [...this.shape];
  }

  forward(_: Scheduler, x: Tensor): Tensor {
    this.#input = x.shape;
    return x.reshape([x.shape[0]!, ...this.outputShape(x.shape.slice(1))]);
  }

  backward(_: Scheduler, dy: Tensor): Tensor {
    return dy.reshape(this.#input);
  }

  counts(): Counts {
    return NOTHING;
  }
}

export const reshapeKind = /* @__PURE__ */ layerKind(
  "reshape",
  Reshape,
  ({ shape }) => ({ shape }),
  (f) => new Reshape(f.counts("shape")),
);

/** Reorders the modes of a sample: mode k of the output is mode `axes[k]` of the input, as in numpy.transpose. */
export class Transpose implements Layer {
  readonly name: string;
  readonly parameters = [];

  /** @param axes the modes of a sample in their new order, each of them once */
  constructor(readonly axes: readonly number[]) {
    checkOption("Transpose", "axes", axes, {
      needs: "each mode of a sample once, from 0",
      is: (value) =>
        Array.isArray(value) && value.length > 0 && [...value].sort((a, b) => a - b).every((axis, at) => axis === at),
    });
    this.name = `Transpose ${axes.join(", ")}`;
  }

  outputShape(input: readonly number[]): number[] {
    if (input.length !== this.axes.length)
      throw new ShapeError(`${this.name}: samples of shape ${formatShape(input)} have ${input.length} modes`);
    return this.axes.map((axis) => input[axis]!);
  }

  forward(s: Scheduler, x: Tensor): Tensor {
    this.outputShape(x.shape.slice(1));
    return permute(s, x, [0, ...this.axes.map((axis) => axis + 1)]);
  }

  backward(s: Scheduler, dy: Tensor, { inputGradient }: { inputGradient: boolean }): Tensor | null {
    const back = [0, ...this.axes.map((_, axis) => this.axes.indexOf(axis) + 1)];
    return inputGradient ? permute(s, dy, back) : null;
  }

  counts(): Counts {
    return NOTHING;
  }
}

export const transposeKind = /* @__PURE__ */ layerKind(
  "transpose",
  Transpose,
  ({ axes }) => ({ axes }),
  (f) => new Transpose(f.counts("axes", 0)),
);

/** The part of a sample from `start` to before `end` along one mode. */
export class Slice implements Layer {
  readonly name: string;
  readonly parameters = [];
  readonly axis: number;
  readonly start: number;
  readonly end: number;
  #input: readonly number[] = [];

  /** @param options.axis the mode of a sample, 0 by default */
  constructor(options: { axis?: number; start: number; end: number }) {
    checkOptions("Slice", options, {
      axis: optionRules.count,
      start: required(optionRules.count),
      end: required(optionRules.positive),
    });
    const { axis = 0, start, end } = options;
    this.name = `Slice ${start} to ${end} of mode ${axis}`;
    if (start >= end) throw new ShapeError(`${this.name}: is empty, needs start below end`);
    [this.axis, this.start, this.end] = [axis, start, end];
  }

  outputShape(input: readonly number[]): number[] {
    if (!(input[this.axis]! >= this.end))
      throw new ShapeError(`${this.name}: samples of shape ${formatShape(input)} do not reach so far`);
    return input.map((extent, mode) => (mode === this.axis ? this.end - this.start : extent));
  }

  forward(s: Scheduler, x: Tensor): Tensor {
    const sample = this.outputShape(x.shape.slice(1));
    this.#input = x.shape;
    return slice(s, x, this.#starts, [x.shape[0]!, ...sample]);
  }

  backward(s: Scheduler, dy: Tensor, { inputGradient }: { inputGradient: boolean }): Tensor | null {
    if (!inputGradient) return null;
    const dx = fill(s, s.tensor(this.#input, { label: `${this.name} gradient` }), 0);
    paste(s, dy, dx, this.#starts);
    return dx;
  }

  get #starts(): number[] {
    return this.#input.map((_, mode) => (mode === this.axis + 1 ? this.start : 0));
  }

  counts(): Counts {
    return NOTHING;
  }
}

export const sliceKind = /* @__PURE__ */ layerKind(
  "slice",
  Slice,
  ({ axis, start, end }) => ({ axis, start, end }),
  (f) => new Slice({ axis: f.index("axis"), start: f.index("start"), end: f.count("end") }),
);

/** Repeats every element of the last two modes: each pixel becomes a block of equal ones ("nearest" interpolation). */
export class Upsample2d implements Layer {
  readonly name: string;
  readonly parameters = [];
  /** rows and columns of a block */
  readonly factors: readonly [number, number];

  /** @param factors rows and columns of a block, or both in one number */
  constructor(factors: Pair) {
    checkOption("Upsample2d", "factors", factors, layerRules.pair);
    this.factors = pair(factors, 1);
    this.name = `Upsample2d ${formatShape(this.factors)}`;
  }

  outputShape(input: readonly number[]): number[] {
    if (input.length < 2)
      throw new ShapeError(`${this.name}: samples of shape ${formatShape(input)}, expected …×height×width`);
    return [...input.slice(0, -2), input.at(-2)! * this.factors[0], input.at(-1)! * this.factors[1]];
  }

  forward(s: Scheduler, x: Tensor): Tensor {
    const sample = this.outputShape(x.shape.slice(1));
    const ones = fill(s, s.tensor([this.factors[0], 1, this.factors[1]], { label: "block" }), 1);
    const y = multiply(s, x.reshape([-1, 1, x.shape.at(-1)!, 1]), ones);
    s.release(ones);
    return y.reshape([x.shape[0]!, ...sample]);
  }

  backward(s: Scheduler, dy: Tensor, { inputGradient }: { inputGradient: boolean }): Tensor | null {
    if (!inputGradient) return null;
    const means = averagePool2d(s, dy, { kernel: this.factors });
    const dx = scale(s, means, { alpha: sizeOf(this.factors) });
    s.release(means);
    return dx;
  }

  counts(): Counts {
    return NOTHING;
  }
}

export const upsample2dKind = /* @__PURE__ */ layerKind(
  "upsample2d",
  Upsample2d,
  ({ factors }) => ({ factors }),
  (f) => new Upsample2d(f.pair("factors")),
);

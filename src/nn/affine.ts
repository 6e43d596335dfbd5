import {
  checkOptions,
  formatShape,
  type OptionRules,
  optionRules,
  required,
  type Scheduler,
  ShapeError,
  sizeOf,
  TenfoldError,
  type Tensor,
} from "../gpu/index.js";
import { add, copy, multiply, sum } from "../ops/index.js";
import { type Counts, type Layer, Parameter, type Pass } from "./layer.js";
import { layerKind } from "./layerKind.js";
import { layerRules } from "./layerRules.js";

export interface AffineOptions {
  /** of weight and bias: the last modes of a sample, with 1 where all elements along a mode share one; [1] is one for all */
  shape: readonly number[];
  /** whether there is a weight (true by default), or its start values; ones otherwise */
  weight?: boolean | Float32Array;
  /** whether there is a bias (true by default), or its start values; zeros otherwise */
  bias?: boolean | Float32Array;
  /** whether weight and bias stay as they are in training; false by default */
  fixed?: boolean;
}

const affineRules: OptionRules<AffineOptions> = {
  shape: required(layerRules.modes),
  weight: layerRules.bias,
  bias: layerRules.bias,
  fixed: optionRules.flag,
};

/**
 * y = weight·x + bias, element by element, with a weight and a bias for every channel, feature or position: scales of residual branches,
 * embeddings of positions. With `fixed` it computes with constants.
 *
 * @throws TenfoldError where an option is unfit, or there is neither weight nor bias
 */
export class Affine implements Layer {
  readonly name: string;
  readonly shape: readonly number[];
  readonly fixed: boolean;
  readonly weight: Parameter | null;
  readonly bias: Parameter | null;
  #input: Tensor | null = null;

  constructor(options: AffineOptions) {
    checkOptions("Affine", options, affineRules);
    const { shape, weight = true, bias = true, fixed = false } = options;
    if (!weight && !bias) throw new TenfoldError("Affine: weight and bias are false, needs one of them at least");
    const parameter = (name: string, value: boolean | Float32Array, start: number): Parameter | null =>
      value ? new Parameter(name, shape, value === true ? new Float32Array(sizeOf(shape)).fill(start) : value) : null;
    this.name = `Affine ${formatShape(shape)}`;
    this.shape = shape;
    this.fixed = fixed;
    this.weight = parameter("weight", weight, 1);
    this.bias = parameter("bias", bias, 0);
  }

  get parameters(): readonly Parameter[] {
    return this.fixed ? [] : this.#both;
  }

  get state(): readonly Parameter[] {
    return this.fixed ? this.#both : [];
  }

  get #both(): Parameter[] {
    return [this.weight, this.bias].filter((parameter) => parameter !== null);
  }

  outputShape(input: readonly number[]): number[] {
    const inner = input.slice(-this.shape.length);
    if (inner.length !== this.shape.length || this.shape.some((extent, at) => extent !== 1 && extent !== inner[at]))
      throw new ShapeError(
        `${this.name}: samples of shape ${formatShape(input)}, needs these extents or 1 in their last modes`,
      );
    return [...input];
  }

  forward(s: Scheduler, x: Tensor, { training }: Pass): Tensor {
    this.outputShape(x.shape.slice(1));
    if (training) this.#input = x;
    const product = this.weight ? multiply(s, x, this.weight.value) : x;
    if (!this.bias) return product;
    const y = add(s, product, this.bias.value);
    if (product !== x) s.release(product);
    return y;
  }

  backward(s: Scheduler, dy: Tensor, { inputGradient }: { inputGradient: boolean }): Tensor | null {
    const { weight, bias, fixed } = this;
    if (bias && !fixed) sumTo(s, dy, bias.gradient);
    if (!weight) return dy;
    if (!fixed) {
      const products = multiply(s, dy, this.#input!);
      sumTo(s, products, weight.gradient);
      s.release(products);
    }
    return inputGradient ? multiply(s, dy, weight.value) : null;
  }

  /** A multiplication an element, where there is a weight. */
  counts(input: readonly number[]): Counts {
    const size = sizeOf(this.shape);
    return {
      weights: this.weight ? size : 0,
      biases: this.bias ? size : 0,
      multiplications: this.weight ? sizeOf(input) : 0,
    };
  }
}

/** The sums of x over the modes that `out` lacks in front, or in which it has extent 1. */
export function sumTo(s: Scheduler, x: Tensor, out: Tensor): void {
  const shape = [...new Array<number>(x.order - out.order).fill(1), ...out.shape];
  /** modes next to each other that are all added up, or all stay, as one */
  const groups: { extent: number; isSummed: boolean }[] = [];
  for (const [mode, extent] of x.shape.entries()) {
    if (extent === 1) continue;
    const isSummed = shape[mode] === 1;
    const last = groups.at(-1);
    if (last?.isSummed === isSummed) last.extent *= extent;
    else groups.push({ extent, isSummed });
  }
  let total = x;
  for (let at = groups.length - 1; at >= 0; at--) {
    if (!groups[at]!.isSummed) continue;
    const isLast = !groups.slice(0, at).some(({ isSummed }) => isSummed);
    const axis = at;
    const before = total.reshape(groups.map(({ extent }) => extent));
    groups.splice(at, 1);
    const next = sum(s, before, {
      axis,
      ...(isLast && { out: out.reshape(groups.length ? groups.map(({ extent }) => extent) : [1]) }),
    });
    if (total !== x) s.release(total);
    total = next;
  }
  if (total === x) copy(s, x.reshape(out.shape), { out });
}

export const affineKind = /* @__PURE__ */ layerKind(
  "affine",
  Affine,
  ({ shape, weight, bias, fixed }) => ({ shape, weight: weight !== null, bias: bias !== null, fixed }),
  (f) =>
    new Affine({ shape: f.counts("shape"), weight: f.flag("weight"), bias: f.flag("bias"), fixed: f.flag("fixed") }),
);

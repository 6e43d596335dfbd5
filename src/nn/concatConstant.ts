import {
  checkOptions,
  formatShape,
  type OptionRules,
  optionRules,
  required,
  type Scheduler,
  ShapeError,
  sizeOf,
  type Tensor,
} from "../gpu/index.js";
import { fill, multiply, paste, slice } from "../ops/index.js";
import { sumTo } from "./affine.js";
import { type Counts, type Layer, Parameter } from "./layer.js";
import { layerKind } from "./layerKind.js";
import { layerRules } from "./layerRules.js";

export interface ConcatConstantOptions {
  /** of the values that are joined to a sample: as that of a sample, but for the extent along `axis` */
  shape: readonly number[];
  /** the mode of a sample along which they stand; 0 by default */
  axis?: number;
  /** whether they stand behind the sample's own values; false by default: in front */
  behind?: boolean;
  /** the start values; zeros otherwise */
  values?: Float32Array;
  /** whether they stay as they are in training; false by default */
  fixed?: boolean;
}

const rules: OptionRules<ConcatConstantOptions> = {
  shape: required(layerRules.modes),
  axis: optionRules.count,
  behind: optionRules.flag,
  values: layerRules.values,
  fixed: optionRules.flag,
};

/**
 * Joins the same values to every sample along one mode, as the class token of a vision transformer (Dosovitskiy et al. 2021) or channels of
 * coordinates.
 */
export class ConcatConstant implements Layer {
  readonly name: string;
  readonly shape: readonly number[];
  readonly axis: number;
  readonly behind: boolean;
  readonly fixed: boolean;
  readonly weight: Parameter;
  #input: readonly number[] = [];

  constructor(options: ConcatConstantOptions) {
    checkOptions("ConcatConstant", options, rules);
    const { shape, axis = 0, behind = false, values, fixed = false } = options;
    this.name = `ConcatConstant ${formatShape(shape)}`;
    if (axis >= shape.length)
      throw new ShapeError(`${this.name}: has no mode ${axis}, needs an axis from 0 to ${shape.length - 1}`);
    [this.shape, this.axis, this.behind, this.fixed] = [shape, axis, behind, fixed];
    this.weight = new Parameter("weight", shape, values ?? new Float32Array(sizeOf(shape)));
  }

  get parameters(): readonly Parameter[] {
    return this.fixed ? [] : [this.weight];
  }

  get state(): readonly Parameter[] {
    return this.fixed ? [this.weight] : [];
  }

  outputShape(input: readonly number[]): number[] {
    const { shape, axis } = this;
    if (input.length !== shape.length || shape.some((extent, mode) => mode !== axis && extent !== input[mode]))
      throw new ShapeError(
        `${this.name}: samples of shape ${formatShape(input)}, needs these extents but for that of mode ${axis}`,
      );
    return input.map((extent, mode) => (mode === axis ? extent + shape[axis]! : extent));
  }

  forward(s: Scheduler, x: Tensor): Tensor {
    const [batch, ...sample] = x.shape as [number, ...number[]];
    const out = s.tensor([batch, ...this.outputShape(sample)], { label: this.name });
    this.#input = x.shape;
    const ones = fill(s, s.tensor([batch, ...this.shape.map(() => 1)], { label: "samples" }), 1);
    const copies = multiply(s, ones, this.weight.value);
    s.release(ones);
    paste(s, copies, out, this.#start(false));
    s.release(copies);
    paste(s, x, out, this.#start(true));
    return out;
  }

  backward(s: Scheduler, dy: Tensor, { inputGradient }: { inputGradient: boolean }): Tensor | null {
    if (!this.fixed) {
      const part = slice(s, dy, this.#start(false), [this.#input[0]!, ...this.shape]);
      sumTo(s, part, this.weight.gradient);
      s.release(part);
    }
    return inputGradient ? slice(s, dy, this.#start(true), this.#input) : null;
  }

  /** Where the sample's own values begin in the output, or the constant ones. */
  #start(own: boolean): number[] {
    const { axis, behind, shape } = this;
    const before = own === behind ? 0 : own ? shape[axis]! : this.#input[axis + 1]!;
    return this.#input.map((_, mode) => (mode === axis + 1 ? before : 0));
  }

  counts(): Counts {
    return { weights: sizeOf(this.shape), biases: 0, multiplications: 0 };
  }
}

export const concatConstantKind = /* @__PURE__ */ layerKind(
  "concatConstant",
  ConcatConstant,
  ({ shape, axis, behind, fixed }) => ({ shape, axis, behind, fixed }),
  (f) =>
    new ConcatConstant({
      shape: f.counts("shape"),
      axis: f.index("axis"),
      behind: f.flag("behind"),
      fixed: f.flag("fixed"),
    }),
);

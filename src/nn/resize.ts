import {
  checkOptions,
  formatShape,
  type OptionRules,
  oneOf,
  required,
  type Scheduler,
  ShapeError,
  sizeOf,
  type Tensor,
} from "../gpu/index.js";
import { modeProduct } from "../ops/index.js";
import { type Counts, type Layer, Parameter } from "./layer.js";
import { layerKind } from "./layerKind.js";
import { layerRules } from "./layerRules.js";

const INTERPOLATIONS = ["linear", "cubic"] as const;
const COORDINATES = ["halfPixel", "alignCorners", "asymmetric"] as const;

export interface ResizeOptions {
  /** extents of the last modes of a sample, as [height, width] */
  from: readonly number[];
  /** what these become */
  to: readonly number[];
  /** between two neighbours, or by the cubic polynomial of four (Keys 1981, a = −0.75); "linear" by default */
  interpolation?: "linear" | "cubic";
  /**
   * Where entry i of the output lies in the input: at (i + ½)/scale − ½ by "halfPixel", the default; at i·(from − 1)/(to − 1) by
   * "alignCorners"; at i/scale by "asymmetric". What lies outside is read at the edge.
   */
  coordinates?: "halfPixel" | "alignCorners" | "asymmetric";
  /** entries of the output for one of the input, by mode; to/from by default */
  scales?: readonly number[];
}

const rules: OptionRules<ResizeOptions> = {
  from: required(layerRules.modes),
  to: required(layerRules.modes),
  interpolation: oneOf(...INTERPOLATIONS),
  coordinates: oneOf(...COORDINATES),
  scales: {
    needs: "a list of numbers above 0",
    is: (value) => Array.isArray(value) && value.every((entry) => Number.isFinite(entry) && entry > 0),
  },
};

/**
 * Interpolates a sample along its last modes: signals, images (bilinear, bicubic) and volumes, as ONNX's Resize and PyTorch's interpolate
 * without antialiasing. Each mode is multiplied by a matrix.
 *
 * @throws ShapeError where the lists of an option differ in length
 */
export class Resize implements Layer {
  readonly name: string;
  readonly parameters = [];
  /** a matrix to×from for each mode that changes */
  readonly state: readonly Parameter[];
  readonly options: Required<ResizeOptions>;
  readonly #modes: readonly number[];

  constructor(options: ResizeOptions) {
    checkOptions("Resize", options, rules);
    const { from, to, interpolation = "linear", coordinates = "halfPixel" } = options;
    this.name = `Resize to ${formatShape(to)}`;
    const scales = options.scales ?? to.map((extent, mode) => extent / from[mode]!);
    if (from.length !== to.length || from.length !== scales.length)
      throw new ShapeError(
        `${this.name}: from has ${from.length}, to ${to.length} and scales ${scales.length} entries, needs as many of each`,
      );
    this.options = { from, to, interpolation, coordinates, scales };
    const changes = (mode: number): boolean => from[mode] !== to[mode] || scales[mode] !== 1;
    this.#modes = [...from.keys()].filter(changes);
    this.state = this.#modes.map((mode) => {
      const values = interpolationMatrix(from[mode]!, to[mode]!, { interpolation, coordinates, scale: scales[mode]! });
      return new Parameter(`mode ${mode}`, [to[mode]!, from[mode]!], values);
    });
  }

  outputShape(input: readonly number[]): number[] {
    const { from, to } = this.options;
    if (input.length < from.length || formatShape(input.slice(-from.length)) !== formatShape(from))
      throw new ShapeError(
        `${this.name}: samples of shape ${formatShape(input)}, needs ${formatShape(from)} in their last modes`,
      );
    return [...input.slice(0, -from.length), ...to];
  }

  forward(s: Scheduler, x: Tensor): Tensor {
    this.outputShape(x.shape.slice(1));
    return this.#multiplied(s, x, false);
  }

  backward(s: Scheduler, dy: Tensor, { inputGradient }: { inputGradient: boolean }): Tensor | null {
    return inputGradient ? this.#multiplied(s, dy, true) : null;
  }

  /** The product with every matrix, or with its transpose. */
  #multiplied(s: Scheduler, x: Tensor, transpose: boolean): Tensor {
    let y = x;
    for (const [at, mode] of this.#modes.entries()) {
      const next = modeProduct(s, y, this.state[at]!.value, x.order - this.options.from.length + mode, { transpose });
      if (y !== x) s.release(y);
      y = next;
    }
    return y;
  }

  /** Those of the products with the matrices. */
  counts(input: readonly number[]): Counts {
    let multiplications = 0;
    const extents = [...this.outputShape(input).slice(0, -this.options.from.length), ...this.options.from];
    for (const mode of this.#modes) {
      multiplications += sizeOf(extents) * this.options.to[mode]!;
      extents[input.length - this.options.from.length + mode] = this.options.to[mode]!;
    }
    return { weights: 0, biases: 0, multiplications };
  }
}

export const resizeKind = /* @__PURE__ */ layerKind(
  "resize",
  Resize,
  ({ options }) => ({ ...options }),
  (f) =>
    new Resize({
      from: f.counts("from"),
      to: f.counts("to"),
      interpolation: f.choice("interpolation", INTERPOLATIONS),
      coordinates: f.choice("coordinates", COORDINATES),
      scales: f.list("scales") as number[],
    }),
);

/** Weights of the entries before, at and behind a place that lies `part` of the way from the second of four to the third. */
function cubicWeights(part: number): number[] {
  const a = -0.75;
  const near = (d: number): number => ((a + 2) * d - (a + 3)) * d * d + 1;
  const far = (d: number): number => ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
  return [far(part + 1), near(part), near(1 - part), far(2 - part)];
}

/** The matrix, outputs×inputs, that interpolates a mode. */
function interpolationMatrix(
  inputs: number,
  outputs: number,
  { interpolation, coordinates, scale }: { interpolation: string; coordinates: string; scale: number },
): Float32Array {
  const matrix = new Float64Array(outputs * inputs);
  for (let i = 0; i < outputs; i++) {
    const place =
      coordinates === "halfPixel"
        ? (i + 0.5) / scale - 0.5
        : coordinates === "asymmetric"
          ? i / scale
          : outputs > 1
            ? (i * (inputs - 1)) / (outputs - 1)
            : 0;
    const before = Math.floor(place);
    const part = place - before;
    const weights = interpolation === "linear" ? [1 - part, part] : cubicWeights(part);
    const first = interpolation === "linear" ? before : before - 1;
    for (const [at, weight] of weights.entries()) {
      const column = Math.min(inputs - 1, Math.max(0, first + at));
      matrix[i * inputs + column]! += weight;
    }
  }
  return Float32Array.from(matrix);
}

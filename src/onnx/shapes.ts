/**
 * Shapes of the values of a graph, as far as the usual operators let them be inferred: for counting multiplications. Small integer
 * tensors are followed too, because exporters compute shapes by Shape, Gather, Concat and Reshape.
 */
import { TenfoldError } from "../errors.js";
import { type GraphFacts, isStandard } from "./graph.js";
import type { OnnxModel } from "./model.js";
import {
  constantOf,
  dimensionsOf,
  extentOf,
  intOf,
  intsOf,
  type NodeProto,
  stringOf,
  subgraphsOf,
  type TensorProto,
  type ValueInfoProto,
} from "./proto.js";
import { integersOf, quoted, smallFloatsOf } from "./tensors.js";

/** Extents of a value; null where an extent is unknown. */
export type Extents = readonly (number | null)[];

/** Shapes by the names of values: of inputs, or of whatever a run has shown. */
export type KnownShapes = Readonly<Record<string, readonly number[]>> | ReadonlyMap<string, readonly number[]>;

/** The shapes of a graph's values. */
export class Shapes {
  private readonly shapes = new Map<string, Extents>();
  /** entries of small integer tensors; null where one is unknown */
  private readonly values = new Map<string, Extents>();

  /**
   * @param known shapes of inputs that the file leaves open, or of any value
   * @throws TenfoldError where `known` contradicts what the file says of an input, or names nothing in the graph
   */
  constructor(
    private readonly model: OnnxModel,
    private readonly facts: GraphFacts,
    known: KnownShapes = {},
  ) {
    const { graph } = model;
    const entries = known instanceof Map ? [...known] : Object.entries(known as Record<string, readonly number[]>);
    const fixed = new Map<string, readonly number[]>(entries);
    const infos = new Map([...graph.input, ...graph.output, ...graph.valueInfo].map((info) => [info.name, info]));
    const declared = (name: string): Extents | null => declaredExtents(infos.get(name));
    for (const [name, shape] of fixed) this.checkKnown(name, shape, infos.has(name), declared(name));
    for (const [name, tensor] of facts.initializers) this.learnTensor(name, tensor);
    for (const { name } of graph.input) {
      const shape = fixed.get(name) ?? declared(name);
      if (shape && !facts.initializers.has(name)) this.shapes.set(name, shape);
    }
    for (const node of graph.node) {
      const inferred = isStandard(node) ? this.outputsOf(node) : [];
      for (const [at, name] of node.output.entries()) {
        if (!name) continue;
        const said = declared(name);
        const extents = inferred[at] ?? said;
        // what the file says fills what could not be inferred
        const shape =
          fixed.get(name) ??
          (extents && said?.length === extents.length ? extents.map((extent, axis) => extent ?? said[axis]!) : extents);
        if (shape) this.shapes.set(name, shape);
      }
    }
  }

  /** The extents of a value; null where the rank is unknown. */
  of(name: string | undefined): Extents | null {
    return this.shapes.get(name ?? "") ?? null;
  }

  private checkKnown(name: string, shape: readonly number[], declares: boolean, said: Extents | null): void {
    if (!declares && !this.facts.names.has(name)) {
      const inputs = this.model.inputs.map((input) => quoted(input.name)).join(", ");
      throw new TenfoldError(`${this.model.file}: no value is called ${quoted(name)}; its inputs are ${inputs}`, {
        code: "OPTION",
      });
    }
    const fits = Array.isArray(shape) && shape.every((extent) => Number.isSafeInteger(extent) && extent >= 0);
    const agrees =
      fits &&
      (!this.model.graph.input.some((input) => input.name === name) ||
        !said ||
        (said.length === shape.length && said.every((extent, axis) => extent === null || extent === shape[axis])));
    if (!agrees)
      throw new TenfoldError(
        `${this.model.file}: shape ${String(shape)} of ${quoted(name)}: needs ${said ? said.map((extent) => extent ?? "any").join("×") : "whole numbers"}`,
        { code: "SHAPE" },
      );
  }

  private learnTensor(name: string, tensor: TensorProto): void {
    const shape = tensor.dims.map(Number);
    if (!shape.every((extent) => Number.isSafeInteger(extent) && extent >= 0)) return;
    this.shapes.set(name, shape);
    const values = integersOf(tensor);
    if (values) this.values.set(name, values);
  }

  private outputsOf(node: NodeProto): (Extents | null | undefined)[] {
    const { opType, input, output } = node;
    const at = (index: number): Extents | null => this.of(input[index]);
    const ints = (index: number): Extents | null => this.values.get(input[index] ?? "") ?? null;
    const learn = (values: Extents | null): void => {
      if (values && values.length <= 64 && output[0]) this.values.set(output[0], values);
    };
    const x = at(0);
    if (opType === "Constant") {
      const tensor = constantOf(node);
      if (tensor && output[0]) this.learnTensor(output[0], tensor);
      return [this.of(output[0])];
    }
    if (SAME.has(opType)) {
      if (opType === "Identity" || opType === "Cast") learn(ints(0));
      return [x];
    }
    if (BROADCAST.has(opType)) {
      const compute = ARITHMETIC[opType];
      const [a, b] = [ints(0), ints(1)];
      if (compute && a && b && input.length === 2) learn(elementwise(a, b, compute));
      return [broadcast(input.map((name) => this.of(name)))];
    }
    if (opType.startsWith("Reduce") || opType === "ArgMax" || opType === "ArgMin") return [this.reduced(node, x)];
    switch (opType) {
      case "Conv": {
        const w = at(1);
        if (!x || !w || x.length !== w.length) return [];
        const sizes = x.slice(2).map((n, axis) => convolved(node, n, w[axis + 2]!, axis, x.length - 2));
        return [[x[0]!, w[0]!, ...sizes]];
      }
      case "ConvTranspose": {
        const w = at(1);
        if (!x || !w || x.length !== w.length) return [];
        const channels = w[1] === null ? null : w[1]! * intOf(node, "group", 1);
        const sizes = x.slice(2).map((n, axis) => transposeConvolved(node, n, w[axis + 2]!, axis, x.length - 2));
        return [[x[0]!, channels, ...sizes]];
      }
      case "MaxPool":
      case "AveragePool":
      case "LpPool": {
        const kernel = intsOf(node, "kernel_shape");
        if (!x || !kernel || kernel.length !== x.length - 2) return [];
        const ceil = intOf(node, "ceil_mode", 0) !== 0;
        const sizes = x.slice(2).map((n, axis) => convolved(node, n, kernel[axis]!, axis, kernel.length, ceil));
        return [[...x.slice(0, 2), ...sizes]];
      }
      case "GlobalAveragePool":
      case "GlobalMaxPool":
      case "GlobalLpPool":
        return [x && [...x.slice(0, 2), ...x.slice(2).map(() => 1)]];
      case "Gemm": {
        const w = at(1);
        if (x?.length !== 2 || w?.length !== 2) return [];
        return [[intOf(node, "transA", 0) ? x[1]! : x[0]!, intOf(node, "transB", 0) ? w[0]! : w[1]!]];
      }
      case "MatMul":
        return [matmul(x, at(1))];
      case "Flatten": {
        if (!x) return [];
        const axis = axisOf(intOf(node, "axis", 1), x.length);
        return [[product(x.slice(0, axis)), product(x.slice(axis))]];
      }
      case "Reshape":
        // a list stays a list
        if ((at(1)?.[0] ?? 2) <= 1) learn(ints(0));
        return [reshaped(x, ints(1) ?? intsOf(node, "shape"), intOf(node, "allowzero", 0) !== 0, at(1))];
      case "Transpose": {
        const perm = intsOf(node, "perm");
        return [x && (perm ? perm.map((axis) => x[axis] ?? null) : [...x].reverse())];
      }
      case "Concat": {
        const parts = input.map((name) => this.of(name));
        const axis = intOf(node, "axis", 1);
        const values = input.map((_, index) => ints(index));
        if (values.every((one) => one !== null)) learn(values.flat());
        const [first] = parts;
        if (!first || parts.some((part) => part?.length !== first.length)) return [];
        const joined = axisOf(axis, first.length);
        return [
          first.map((extent, one) =>
            one === joined
              ? sum(parts.map((part) => part![one]!))
              : (parts.map((part) => part![one]!).find((other) => other !== null) ?? extent),
          ),
        ];
      }
      case "Shape": {
        if (!x) return [[null]];
        const start = axisOf(intOf(node, "start", 0), x.length);
        const end = axisOf(intOf(node, "end", x.length), x.length);
        learn(x.slice(start, end));
        return [[Math.max(0, end - start)]];
      }
      case "Size":
        learn(x && [product(x)]);
        return [[]];
      case "Squeeze": {
        learn(ints(0));
        const axes = ints(1) ?? intsOf(node, "axes");
        if (!x || axes?.includes(null)) return [];
        const dropped = axes?.map((axis) => axisOf(axis!, x.length));
        return [x.filter((extent, axis) => (dropped ? !dropped.includes(axis) : extent !== 1))];
      }
      case "Unsqueeze": {
        learn(ints(0));
        const axes = ints(1) ?? intsOf(node, "axes");
        if (!x || !axes || axes.includes(null)) return [];
        const rank = x.length + axes.length;
        const added = axes.map((axis) => axisOf(axis!, rank));
        const rest = [...x];
        return [Array.from({ length: rank }, (_, axis) => (added.includes(axis) ? 1 : (rest.shift() ?? null)))];
      }
      case "Gather": {
        const indices = at(1);
        const [values, picks] = [ints(0), ints(1)];
        if (values && picks) learn(picks.map((pick) => (pick === null ? null : (values.at(pick) ?? null))));
        if (!x || !indices) return [];
        const axis = axisOf(intOf(node, "axis", 0), x.length);
        return [[...x.slice(0, axis), ...indices, ...x.slice(axis + 1)]];
      }
      case "Slice":
        return [this.sliced(node, x, ints)];
      case "Split":
        return this.split(node, x, ints(1));
      case "Pad": {
        const pads = ints(1) ?? intsOf(node, "pads");
        if (!x) return [];
        if (input[3] || !pads || pads.length !== 2 * x.length) return [x.map(() => null)];
        return [x.map((extent, axis) => sum([extent, pads[axis]!, pads[axis + x.length]!]))];
      }
      case "Expand": {
        const shape = ints(1);
        return [shape ? broadcast([x, shape]) : null];
      }
      case "ConstantOfShape": {
        const shape = ints(0);
        return [shape];
      }
      case "Tile": {
        const repeats = ints(1);
        return [x && repeats?.length === x.length ? x.map((extent, axis) => times(extent, repeats[axis]!)) : null];
      }
      case "Where":
        return [broadcast([x, at(1), at(2)])];
      case "DepthToSpace":
      case "SpaceToDepth": {
        const block = intOf(node, "blocksize", 1);
        if (x?.length !== 4) return [];
        const [n, c, h, w] = x as [number | null, number | null, number | null, number | null];
        return opType === "DepthToSpace"
          ? [[n, times(c, 1 / block ** 2), times(h, block), times(w, block)]]
          : [[n, times(c, block ** 2), times(h, 1 / block), times(w, 1 / block)]];
      }
      case "Resize":
      case "Upsample":
        return [this.resized(node, x)];
      case "LSTM":
      case "GRU":
      case "RNN": {
        const hidden = intOf(node, "hidden_size", 0);
        const directions = stringOf(node, "direction", "forward") === "bidirectional" ? 2 : 1;
        if (x?.length !== 3 || !hidden || intOf(node, "layout", 0)) return [];
        const state = [directions, x[1]!, hidden];
        return [[x[0]!, directions, x[1]!, hidden], state, state];
      }
      case "If": {
        // what both branches declare
        const [first, ...others] = subgraphsOf(node).map((branch) => branch.output.map(declaredExtents));
        return (first ?? []).map((shape, index) =>
          shape && others.every((other) => other[index]?.join() === shape.join()) ? shape : null,
        );
      }
      default:
        return [];
    }
  }

  private reduced(node: NodeProto, x: Extents | null): Extents | null {
    if (!x) return null;
    const keep = intOf(node, "keepdims", 1) !== 0;
    const one = node.opType.startsWith("Arg");
    const listed = one
      ? [intOf(node, "axis", 0)]
      : node.input[1]
        ? (this.values.get(node.input[1]) ?? null)
        : (intsOf(node, "axes") ?? []);
    if (!listed || listed.includes(null)) return keep ? x.map(() => null) : null;
    if (!listed.length && intOf(node, "noop_with_empty_axes", 0)) return x;
    const axes = listed.length ? listed.map((axis) => axisOf(axis!, x.length)) : x.map((_, axis) => axis);
    return keep
      ? x.map((extent, axis) => (axes.includes(axis) ? 1 : extent))
      : x.filter((_, axis) => !axes.includes(axis));
  }

  private sliced(node: NodeProto, x: Extents | null, ints: (index: number) => Extents | null): Extents | null {
    const byInputs = node.input.length > 1;
    const starts = byInputs ? ints(1) : intsOf(node, "starts");
    const ends = byInputs ? ints(2) : intsOf(node, "ends");
    const axes = node.input[3] ? ints(3) : (intsOf(node, "axes") ?? starts?.map((_, axis) => axis) ?? null);
    const steps = node.input[4] ? ints(4) : (starts?.map(() => 1) ?? null);
    if (!x) return null;
    if (!axes || axes.includes(null)) return x.map(() => null);
    const shape: (number | null)[] = [...x];
    for (const [index, axis] of axes.entries()) {
      const on = axisOf(axis!, x.length);
      const [start, end, step] = [starts?.[index] ?? null, ends?.[index] ?? null, steps?.[index] ?? null];
      const extent = x[on] ?? null;
      const range =
        start === null || end === null || !step || extent === null ? null : rangeOf(start, end, step, extent);
      shape[on] = range ? Math.max(0, Math.ceil((range.end - range.start) / step!)) : null;
      const values = ints(0);
      if (values && range && axes.length === 1 && node.output[0])
        this.values.set(
          node.output[0],
          Array.from({ length: shape[on]! }, (_, i) => values[range.start + i * step!] ?? null),
        );
    }
    return shape;
  }

  private split(node: NodeProto, x: Extents | null, sizes: Extents | null): (Extents | null)[] {
    if (!x) return [];
    const axis = axisOf(intOf(node, "axis", 0), x.length);
    const parts = sizes ?? intsOf(node, "split");
    const count = node.output.length;
    const extent = x[axis] ?? null;
    return node.output.map((_, index) => {
      const part =
        extent === null ? null : Math.min(Math.ceil(extent / count), extent - index * Math.ceil(extent / count));
      return x.map((other, one) => (one === axis ? (parts ? (parts[index] ?? null) : part) : other));
    });
  }

  private resized(node: NodeProto, x: Extents | null): Extents | null {
    if (!x) return null;
    const sizes = this.values.get(node.input[3] ?? "");
    if (sizes) return sizes.length === x.length ? sizes : null;
    const name = node.input.length === 2 ? node.input[1] : node.input[2];
    const weight = this.facts.weight(name)?.tensor;
    const scales = weight && smallFloatsOf(weight);
    if (scales?.length !== x.length) return x.map((extent, axis) => (axis < 2 ? extent : null));
    return x.map((extent, axis) => (extent === null ? null : Math.floor(extent * scales[axis]! + 1e-6)));
  }
}

/** The extents that a value is declared with; null where an extent, or the rank, is open. */
const declaredExtents = (info: ValueInfoProto | undefined): Extents | null =>
  dimensionsOf(info)?.map((dimension) => {
    const extent = extentOf(dimension);
    return typeof extent === "number" ? extent : null;
  }) ?? null;

/** Operators whose first output has the shape of the first input. */
const SAME = new Set(
  `Abs Acos Acosh Asin Asinh Atan Atanh BatchNormalization Bernoulli BitwiseNot Cast CastLike Ceil Celu Clip Cos Cosh CumSum
  DequantizeLinear Dropout Elu Erf Exp Floor Gelu GroupNormalization HardSigmoid HardSwish Hardmax Identity InstanceNormalization
  IsInf IsNaN LRN LayerNormalization LeakyRelu Log LogSoftmax LpNormalization MeanVarianceNormalization Mish Neg Not PRelu
  QuantizeLinear RMSNormalization RandomNormalLike RandomUniformLike Reciprocal Relu Round ScatterElements ScatterND Selu Shrink
  Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu Trilu`.split(/\s+/),
);
const BROADCAST = new Set(
  `Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod Mul Or Pow
  Sub Sum Xor`.split(/\s+/),
);
const ARITHMETIC: Readonly<Record<string, (a: number, b: number) => number>> = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Mul: (a, b) => a * b,
  Div: (a, b) => (b === 0 ? Number.NaN : Math.trunc(a / b)),
};

function elementwise(a: Extents, b: Extents, compute: (a: number, b: number) => number): Extents | null {
  const length = Math.max(a.length, b.length);
  if ((a.length !== length && a.length !== 1) || (b.length !== length && b.length !== 1)) return null;
  return Array.from({ length }, (_, i) => {
    const [one, other] = [a[a.length === 1 ? 0 : i] ?? null, b[b.length === 1 ? 0 : i] ?? null];
    const value = one === null || other === null ? Number.NaN : compute(one, other);
    return Number.isSafeInteger(value) ? value : null;
  });
}

const axisOf = (axis: number, rank: number): number => Math.min(rank, Math.max(0, axis < 0 ? axis + rank : axis));

const countOf = (value: number): number | null => (Number.isSafeInteger(value) && value >= 0 ? value : null);
const times = (a: number | null, b: number | null): number | null => (a === null || b === null ? null : countOf(a * b));
const sum = (values: readonly (number | null)[]): number | null =>
  values.reduce<number | null>((a, b) => (a === null || b === null ? null : a + b), 0);
export const product = (values: Extents): number | null => values.reduce<number | null>(times, 1);

/** The shape of an element-by-element operation; null where a shape is unknown. */
function broadcast(shapes: readonly (Extents | null)[]): Extents | null {
  if (!shapes.length || shapes.some((shape) => shape === null)) return null;
  const rank = Math.max(...shapes.map((shape) => shape!.length));
  return Array.from({ length: rank }, (_, axis) => {
    // shorter shapes are filled with 1 in front
    const aligned = shapes.map((shape): number | null => {
      const at = axis - rank + shape!.length;
      return at < 0 ? 1 : (shape![at] ?? null);
    });
    return aligned.find((extent) => extent !== null && extent !== 1) ?? (aligned.includes(null) ? null : 1);
  });
}

function matmul(a: Extents | null, b: Extents | null): Extents | null {
  if (!a?.length || !b?.length) return null;
  const left = a.length === 1 ? [1, ...a] : a;
  const right = b.length === 1 ? [...b, 1] : b;
  const stack = broadcast([left.slice(0, -2), right.slice(0, -2)]);
  return stack && [...stack, ...(a.length > 1 ? [left.at(-2)!] : []), ...(b.length > 1 ? [right.at(-1)!] : [])];
}

function reshaped(
  x: Extents | null,
  shape: Extents | null,
  allowZero: boolean,
  shapeOfShape: Extents | null,
): Extents | null {
  // the length of the list of extents is the rank
  if (!shape) return shapeOfShape?.[0] ? Array.from({ length: Math.min(shapeOfShape[0], 64) }, () => null) : null;
  const out = shape.map((extent, axis) => (extent === 0 && !allowZero ? (x?.[axis] ?? null) : extent));
  const free = out.indexOf(-1);
  if (free < 0) return out;
  // extents that are taken over from x cancel, also unknown ones
  const copied = (axis: number): boolean => shape[axis] === 0 && !allowZero;
  const size = x && product(x.filter((_, axis) => !copied(axis)));
  const rest = product(out.filter((_, axis) => axis !== free && !copied(axis)));
  out[free] = size !== null && rest ? countOf(size / rest) : null;
  return out;
}

/** The indices of a slice, from `start` on. */
function rangeOf(start: number, end: number, step: number, extent: number): { start: number; end: number } {
  const place = (at: number): number => (at < 0 ? at + extent : at);
  const [low, high] = step > 0 ? [0, extent] : [-1, extent - 1];
  const clamp = (at: number): number => Math.min(high, Math.max(low, at));
  return { start: clamp(place(start)), end: clamp(end < -extent ? low : place(end)) };
}

/** The output's extent of a convolution or a pool along an axis. */
function convolved(
  node: NodeProto,
  n: number | null,
  kernel: number | null,
  axis: number,
  rank: number,
  ceil = false,
): number | null {
  const stride = intsOf(node, "strides")?.[axis] ?? 1;
  if (n === null || kernel === null || !(stride > 0)) return null;
  const auto = stringOf(node, "auto_pad", "NOTSET");
  if (auto.startsWith("SAME")) return Math.ceil(n / stride);
  const pads = auto === "VALID" ? null : intsOf(node, "pads");
  const extent = (kernel - 1) * (intsOf(node, "dilations")?.[axis] ?? 1) + 1;
  const room = n + (pads?.[axis] ?? 0) + (pads?.[axis + rank] ?? 0) - extent;
  return countOf((ceil ? Math.ceil(room / stride) : Math.floor(room / stride)) + 1);
}

/** The output's extent of a transposed convolution along an axis. */
function transposeConvolved(
  node: NodeProto,
  n: number | null,
  kernel: number | null,
  axis: number,
  rank: number,
): number | null {
  const fixed = intsOf(node, "output_shape");
  if (fixed) return fixed.at(axis - rank) ?? null;
  const stride = intsOf(node, "strides")?.[axis] ?? 1;
  if (n === null || kernel === null) return null;
  const auto = stringOf(node, "auto_pad", "NOTSET");
  if (auto.startsWith("SAME")) return countOf(n * stride);
  const pads = auto === "VALID" ? null : intsOf(node, "pads");
  const extent = (kernel - 1) * (intsOf(node, "dilations")?.[axis] ?? 1) + 1;
  const added = intsOf(node, "output_padding")?.[axis] ?? 0;
  return countOf(stride * (n - 1) + added + extent - (pads?.[axis] ?? 0) - (pads?.[axis + rank] ?? 0));
}

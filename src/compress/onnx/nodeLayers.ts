/** Nodes of an ONNX graph as layers and joins of a network, with the way of their weights there and back. */
import {
  Activate,
  Add,
  Affine,
  AveragePool2d,
  Chain,
  Concat,
  ConcatConstant,
  Conv1d,
  Conv2d,
  Conv3d,
  ConvTranspose2d,
  Flatten,
  GlobalAveragePool,
  type Join,
  type Layer,
  LayerNorm,
  Linear,
  MatMul,
  MaxPool2d,
  Multiply,
  ReLU,
  Reshape,
  Resize,
  Rowwise,
  Slice,
  Softmax,
  Transpose,
  Upsample2d,
} from "../../nn/index.js";
import { isFloat } from "../../onnx/dataTypes.js";
import { type GraphFacts, isStandard, type Weight } from "../../onnx/graph.js";
import type { KnownShapes, OnnxModel } from "../../onnx/index.js";
import {
  type FoundLayer,
  fileWeights,
  findLayers,
  type LeftAlone,
  layerBias,
  layerWeights,
  nameOf,
} from "../../onnx/layers.js";
import { floatOf, intOf, intsOf, type NodeProto, stringOf, type TensorProto } from "../../onnx/proto.js";
import type { Shapes } from "../../onnx/shapes.js";
import { extentsOf, floatsOf, integersOf, smallFloatsOf } from "../../onnx/tensors.js";
import type { Activation } from "../../ops/index.js";
import { numberOf, type SpelledLayer, spelledLayers } from "./nodePatterns.js";

/** Where a parameter of a layer stands in the file. */
export interface ParameterPlace {
  parameter: "weight" | "bias";
  tensor: TensorProto;
  /** the parameter's values as the tensor has them */
  toFile(values: Float32Array): Float32Array;
}

/** A layer or a join in place of nodes. */
export interface NodeLayer {
  /** one node, or a product and the node that adds its bias */
  nodes: readonly NodeProto[];
  /** the values that it reads, constants left out */
  from: readonly string[];
  output: string;
  places: readonly ParameterPlace[];
  /** null where the output is the input, as of Identity; with an activation for layers that have one as an option */
  make: ((activation: Activation) => Promise<Layer | Join>) | null;
  takesActivation: boolean;
}

/** The shape of one sample of a value: without the extent that counts samples. */
type Sample = readonly number[];

const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  Relu: "relu",
  Sigmoid: "sigmoid",
  Tanh: "tanh",
  HardSwish: "hardSwish",
};

const sameExtents = (a: Sample, b: Sample): boolean => a.join() === b.join();
const plain = { places: [], takesActivation: false } as const;
const sizeOfSample = (sample: Sample): number => sample.reduce((a, b) => a * b, 1);

/** Operators whose output has its samples along the same axis as the input, wherever that is. */
const KEEPS_AXIS = new Set(
  `Identity Dropout Relu Sigmoid Tanh HardSwish LeakyRelu Gelu HardSigmoid Clip Add Sub Mul Div MatMul LayerNormalization
  Softmax Slice Split`.split(/\s+/),
);
/** Operators that say themselves along which axis the output has its samples. */
const MOVES_AXIS = new Set(["Transpose", "Squeeze", "Unsqueeze", "Gather"]);

/** min(max(scale·x + shift, low), high), of layers that a network has. */
function clip({
  scale = 1,
  shift = 0,
  low,
  high,
}: {
  scale?: number;
  shift?: number;
  low: number;
  high: number;
}): Layer {
  const line = (factor: number, offset: number): Layer[] =>
    factor === 1 && offset === 0
      ? []
      : [
          new Affine({
            ...{ shape: [1], fixed: true },
            ...{ weight: factor !== 1 && Float32Array.of(factor), bias: offset !== 0 && Float32Array.of(offset) },
          }),
        ];
  const above = [...line(scale, shift - low), new ReLU()];
  return new Chain(
    "clip",
    high === Number.POSITIVE_INFINITY
      ? [...above, ...line(1, low)]
      : [...above, ...line(-1, high - low), new ReLU(), ...line(-1, high)],
  );
}

/** The nodes of one model as layers. */
export class NodeLayers {
  readonly facts: GraphFacts;
  private readonly shapes: Shapes;
  private readonly layers = new Map<NodeProto, FoundLayer>();
  private readonly leftAlone: readonly LeftAlone[];
  /** nodes that are part of the layer of another node */
  private readonly parts = new Set<NodeProto>();
  /** layers that several nodes spell out, by the node that makes the output */
  private readonly spelled = new Map<NodeProto, SpelledLayer>();
  /** values that are computed from extents alone, as the shapes that a Reshape is told */
  private readonly extents = new Set<string>();
  /** the axis that counts samples, where it is not the first one */
  private readonly axes = new Map<string, number>();

  /** @param shapes of the inputs, as one run has them */
  constructor(
    private readonly model: OnnxModel,
    shapes: KnownShapes,
    fixedInputs: boolean,
  ) {
    const found = findLayers(model, { shapes, fixedInputs, join: false, depthwise: true });
    this.facts = found.facts;
    this.shapes = found.shapes;
    this.leftAlone = found.leftAlone;
    for (const layer of found.layers) {
      const [{ node, add }] = layer.nodes as [FoundLayer["nodes"][number]];
      this.layers.set(node, layer);
      if (add) this.parts.add(add.node);
    }
    for (const layer of spelledLayers(found.facts)) {
      for (const node of layer.nodes.slice(0, -1)) this.parts.add(node);
      this.spelled.set(layer.nodes.at(-1)!, layer);
    }
    for (const { opType, input, output } of model.graph.node) {
      const values = input.filter((name) => name && !found.facts.weight(name));
      const fromExtents = values.length > 0 && values.every((name) => this.extents.has(name));
      if (fromExtents || opType === "Shape") for (const name of output) this.extents.add(name);
    }
  }

  /** What stands for a node: nothing where another node's layer does it already, or it computes extents; or why there is no layer. */
  of(node: NodeProto): readonly NodeLayer[] | string {
    if (this.parts.has(node) || node.opType === "Constant") return [];
    if (node.output.every((name) => this.extents.has(name))) return [];
    if (node.opType === "Identity" && this.isConstant(node.input[0]!)) return [];
    if (!isStandard(node)) return `operators of ${node.domain} have no layer`;
    const spelled = this.spelled.get(node);
    const layer = spelled ?? this.layers.get(node);
    const [value, ...others] = layer ? [layer.input] : node.input.filter((name) => !this.isConstant(name));
    const axis = this.axisOf(value);
    if (axis && !layer && !KEEPS_AXIS.has(node.opType) && !MOVES_AXIS.has(node.opType))
      return `samples do not stand along the first axis of what it reads`;
    if (!spelled && others.some((name) => this.axisOf(name) !== axis)) return "samples stand along different axes";
    if (node.opType === "Split") return this.split(node);
    if (!node.output[0] || node.output.slice(1).some((name) => name && this.facts.uses.get(name)))
      return "it has several outputs";
    if (axis && !MOVES_AXIS.has(node.opType)) this.axes.set(node.output[0], axis);
    const result = spelled ? this.spelledLayer(spelled) : layer ? this.product(layer as FoundLayer) : this.other(node);
    if (typeof result === "string") return result;
    if (axis && layer) this.axes.set(result.output, axis);
    return [result];
  }

  /** The shape of one sample of a value; null where it is unknown. */
  sampleOf(name: string | undefined): Sample | null {
    const extents = this.shapes.of(name);
    if (!extents?.length || !extents.every((extent) => extent !== null)) return null;
    const axis = this.axisOf(name);
    return (extents as Sample).filter((_, at) => at !== axis);
  }

  /** The axis of a value that counts samples. */
  axisOf(name: string | undefined): number {
    return this.axes.get(name ?? "") ?? 0;
  }

  private isConstant(name: string): boolean {
    return !name || this.facts.weight(name) !== null;
  }

  /** An axis of a value as a mode of its samples, from 0; null for the one that counts samples, and where there is no such axis. */
  private modeOf(name: string, axis: number): number | null {
    const rank = this.shapes.of(name)?.length ?? 0;
    const [at, batch] = [axis < 0 ? axis + rank : axis, this.axisOf(name)];
    if (at === batch || at < 0 || at >= rank) return null;
    return at > batch ? at - 1 : at;
  }

  // ---- layers with weights

  private product(layer: FoundLayer): NodeLayer | string {
    const { model } = this;
    const [{ node, weight, bias, side, add, outputs }] = layer.nodes as [FoundLayer["nodes"][number]];
    if (side === 0) return "its weights stand to the left";
    const both = [weight, ...(bias ? [bias] : [])];
    if (!both.every((one) => this.isReplaceable(one))) return SHARED;
    if (bias && extentsOf(model.file, bias.tensor).reduce((a, b) => a * b, 1) !== outputs)
      return "its bias is one number for all outputs";
    const sample = this.sampleOf(layer.input);
    if (!sample) return "the shape of what it reads is unknown";
    const make = this.makerOf(layer, sample);
    if (typeof make === "string") return make;
    const beta = node.opType === "Gemm" ? floatOf(node, "beta", 1) : 1;
    if (beta === 0 || (node.opType === "Gemm" && floatOf(node, "alpha", 1) === 0)) return "it multiplies by 0";
    const places: ParameterPlace[] = [
      {
        ...{ parameter: "weight", tensor: weight.tensor },
        toFile: (values) => (layer.op === "ConvTranspose" ? values : fileWeights(layer, values)),
      },
    ];
    if (bias)
      places.push({
        ...{ parameter: "bias", tensor: bias.tensor },
        toFile: (values) => (beta === 1 ? values : values.map((value) => value / beta)),
      });
    return {
      nodes: add ? [node, add.node] : [node],
      ...{ from: [layer.input], output: (add?.node ?? node).output[0]!, places, make, takesActivation: true },
    };
  }

  /** Whether other values can be written in a weight's place, and nothing else reads it. */
  private isReplaceable({ tensor, via }: Weight): boolean {
    const constant = via.at(-1);
    const name = constant?.opType === "Constant" ? constant.output[0]! : tensor.name;
    const direct = constant?.opType !== "Constant" || constant.attribute[0]?.name === "value";
    return direct && this.facts.uses.get(name) === 1;
  }

  private makerOf(layer: FoundLayer, sample: Sample): ((activation: Activation) => Promise<Layer>) | string {
    const { model } = this;
    const { geometry, groups, shape, op } = layer;
    const [{ outputs, weight }] = layer.nodes as [FoundLayer["nodes"][number]];
    const values = async () => ({
      weight: Float32Array.from(
        op === "ConvTranspose" ? await floatsOf(model, weight.tensor) : await layerWeights(model, layer),
      ),
      bias: (await layerBias(model, layer)) ?? false,
    });
    if (!geometry) {
      if (op === "Gemm" && intOf(layer.nodes[0]!.node, "transA", 0)) return "it multiplies a transposed value";
      if (this.modeOf(layer.input, -1) === null || !sample.length) return "it multiplies samples with each other";
      return async (activation) => {
        const linear = new Linear(shape[1]!, outputs, { ...(await values()), activation });
        return sample.length === 1 ? linear : new Rowwise([linear]);
      };
    }
    if (this.axisOf(layer.input)) return "samples do not stand along the first axis of what it reads";
    const { kernel, strides, dilations, pads, autoPad, outputPadding, outputShape } = geometry;
    if (autoPad === "SAME_LOWER") return "auto_pad SAME_LOWER has no layer";
    if (pads?.some((zeros) => zeros < 0)) return "its padding is negative";
    const rank = kernel.length;
    const sides = kernel.map((_, axis) => [pads?.[axis] ?? 0, pads?.[axis + rank] ?? 0] as const);
    const counts = { inputs: shape[1]! * groups, outputs, groups };
    const same = autoPad === "SAME_UPPER";
    if (op === "ConvTranspose") {
      if (rank !== 2) return `transposed convolutions of ${rank} dimensions have no layer`;
      if (same || outputShape) return "its padding follows from its output's shape";
      return async (activation) =>
        new ConvTranspose2d({
          ...{ ...counts, ...(await values()), activation },
          ...{ kernel: pairOf(kernel), stride: pairOf(strides), dilation: pairOf(dilations) },
          ...{ padding: [sides[0]!, sides[1]!], outputPadding: pairOf(outputPadding ?? [0, 0]) },
        });
    }
    if (rank === 1)
      return async (activation) =>
        new Conv1d({
          ...{ ...counts, ...(await values()), activation },
          ...{ kernel: kernel[0]!, stride: strides[0]!, dilation: dilations[0]! },
          padding: same ? "same" : sides[0]!,
        });
    if (rank === 3) {
      if (groups > 1) return "convolutions of 3 dimensions with groups have no layer";
      return async (activation) =>
        new Conv3d({
          ...{ inputs: counts.inputs, outputs, ...(await values()), activation },
          ...{ kernel: tripleOf(kernel), stride: tripleOf(strides), dilation: tripleOf(dilations) },
          padding: same ? "same" : [sides[0]!, sides[1]!, sides[2]!],
        });
    }
    return async (activation) =>
      new Conv2d({
        ...{ ...counts, ...(await values()), activation },
        ...{ kernel: pairOf(kernel), stride: pairOf(strides), dilation: pairOf(dilations) },
        padding: same ? "same" : [sides[0]!, sides[1]!],
      });
  }

  /** The weight and the bias of a layer that has an entry of them for each element, as they stand in the file. */
  private ownPlaces(weight: Weight, bias: Weight | null): ParameterPlace[] | null {
    if (![weight, ...(bias ? [bias] : [])].every((one) => this.isReplaceable(one))) return null;
    const toFile = (values: Float32Array): Float32Array => values;
    return [
      { parameter: "weight", tensor: weight.tensor, toFile },
      ...(bias ? [{ parameter: "bias" as const, tensor: bias.tensor, toFile }] : []),
    ];
  }

  private spelledLayer({ kind, nodes, input, axes, epsilon, weight, bias }: SpelledLayer): NodeLayer | string {
    const row = { ...plain, nodes, from: [input], output: nodes.at(-1)!.output[0]! };
    return kind !== "LayerNormalization"
      ? { ...row, make: async () => new Activate(kind === "Gelu" ? "gelu" : "geluTanh") }
      : this.layerNorm(row, axes, { epsilon, weight: weight!, bias });
  }

  private layerNorm(
    row: Omit<NodeLayer, "make">,
    axes: readonly number[],
    { epsilon, weight, bias }: { epsilon: number; weight: Weight; bias: Weight | null },
  ): NodeLayer | string {
    const { model } = this;
    const sample = this.sampleOf(row.from[0]);
    const modes = axes.map((axis) => this.modeOf(row.from[0]!, axis)).sort((a, b) => a! - b!);
    if (!sample || modes.some((mode, at) => mode !== sample.length - modes.length + at))
      return "it normalises over other than the last axes";
    const shape = sample.slice(-modes.length);
    const fits = ({ tensor }: Weight): boolean => sameExtents(extentsOf(model.file, tensor), shape);
    if (!fits(weight) || (bias && !fits(bias))) return "its weight has not the shape of what it normalises";
    const places = this.ownPlaces(weight, bias);
    if (!places) return SHARED;
    return {
      ...{ ...row, places },
      make: async () =>
        new LayerNorm(shape, {
          epsilon,
          weight: Float32Array.from(await floatsOf(model, weight.tensor)),
          bias: bias ? Float32Array.from(await floatsOf(model, bias.tensor)) : false,
        }),
    };
  }

  // ---- layers without weights

  private other(node: NodeProto): NodeLayer | string {
    const { opType } = node;
    const output = node.output[0]!;
    const from = node.input.filter((name) => !this.isConstant(name));
    const [x, y] = [this.sampleOf(node.input[0]), this.sampleOf(output)];
    const row = { ...plain, nodes: [node], from: [node.input[0]!], output };
    const as = (layer: () => Layer | Join, reads: readonly string[] = row.from): NodeLayer => ({
      ...{ ...row, from: reads },
      make: async () => layer(),
    });
    if (!from.length) return "it computes a constant";
    const activation = ACTIVATIONS[opType];
    if (activation) return as(() => new Activate(activation));
    switch (opType) {
      case "Identity":
        return { ...row, make: null };
      case "Dropout":
        return intOf(node, "is_test", 1) === 0 || node.input[2] ? "it may drop values" : { ...row, make: null };
      case "LeakyRelu": {
        const slope = floatOf(node, "alpha", 0.01);
        return slope > 0 ? as(() => new Activate("leakyRelu", { slope })) : "its slope is not above 0";
      }
      case "Gelu":
        return as(() => new Activate(stringOf(node, "approximate", "none") === "tanh" ? "geluTanh" : "gelu"));
      case "HardSigmoid": {
        const [scale, shift] = [floatOf(node, "alpha", 0.2), floatOf(node, "beta", 0.5)];
        return as(() => clip({ scale, shift, low: 0, high: 1 }));
      }
      case "Clip": {
        const limit = (at: number, name: string, none: number): number | null =>
          node.input[at] ? numberOf(this.facts, node.input[at]) : floatOf(node, name, none);
        const low = limit(1, "min", Number.NEGATIVE_INFINITY);
        const high = limit(2, "max", Number.POSITIVE_INFINITY);
        if (low === null || high === null || !(low < high) || low === Number.NEGATIVE_INFINITY)
          return "its limits are computed, or it has no lower one";
        return as(() => clip({ low, high }));
      }
      case "GlobalAveragePool":
        return as(() => new GlobalAveragePool());
      case "ReduceMean":
        return this.reduceMean(node, x, y, as);
      case "Flatten":
        if (intOf(node, "axis", 1) !== 1) return "it joins samples";
        return this.reshape(row, y);
      case "Reshape":
        return this.reshape(row, y);
      case "Squeeze":
      case "Unsqueeze":
        return this.squeeze(node, row);
      case "Transpose":
        return this.transpose(node, row);
      case "Slice":
        return this.slice(node, x, y, as);
      case "Gather":
        return this.gather(node, x, as);
      case "Softmax": {
        if (this.model.graph.output.some(({ name }) => name === output))
          return "outputs are compared before a final Softmax";
        const isOld = (this.model.opsets.get("") ?? 1) < 13;
        const said = intOf(node, "axis", isOld ? 1 : -1);
        const axis = this.modeOf(node.input[0]!, said);
        const isLast = said === -1 || said === this.shapes.of(node.input[0])!.length - 1;
        if (axis === null || (isOld && !isLast)) return "it is a softmax over several axes, or of samples";
        return as(() => new Softmax({ axis }));
      }
      case "LayerNormalization": {
        const [weight, bias] = [this.facts.weight(node.input[1]), this.facts.weight(node.input[2])];
        if (!weight || (node.input[2] && !bias)) return "its weights are computed";
        const first = intOf(node, "axis", -1);
        const count = first < 0 ? -first : (this.shapes.of(node.input[0])?.length ?? 0) - first;
        const axes = Array.from({ length: count }, (_, at) => at - count);
        return this.layerNorm(row, axes, { epsilon: floatOf(node, "epsilon", 1e-5), weight, bias });
      }
      case "BatchNormalization":
        return this.batchNormalization(node, row, x);
      case "MatMul": {
        const [a, b] = from.map((name) => this.sampleOf(name));
        if (from.length !== 2 || !a || !b) return this.reason(node);
        const isProduct =
          a.length > 1 && sameExtents(a.slice(0, -2), b.slice(0, -2)) && a.at(-1) === b.at(-2) && !this.axisOf(from[0]);
        return isProduct ? as(() => new MatMul(), from) : "it multiplies stacks of different shapes";
      }
      case "Resize":
      case "Upsample":
        return this.resize(node, x, y, as);
      case "MaxPool":
      case "AveragePool":
        return this.pool(node, x, as);
      case "Add":
      case "Sub":
      case "Mul":
      case "Div":
        return from.length === 1 ? this.withConstant(node, row) : this.arithmetic(node, from, as);
      case "Concat": {
        const axis = this.modeOf(output, intOf(node, "axis", 1));
        if (axis === null) return "it joins samples";
        const constants = node.input.map((name) => this.constantOf(name));
        const values = node.input.filter((_, at) => !constants[at]);
        if (values.length === 1 && node.input.length > 1)
          return this.withConstants({ ...row, from: values }, constants, axis);
        return values.length === node.input.length
          ? as(() => new Concat({ axis }), from)
          : "it joins several values and constants";
      }
      default:
        return this.reason(node);
    }
  }

  /** Another shape of a sample, where its elements stay in order. */
  private reshape(row: Omit<NodeLayer, "make">, y: Sample | null): NodeLayer | string {
    const x = this.sampleOf(row.from[0]);
    if (!x || !y) return "shapes are unknown";
    if (sizeOfSample(x) !== sizeOfSample(y)) return "it joins or splits samples";
    if (sameExtents(x, y)) return { ...row, make: null };
    return { ...row, make: async () => (y.length === 1 ? new Flatten() : new Reshape(y)) };
  }

  private squeeze(node: NodeProto, row: Omit<NodeLayer, "make">): NodeLayer | string {
    const [from, output] = [node.input[0]!, node.output[0]!];
    const listed = this.facts.weight(node.input[1]);
    const [x, y] = [this.shapes.of(from), this.shapes.of(output)];
    const axes = intsOf(node, "axes") ?? (listed ? integersOf(listed.tensor) : null);
    if (!x || !y || !axes) return "its axes are computed, or not told";
    const isSqueeze = node.opType === "Squeeze";
    const rank = Math.max(x.length, y.length);
    const at = axes.map((axis) => (axis < 0 ? axis + rank : axis)).sort((a, b) => a - b);
    let batch = this.axisOf(from);
    if (isSqueeze && at.includes(batch)) return "it drops the axis of samples";
    if (isSqueeze) batch -= at.filter((axis) => axis < batch).length;
    else for (const axis of at) if (axis <= batch) batch++;
    if (batch) this.axes.set(output, batch);
    return this.reshape(row, this.sampleOf(output));
  }

  private transpose(node: NodeProto, row: Omit<NodeLayer, "make">): NodeLayer | string {
    const [from, output] = [node.input[0]!, node.output[0]!];
    const x = this.shapes.of(from);
    if (!x) return "shapes are unknown";
    const order = intsOf(node, "perm") ?? x.map((_, axis) => x.length - 1 - axis);
    const batch = order.indexOf(this.axisOf(from));
    if (batch) this.axes.set(output, batch);
    const axes = order.filter((_, at) => at !== batch).map((axis) => this.modeOf(from, axis)!);
    if (axes.every((axis, at) => axis === at)) return { ...row, make: null };
    return { ...row, make: async () => new Transpose(axes) };
  }

  private slice(
    node: NodeProto,
    x: Sample | null,
    y: Sample | null,
    as: (layer: () => Layer) => NodeLayer,
  ): NodeLayer | string {
    const list = (at: number, name: string): readonly number[] | null => {
      const weight = this.facts.weight(node.input[at]);
      return weight ? integersOf(weight.tensor) : intsOf(node, name);
    };
    const starts = list(1, "starts");
    const [axes, steps] = [list(3, "axes") ?? starts?.map((_, axis) => axis), list(4, "steps")];
    if (!x || !y || !starts || axes?.length !== 1 || (steps && steps[0] !== 1))
      return "it takes more than a part along one axis";
    const axis = this.modeOf(node.input[0]!, axes[0]!);
    if (axis === null) return "it takes some of the samples";
    const extent = x[axis]!;
    const start = Math.min(extent, Math.max(0, starts[0]! < 0 ? starts[0]! + extent : starts[0]!));
    return y[axis]! > 0 ? as(() => new Slice({ axis, start, end: start + y[axis]! })) : "it takes nothing";
  }

  /** The parts of a Split, a layer for each that is used. */
  private split(node: NodeProto): readonly NodeLayer[] | string {
    const from = node.input[0]!;
    const axis = this.modeOf(from, intOf(node, "axis", 0));
    if (axis === null) return "it splits samples from each other";
    const batch = this.axisOf(from);
    let end = 0;
    const units: NodeLayer[] = [];
    for (const output of node.output) {
      if (batch) this.axes.set(output, batch);
      const extent = this.sampleOf(output)?.[axis];
      if (!extent) return "shapes are unknown";
      const start = end;
      end += extent;
      const make = async (): Promise<Layer> => new Slice({ axis, start, end: start + extent });
      if (this.facts.uses.get(output)) units.push({ ...plain, nodes: [node], from: [from], output, make });
    }
    return units;
  }

  /** One index of an axis, which is dropped where the index is no list. */
  private gather(node: NodeProto, x: Sample | null, as: (layer: () => Layer) => NodeLayer): NodeLayer | string {
    const [from, output] = [node.input[0]!, node.output[0]!];
    const indices = this.facts.weight(node.input[1])?.tensor;
    const index = indices && integersOf(indices);
    const axis = this.modeOf(from, intOf(node, "axis", 0));
    if (this.isConstant(from)) return this.reason(node);
    if (!x || axis === null || index?.length !== 1) return "it picks other than one index of an axis";
    const drops = indices!.dims.length === 0;
    const batch = this.axisOf(from);
    const after = batch > axis && drops ? batch - 1 : batch;
    if (after) this.axes.set(output, after);
    const start = index[0]! < 0 ? index[0]! + x[axis]! : index[0]!;
    const part = (): Layer => new Slice({ axis, start, end: start + 1 });
    const rest = x.filter((_, mode) => mode !== axis);
    return as(() => (drops ? new Chain("index", [part(), new Reshape(rest.length ? rest : [1])]) : part()));
  }

  /** The mean over modes of a sample: these moved behind the others, and pooled. */
  private reduceMean(
    node: NodeProto,
    x: Sample | null,
    y: Sample | null,
    as: (layer: () => Layer) => NodeLayer,
  ): NodeLayer | string {
    const weight = this.facts.weight(node.input[1]);
    const axes = intsOf(node, "axes") ?? (weight && integersOf(weight.tensor));
    const modes = axes?.map((axis) => this.modeOf(node.input[0]!, axis));
    if (!x || !y?.length || !modes || modes.includes(null)) return "its means are of samples, or over unknown axes";
    const others = [...x.keys()].filter((mode) => !modes.includes(mode));
    const order = [...others, ...modes.map((mode) => mode!).sort((a, b) => a - b)];
    const rows = others.reduce((product, mode) => product * x[mode]!, 1);
    return as(
      () =>
        new Chain("mean", [
          ...(order.every((mode, at) => mode === at) ? [] : [new Transpose(order)]),
          new Reshape([rows, sizeOfSample(x) / rows]),
          new GlobalAveragePool(),
          new Reshape(y),
        ]),
    );
  }

  /** A normalisation that could not be folded, with the moments that it has. */
  private batchNormalization(node: NodeProto, row: Omit<NodeLayer, "make">, x: Sample | null): NodeLayer | string {
    const { model } = this;
    const [weight, bias, mean, variance] = [1, 2, 3, 4].map((at) => this.facts.weight(node.input[at]));
    if (!weight || !bias || !mean || !variance || !x || intOf(node, "training_mode", 0))
      return "its weights or moments are computed";
    const places = this.ownPlaces(weight, bias);
    if (!places) return SHARED;
    const epsilon = floatOf(node, "epsilon", 1e-5);
    const shape = x.map((extent, mode) => (mode ? 1 : extent));
    return {
      ...{ ...row, places },
      make: async () => {
        const [scales, shifts, means, variances] = await Promise.all(
          [weight, bias, mean, variance].map(async ({ tensor }) => Float32Array.from(await floatsOf(model, tensor))),
        );
        const roots = variances!.map((value) => 1 / Math.sqrt(value + epsilon));
        return new Chain("BatchNormalization", [
          new Affine({ shape, weight: roots, bias: means!.map((value, at) => -value * roots[at]!), fixed: true }),
          new Affine({ shape, weight: scales!, bias: shifts! }),
        ]);
      },
    };
  }

  /** A sum, difference, product or quotient with a constant; it learns where it has an entry for each of several elements. */
  private withConstant(node: NodeProto, row: Omit<NodeLayer, "make">): NodeLayer | string {
    const { model } = this;
    const { opType, input } = node;
    const at = this.isConstant(input[0]!) ? 0 : 1;
    const from = input[1 - at]!;
    const constant = this.facts.weight(input[at])!;
    const [x, y] = [this.shapes.of(from), this.shapes.of(node.output[0])];
    if (!x || !y || x.join() !== y.join()) return "the constant gives it another shape";
    if (opType === "Div" && at === 0) return "it divides a constant";
    if (!isFloat(constant.tensor.dataType)) return "its constant has no floats";
    const extents = extentsOf(model.file, constant.tensor);
    const batch = this.axisOf(from) - (x.length - extents.length);
    if (batch >= 0 && extents[batch] !== 1) return "its constant has entries for each sample";
    const shape = extents.filter((_, axis) => axis !== batch);
    // what is added in front of a Softmax may be a mask, which must stay; -Infinity is as good as the least number here
    const isMask = opType === "Add" && this.facts.onlyUser(node.output[0]!)?.opType === "Softmax";
    const isLearnable = (opType === "Add" && !isMask) || opType === "Mul";
    const learns = sizeOfSample(shape) > 1 && this.isReplaceable(constant) && isLearnable;
    const toFile = (values: Float32Array): Float32Array => values;
    const parameter = opType === "Add" ? "bias" : "weight";
    return {
      ...{ ...row, from: [from], places: learns ? [{ parameter, tensor: constant.tensor, toFile }] : [] },
      make: async () => {
        const values = Float32Array.from(await floatsOf(model, constant.tensor), (value) =>
          isMask ? Math.max(value, LEAST_OF_MASK) : value,
        );
        const isSum = opType === "Add" || opType === "Sub";
        const negated = values.map((value) => -value);
        return new Affine({
          ...{ shape: shape.length ? shape : [1], fixed: !learns },
          bias: isSum && (opType === "Sub" && at === 1 ? negated : values),
          weight: isSum
            ? opType === "Sub" && at === 0 && new Float32Array(values.length).fill(-1)
            : opType === "Div"
              ? values.map((value) => 1 / value)
              : values,
        });
      },
    };
  }

  /** The constant that a value is the same as for each sample: a weight, or one that is repeated for all samples. */
  private constantOf(name: string): Weight | null {
    const weight = this.facts.weight(name);
    if (weight || !this.extents.has(name)) return weight;
    const node = this.facts.producers.get(name);
    return node?.opType === "Expand" ? this.facts.weight(node.input[0]) : null;
  }

  /** One value joined to constants; a constant learns where it is the only one. */
  private withConstants(
    row: Omit<NodeLayer, "make">,
    constants: readonly (Weight | null)[],
    axis: number,
  ): NodeLayer | string {
    const { model } = this;
    const at = constants.indexOf(null);
    const batch = this.axisOf(row.from[0]);
    const parts = constants.filter((constant) => constant !== null);
    const shapes = parts.map(({ tensor }) => extentsOf(model.file, tensor));
    if (!parts.every(({ tensor }) => isFloat(tensor.dataType))) return "its constant has no floats";
    if (shapes.some((extents) => extents[batch] !== 1)) return "its constant has entries for each sample";
    const learns = parts.length === 1 && this.isReplaceable(parts[0]!);
    const toFile = (values: Float32Array): Float32Array => values;
    return {
      ...{ ...row, places: learns ? [{ parameter: "weight", tensor: parts[0]!.tensor, toFile }] : [] },
      make: async () => {
        const layers = await Promise.all(
          parts.map(async ({ tensor }, index) => {
            const shape = shapes[index]!.filter((_, mode) => mode !== batch);
            const values = Float32Array.from(await floatsOf(model, tensor));
            return new ConcatConstant({ shape, axis, behind: index >= at, values, fixed: !learns });
          }),
        );
        // those in front from the last to the first
        const ordered = [...layers.slice(0, at).reverse(), ...layers.slice(at)];
        return ordered.length === 1 ? ordered[0]! : new Chain("Concat", ordered);
      },
    };
  }

  /** To the nearest by whole factors, and between neighbours by any. */
  private resize(
    node: NodeProto,
    x: Sample | null,
    y: Sample | null,
    as: (layer: () => Layer) => NodeLayer,
  ): NodeLayer | string {
    if (!x || !y || x.length < 2 || x[0] !== y[0]) return "it resizes other than images";
    const isOld = node.opType === "Upsample" || (this.model.opsets.get("") ?? 1) < 11;
    const place = isOld ? "asymmetric" : stringOf(node, "coordinate_transformation_mode", "half_pixel");
    const named = node.input[node.input.length === 2 ? 1 : 2];
    const listed = this.facts.weight(named);
    const scales = listed && smallFloatsOf(listed.tensor);
    const mode = stringOf(node, "mode", "nearest");
    if (mode === "nearest") {
      const rounding = isOld ? "floor" : stringOf(node, "nearest_mode", "round_prefer_floor");
      const layer = repeated(x, y, { place, rounding, scales });
      return typeof layer === "string" ? layer : as(layer);
    }
    if (named && !scales) return "its scales are computed";
    const layer = interpolated(node, x, y, { mode, place, scales });
    return typeof layer === "string" ? layer : as(layer);
  }

  private pool(node: NodeProto, x: Sample | null, as: (layer: () => Layer) => NodeLayer): NodeLayer | string {
    if (x?.length !== 3) return "pooling of other than two dimensions has no layer";
    const kernel = intsOf(node, "kernel_shape");
    const strides = intsOf(node, "strides") ?? [1, 1];
    const auto = stringOf(node, "auto_pad", "NOTSET");
    const pads = auto === "NOTSET" ? (intsOf(node, "pads") ?? [0, 0, 0, 0]) : [0, 0, 0, 0];
    if (kernel?.length !== 2 || strides.length !== 2 || pads.length !== 4) return "its attributes do not fit";
    if (intOf(node, "ceil_mode", 0)) return "ceil_mode has no layer";
    if ((intsOf(node, "dilations") ?? [1, 1]).some((one) => one !== 1)) return "pooling with dilation has no layer";
    if (auto === "SAME_LOWER") return "auto_pad SAME_LOWER has no layer";
    if (pads.some((zeros, at) => zeros < 0 || 2 * zeros > kernel[at % 2]!))
      return "its padding is more than half a window";
    const isMax = node.opType === "MaxPool";
    if (!isMax && (auto === "SAME_UPPER" || pads.some(Boolean)) && !intOf(node, "count_include_pad", 0))
      return "means that leave the padding out have no layer";
    const options = {
      stride: pairOf(strides),
      padding:
        auto === "SAME_UPPER"
          ? ("same" as const)
          : ([
              [pads[0]!, pads[2]!],
              [pads[1]!, pads[3]!],
            ] as const),
    };
    return as(() => new (isMax ? MaxPool2d : AveragePool2d)(pairOf(kernel), options));
  }

  private arithmetic(
    { opType, input }: NodeProto,
    from: readonly string[],
    as: (layer: () => Join, from: readonly string[]) => NodeLayer,
  ): NodeLayer | string {
    if (from.length !== 2 || input.length !== 2 || (opType !== "Add" && opType !== "Mul"))
      return `${opType} of values has no layer`;
    const [a, b] = from.map((name) => this.sampleOf(name));
    if (!a || !b) return "shapes are unknown";
    if (opType === "Add") return sameExtents(a, b) ? as(() => new Add(), from) : "it adds values of different shapes";
    // the second value of a Multiply may have extents of 1 from some mode on
    const isGate = (whole: Sample, gate: Sample): boolean => {
      let shared = 0;
      while (shared < whole.length && whole[shared] === gate[shared]) shared++;
      return whole.length === gate.length && gate.slice(shared).every((extent) => extent === 1);
    };
    if (isGate(a, b)) return as(() => new Multiply(), from);
    return isGate(b, a) ? as(() => new Multiply(), [...from].reverse()) : "it multiplies values of different shapes";
  }

  private reason(node: NodeProto): string {
    return this.leftAlone.find(({ name }) => name === nameOf(node))?.reason ?? `${node.opType} has no layer`;
  }
}

/** How ONNX names the ways to place the entries of a resized mode. */
const PLACES: Readonly<Record<string, "halfPixel" | "alignCorners" | "asymmetric">> = {
  half_pixel: "halfPixel",
  pytorch_half_pixel: "halfPixel",
  align_corners: "alignCorners",
  asymmetric: "asymmetric",
};

const LEAST_OF_MASK = -1e30;
const SHARED = "its weights or its bias are shared, or a list of a Constant node";
const tripleOf = ([a, b, c]: readonly number[]): [number, number, number] => [a!, b!, c!];
const pairOf = ([a, b]: readonly number[]): [number, number] => [a!, b!];

/** "nearest" interpolation that repeats each pixel, or why it is none. */
function repeated(
  x: Sample,
  y: Sample,
  { place, rounding, scales }: { place: string; rounding: string; scales: readonly number[] | null },
): (() => Layer) | string {
  if (x.length !== 3 || y.length !== 3) return "it resizes other than images";
  const factors = [y[1]! / x[1]!, y[2]! / x[2]!] as const;
  const repeats = ([1, 2] as const).every((mode) => {
    const factor = factors[mode - 1]!;
    if (!Number.isInteger(factor) || (scales?.length && scales[mode + 1] !== factor)) return false;
    return Array.from({ length: y[mode]! }).every((_, i) => {
      const at = nearest(i, { factor, inputs: x[mode]!, outputs: y[mode]!, place, rounding });
      return Math.min(x[mode]! - 1, Math.max(0, at)) === Math.floor(i / factor);
    });
  });
  return repeats ? () => new Upsample2d([...factors]) : "it does not repeat each pixel as often";
}

/** Linear or cubic interpolation, or why it has no layer. */
function interpolated(
  node: NodeProto,
  x: Sample,
  y: Sample,
  { mode, place, scales }: { mode: string; place: string; scales: readonly number[] | null },
): (() => Layer) | string {
  const coordinates = PLACES[place];
  if (!coordinates) return `resizing by ${place} has no layer`;
  const [from, to] = [x.slice(1), y.slice(1)];
  if (place === "pytorch_half_pixel" && to.includes(1)) return "it resizes to one entry";
  const isPlain =
    !intOf(node, "antialias", 0) &&
    !intOf(node, "exclude_outside", 0) &&
    !intsOf(node, "axes") &&
    stringOf(node, "keep_aspect_ratio_policy", "stretch") === "stretch" &&
    floatOf(node, "cubic_coeff_a", -0.75) === -0.75;
  if (!isPlain) return "one of its attributes has no layer";
  if (scales?.length && (scales.length !== x.length + 1 || scales[0] !== 1 || scales[1] !== 1))
    return "it resizes other than images";
  const interpolation = mode === "cubic" ? "cubic" : "linear";
  return () => new Resize({ from, to, interpolation, coordinates, ...(scales?.length && { scales: scales.slice(2) }) });
}

/** Where a pixel of a resized axis comes from, before it is cut to the axis; NaN for ways that are not known. */
function nearest(
  i: number,
  {
    factor,
    inputs,
    outputs,
    place,
    rounding,
  }: Record<"factor" | "inputs" | "outputs", number> & Record<"place" | "rounding", string>,
): number {
  const at =
    place === "asymmetric"
      ? i / factor
      : place === "half_pixel" || (place === "pytorch_half_pixel" && outputs > 1)
        ? (i + 0.5) / factor - 0.5
        : place === "align_corners" && outputs > 1
          ? (i * (inputs - 1)) / (outputs - 1)
          : Number.NaN;
  if (rounding === "floor") return Math.floor(at);
  if (rounding === "ceil") return Math.ceil(at);
  return rounding === "round_prefer_ceil" ? Math.floor(at + 0.5) : Math.ceil(at - 0.5);
}

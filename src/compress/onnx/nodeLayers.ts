/** Nodes of an ONNX graph as layers and joins of a network, with the way of their weights there and back. */
import {
  Activate,
  Add,
  AveragePool2d,
  Concat,
  Conv1d,
  Conv2d,
  ConvTranspose2d,
  Flatten,
  GlobalAveragePool,
  type Join,
  type Layer,
  Linear,
  MaxPool2d,
  Multiply,
} from "../../nn/index.js";
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
import { extentsOf, floatsOf, integersOf } from "../../onnx/tensors.js";
import type { Activation } from "../../ops/index.js";

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

/** The shape of one sample of a value: without the first extent, which counts samples. */
type Sample = readonly number[];

const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  Relu: "relu",
  Sigmoid: "sigmoid",
  Tanh: "tanh",
  HardSwish: "hardSwish",
};

const sameExtents = (a: Sample, b: Sample): boolean => a.join() === b.join();
const plain = { places: [], takesActivation: false } as const;

/** The nodes of one model as layers. */
export class NodeLayers {
  readonly facts: GraphFacts;
  private readonly shapes: Shapes;
  private readonly layers = new Map<NodeProto, FoundLayer>();
  private readonly leftAlone: readonly LeftAlone[];
  /** nodes that add the bias of a product */
  private readonly biases = new Set<NodeProto>();

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
      if (add) this.biases.add(add.node);
    }
  }

  /** What stands for a node; null where another node's layer does it already; a reason where there is no layer. */
  of(node: NodeProto): NodeLayer | string | null {
    if (this.biases.has(node)) return null;
    if (node.opType === "Constant") return null;
    if (!isStandard(node)) return `operators of ${node.domain} have no layer`;
    if (!node.output[0] || node.output.slice(1).some((name) => name && this.facts.uses.get(name)))
      return "it has several outputs";
    const layer = this.layers.get(node);
    if (layer) return this.product(layer);
    return this.other(node);
  }

  /** The shape of one sample of a value; null where it is unknown. */
  sampleOf(name: string | undefined): Sample | null {
    const extents = this.shapes.of(name);
    return extents?.length && extents.every((extent) => extent !== null) ? (extents as Sample).slice(1) : null;
  }

  // ---- layers with weights

  private product(layer: FoundLayer): NodeLayer | string {
    const { model } = this;
    const [{ node, weight, bias, side, add, outputs }] = layer.nodes as [FoundLayer["nodes"][number]];
    if (side === 0) return "its weights stand to the left";
    const both = [weight, ...(bias ? [bias] : [])];
    if (!both.every((one) => this.isReplaceable(one))) return "its bias is shared, or a list of a Constant node";
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
      if (sample.length !== 1) return "it multiplies samples of several rows";
      if (op === "Gemm" && intOf(layer.nodes[0]!.node, "transA", 0)) return "it multiplies a transposed value";
      return async (activation) => new Linear(shape[1]!, outputs, { ...(await values()), activation });
    }
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
    if (rank !== 2) return `convolutions of ${rank} dimensions are not tuned`;
    return async (activation) =>
      new Conv2d({
        ...{ ...counts, ...(await values()), activation },
        ...{ kernel: pairOf(kernel), stride: pairOf(strides), dilation: pairOf(dilations) },
        padding: same ? "same" : [sides[0]!, sides[1]!],
      });
  }

  // ---- layers without weights

  private other(node: NodeProto): NodeLayer | string {
    const { opType } = node;
    const output = node.output[0]!;
    const isConstant = (name: string): boolean => !name || this.facts.weight(name) !== null;
    const from = node.input.filter((name) => !isConstant(name));
    const x = this.sampleOf(node.input[0]);
    const y = this.sampleOf(output);
    const row = { ...plain, nodes: [node], from: [node.input[0]!], output };
    const as = (layer: () => Layer | Join, reads: readonly string[] = row.from): NodeLayer => ({
      ...{ ...row, from: reads },
      make: async () => layer(),
    });
    const activation = ACTIVATIONS[opType];
    if (activation) return as(() => new Activate(activation));
    switch (opType) {
      case "Identity":
        return isConstant(node.input[0]!) ? "it passes on a constant" : { ...row, make: null };
      case "Dropout":
        return intOf(node, "is_test", 1) === 0 || node.input[2] ? "it may drop values" : { ...row, make: null };
      case "LeakyRelu": {
        const slope = floatOf(node, "alpha", 0.01);
        return slope > 0 ? as(() => new Activate("leakyRelu", { slope })) : "its slope is not above 0";
      }
      case "Gelu":
        return as(() => new Activate(stringOf(node, "approximate", "none") === "tanh" ? "geluTanh" : "gelu"));
      case "GlobalAveragePool":
        return as(() => new GlobalAveragePool());
      case "ReduceMean":
        return this.reduceMean(node, x, y) ? as(() => new GlobalAveragePool()) : "it is no mean over all places";
      case "Flatten":
      case "Reshape":
      case "Squeeze":
        if (!x || !y || isConstant(node.input[0]!)) return "shapes are unknown";
        if (opType === "Flatten" && intOf(node, "axis", 1) !== 1) return "it joins samples";
        if (this.shapes.of(node.input[0])![0] !== this.shapes.of(output)![0]) return "it joins or splits samples";
        if (sameExtents(x, y)) return { ...row, make: null };
        return y.length === 1 ? as(() => new Flatten()) : "another shape than that of rows has no layer";
      case "MaxPool":
      case "AveragePool":
        return this.pool(node, x, as);
      case "Add":
      case "Mul":
        return this.arithmetic(node, from, as);
      case "Concat": {
        const axis = intOf(node, "axis", 1);
        const rank = this.shapes.of(output)?.length ?? 0;
        const at = axis < 0 ? axis + rank : axis;
        if (at < 1 || from.length !== node.input.length || from.length < 2) return "it joins samples, or constants";
        return as(() => new Concat({ axis: at - 1 }), from);
      }
      default:
        return this.reason(node);
    }
  }

  /** Whether a ReduceMean is the mean over all places of a channel, with extents of 1 left. */
  private reduceMean(node: NodeProto, x: Sample | null, y: Sample | null): boolean {
    if (!x || !y || x.length < 2 || intOf(node, "keepdims", 1) !== 1) return false;
    const weight = this.facts.weight(node.input[1]);
    const axes = intsOf(node, "axes") ?? (weight && integersOf(weight.tensor));
    const rank = x.length + 1;
    const listed = axes?.map((axis) => (axis < 0 ? axis + rank : axis)).sort((a, b) => a - b);
    return listed?.join() === Array.from({ length: rank - 2 }, (_, at) => at + 2).join();
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
    if (from.length !== 2 || input.length !== 2) return `${opType} of a constant has no layer`;
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

const pairOf = ([a, b]: readonly number[]): [number, number] => [a!, b!];

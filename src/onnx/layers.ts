/** The layers of a graph that can be factorised, as the nodes have them; and all others that hold weights, with the reason. */
import { DATA_TYPES, isFloat } from "./dataTypes.js";
import { everyNode, GraphFacts, isStandard, type Weight } from "./graph.js";
import type { OnnxModel } from "./model.js";
import {
  constantOf,
  floatOf,
  type GraphProto,
  intOf,
  intsOf,
  type NodeProto,
  stringOf,
  subgraphsOf,
  type TensorProto,
} from "./proto.js";
import { type KnownShapes, product, Shapes } from "./shapes.js";
import { concatenated, extentsOf, floatsOf } from "./tensors.js";

/** Strides, padding and dilations of a convolution, one a spatial axis. */
export interface OnnxGeometry {
  kernel: readonly number[];
  strides: readonly number[];
  dilations: readonly number[];
  /** zeros before each axis, then zeros after each; null where `autoPad` says how many */
  pads: readonly number[] | null;
  autoPad: "NOTSET" | "VALID" | "SAME_UPPER" | "SAME_LOWER";
  /** of transposed convolutions: outputs that are added at the end of each axis */
  outputPadding: readonly number[] | null;
  /** of transposed convolutions: the output's extents, which decide the pads */
  outputShape: readonly number[] | null;
}

/** One node of a layer, with its weights. */
export interface LayerNode {
  node: NodeProto;
  weight: Weight;
  /** which input of the node the weights are */
  side: 0 | 1;
  outputs: number;
  bias: Weight | null;
  /** the node that adds the bias of a MatMul, and which of its inputs the bias is */
  add: { node: NodeProto; side: 0 | 1 } | null;
}

/** A layer that can be factorised: one node, or several that multiply the same input. */
export interface FoundLayer {
  nodes: readonly LayerNode[];
  op: "Conv" | "ConvTranspose" | "Gemm" | "MatMul";
  kind: "dense" | "convolution" | "transposedConvolution";
  groups: number;
  /** outputs, inputs ÷ groups, kernel; of dense layers outputs, inputs */
  shape: readonly number[];
  dataType: number;
  input: string;
  geometry: OnnxGeometry | null;
  multiplications: number | null;
}

/** A node whose weights are left as they are. */
export interface LeftAlone {
  name: string;
  op: string;
  /** how many entries its weights have; those that another entry of the list has told of are not among them */
  weights: number;
  /** for one run of the model; null where a shape is unknown */
  multiplications: number | null;
  reason: string;
}

export const QUANTISED = "quantised: factorise the float model first, and quantise the result";
const OVERRIDABLE = "its weights are an input of the graph too, so callers may hand in others";

const QUANTISED_OPS =
  /^(QLinear|QGemm|QAttention|ConvInteger|MatMulInteger|MatMulNBits|DynamicQuantize|GatherBlockQuantized)/;
const RECURRENT = ["LSTM", "GRU", "RNN"];
const PRODUCTS = ["Conv", "ConvTranspose", "Gemm", "MatMul"];

export const nameOf = (node: NodeProto): string => node.name || node.output.find((name) => name) || node.opType;

export interface FindOptions {
  shapes?: KnownShapes | undefined;
  fixedInputs?: boolean | undefined;
  join?: boolean | undefined;
  /** depthwise convolutions are layers too, false by default */
  depthwise?: boolean | undefined;
}

export interface Found {
  facts: GraphFacts;
  shapes: Shapes;
  layers: FoundLayer[];
  leftAlone: LeftAlone[];
  /** entries of all weights, in all graphs */
  weights: number;
}

/** Looks through a model. It reads no weights. */
export function findLayers(
  model: OnnxModel,
  { shapes: known, fixedInputs = false, join = true, depthwise = false }: FindOptions = {},
): Found {
  const { graph, file } = model;
  const facts = new GraphFacts(model);
  const shapes = new Shapes(model, facts, known);
  const layers: FoundLayer[] = [];
  const leftAlone: LeftAlone[] = [];
  /** tensors of what is left alone: several nodes may read one, whose entries count once */
  const told = new Set<TensorProto>();
  const sizeOf = (tensor: TensorProto): number => extentsOf(file, tensor).reduce((a, b) => a * b, 1);
  const leave = (node: NodeProto, reason: string, weights: number): void => {
    const multiplications = isStandard(node) ? multiplicationsOf(node, shapes) : null;
    leftAlone.push({ name: nameOf(node), op: node.opType, weights, multiplications, reason });
  };
  for (const node of graph.node) {
    const constants = node.input.map((name) => facts.weight(name));
    const entries = constants.reduce((sum, one) => sum + (one && !told.has(one.tensor) ? sizeOf(one.tensor) : 0), 0);
    const tell = (): void => {
      for (const one of constants) if (one) told.add(one.tensor);
    };
    if (QUANTISED_OPS.test(node.opType)) leave(node, QUANTISED, entries);
    else if (!isStandard(node)) {
      if (entries >= LARGE) leave(node, `operators of ${node.domain} are not factorised`, entries);
    } else if (PRODUCTS.includes(node.opType)) {
      const layer = layerOf(model, facts, node, fixedInputs, depthwise);
      if (typeof layer !== "string") layers.push({ ...layer, multiplications: multiplicationsOf(node, shapes) });
      else if (layer) {
        leave(node, layer, Math.max(entries, quantisedEntries(facts, node)));
        tell();
      }
    } else if (RECURRENT.includes(node.opType)) leave(node, "recurrent layers are not factorised", entries);
    else if (node.opType === "Gather" && constants[0] && isFloat(constants[0].tensor.dataType))
      leave(node, "embedding: its rows are looked up, not multiplied", sizeOf(constants[0].tensor));
    else if (!["Constant", "Identity", "DequantizeLinear"].includes(node.opType)) {
      const large = constants.filter((one) => {
        const tensor = one?.tensor;
        return (
          tensor && !told.has(tensor) && tensor.dims.length > 1 && isFloat(tensor.dataType) && sizeOf(tensor) >= LARGE
        );
      });
      for (const one of large) told.add(one!.tensor);
      if (large.length)
        leave(
          node,
          `${node.opType} is not factorised`,
          large.reduce((sum, one) => sum + sizeOf(one!.tensor), 0),
        );
    }
  }
  leftAlone.push(...insideSubgraphs(graph, sizeOf));
  const joined = join ? joinLayers(layers) : layers;
  return { facts, shapes, layers: joined, leftAlone, weights: totalWeights(graph, sizeOf) };
}

/** Weights of other operators are told from this many entries on. */
const LARGE = 1000;

/** The layer of a node; or why it is none, which is empty where the node has no weights and multiplies nothing. */
function layerOf(
  model: OnnxModel,
  facts: GraphFacts,
  node: NodeProto,
  fixedInputs: boolean,
  depthwise: boolean,
): Omit<FoundLayer, "multiplications"> | string {
  const { file } = model;
  const op = node.opType as FoundLayer["op"];
  const matrix = op === "MatMul" || op === "Gemm";
  const weights = [0, 1].map((side) => facts.weight(node.input[side])) as [Weight | null, Weight | null];
  const side = weights[1] ? 1 : matrix && weights[0] ? 0 : null;
  const quantised = node.input.some((name) => name && facts.producer(name)?.opType === "DequantizeLinear");
  if (quantised) return QUANTISED;
  if (weights[0] && weights[1]) return "both sides are constants";
  const other = node.input[side === 0 ? 1 : 0];
  if (side === null || !other) {
    const maker = facts.producer(node.input[1] ?? "");
    const turned = maker?.opType === "Transpose" ? facts.weight(maker.input[0]) : null;
    if (turned) {
      const users = endUses(facts, turned);
      return users > 1
        ? sharedReason(facts, turned, users)
        : "its weights are turned by a Transpose: foldOnnx turns them";
    }
    return matrix && !maker?.input.some((name) => facts.weight(name))
      ? "both sides are computed"
      : `its weights are computed${maker ? ` (${maker.opType})` : ""}`;
  }
  const weight = weights[side]!;
  const { tensor } = weight;
  if (weight.overridable && !fixedInputs) return OVERRIDABLE;
  const typeName = DATA_TYPES[tensor.dataType]?.name ?? "of an unknown type";
  if (!isFloat(tensor.dataType)) return `its weights are ${typeName}, no floats`;
  const users = endUses(facts, weight);
  if (users > 1) return sharedReason(facts, weight, users);
  const extents = extentsOf(file, tensor);
  if (extents.some((extent) => extent === 0)) return "its weights have no entries";

  let bias: Weight | null = null;
  let add: LayerNode["add"] = null;
  if (node.input[2]) {
    bias = facts.weight(node.input[2]);
    if (!bias) return "its bias is computed";
    if (bias.overridable && !fixedInputs) return OVERRIDABLE;
  }
  const biasExtents = bias && extentsOf(file, bias.tensor);
  if (matrix) {
    if (extents.length !== 2)
      return extents.length < 2 ? "its weights are a vector" : "its weights are a stack of matrices";
    const [rows, columns] = extents as [number, number];
    const transposed = op === "Gemm" && intOf(node, side === 1 ? "transB" : "transA", 0) !== 0;
    // rows are inputs where the weights stand to the right
    const [outputs, inputs] = (side === 1) === transposed ? [rows, columns] : [columns, rows];
    if (op === "Gemm") {
      if (intOf(node, side === 1 ? "transA" : "transB", 0) && (model.opsets.get("") ?? 1) < 11)
        return "a Gemm of a transposed value, which needs a bias before operator set 11";
      if (biasExtents && !isPerOutput(biasExtents, outputs, side)) return "its bias has more than one entry an output";
    } else {
      add = biasAfter(facts, node, outputs, side);
      bias = add && facts.weight(add.node.input[add.side]);
      if (bias?.overridable && !fixedInputs) [bias, add] = [null, null];
    }
    return {
      nodes: [{ node, weight, side, outputs, bias, add }],
      ...{
        op,
        kind: "dense",
        groups: 1,
        shape: [outputs, inputs],
        dataType: tensor.dataType,
        input: other,
        geometry: null,
      },
    };
  }

  const groups = intOf(node, "group", 1);
  const rank = extents.length - 2;
  const geometry = geometryOf(node, extents.slice(2));
  if (rank < 1 || !geometry) return "its attributes do not fit its weights";
  const [outputs, inputs] = op === "Conv" ? [extents[0]!, extents[1]!] : [extents[1]! * groups, extents[0]! / groups];
  if (!(groups >= 1) || outputs % groups || !Number.isInteger(inputs)) return "its groups do not fit its weights";
  if (groups > 1 && inputs === 1 && !depthwise) return "depthwise: nothing is shared between its channels";
  if (biasExtents && biasExtents.join() !== `${outputs}`) return "its bias does not fit its weights";
  const pointwise = op === "Conv" && groups === 1 && geometry.kernel.every((extent) => extent === 1);
  return {
    nodes: [{ node, weight, side: 1, outputs, bias, add }],
    ...{ op, kind: pointwise ? "dense" : op === "Conv" ? "convolution" : "transposedConvolution", groups },
    shape: pointwise ? [outputs, inputs] : [outputs, inputs, ...geometry.kernel],
    ...{ dataType: tensor.dataType, input: other, geometry },
  };
}

/** Whether a bias has one entry for every output, or one for all. */
function isPerOutput(extents: readonly number[], outputs: number, side: 0 | 1): boolean {
  if (extents.every((extent) => extent === 1)) return true;
  return side === 1
    ? extents.at(-1) === outputs && extents.slice(0, -1).every((extent) => extent === 1)
    : extents.length === 2 && extents[0] === outputs && extents[1] === 1;
}

/** The geometry of a convolution; null where its attributes contradict its kernel or each other. */
function geometryOf(node: NodeProto, kernel: readonly number[]): OnnxGeometry | null {
  const rank = kernel.length;
  const autoPad = stringOf(node, "auto_pad", "NOTSET") as OnnxGeometry["autoPad"];
  const strides = intsOf(node, "strides") ?? kernel.map(() => 1);
  const dilations = intsOf(node, "dilations") ?? kernel.map(() => 1);
  const pads = autoPad === "NOTSET" ? (intsOf(node, "pads") ?? new Array<number>(2 * rank).fill(0)) : null;
  const transposed = node.opType === "ConvTranspose";
  const outputPadding = transposed ? intsOf(node, "output_padding") : null;
  const outputShape = transposed ? intsOf(node, "output_shape") : null;
  const said = intsOf(node, "kernel_shape") ?? kernel;
  const fits =
    ["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"].includes(autoPad) &&
    said.join() === kernel.join() &&
    [strides, dilations].every((list) => list.length === rank && list.every((value) => value >= 1)) &&
    (!pads || (pads.length === 2 * rank && pads.every(Number.isSafeInteger))) &&
    (!outputPadding || outputPadding.length === rank);
  if (!fits) return null;
  // some exporters list the batch and the channels, too
  return { kernel, strides, dilations, pads, autoPad, outputPadding, outputShape: outputShape?.slice(-rank) ?? null };
}

/** How many nodes but `Identity` use a weight, in all graphs. */
function endUses(facts: GraphFacts, { tensor, via }: Weight): number {
  const start = via.at(-1)?.opType === "Constant" ? via.at(-1)!.output[0]! : tensor.name;
  const count = (name: string, depth: number): number => {
    const users = facts.users.get(name) ?? [];
    const through = users.filter((node) => node.opType === "Identity" && isStandard(node) && depth < 50);
    const direct = (facts.uses.get(name) ?? 0) - through.length;
    return through.reduce((sum, node) => sum + count(node.output[0] ?? "", depth + 1), direct);
  };
  return count(start, 0);
}

function sharedReason(facts: GraphFacts, { tensor }: Weight, users: number): string {
  const embedding = (facts.users.get(tensor.name) ?? []).some((node) => node.opType === "Gather");
  return embedding
    ? "its weights are tied to an embedding"
    : `its weights are shared: ${users} nodes, inner graphs or outputs use them`;
}

/** Entries of the integer tensors that `DequantizeLinear` nodes before a node read. */
function quantisedEntries(facts: GraphFacts, node: NodeProto): number {
  return node.input.reduce((sum, name) => {
    const maker = name ? facts.producer(name) : undefined;
    const tensor = maker?.opType === "DequantizeLinear" ? facts.weight(maker.input[0])?.tensor : undefined;
    const size = tensor ? tensor.dims.reduce((a, b) => a * Number(b), 1) : 0;
    return sum + (size > 0 ? size : 0);
  }, 0);
}

/** The `Add` of a constant with one entry an output that alone uses a MatMul's product. */
function biasAfter(facts: GraphFacts, node: NodeProto, outputs: number, side: 0 | 1): LayerNode["add"] {
  const add = facts.onlyUser(node.output[0] ?? "");
  if (add?.opType !== "Add" || !isStandard(add) || add.input.length !== 2) return null;
  const at = add.input[0] === node.output[0] ? 1 : 0;
  const tensor = facts.weight(add.input[at])?.tensor;
  if (!tensor || !isFloat(tensor.dataType)) return null;
  const extents = tensor.dims.map(Number);
  const fits = isPerOutput(extents, outputs, side) && extents.at(side === 1 ? -1 : 0) === outputs;
  // a longer shape than the product's would give it another rank
  return fits && extents.length <= 2 ? { node: add, side: at } : null;
}

/** Dense layers of one input as one layer: the projections to queries, keys and values. */
function joinLayers(layers: readonly FoundLayer[]): FoundLayer[] {
  const keyOf = ({ op, input, nodes: [first], dataType, kind }: FoundLayer): string | null =>
    kind === "dense" && (op === "MatMul" || op === "Gemm") && first!.side === 1
      ? JSON.stringify([op, input, dataType, op === "Gemm" && intOf(first!.node, "transA", 0)])
      : null;
  const out = new Map<string, FoundLayer>();
  for (const [at, layer] of layers.entries()) {
    const key = keyOf(layer) ?? `${at}`;
    const before = out.get(key);
    if (!before || before.shape[1] !== layer.shape[1]) {
      out.set(before ? `${at}` : key, layer);
      continue;
    }
    const [a, b] = [before.multiplications, layer.multiplications];
    out.set(key, {
      ...before,
      nodes: [...before.nodes, ...layer.nodes],
      shape: [before.shape[0]! + layer.shape[0]!, before.shape[1]!],
      multiplications: a === null || b === null ? null : a + b,
    });
  }
  return [...out.values()];
}

/** Multiplications of one run of a node in products of matrices; null where a shape is unknown. */
function multiplicationsOf(node: NodeProto, shapes: Shapes): number | null {
  const [x, w, y] = [shapes.of(node.input[0]), shapes.of(node.input[1]), shapes.of(node.output[0])];
  const times = (...factors: (number | null | undefined)[]): number | null =>
    factors.reduce<number | null>((a, b) => (a === null || b === null || b === undefined ? null : a * b), 1);
  switch (node.opType) {
    case "Conv":
      return w && y ? times(product(w), y[0], ...y.slice(2)) : null;
    case "ConvTranspose":
      return w && x ? times(product(w), x[0], ...x.slice(2)) : null;
    case "Gemm":
      return x && y ? times(product(y), x[intOf(node, "transA", 0) ? 0 : 1]) : null;
    case "MatMul":
      return x && y ? times(product(y), x.at(-1)) : null;
    case "LSTM":
    case "GRU":
    case "RNN": {
      const recurrent = shapes.of(node.input[2]);
      if (!x || !w || !recurrent) return null;
      const [input, inner] = [product(w), product(recurrent)];
      return input === null || inner === null ? null : times(x[0], x[1], input + inner);
    }
    default:
      // what has weights and multiplies no matrices: embeddings, scales, constants that are added or joined
      return QUANTISED_OPS.test(node.opType) ? null : 0;
  }
}

/** Layers inside of `If`, `Loop` and `Scan`: they run under conditions that no calibration sees as a whole. */
function insideSubgraphs(graph: GraphProto, sizeOf: (tensor: TensorProto) => number): LeftAlone[] {
  const out: LeftAlone[] = [];
  const visit = (one: GraphProto, outer: ReadonlyMap<string, number>, inside: string): void => {
    const sizes = new Map(outer);
    for (const tensor of one.initializer) if (isFloat(tensor.dataType)) sizes.set(tensor.name, sizeOf(tensor));
    for (const node of one.node) {
      const constant = node.opType === "Constant" ? constantOf(node) : null;
      if (constant && isFloat(constant.dataType) && node.output[0]) sizes.set(node.output[0], sizeOf(constant));
      if (node.opType === "Identity" && sizes.has(node.input[0] ?? "") && node.output[0])
        sizes.set(node.output[0], sizes.get(node.input[0]!)!);
      const weights = node.input.reduce((sum, name) => sum + (sizes.get(name) ?? 0), 0);
      if (inside && (RECURRENT.includes(node.opType) || (PRODUCTS.includes(node.opType) && weights)))
        out.push({
          name: nameOf(node),
          op: node.opType,
          weights,
          multiplications: null,
          reason: `inside a subgraph (${inside})`,
        });
      for (const inner of subgraphsOf(node)) visit(inner, sizes, node.opType);
    }
  };
  visit(graph, new Map(), "");
  return out;
}

/** Entries of all tensors of floats, and of integers that stand for floats, in all graphs. */
function totalWeights(graph: GraphProto, sizeOf: (tensor: TensorProto) => number): number {
  let total = 0;
  const graphs = [graph];
  for (const [node] of everyNode(graph)) {
    graphs.push(...subgraphsOf(node));
    const constant = node.opType === "Constant" ? constantOf(node) : null;
    if (constant && isFloat(constant.dataType)) total += sizeOf(constant);
  }
  const dequantised = new Set(
    [...everyNode(graph)].flatMap(([node]) =>
      node.opType === "DequantizeLinear" || QUANTISED_OPS.test(node.opType) ? node.input : [],
    ),
  );
  for (const { initializer } of graphs)
    for (const tensor of initializer)
      if (isFloat(tensor.dataType) || dequantised.has(tensor.name)) total += sizeOf(tensor);
  return total;
}

/** The weights of a layer as its shape has them, outputs first, and with Gemm's alpha. */
export async function layerWeights(model: OnnxModel, layer: FoundLayer): Promise<Float32Array> {
  const { nodes, op, shape, groups } = layer;
  const parts = await Promise.all(
    nodes.map(async ({ node, weight, side, outputs }) => {
      const values = await floatsOf(model, weight.tensor);
      if (op === "Conv") return values;
      if (op === "ConvTranspose") return swapChannels(values, groups, shape[1]!, outputs / groups);
      const transposed = op === "Gemm" && intOf(node, side === 1 ? "transB" : "transA", 0) !== 0;
      const turned = (side === 1) === transposed ? values : transpose(values, shape[1]!, outputs);
      const alpha = op === "Gemm" ? floatOf(node, "alpha", 1) : 1;
      return alpha === 1 ? turned : turned.map((value) => alpha * value);
    }),
  );
  return parts.length === 1 ? parts[0]! : concatenated(parts);
}

/** Weights as `layerWeights` gives them, as the file has them: of a Conv, or of one MatMul or Gemm whose weights stand to the right. */
export function fileWeights({ nodes: [first], op, shape }: FoundLayer, values: Float32Array): Float32Array {
  if (op === "Conv") return values;
  const { node, outputs } = first!;
  const turned = op === "Gemm" && intOf(node, "transB", 0) ? values : transpose(values, outputs, shape[1]!);
  const alpha = op === "Gemm" ? floatOf(node, "alpha", 1) : 1;
  return alpha === 1 ? turned : turned.map((value) => value / alpha);
}

/** The bias of a layer, one an output and with Gemm's beta; null where no node has one. */
export async function layerBias(model: OnnxModel, { nodes }: FoundLayer): Promise<Float32Array | null> {
  if (nodes.every(({ bias }) => !bias)) return null;
  const out = new Float32Array(nodes.reduce((sum, { outputs }) => sum + outputs, 0));
  let at = 0;
  for (const { node, bias, outputs } of nodes) {
    if (bias) {
      const values = await floatsOf(model, bias.tensor);
      const beta = node.opType === "Gemm" ? floatOf(node, "beta", 1) : 1;
      for (let i = 0; i < outputs; i++) out[at + i] = beta * values[values.length === 1 ? 0 : i]!;
    }
    at += outputs;
  }
  return out;
}

/** The transpose of a matrix of rows×columns. */
export function transpose(values: ArrayLike<number>, rows: number, columns: number): Float32Array {
  const out = new Float32Array(rows * columns);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = values[i * columns + j]!;
  return out;
}

/**
 * Swaps the channels within each group: groups×a×b×kernel to groups×b×a×kernel. A transposed convolution has inputs first in a
 * file, and outputs first here.
 */
export function swapChannels(values: ArrayLike<number>, groups: number, a: number, b: number): Float32Array {
  const taps = values.length / (groups * a * b);
  const out = new Float32Array(values.length);
  for (let g = 0; g < groups; g++)
    for (let i = 0; i < a; i++)
      for (let j = 0; j < b; j++)
        for (let k = 0; k < taps; k++)
          out[((g * b + j) * a + i) * taps + k] = values[((g * a + i) * b + j) * taps + k]!;
  return out;
}

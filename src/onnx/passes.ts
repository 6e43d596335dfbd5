import * as optionRules from "../gpu/optionRules.js";
import { checkOptions, type OptionRules } from "../gpu/options.js";
import { permuted } from "../io/array.js";
import { DOUBLE, isFloat } from "./dataTypes.js";
import { GraphEdit } from "./edit.js";
import { GraphFacts, isStandard, type Weight } from "./graph.js";
import { nameOf } from "./layers.js";
import type { OnnxModel } from "./model.js";
import { copyOf, floatOf, intOf, intsOf, type NodeProto, withAttributes } from "./proto.js";
import { extentsOf, floatsOf, quoted, tensorFrom } from "./tensors.js";

export interface FoldOnnxOptions {
  /** takes weights that are inputs of the graph as they are, false by default */
  fixedInputs?: boolean;
}

const rules: OptionRules<FoldOnnxOptions> = { fixedInputs: optionRules.flag };

/** A model with fewer nodes that computes the same. */
export interface FoldedOnnx {
  model: OnnxModel;
  /** what was folded, one line a node: `BatchNormalization bn1 into Conv conv1` */
  folded: string[];
}

/** y ↦ scale·y + shift, one of each for every output. */
interface Affine {
  scale: Float64Array;
  shift: Float64Array;
}

/**
 * Folds what follows a convolution or a Gemm into its weights and bias, where only that follows: BatchNormalization in inference,
 * and Mul, Div, Add and Sub with a constant for each output or one for all. A layer's moments are then those of what it gives to
 * the next one. Before that, constants that a Transpose turns are turned in the file ({@link foldTransposes}). A model where nothing is to be folded
 * comes back as it is.
 *
 * @throws FormatError where a tensor contradicts itself
 */
export async function foldOnnx(original: OnnxModel, options: FoldOnnxOptions = {}): Promise<FoldedOnnx> {
  checkOptions("foldOnnx", options, rules);
  const { fixedInputs = false } = options;
  const { model, folded } = await foldTransposes(original, options);
  const before = folded.length;
  const facts = new GraphFacts(model);
  const edit = new GraphEdit(model);
  for (const node of model.graph.node) {
    const layer = layerOf(model, facts, node, fixedInputs);
    if (!layer) continue;
    const { outputs } = layer;
    const total: Affine = { scale: new Float64Array(outputs).fill(1), shift: new Float64Array(outputs) };
    const followers: NodeProto[] = [];
    for (let last = node; ; ) {
      const next = facts.onlyUser(last.output[0]!);
      const step = next && (await affineOf(model, facts, next, last.output[0]!, layer, fixedInputs));
      if (!step) break;
      for (let o = 0; o < outputs; o++) {
        total.scale[o]! *= step.scale[o]!;
        total.shift[o] = step.scale[o]! * total.shift[o]! + step.shift[o]!;
      }
      followers.push(next);
      folded.push(`${next.opType} ${nameOf(next)} into ${node.opType} ${nameOf(node)}`);
      last = next;
    }
    if (!followers.length) continue;
    const output = followers.at(-1)!.output[0]!;
    edit.replace(node, [await fold(model, edit, node, layer, total, output)]);
    for (const follower of followers) edit.replace(follower, []);
  }
  return folded.length > before ? { model: edit.finish(), folded } : { model, folded };
}

/**
 * Turns constants of floats that nothing but a Transpose uses, as exporters write the weights of a layer. Names stay.
 *
 * @param isRead false where nobody reads the weights of the result: they are not read here, and have the right shapes alone
 */
export async function foldTransposes(
  model: OnnxModel,
  { fixedInputs = false }: FoldOnnxOptions,
  isRead = true,
): Promise<FoldedOnnx> {
  const folded: string[] = [];
  const facts = new GraphFacts(model);
  const edit = new GraphEdit(model);
  for (const node of model.graph.node) {
    const [output] = node.output;
    if (node.opType !== "Transpose" || !isStandard(node) || !output) continue;
    const weight = constant(facts, node.input[0], fixedInputs);
    // doubles are read as f32
    if (!weight || weight.tensor.dataType === DOUBLE) continue;
    const names = [node.input[0]!, ...weight.via.map((one) => one.input[0] ?? "")].filter(Boolean);
    const isShared = names.some((name) => facts.uses.get(name) !== 1);
    // a model's output stays one that a node makes
    if (isShared || facts.uses.get(output) !== facts.users.get(output)?.length) continue;
    const extents = extentsOf(model.file, weight.tensor);
    const axes = intsOf(node, "perm") ?? extents.map((_, axis) => extents.length - 1 - axis);
    if (extents.some((_, axis) => !axes.includes(axis)) || axes.length !== extents.length) continue;
    const { tensor } = weight;
    const dims = axes.map((axis) => extents[axis]!);
    if (isRead) {
      const turned = permuted(await floatsOf(model, tensor), extents, axes);
      edit.add(tensorFrom(`foldOnnx: ${nameOf(node)}`, output, tensor.dataType, dims, turned));
    } else edit.add(copyOf(tensor, { name: output, dims: dims.map(BigInt) }));
    edit.replace(node, []);
    folded.push(`Transpose ${nameOf(node)} into ${quoted(tensor.name || node.input[0]!)}`);
  }
  return folded.length ? { model: edit.finish(), folded } : { model, folded };
}

interface FoldableLayer {
  weight: Weight;
  bias: Weight | null;
  outputs: number;
  /** rank of the output */
  rank: number;
  /** which output an entry of the weights belongs to */
  outputOf(entry: number): number;
}

/** A convolution or a Gemm whose weights and bias are constants; null where a node is none. */
function layerOf(model: OnnxModel, facts: GraphFacts, node: NodeProto, fixedInputs: boolean): FoldableLayer | null {
  const { opType } = node;
  if (!isStandard(node) || !["Conv", "ConvTranspose", "Gemm"].includes(opType)) return null;
  const next = facts.onlyUser(node.output[0] ?? "");
  if (!next || !FOLLOWERS.includes(next.opType)) return null;
  const weight = constant(facts, node.input[1], fixedInputs);
  const bias = node.input[2] ? constant(facts, node.input[2], fixedInputs) : null;
  if (!weight || facts.weight(node.input[0]) || (node.input[2] && !bias)) return null;
  const extents = extentsOf(model.file, weight.tensor);
  if (opType === "Gemm" ? extents.length !== 2 : extents.length < 3) return null;
  if (extents.includes(0)) return null;
  const groups = intOf(node, "group", 1);
  const transposed = intOf(node, "transB", 0) !== 0;
  const [first, second] = extents as [number, number];
  const outputs =
    opType === "Conv" || (opType === "Gemm" && transposed) ? first : opType === "Gemm" ? second : second * groups;
  const taps = extents.slice(2).reduce((a, b) => a * b, 1);
  if (opType === "ConvTranspose" && !(groups >= 1 && first % groups === 0)) return null;
  // a bias of another shape than one entry an output, or one for all, stays where it is
  const biasExtents = bias ? extentsOf(model.file, bias.tensor) : [];
  const entries = biasExtents.reduce((x, y) => x * y, 1);
  if ((entries !== 1 && entries !== outputs) || biasExtents.slice(0, -1).some((extent) => extent !== 1)) return null;
  const outputOf =
    opType === "ConvTranspose"
      ? (entry: number): number => {
          const channel = Math.floor(entry / taps);
          return Math.floor(Math.floor(channel / second) / (first / groups)) * second + (channel % second);
        }
      : opType === "Gemm" && !transposed
        ? (entry: number): number => entry % outputs
        : (entry: number): number => Math.floor(entry / (second * taps));
  return { weight, bias, outputs, rank: extents.length, outputOf };
}

const FOLLOWERS = ["BatchNormalization", "Mul", "Div", "Add", "Sub"];

/** The weight of floats behind a name, unless a caller may hand in another. */
function constant(facts: GraphFacts, name: string | undefined, fixedInputs: boolean): Weight | null {
  const weight = facts.weight(name);
  return weight && isFloat(weight.tensor.dataType) && (fixedInputs || !weight.overridable) ? weight : null;
}

/** What a node does to each output of the layer before it; null where it does anything else. */
async function affineOf(
  model: OnnxModel,
  facts: GraphFacts,
  node: NodeProto,
  input: string,
  { outputs, rank }: FoldableLayer,
  fixedInputs: boolean,
): Promise<Affine | null> {
  if (!isStandard(node) || !FOLLOWERS.includes(node.opType) || !node.output[0]) return null;
  if (node.opType === "BatchNormalization") {
    // in training it would use the moments of the batch
    const inference =
      intOf(node, "training_mode", 0) === 0 && node.output.slice(1).every((name) => !name) && node.input.length === 5;
    const opset = model.opsets.get("") ?? 1;
    if (!inference || intOf(node, "spatial", 1) !== 1 || (opset < 7 && intOf(node, "is_test", 0) === 0)) return null;
    const weights = node.input.slice(1).map((name) => constant(facts, name, fixedInputs));
    if (node.input[0] !== input || weights.includes(null)) return null;
    const values = await Promise.all(weights.map((weight) => floatsOf(model, weight!.tensor)));
    if (values.some(({ length }) => length !== outputs)) return null;
    const [gamma, beta, mean, variance] = values as [Float32Array, Float32Array, Float32Array, Float32Array];
    const epsilon = floatOf(node, "epsilon", 1e-5);
    const scale = Float64Array.from(gamma, (value, o) => value / Math.sqrt(variance[o]! + epsilon));
    return finite({ scale, shift: Float64Array.from(beta, (value, o) => value - mean[o]! * scale[o]!) });
  }
  const side = node.input[0] === input ? 1 : 0;
  const weight =
    node.input.length === 2 && node.input[0] !== node.input[1] ? constant(facts, node.input[side], fixedInputs) : null;
  // c/y is no multiple of y, and c − y is rare
  if (!weight || (side === 0 && (node.opType === "Div" || node.opType === "Sub"))) return null;
  const extents = extentsOf(model.file, weight.tensor);
  const channel = extents.length - (rank - 1);
  const one = extents.every((extent) => extent === 1);
  const perOutput = extents.every((extent, axis) => extent === (axis === channel ? outputs : 1)) && channel >= 0;
  if (extents.length > rank || !(one || perOutput)) return null;
  const values = await floatsOf(model, weight.tensor);
  const at = (o: number): number => values[one ? 0 : o]!;
  const perChannel = (value: (o: number) => number): Float64Array =>
    Float64Array.from({ length: outputs }, (_, o) => value(o));
  switch (node.opType) {
    case "Mul":
      return finite({ scale: perChannel(at), shift: perChannel(() => 0) });
    case "Div":
      return finite({ scale: perChannel((o) => 1 / at(o)), shift: perChannel(() => 0) });
    default:
      return finite({ scale: perChannel(() => 1), shift: perChannel(node.opType === "Add" ? at : (o) => -at(o)) });
  }
}

/** Not folded is what would put NaN or infinity into weights. */
const finite = (affine: Affine): Affine | null =>
  affine.scale.every(Number.isFinite) && affine.shift.every(Number.isFinite) ? affine : null;

/** The node with scale and shift in its weights and bias. */
async function fold(
  model: OnnxModel,
  edit: GraphEdit,
  node: NodeProto,
  { weight, bias, outputs, outputOf }: FoldableLayer,
  { scale, shift }: Affine,
  output: string,
): Promise<NodeProto> {
  const { tensor } = weight;
  const what = `foldOnnx: ${nameOf(node)}`;
  const beta = node.opType === "Gemm" ? floatOf(node, "beta", 1) : 1;
  const values = bias && (await floatsOf(model, bias.tensor));
  const before = (o: number): number => (values ? beta * values[values.length === 1 ? 0 : o]! : 0);
  const shifted = Float64Array.from({ length: outputs }, (_, o) => scale[o]! * before(o) + shift[o]!);
  const name = (part: string): string => edit.unique(`${nameOf(node)}/folded_${part}`);
  const names = [node.input[1]!, edit.add(tensorFrom(what, name("bias"), tensor.dataType, [outputs], shifted))];
  if (scale.some((factor) => factor !== 1)) {
    const weights = await floatsOf(model, tensor);
    const scaled = Float64Array.from(weights, (value, entry) => value * scale[outputOf(entry)]!);
    names[0] = edit.add(tensorFrom(what, name("weight"), tensor.dataType, tensor.dims.map(Number), scaled));
  }
  const changed = beta === 1 ? node : withAttributes(node, { beta: undefined });
  return copyOf(changed, { input: [node.input[0]!, ...names], output: [output] });
}

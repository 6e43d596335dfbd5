import { TenfoldError } from "../errors.js";
import { formatShape, ShapeError } from "../gpu/errors.js";
import * as optionRules from "../gpu/optionRules.js";
import { checkOptions, isList, type OptionRules, oneOf, required, shown } from "../gpu/options.js";
import { GraphEdit } from "./edit.js";
import { type FoundLayer, findLayers, type LayerNode, nameOf, swapChannels, transpose } from "./layers.js";
import type { OnnxModel } from "./model.js";
import {
  type Attributes,
  copyOf,
  type Dimension,
  dimensionsOf,
  intOf,
  makeDimension,
  makeNode,
  makeValueInfo,
  type NodeProto,
  type ValueInfoProto,
  withAttributes,
} from "./proto.js";
import type { Shapes } from "./shapes.js";
import { idOf, layerName } from "./sites.js";
import { tensorFrom } from "./tensors.js";

/**
 * How a layer is written as several, each without a bias but the last, or with other weights. A convolution of S inputs and T outputs in g groups; ranks
 * are those of one group. Shapes are those of the factors in their order: outputs, inputs of one group, kernel.
 *
 * | scheme | factors |
 * |---|---|
 * | `lowRank` | of dense layers: R×S, T×R |
 * | `pointwiseFirst` | g·R×S/g×1…, T×R×kernel |
 * | `kernelFirst` | g·R×S/g×kernel, T×R×1… |
 * | `vertical` | in two dimensions: g·R×S/g×D×1, T×R×1×D (Jaderberg 2014, scheme 2) |
 * | `horizontal` | in two dimensions: g·R×S/g×1×D, T×R×D×1 |
 * | `tucker2` | g·R₁×S/g×1…, g·R₂×R₁×kernel, T×R₂×1… (Kim 2016) |
 * | `cp` | g·R×S/g×1…, g·R×1 with the kernel of one axis for every axis, T×R×1… (Lebedev 2015) |
 * | `whole` | T×S/g×kernel: the layer with other weights |
 * | `blockTerm` | without groups, B blocks: B·s×S×1…, B·t×s×kernel, T×B·t×1… (Wang 2016) |
 */
export type OnnxScheme =
  | "lowRank"
  | "pointwiseFirst"
  | "kernelFirst"
  | "vertical"
  | "horizontal"
  | "tucker2"
  | "cp"
  | "blockTerm"
  | "whole";

/** One factor of a layer, row-major. */
export interface OnnxFactor {
  /** as the scheme says; the extents of 1 of a kernel without other ones may be left out */
  shape: readonly number[];
  data: ArrayLike<number>;
}

/** What a site is replaced by. */
export interface OnnxReplacement {
  /** the site's id */
  site: string;
  scheme: OnnxScheme;
  factors: readonly OnnxFactor[];
  /** the bias, one an output, in place of the site's; the site's stays by default */
  bias?: ArrayLike<number>;
}

export interface ReplaceSitesOptions {
  /** as sites were listed: takes weights that are inputs of the graph as they are */
  fixedInputs?: boolean;
  /** as sites were listed: several MatMul or Gemm nodes of one input are one site */
  join?: boolean;
}

const rules: OptionRules<ReplaceSitesOptions> = { fixedInputs: optionRules.flag, join: optionRules.flag };
const replacementRules: OptionRules<OnnxReplacement> = {
  site: required(optionRules.text),
  scheme: required(
    oneOf("lowRank", "pointwiseFirst", "kernelFirst", "vertical", "horizontal", "tucker2", "cp", "blockTerm", "whole"),
  ),
  factors: required({ needs: "a list of { shape, data }", is: isList }),
  bias: { needs: "a list of numbers", is: isList },
};

/** Under this key of a model's metadata stands what was replaced. */
const NOTE = "tenfold.factorised";

/**
 * Replaces layers by chains of smaller ones, written as Conv, ConvTranspose, MatMul, Gemm and Add only. Names are the layer's with
 * the factor behind: `conv3/vertical`. The bias stands in the last factor. New values are declared, and the model's metadata say
 * what was done; operator sets, other nodes and metadata stay.
 *
 * Stride, padding and dilation along an axis belong to the factor that has the kernel's extent there.
 *
 * @throws TenfoldError where a site does not exist or cannot be written by the scheme; ShapeError where factors do not fit
 */
export function replaceSites(
  model: OnnxModel,
  replacements: readonly OnnxReplacement[],
  options: ReplaceSitesOptions = {},
): OnnxModel {
  checkOptions("replaceSites", options, rules);
  if (!Array.isArray(replacements)) throw new TenfoldError("replaceSites: needs a list of replacements");
  const { layers, leftAlone, shapes } = findLayers(model, options);
  const byId = new Map(layers.map((layer) => [idOf(layer), layer]));
  const edit = new GraphEdit(model);
  const infos = new Map(
    [...model.graph.input, ...model.graph.output, ...model.graph.valueInfo].map((info) => [info.name, info]),
  );
  const notes: string[] = [];
  const done = new Set<string>();
  for (const replacement of replacements) {
    checkOptions("replaceSites", replacement, replacementRules);
    const layer = byId.get(replacement.site);
    if (!layer) {
      const left = leftAlone.find(({ name }) => name === replacement.site);
      throw new TenfoldError(
        `replaceSites: ${shown(replacement.site)} is no site of ${model.file}${left ? `: ${left.reason}` : ""}; onnxSites lists them`,
        { code: "OPTION" },
      );
    }
    if (done.has(replacement.site))
      throw new TenfoldError(`replaceSites: ${shown(replacement.site)} is replaced twice`, { code: "OPTION" });
    done.add(replacement.site);
    const what = `replaceSites (${layerName(layer)})`;
    const steps = stepsOf(what, layer, replacement);
    const bias = biasOf(what, layer, replacement);
    const context: Context = { what, model, edit, infos, shapes, layer, steps, bias };
    if (layer.geometry) writeConvolutions(context);
    else writeProducts(context);
    const ranks = steps.slice(0, -1).map(({ outputs }) => outputs);
    notes.push(`${layerName(layer)}: ${replacement.scheme}${ranks.length ? `, ranks ${ranks.join(", ")}` : ""}`);
  }
  return notes.length ? edit.finish({ key: NOTE, text: notes.join("\n") }) : model;
}

/** A factor and its place in the chain. */
interface Step {
  label: string;
  outputs: number;
  /** inputs of one group */
  inputs: number;
  groups: number;
  /** spatial axes along which it has the kernel's extent, stride, padding and dilation */
  axes: readonly number[];
  data: ArrayLike<number>;
}

interface Context {
  what: string;
  model: OnnxModel;
  edit: GraphEdit;
  infos: ReadonlyMap<string, ValueInfoProto>;
  shapes: Shapes;
  layer: FoundLayer;
  steps: readonly Step[];
  bias: ArrayLike<number> | null;
}

/** A step of a scheme before its factor is known. `groups`: the layer's, one a channel, or as many as the factors have. */
type Plan = readonly (Pick<Step, "label" | "axes"> & { groups?: "depthwise" | "blocks" })[];

const AXES: Readonly<Record<number, readonly string[]>> = {
  1: ["kernel"],
  2: ["vertical", "horizontal"],
  3: ["depth", "vertical", "horizontal"],
};

function planOf(what: string, { kind, geometry, groups, shape }: FoundLayer, scheme: OnnxScheme): Plan {
  const rank = geometry?.kernel.length ?? 0;
  const all = Array.from({ length: rank }, (_, axis) => axis);
  const fail = (problem: string): never => {
    throw new TenfoldError(`${what}: ${scheme} ${problem}`, { code: "OPTION" });
  };
  if (scheme === "whole") return [{ label: "refitted", axes: all }];
  if ((kind === "dense") !== (scheme === "lowRank"))
    fail(
      kind === "dense"
        ? `is for kernels, and the layer is dense, ${formatShape(shape)}: take lowRank`
        : `is for dense layers, and the layer has the kernel ${formatShape(geometry!.kernel)}: take another scheme`,
    );
  const axisNames = AXES[rank] ?? all.map((axis) => `axis${axis}`);
  switch (scheme) {
    case "lowRank":
      return [
        { label: "low_rank_first", axes: all },
        { label: "low_rank_last", axes: [] },
      ];
    case "pointwiseFirst":
      return [
        { label: "pointwise", axes: [] },
        { label: "kernel", axes: all },
      ];
    case "kernelFirst":
      return [
        { label: "kernel", axes: all },
        { label: "pointwise", axes: [] },
      ];
    case "vertical":
    case "horizontal": {
      if (rank !== 2) fail(`is for two dimensions, and the kernel is ${formatShape(geometry!.kernel)}`);
      if (geometry!.outputShape) fail("cannot split an output_shape over two axes");
      const steps = all.map((axis) => ({ label: `spatial_${axisNames[axis]}`, axes: [axis] }));
      return scheme === "vertical" ? steps : steps.reverse();
    }
    case "tucker2":
      return [
        { label: "tucker2_first", axes: [] },
        { label: "tucker2_core", axes: all },
        { label: "tucker2_last", axes: [] },
      ];
    case "cp": {
      if (geometry!.outputShape && rank > 1) fail("cannot split an output_shape over several axes");
      const along = all.map((axis) => ({ label: `cp_${axisNames[axis]}`, axes: [axis], groups: "depthwise" as const }));
      return [{ label: "cp_first", axes: [] }, ...along, { label: "cp_last", axes: [] }];
    }
    case "blockTerm":
      if (groups !== 1) fail(`is for convolutions without groups, and the layer has ${groups}`);
      return [
        { label: "block_term_first", axes: [] },
        { label: "block_term_core", axes: all, groups: "blocks" },
        { label: "block_term_last", axes: [] },
      ];
  }
}

/** The factors with their place in the chain, checked. */
function stepsOf(what: string, layer: FoundLayer, { scheme, factors }: OnnxReplacement): Step[] {
  const plan = planOf(what, layer, scheme);
  if (factors.length !== plan.length)
    throw new ShapeError(`${what}: ${scheme} has ${plan.length} factors, given ${factors.length}`);
  const [outputs, inputs] = layer.shape as [number, number];
  const kernel = layer.geometry?.kernel ?? [];
  const steps: Step[] = [];
  for (const [at, { label, axes, groups: kind }] of plan.entries()) {
    const factor = factors[at]!;
    if (!isList(factor?.shape) || !isList(factor.data))
      throw new ShapeError(`${what}: factor ${at} is ${shown(factor)}, needs { shape, data }`);
    const { shape, data } = factor;
    const taps = kernel.map((extent, axis) => (axes.includes(axis) ? extent : 1));
    const before = steps.at(-1);
    const [made, taken] = shape as [number, number];
    const groups = kind === "depthwise" ? before!.outputs : kind === "blocks" ? before!.outputs / taken : layer.groups;
    const wantedInputs = before ? (kind === "blocks" ? taken : before.outputs / groups) : inputs;
    const wantedOutputs = at === plan.length - 1 ? outputs : kind === "depthwise" ? before!.outputs : made;
    const wanted = [wantedOutputs, wantedInputs, ...taps];
    const short = taps.every((extent) => extent === 1) && shape.length === 2;
    const fits =
      shape.every((extent) => Number.isSafeInteger(extent) && extent >= 1) &&
      shape.length === (short ? 2 : wanted.length) &&
      shape.every((extent, axis) => extent === wanted[axis]) &&
      Number.isInteger(groups) &&
      Number.isInteger(wantedInputs) &&
      made % groups === 0;
    if (!fits) {
      const rank = groups > 1 && !kind ? `R in ${groups} groups` : "R";
      const needs = [
        at === plan.length - 1 || kind === "depthwise" ? wantedOutputs : rank,
        kind === "blocks" ? "s" : wantedInputs,
        ...taps,
      ];
      throw new ShapeError(`${what}: factor ${at} of ${scheme} is ${formatShape(shape)}, expected ${needs.join("×")}`);
    }
    const size = shape.reduce((a, b) => a * b, 1);
    if (data.length !== size)
      throw new ShapeError(`${what}: factor ${at} is ${formatShape(shape)}, but has ${data.length} entries`);
    checkFinite(what, `factor ${at}`, data as ArrayLike<number>);
    steps.push({ label, outputs: made, inputs: taken, groups, axes, data: data as ArrayLike<number> });
  }
  return steps;
}

function biasOf(what: string, { shape: [outputs] }: FoundLayer, { bias }: OnnxReplacement): ArrayLike<number> | null {
  if (!bias) return null;
  if (bias.length !== outputs)
    throw new ShapeError(`${what}: the bias has ${bias.length} entries, expected ${outputs}`);
  checkFinite(what, "the bias", bias);
  return bias;
}

function checkFinite(what: string, which: string, values: ArrayLike<number>): void {
  for (let i = 0; i < values.length; i++)
    if (!Number.isFinite(values[i])) throw new TenfoldError(`${what}: ${which}: entry ${i} is ${values[i]}`);
}

// ---- convolutions

function writeConvolutions({ what, edit, infos, layer, steps, bias }: Context): void {
  const { node, outputs } = layer.nodes[0]!;
  const { dataType, geometry } = layer;
  const kernel = geometry!.kernel;
  const input = dimensionsOf(infos.get(layer.input));
  const output = dimensionsOf(infos.get(node.output[0]!));
  const carried = new Set<number>();
  const nodes: NodeProto[] = [];
  let value = layer.input;
  for (const [at, step] of steps.entries()) {
    const { label, groups, axes } = step;
    const last = at === steps.length - 1;
    const name = edit.unique(`${layerName(layer)}/${label}`);
    const transposed = layer.op === "ConvTranspose" && axes.length > 0;
    const taps = kernel.map((extent, axis) => (axes.includes(axis) ? extent : 1));
    const values = transposed ? swapChannels(step.data, groups, step.outputs / groups, step.inputs) : step.data;
    const channels = transposed ? [step.inputs * groups, step.outputs / groups] : [step.outputs, step.inputs];
    const weight = edit.add(tensorFrom(what, edit.unique(`${name}/weight`), dataType, [...channels, ...taps], values));
    const inputs = [value, weight];
    if (last && bias) inputs.push(edit.add(tensorFrom(what, edit.unique(`${name}/bias`), dataType, [outputs], bias)));
    else if (last && node.input[2]) inputs.push(node.input[2]);
    const made = last ? node.output[0]! : edit.unique(`${name}/output`);
    const op = transposed ? "ConvTranspose" : "Conv";
    nodes.push(makeNode(op, name, inputs, [made], attributesOf(layer, step, taps, transposed)));
    for (const axis of axes) carried.add(axis);
    if (!last) {
      const sizes = kernel.map((_, axis) => (carried.has(axis) ? output : input)?.[axis + 2] ?? makeDimension(null));
      const batch = input?.[0] ?? output?.[0] ?? makeDimension(null);
      edit.declare(makeValueInfo(made, dataType, [batch, makeDimension(step.outputs), ...sizes]));
    }
    value = made;
  }
  edit.replace(node, nodes);
}

function attributesOf(
  { geometry }: FoundLayer,
  { groups, axes }: Step,
  kernel: readonly number[],
  transposed: boolean,
): Attributes {
  const { strides, dilations, pads, autoPad, outputPadding, outputShape } = geometry!;
  const of = (list: readonly number[], neutral: number): number[] =>
    list.map((value, at) => (axes.includes(at % kernel.length) ? value : neutral));
  // an axis with one tap and stride 1 needs no padding, whatever auto_pad says
  const auto = autoPad !== "NOTSET" && axes.length > 0;
  return {
    auto_pad: auto ? autoPad : undefined,
    dilations: of(dilations, 1),
    group: groups,
    kernel_shape: kernel,
    output_padding: transposed && outputPadding ? of(outputPadding, 0) : undefined,
    output_shape: transposed && outputShape ? outputShape : undefined,
    pads: auto ? undefined : of(pads ?? new Array<number>(2 * kernel.length).fill(0), 0),
    strides: of(strides, 1),
  };
}

// ---- MatMul and Gemm

function writeProducts(context: Context): void {
  const { model, edit, layer, steps, bias } = context;
  const [first, last = first] = steps as [Step, Step?];
  const isOne = steps.length === 1;
  const { op, nodes } = layer;
  const { node, side } = nodes[0]!;
  const name = edit.unique(`${layerName(layer)}/${first.label}`);
  const made = isOne ? layer.input : edit.unique(`${name}/output`);
  const pair = (constant: string, value: string): string[] => (side === 1 ? [value, constant] : [constant, value]);
  // before operator set 11 Gemm needs a bias, and MatMul does the same without one
  const gemm = op === "Gemm" && (model.opsets.get("") ?? 1) >= 11;
  const keeps = (flag: string): number | undefined => (gemm && intOf(node, flag, 0) ? 1 : undefined);
  // the flag of the value stays; a constant to the left is written without one
  const flags: Attributes =
    side === 1 ? { transA: keeps("transA"), transB: keeps("transB") } : { transB: keeps("transB") };
  const firstNodes: NodeProto[] = [];
  if (!isOne) {
    const sizes = [first.outputs, first.inputs] as const;
    const weight = addMatrix(context, `${name}/weight`, first.data, sizes, side === 0 || flags.transB === 1);
    firstNodes.push(makeNode(gemm ? "Gemm" : "MatMul", name, pair(weight, layer.input), [made], flags));
    declareProduct(context, made, first.outputs);
  }
  let row = 0;
  for (const [at, part] of nodes.entries()) {
    const end = row + part.outputs;
    const rows = Array.from({ length: part.outputs * last.inputs }, (_, i) => last.data[row * last.inputs + i]!);
    const partBias = bias && Array.from({ length: part.outputs }, (_, i) => bias[row + i]!);
    row = end;
    const lastName = edit.unique(`${nodes.length > 1 ? nameOf(part.node) : layerName(layer)}/${last.label}`);
    const outputsFirst = side === 0 || (op === "Gemm" && intOf(part.node, "transB", 0) !== 0);
    const lastWeight = addMatrix(context, `${lastName}/weight`, rows, [part.outputs, last.inputs], outputsFirst);
    const written = writeLast(context, part, lastName, pair(lastWeight, made), partBias);
    edit.replace(part.node, [...(at === 0 ? firstNodes : []), ...written]);
  }
}

/** Adds a matrix of outputs×inputs to the model, as it is or transposed. */
function addMatrix(
  { what, edit, layer }: Context,
  wanted: string,
  data: ArrayLike<number>,
  [outputs, inputs]: readonly [number, number],
  outputsFirst: boolean,
): string {
  const values = outputsFirst ? data : transpose(data, outputs, inputs);
  const dims = outputsFirst ? [outputs, inputs] : [inputs, outputs];
  return edit.add(tensorFrom(what, edit.unique(wanted), layer.dataType, dims, values));
}

/** The last product of a chain, with its bias. */
function writeLast(
  { what, edit, layer: { op, dataType, input: source }, model, shapes, steps }: Context,
  { node, side, outputs, bias: before, add }: LayerNode,
  name: string,
  factors: string[],
  bias: readonly number[] | null,
): NodeProto[] {
  const isOne = steps.length === 1;
  // beside a constant to the left, a value of two modes or more has its outputs in the last but one
  const dims = side === 1 || shapes.of(source)?.length === 1 ? [outputs] : [outputs, 1];
  const addBias = (extents: readonly number[]): string =>
    edit.add(tensorFrom(what, edit.unique(`${name}/bias`), dataType, extents, bias!));
  if (op === "Gemm") {
    const changes: Attributes = {
      // alpha is in the weights; a constant to the left is not transposed any more, nor the value that a first product gives
      ...{ alpha: undefined, ...((side === 0 || !isOne) && { transA: undefined }) },
      ...(side === 0 && !isOne && { transB: undefined }),
      ...(bias && { beta: undefined }),
      ...(bias && (model.opsets.get("") ?? 1) < 7 && { broadcast: 1 }),
    };
    const third = bias ? [addBias(dims)] : node.input.slice(2);
    return [copyOf(withAttributes(node, changes), { name, input: [...factors, ...third] })];
  }
  if (!bias) return [copyOf(node, { name, input: factors })];
  if (add) {
    const input = [...add.node.input];
    // the constant keeps its shape, because an Add may give a value another rank
    input[add.side] = addBias(before!.tensor.dims.map(Number));
    edit.replace(add.node, [copyOf(add.node, { input })]);
    return [copyOf(node, { name, input: factors })];
  }
  const product = edit.unique(`${name}/product`);
  return [
    copyOf(node, { name, input: factors, output: [product] }),
    makeNode("Add", edit.unique(`${name}/add`), [product, addBias(dims)], [node.output[0]!], {}),
  ];
}

/** Declares the value between the two factors of a dense layer, where its rank is known. */
function declareProduct({ edit, infos, layer }: Context, name: string, rank: number): void {
  const { nodes, input, op, dataType } = layer;
  const { node, side } = nodes[0]!;
  const like = dimensionsOf(infos.get(node.output[0]!)) ?? (op === "MatMul" ? dimensionsOf(infos.get(input)) : null);
  const dims: Dimension[] = like ? [...like] : op === "Gemm" ? [makeDimension(null), makeDimension(null)] : [];
  if (dims.length < (side === 1 ? 1 : 2)) return;
  dims[dims.length - (side === 1 ? 1 : 2)] = makeDimension(rank);
  edit.declare(makeValueInfo(name, dataType, dims));
}

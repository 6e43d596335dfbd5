import { TenfoldError } from "../errors.js";
import * as optionRules from "../gpu/optionRules.js";
import { checkOptions, isList, type OptionRules, oneOf, required, shown } from "../gpu/options.js";
import { encode } from "../io/array.js";
import { FLOAT, INT8, INT32, UINT8 } from "./dataTypes.js";
import { GraphEdit } from "./edit.js";
import { type GraphFacts, isStandard } from "./graph.js";
import { type FoundLayer, findLayers, type LeftAlone, layerBias, nameOf, transpose } from "./layers.js";
import type { OnnxModel } from "./model.js";
import { raiseOpset } from "./opset.js";
import { copyOf, floatOf, intOf, makeNode, makeTensor, type NodeProto, withAttributes } from "./proto.js";
import { floatsOf, quoted } from "./tensors.js";

/** What the entries of a value lie between, as calibration has shown. */
export interface ActivationRange {
  min: number;
  max: number;
}

/** An operator that can be quantised. */
export type QuantisableOp = "Conv" | "Gemm" | "MatMul";

/** Which layers are quantised. */
export interface QuantisedLayersOptions {
  /** `["Conv"]` by default: the last products of a network are small, and lose most by int8 */
  operators?: readonly QuantisableOp[];
  /** names of layers that stay in float */
  float?: readonly string[];
  /** names of layers whose weights alone are int8; they are read as floats, and the product is one of floats */
  weightsOnly?: readonly string[];
  /** takes weights that are inputs of the graph as they are, false by default */
  fixedInputs?: boolean;
}

export interface QuantiseOnnxOptions extends QuantisedLayersOptions {
  /** by the names of values, as `activationRanges` gives them; there may be more than are needed */
  ranges: Readonly<Record<string, ActivationRange>> | ReadonlyMap<string, ActivationRange>;
  /** the type of activations; `uint8`, the default, is the fast one on x86 */
  activations?: "uint8" | "int8";
  /**
   * true by default: weights lie between −64 and 64. On processors with AVX2 or AVX-512 and without VNNI onnxruntime adds two products
   * in 16 bits, and larger weights overflow them: outputs are wrong there by much more than int8 costs. With false, weights lie between
   * −127 and 127, which is finer by half: for models that run on VNNI, ARM or in a browser only.
   */
  reduceRange?: boolean;
  /** Rounds the weights of a layer in another way than to the nearest level; null for the nearest. */
  round?: (rows: RoundedRows) => Rounded | null | Promise<Rounded | null>;
}

/** The weights of a layer, to be rounded. */
export interface RoundedRows {
  /** the layer's name, and that of the value that it makes */
  name: string;
  output: string;
  /** outputs first, as `onnxSites` has them, with Gemm's alpha where the product is one of integers */
  weights: Float32Array;
  /** the unit of the levels of each output */
  scales: Float32Array;
  /** levels lie between −limit and limit */
  limit: number;
  /** whether the layer can have another bias: the bias of a MatMul is an Add of its own */
  biased: boolean;
}

/** Rounded weights, and what the bias of each output becomes larger by. */
export interface Rounded {
  levels: Int8Array;
  shift?: Float32Array;
}

/** A layer in int8. */
export interface QuantisedLayer {
  name: string;
  op: QuantisableOp;
  /** whether its weights alone are int8, and the product is one of floats */
  weightsOnly: boolean;
  /** how many entries its weights have */
  weights: number;
}

/** A model with layers in int8. */
export interface QuantisedOnnx {
  model: OnnxModel;
  quantised: QuantisedLayer[];
  /** layers of the asked operators that stay in float, with the reason */
  inFloat: LeftAlone[];
  /** where the version of the operator set was raised: from which, and to which; null where it was not */
  raised: { from: number; to: number } | null;
}

export const operatorsRule = {
  needs: 'a list of "Conv", "Gemm", "MatMul"',
  is: (value: unknown): boolean => isList(value) && value.every((one) => OPERATORS.includes(one as QuantisableOp)),
};
export const namesRule = {
  needs: "a list of names of layers",
  is: (value: unknown): boolean => isList(value) && value.every((one) => typeof one === "string"),
};

const rules: OptionRules<QuantiseOnnxOptions> = {
  ranges: required({
    needs: "ranges by the names of values, as activationRanges gives them",
    is: (value) => typeof value === "object" && value !== null && !isList(value),
  }),
  operators: operatorsRule,
  float: namesRule,
  weightsOnly: namesRule,
  fixedInputs: optionRules.flag,
  activations: oneOf("uint8", "int8"),
  reduceRange: optionRules.flag,
  round: optionRules.callback,
};

const OPERATORS: readonly QuantisableOp[] = ["Conv", "Gemm", "MatMul"];

/** Under this key of a model's metadata stands what was quantised. */
const NOTE = "tenfold.quantised";

/** the largest weight; and what it is where 2·255·64 is to fit 16 bits with a sign */
const [MOST, REDUCED] = [127, 64];

/** QuantizeLinear and DequantizeLinear have an axis from this version of the operator set on. */
const OPSET = 13;

/**
 * Quantises layers of a model to int8, as QuantizeLinear and DequantizeLinear nodes around operators that stay what they are (QDQ).
 * A runtime that knows the pattern runs them in integers; any other gives the same numbers in floats. Layers of float32 are taken.
 *
 * - Weights are int8, symmetric, with a scale for each output: s = max|w| ÷ 64 (or 127: `reduceRange`), q = w ÷ s to the nearest, ties to
 *   even.
 * - Activations have one scale and zero point for each value, from its range with 0 added: s = (max − min) ÷ 255.
 * - Biases of Conv and Gemm are int32 with the scales of the products. Where a bias is too large for that, the output's scale is.
 * - The output of a convolution is quantised too, after the Relu or Clip that alone follows it, since runtimes need that. Outputs
 *   of Gemm and MatMul stay in float.
 * - Pools, Reshape and the like, which only pick entries, give values with the scale of what they read.
 * - Of the layers in `weightsOnly` the weights alone are int8, between ±127, and a DequantizeLinear node makes floats of them: the file is
 *   as small, the outputs are nearer, and nothing is faster.
 *
 * New nodes have no names and new values no declared shapes, since both follow from the values' names and from what they are made of, and
 * would be a fiftieth of a small file.
 *
 * Fold (`foldOnnx`) and factorise first: what follows a layer is then in its weights, and ranges are those of the model quantised.
 * Where the model's operator set is older than 13, it is raised, and `raised` says so.
 *
 * @throws TenfoldError where a range is missing or not finite, a name in `float` or `weightsOnly` is no layer, or the operator set cannot be raised
 */
export async function quantiseOnnx(model: OnnxModel, options: QuantiseOnnxOptions): Promise<QuantisedOnnx> {
  checkOptions("quantiseOnnx", options, rules);
  const { activations = "uint8", reduceRange = true } = options;
  const ranges = new Map<string, ActivationRange>(
    options.ranges instanceof Map ? options.ranges : Object.entries(options.ranges),
  );
  const { layers, inFloat } = quantisedLayers("quantiseOnnx", model, options);
  if (!layers.length) return { model, quantised: [], inFloat, raised: null };
  const from = model.opsets.get("") ?? 1;
  if (from < OPSET) {
    const raised = raiseOpset(model, OPSET);
    const result = await quantiseOnnx(raised, options);
    return { ...result, raised: { from, to: OPSET } };
  }
  const limit = reduceRange ? REDUCED : MOST;
  const writer = new Writer(model, layers, ranges, activations === "uint8" ? UINT8 : INT8, limit, options.round);
  const changed = await writer.write();
  const quantised = layers.map(({ layer, name, weightsOnly }) => ({
    ...{ name, op: layer.op as QuantisableOp, weights: layer.shape.reduce((a, b) => a * b, 1) },
    weightsOnly,
  }));
  return { model: changed, quantised, inFloat, raised: null };
}

/** A layer that is to be quantised. */
interface Planned {
  name: string;
  layer: FoundLayer;
  node: NodeProto;
  /** the value that it gives to others, after an activation that alone follows it; null where it stays in float */
  output: string | null;
  /** whether its input stays in float too */
  weightsOnly: boolean;
}

/**
 * The layers that are quantised, and those of the same operators that are not.
 *
 * @throws TenfoldError (OPTION) where a name in `float` or `weightsOnly` is no layer, or both have it
 */
export function quantisedLayers(
  what: string,
  model: OnnxModel,
  { operators = ["Conv"], float = [], weightsOnly = [], fixedInputs = false }: QuantisedLayersOptions,
): { layers: Planned[]; inFloat: LeftAlone[]; facts: GraphFacts } {
  const asked = (op: string, name: string): boolean =>
    (operators as readonly string[]).includes(op) ||
    ((OPERATORS as readonly string[]).includes(op) && weightsOnly.includes(name));
  const { layers: convolutions, leftAlone, facts } = findLayers(model, { fixedInputs, join: false, depthwise: true });
  const inFloat = leftAlone.filter(({ op, name }) => asked(op, name));
  const layers: Planned[] = [];
  const names = [...convolutions.map((layer) => nameOf(layer.nodes[0]!.node)), ...leftAlone.map(({ name }) => name)];
  for (const [option, list] of Object.entries({ float, weightsOnly })) {
    const unknown = list.find((name) => !names.includes(name));
    if (unknown !== undefined)
      throw new TenfoldError(
        `${what}: ${option} names ${shown(unknown)}, which is no layer of ${model.file}; it has ${names.slice(0, 12).join(", ")}${names.length > 12 ? ", …" : ""}`,
        { code: "OPTION" },
      );
  }
  const both = float.find((name) => weightsOnly.includes(name));
  if (both !== undefined)
    throw new TenfoldError(`${what}: float and weightsOnly both name ${shown(both)}; take it out of one`, {
      code: "OPTION",
    });
  for (const layer of convolutions) {
    const { node, side } = layer.nodes[0]!;
    const { op, multiplications } = layer;
    const name = nameOf(node);
    if (!asked(op, name)) continue;
    const reason = float.includes(name)
      ? "it is to stay in float"
      : layer.dataType !== FLOAT
        ? "its weights are no float32"
        : side === 0
          ? "its weights stand to the left"
          : null;
    if (reason !== null) {
      inFloat.push({ name, op, weights: layer.shape.reduce((a, b) => a * b, 1), multiplications, reason });
      continue;
    }
    const alone = weightsOnly.includes(name);
    const output = op === "Conv" && !alone ? outputAfter(facts, node) : null;
    layers.push({ name, layer, node, output, weightsOnly: alone });
  }
  return { layers, inFloat, facts };
}

/** The output of a convolution, or that of the Relu or Clip that alone follows it. */
function outputAfter(facts: GraphFacts, node: NodeProto): string {
  const [output] = node.output as [string];
  const next = facts.onlyUser(output);
  const follows = next && isStandard(next) && (next.opType === "Relu" || next.opType === "Clip");
  return follows && next.input[0] === output ? next.output[0]! : output;
}

/** The values that need ranges, each once, in the order of the layers. */
export const quantisedValues = (layers: readonly Planned[]): string[] => [
  ...new Set(
    layers.flatMap(({ layer, output, weightsOnly }) =>
      weightsOnly ? [] : output === null ? [layer.input] : [layer.input, output],
    ),
  ),
];

/** Operators whose outputs hold entries of their first input. */
const PICKING = new Set(
  "MaxPool GlobalMaxPool Reshape Flatten Squeeze Unsqueeze Transpose Identity Slice Gather Split DepthToSpace SpaceToDepth Expand Tile".split(
    " ",
  ),
);

/** x to the nearest integer, ties to even, as QuantizeLinear rounds. */
export function roundHalfEven(x: number): number {
  const rounded = Math.round(x);
  return rounded - x === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/** the smallest normal float: smaller scales are 0 for processors that flush */
const TINY = 2 ** -126;

/** The scale and zero point of a range, for 256 levels from `lowest` on. 0 is one of the levels. */
export function activationScale({ min, max }: ActivationRange, lowest: number): { scale: number; zeroPoint: number } {
  const [low, high] = [Math.min(0, min), Math.max(0, max)];
  // nothing but zeros: any scale does
  const scale = high === low ? 1 : Math.fround(Math.max((high - low) / 255, TINY));
  const zeroPoint = Math.max(lowest, Math.min(lowest + 255, roundHalfEven(lowest - low / scale)));
  return { scale, zeroPoint };
}

/** How a value is stored in 8 bits: the names of its scale and zero point. */
interface Stored {
  scale: number;
  names: [string, string];
}

/** Biases lie between ±2³⁰, so that a sum of products has as much room again. */
const MOST_BIAS = 2 ** 30;

class Writer {
  private readonly edit: GraphEdit;
  private readonly facts: GraphFacts;
  private readonly stored = new Map<string, Stored>();
  /** what values are read as */
  private readonly readAs = new Map<string, string>();

  constructor(
    private readonly model: OnnxModel,
    private readonly layers: readonly Planned[],
    private readonly ranges: ReadonlyMap<string, ActivationRange>,
    private readonly type: number,
    private readonly limit: number,
    private readonly round: QuantiseOnnxOptions["round"],
  ) {
    this.edit = new GraphEdit(model);
    this.facts = this.edit.facts;
  }

  async write(): Promise<OnnxModel> {
    const { graph } = this.model;
    const outputs = new Set(graph.output.map(({ name }) => name));
    const values = this.valuesToStore();
    const made = new Set(this.layers.flatMap(({ output }) => output ?? []));
    /** the nodes that store a value, and what its maker is to call it */
    const pairs = new Map<string, { nodes: NodeProto[]; raw: string }>();
    for (const value of values) {
      // a convolution's output is read by QuantizeLinear alone, or runtimes would need it in float too
      const renamed = made.has(value) && outputs.has(value);
      pairs.set(value, this.storing(value, renamed));
    }
    const planned = new Map(this.layers.map((one) => [one.node, one]));
    const placed = new Set<string>();
    for (const node of graph.node) {
      const before: NodeProto[] = [];
      for (const name of node.input) {
        const pair = this.facts.producers.has(name) || placed.has(name) ? undefined : pairs.get(name);
        if (!pair) continue;
        placed.add(name);
        before.push(...pair.nodes);
      }
      const after = node.output.flatMap((name) => pairs.get(name)?.nodes ?? []);
      const layer = planned.get(node);
      const input = node.input.map((name) => this.readAs.get(name) ?? name);
      const output = node.output.map((name) => pairs.get(name)?.raw ?? name);
      const changed = [...input, ...output].some((name, at) => name !== [...node.input, ...node.output][at]);
      if (!layer && !changed && !after.length) continue;
      const same = changed ? copyOf(node, { input, output }) : node;
      this.edit.replace(node, [...before, ...(layer ? await this.writeLayer(layer, same) : [same]), ...after]);
    }
    const types = `int8 weights up to ${this.limit}, ${this.type === UINT8 ? "uint8" : "int8"} activations`;
    const text = [types, "int8 weights alone"].flatMap((kind, at) => {
      const names = this.layers.filter(({ weightsOnly }) => weightsOnly === (at === 1)).map(({ name }) => name);
      return names.length ? `${kind}: ${names.join(", ")}` : [];
    });
    return this.edit.finish({ key: NOTE, text: text.join("; ") });
  }

  /** The values that are stored in 8 bits, in the order of the graph; sets how each is. */
  private valuesToStore(): string[] {
    const wanted = new Set(quantisedValues(this.layers));
    const order = [
      ...this.model.graph.input.map(({ name }) => name),
      ...this.model.graph.node.flatMap(({ output }) => output),
    ];
    // values between a stored one and another that holds entries of it
    for (const value of [...wanted]) {
      const between: string[] = [];
      for (let at = value; ; ) {
        const maker = this.facts.producers.get(at);
        if (!maker || !isStandard(maker) || !PICKING.has(maker.opType)) break;
        at = maker.input[0]!;
        if (wanted.has(at)) {
          for (const name of between) wanted.add(name);
          break;
        }
        between.push(at);
      }
    }
    const values = order.filter((name) => wanted.has(name));
    for (const value of values) {
      const maker = this.facts.producers.get(value);
      const picked = maker && isStandard(maker) && PICKING.has(maker.opType) && this.stored.get(maker.input[0]!);
      this.stored.set(value, picked || this.storedBy(value));
    }
    return values;
  }

  private storedBy(value: string): Stored {
    const range = this.ranges.get(value);
    if (!range)
      throw new TenfoldError(
        `quantiseOnnx: ranges has none for ${quoted(value)}, which a quantised layer reads or makes; activationRanges of the same model gives all`,
        { code: "OPTION" },
      );
    const { min, max } = range;
    if (!(Number.isFinite(min) && Number.isFinite(max) && min <= max))
      throw new TenfoldError(
        `quantiseOnnx: the range of ${quoted(value)} is ${min} to ${max}, needs two finite numbers, the smaller one first`,
        { code: "OPTION" },
      );
    const unsigned = this.type === UINT8;
    const { scale, zeroPoint } = activationScale(range, unsigned ? 0 : -128);
    const zero = unsigned ? Uint8Array.of(zeroPoint) : Int8Array.of(zeroPoint);
    return {
      scale,
      names: [
        this.add(`${value}/scale`, FLOAT, [], Float32Array.of(scale)),
        this.add(`${value}/zero_point`, this.type, [], zero),
      ],
    };
  }

  /** The nodes that store a value in 8 bits and read it again. `renamed`: what is read takes the value's name. */
  private storing(value: string, renamed: boolean): { nodes: NodeProto[]; raw: string } {
    const { names } = this.stored.get(value)!;
    const raw = renamed ? this.edit.unique(`${value}/float`) : value;
    const quantised = this.edit.unique(`${value}/levels`);
    const read = renamed ? value : this.edit.unique(`${value}/rounded`);
    if (!renamed) this.readAs.set(value, read);
    return {
      raw,
      nodes: [
        makeNode("QuantizeLinear", "", [raw, ...names], [quantised], {}),
        makeNode("DequantizeLinear", "", [quantised, ...names], [read], {}),
      ],
    };
  }

  private async writeLayer({ name, layer, node, weightsOnly }: Planned, same: NodeProto): Promise<NodeProto[]> {
    const { weight, outputs } = layer.nodes[0]!;
    // where the product is one of floats, alpha and the bias stay what they are
    const inputScale = weightsOnly ? 1 : this.stored.get(layer.input)!.scale;
    const alpha = layer.op === "Gemm" && !weightsOnly ? floatOf(node, "alpha", 1) : 1;
    const limit = weightsOnly ? MOST : this.limit;
    const values = await floatsOf(this.model, weight.tensor);
    // the outputs of a matrix stand in its columns, unless Gemm transposes it
    const columns = layer.op === "MatMul" || (layer.op === "Gemm" && intOf(node, "transB", 0) === 0);
    const size = values.length / outputs;
    const outputOf = columns
      ? (entry: number): number => entry % outputs
      : (entry: number): number => Math.floor(entry / size);
    // the bias of a MatMul is an Add of its own
    const before = node.input[2] ? await layerBias(this.model, layer) : null;
    const scales = weightScales(values, outputOf, outputs, limit, inputScale, weightsOnly ? null : before, alpha);
    const bad = scales.findIndex((scale) => !Number.isFinite(scale));
    if (bad >= 0)
      throw new TenfoldError(
        `quantiseOnnx: ${name}: output ${bad} has weights or a bias that are not finite; name the layer in float to leave it`,
        { code: "FORMAT" },
      );
    const nearest = (value: number, entry: number): number =>
      Math.max(-limit, Math.min(limit, roundHalfEven((alpha * value) / scales[outputOf(entry)]!)));
    let levels = Int8Array.from(values, nearest);
    let shift: Float32Array | null = null;
    if (this.round) {
      const weights = columns ? transpose(values, size, outputs) : values;
      const rows = alpha === 1 ? weights : weights.map((value) => alpha * value);
      const biased = layer.op !== "MatMul";
      const output = node.output[0]!;
      const rounded = await this.round({ name, output, weights: rows, scales, limit, biased });
      if (rounded) levels = Int8Array.from(columns ? transpose(rounded.levels, outputs, size) : rounded.levels);
      if (rounded?.shift && biased) shift = rounded.shift;
    }
    const dims = weight.tensor.dims.map(Number);
    const nodes = [this.dequantised(`${name}/weight`, INT8, dims, levels, scales, columns ? 1 : 0)];
    const input = [same.input[0]!, nodes[0]!.output[0]!];
    const bias = shift ? shift.map((value, o) => value + (before?.[o] ?? 0)) : before;
    if (bias && !weightsOnly) {
      const biasScales = scales.map((scale) => Math.fround(scale * inputScale));
      const entries = Int32Array.from(bias, (value, o) => roundHalfEven(value / biasScales[o]!));
      nodes.push(this.dequantised(`${name}/bias`, INT32, [outputs], entries, biasScales, 0));
      input.push(nodes[1]!.output[0]!);
    } else if (shift) input.push(this.add(`${name}/bias`, FLOAT, [outputs], bias!));
    else if (node.input[2]) input.push(same.input[2]!);
    // alpha and beta are in the weights and the bias
    const beta = shift || !weightsOnly ? { beta: undefined } : {};
    const plain = layer.op === "Gemm" ? withAttributes(same, weightsOnly ? beta : { alpha: undefined, ...beta }) : same;
    return [...nodes, copyOf(plain, { input })];
  }

  /** A constant of integers, and the node that reads it as floats. Its zero points are 0, as they are where a node names none. */
  private dequantised(
    wanted: string,
    dataType: number,
    dims: readonly number[],
    entries: Int8Array | Int32Array,
    scales: Float32Array,
    axis: number,
  ): NodeProto {
    const input = [
      this.add(`${wanted}_${dataType === INT8 ? "int8" : "int32"}`, dataType, dims, entries),
      this.add(`${wanted}_scale`, FLOAT, [scales.length], scales),
    ];
    const output = this.edit.unique(wanted);
    return makeNode("DequantizeLinear", "", input, [output], { axis });
  }

  private add(
    wanted: string,
    dataType: number,
    dims: readonly number[],
    entries: Float32Array | Int8Array | Uint8Array | Int32Array,
  ): string {
    return this.edit.add(makeTensor(this.edit.unique(wanted), dataType, dims, encode(entries)));
  }
}

/** A scale for each output: of weights between ±limit, and such that the bias fits 31 bits. NaN or infinite where an entry is. */
export function weightScales(
  values: Float32Array,
  outputOf: (entry: number) => number,
  outputs: number,
  limit: number,
  inputScale: number,
  bias: ArrayLike<number> | null,
  alpha = 1,
): Float32Array {
  const largest = new Float64Array(outputs);
  for (let entry = 0; entry < values.length; entry++) {
    const magnitude = Math.abs(alpha * values[entry]!);
    const o = outputOf(entry);
    if (!(magnitude <= largest[o]!)) largest[o] = magnitude;
  }
  const floor = TINY / Math.min(1, inputScale);
  return Float32Array.from(largest, (magnitude, o) => {
    const forBias = bias ? Math.abs(bias[o]!) / (inputScale * MOST_BIAS) : 0;
    const scale = Math.max(magnitude / limit, forBias);
    return scale === 0 ? 1 : Math.max(scale, floor);
  });
}

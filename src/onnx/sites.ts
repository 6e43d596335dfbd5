import * as optionRules from "../gpu/optionRules.js";
import { checkOptions, type OptionRules } from "../gpu/options.js";
import { DATA_TYPES } from "./dataTypes.js";
import {
  type FoundLayer,
  findLayers,
  type LeftAlone,
  layerBias,
  layerWeights,
  nameOf,
  type OnnxGeometry,
} from "./layers.js";
import type { OnnxModel } from "./model.js";
import { intOf } from "./proto.js";
import type { KnownShapes } from "./shapes.js";

/** A layer of a model that can be factorised. */
export interface OnnxSite {
  /** the name of the (first) value that it makes, which no other site has */
  id: string;
  /** the node's name; names of several nodes are joined by `+` */
  name: string;
  /** 1×1 convolutions without groups are dense */
  kind: "dense" | "convolution" | "transposedConvolution";
  /** the operator that it is written as */
  op: "Conv" | "ConvTranspose" | "Gemm" | "MatMul";
  groups: number;
  /** outputs, inputs ÷ groups, and the kernel's extents; of dense layers outputs, inputs */
  shape: readonly number[];
  /** the type of its weights: `float32`, `float16`, `bfloat16` or `float64` */
  dtype: string;
  /** outputs of each node, where several dense layers of one input are one site: the projections to queries, keys, values */
  parts: readonly number[];
  /** the value that it reads, and those that it makes, before an `Add` of the bias */
  input: string;
  outputs: readonly string[];
  /** The axis of the input along which a layer's inputs lie: 1 for convolutions; of dense layers the last, -1, or the last but one. */
  inputAxis: 1 | -1 | -2;
  /** extents of the input and of the first output; null where unknown */
  inputShape: readonly (number | null)[] | null;
  outputShape: readonly (number | null)[] | null;
  /** of convolutions */
  geometry: OnnxGeometry | null;
  /** `multiplications` are those of one run of the model, null where a shape is unknown */
  counts: { weights: number; multiplications: number | null };
  /** Its weights as `shape` has them, row-major, f32: a transposed convolution's outputs come first, Gemm's alpha is in them. */
  weights(): Promise<Float32Array>;
  /** its bias, one an output; null without one */
  bias(): Promise<Float32Array | null>;
}

/** What of a model can be factorised, and what is left alone. */
export interface OnnxSites {
  sites: OnnxSite[];
  leftAlone: LeftAlone[];
  /** of the model: entries of all weights; multiplications of its convolutions, products and recurrent layers, null where unknown */
  totals: { weights: number; multiplications: number | null };
}

export interface OnnxSitesOptions {
  /** Shapes by name: of inputs that the model leaves open, or of any value, as a run has shown them. */
  shapes?: KnownShapes;
  /** Sites with a smaller share than this of the model's weights, and of its multiplications, are left alone. 0.005 by default. */
  smallest?: number;
  /**
   * Takes weights that are inputs of the graph as they are, false by default. Files before version 4 of the format list all
   * weights as inputs; a caller may then hand in other weights than those of the file.
   */
  fixedInputs?: boolean;
  /** Several MatMul or Gemm nodes of one input are one site, which has one first factor for all. true by default */
  join?: boolean;
}

const rules: OptionRules<OnnxSitesOptions> = {
  shapes: {
    needs: "shapes by name, as in { x: [1, 3, 224, 224] }",
    is: (value) => typeof value === "object" && !!value,
  },
  smallest: optionRules.share,
  fixedInputs: optionRules.flag,
  join: optionRules.flag,
};

/** Shares below this win nothing, and cost accuracy. */
const SMALLEST = 0.005;

/**
 * Lists the layers of a model that can be factorised, in the order of the graph: convolutions in 1, 2 and 3 dimensions, transposed
 * convolutions, Gemm, and MatMul with a constant side. It reads no weights; a site's `weights()` does.
 *
 * @throws FormatError where a tensor contradicts itself; TenfoldError where `shapes` do not fit
 */
export function onnxSites(model: OnnxModel, options: OnnxSitesOptions = {}): OnnxSites {
  checkOptions("onnxSites", options, rules);
  const { smallest = SMALLEST, ...finding } = options;
  const { layers, leftAlone, shapes, weights } = findLayers(model, finding);
  const counted = [...layers, ...leftAlone].map((one) => one.multiplications);
  const multiplications = counted.reduce<number | null>((a, b) => (a === null || b === null ? null : a + b), 0);
  const sites: OnnxSite[] = [];
  const left = [...leftAlone];
  for (const layer of layers) {
    const size = layer.shape.reduce((a, b) => a * b, 1);
    const share = layer.multiplications === null || !multiplications ? 0 : layer.multiplications / multiplications;
    const site: OnnxSite = {
      id: idOf(layer),
      name: layerName(layer),
      ...{ kind: layer.kind, op: layer.op, groups: layer.groups, shape: layer.shape },
      dtype: DATA_TYPES[layer.dataType]!.name,
      parts: layer.nodes.map(({ outputs }) => outputs),
      input: layer.input,
      outputs: layer.nodes.map(({ node }) => node.output[0]!),
      inputAxis: inputAxisOf(layer),
      inputShape: shapes.of(layer.input),
      outputShape: shapes.of(layer.nodes[0]!.node.output[0]),
      geometry: layer.geometry,
      counts: { weights: size, multiplications: layer.multiplications },
      weights: () => layerWeights(model, layer),
      bias: () => layerBias(model, layer),
    };
    if (size >= smallest * weights || share >= smallest) sites.push(site);
    else
      left.push({
        ...{ name: site.name, op: site.op, weights: size, multiplications: layer.multiplications },
        reason: `small: less than ${+(100 * smallest).toPrecision(3)} % of weights and multiplications`,
      });
  }
  return { sites, leftAlone: left, totals: { weights, multiplications } };
}

function inputAxisOf({ geometry, op, nodes: [first] }: FoundLayer): 1 | -1 | -2 {
  if (geometry) return 1;
  const { node, side } = first!;
  // a Gemm may read its value transposed, and a constant to the left multiplies columns
  const turned = op === "Gemm" && intOf(node, side === 1 ? "transA" : "transB", 0) !== 0;
  return (side === 1) === turned ? -2 : -1;
}

/** The id of a layer: the name of the first value that it makes. */
export const idOf = ({ nodes }: FoundLayer): string => nodes[0]!.node.output[0]!;

export const layerName = ({ nodes }: FoundLayer): string => nodes.map(({ node }) => nameOf(node)).join("+");

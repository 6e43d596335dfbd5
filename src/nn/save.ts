import { checkOption, type Engine, formatShape, instanceOf, TenfoldError } from "../gpu/index.js";
import { FormatError, type NumericArray, readSafetensors, writeSafetensors } from "../io/index.js";
import { Chain } from "./chain.js";
import { AveragePool2d, BatchNorm, Conv2d, Conv3d, MaxPool2d } from "./convolution.js";
import {
  BlockTermConv,
  CpConv,
  type FactorisedConv,
  SeparableBasisConv,
  SpatialConv,
  SvdLinear,
  TensorRingConv,
  TensorRingLinear,
  TensorTrainLinear,
  Tucker2Conv,
  Tucker2Conv3d,
  TuckerLinear,
} from "./factorised/index.js";
import type { Layer, Parameter } from "./layer.js";
import { assertEngine } from "./layerRules.js";
import { Dropout, Flatten, Linear, ReLU } from "./layers.js";
import { Sequential } from "./sequential.js";
import { modelRule } from "./train.js";

/** A layer in JSON: its kind, and the options that it is made from. */
type Description = { kind: string } & Record<string, unknown>;

/** A value of a file as errors show it: JSON of at most 100 characters. JSON.stringify throws where nesting overflows the stack. */
function jsonOf(value: unknown): string {
  try {
    const text = JSON.stringify(value) ?? "missing";
    return text.length > 100 ? `${text.slice(0, 100)}…` : text;
  } catch {
    return "nested too deeply";
  }
}

/** Reads the fields of a description, and checks each of them because a file may hold anything. */
class Fields {
  constructor(
    private readonly values: Record<string, unknown>,
    private readonly fail: (problem: string) => never,
    /** number of chains around the layers that these fields hold */
    private readonly depth = 0,
  ) {}

  #read<T>(name: string, is: (value: unknown) => boolean, needs: string): T {
    const value = this.values[name];
    if (!is(value)) this.fail(`${name} is ${jsonOf(value)}, needs ${needs}`);
    return value as T;
  }

  /** A whole number, 1 or more. */
  count(name: string): number {
    const is = (value: unknown): boolean => Number.isInteger(value) && (value as number) >= 1;
    return this.#read(name, is, "a whole number from 1");
  }

  counts(name: string, least = 1): number[] {
    const is = (value: unknown): boolean =>
      Array.isArray(value) && value.every((entry) => Number.isInteger(entry) && entry >= least);
    return this.#read(name, is, `a list of whole numbers from ${least}`);
  }

  pair(name: string): [number, number] {
    const extents = this.counts(name);
    if (extents.length !== 2) this.fail(`${name} has ${extents.length} entries, needs 2`);
    return extents as [number, number];
  }

  triple(name: string): [number, number, number] {
    const extents = this.counts(name);
    if (extents.length !== 3) this.fail(`${name} has ${extents.length} entries, needs 3`);
    return extents as [number, number, number];
  }

  padding(name: string, count: number): number[] | "same" {
    if (this.values[name] === "same") return "same";
    const widths = this.counts(name, 0);
    if (widths.length !== count) this.fail(`${name} has ${widths.length} entries, needs ${count}, or "same"`);
    return widths;
  }

  flag(name: string): boolean {
    return this.#read(name, (value) => typeof value === "boolean", "true or false");
  }

  rate(name: string): number {
    const is = (value: unknown): boolean => typeof value === "number" && value >= 0 && value < 1;
    return this.#read(name, is, "a number from 0 to below 1");
  }

  share(name: string): number {
    const is = (value: unknown): boolean => typeof value === "number" && value >= 0 && value <= 1;
    return this.#read(name, is, "a number from 0 to 1");
  }

  atLeastZero(name: string): number {
    const is = (value: unknown): boolean => typeof value === "number" && value >= 0;
    return this.#read(name, is, "a number, 0 or more");
  }

  text(name: string): string {
    return this.#read(name, (value) => typeof value === "string", "a text");
  }

  choice<const T extends string>(name: string, choices: readonly T[]): T {
    return this.#read(name, (value) => choices.includes(value as T), `one of ${choices.join(", ")}`);
  }

  layers(name: string): Layer[] {
    return this.#read<unknown[]>(name, Array.isArray, "a list of layers").map((layer, index) =>
      layerOf(layer, (problem) => this.fail(`layer ${index}: ${problem}`), this.depth),
    );
  }
}

/** One class of layers: its name in files, how a layer is described, and how one is built from a description. */
interface Kind<T extends Layer> {
  kind: string;
  is: (layer: Layer) => layer is T;
  describe: (layer: T, depth: number) => Record<string, unknown>;
  build: (fields: Fields) => T;
}

/** The kind of the layers whose class is exactly `Class`: a subclass of it is another kind. */
function kind<T extends Layer>(
  name: string,
  Class: abstract new (...args: never[]) => T,
  describe: (layer: T, depth: number) => Record<string, unknown>,
  build: (fields: Fields) => T,
): Kind<Layer> {
  const is = (layer: Layer): layer is T => layer.constructor === Class;
  return { kind: name, is, describe, build } as unknown as Kind<Layer>;
}

const ACTIVATIONS = ["none", "relu"] as const;

/** The fields that every factorised convolution has. */
function describeChain({ shape, convolutions }: FactorisedConv): Record<string, unknown> {
  const last = convolutions.at(-1)!;
  return { ...shape, bias: last.bias !== null, activation: last.activation };
}

const paddingOf2d = (f: Fields) => f.padding("padding", 2) as [number, number] | "same";

const outputOptions = (f: Fields) => ({ bias: f.flag("bias"), activation: f.choice("activation", ACTIVATIONS) });

const imageOptions = (f: Fields) => ({
  inputs: f.count("inputs"),
  outputs: f.count("outputs"),
  kernel: f.pair("kernel"),
  stride: f.pair("stride"),
  padding: paddingOf2d(f),
  dilation: f.pair("dilation"),
  ...outputOptions(f),
});

const volumeOptions = (f: Fields) => ({
  inputs: f.count("inputs"),
  outputs: f.count("outputs"),
  kernel: f.triple("kernel"),
  stride: f.triple("stride"),
  padding: f.padding("padding", 3) as [number, number, number] | "same",
  dilation: f.triple("dilation"),
  ...outputOptions(f),
});

const modesOptions = (f: Fields) => ({
  inputModes: f.counts("inputModes"),
  outputModes: f.counts("outputModes"),
  ranks: f.counts("ranks"),
  ...outputOptions(f),
});

/** Factorised convolutions that have one rank. */
const rankKinds = (
  [
    ["spatialConv", SpatialConv],
    ["separableBasisConv", SeparableBasisConv],
    ["cpConv", CpConv],
  ] as const
).map(([name, Class]) =>
  kind<SpatialConv | SeparableBasisConv | CpConv>(
    name,
    Class,
    (layer) => ({ ...describeChain(layer), rank: layer.rank }),
    (f) => new Class({ ...imageOptions(f), rank: f.count("rank") }),
  ),
);

/** Every layer that a file may hold. */
const KINDS: readonly Kind<Layer>[] = [
  kind(
    "linear",
    Linear,
    ({ inputs, outputs, bias, activation }) => ({ inputs, outputs, bias: bias !== null, activation }),
    (f) => new Linear(f.count("inputs"), f.count("outputs"), outputOptions(f)),
  ),
  kind(
    "relu",
    ReLU,
    () => ({}),
    () => new ReLU(),
  ),
  kind(
    "dropout",
    Dropout,
    ({ rate }) => ({ rate }),
    (f) => new Dropout(f.rate("rate")),
  ),
  kind(
    "flatten",
    Flatten,
    () => ({}),
    () => new Flatten(),
  ),
  kind(
    "conv2d",
    Conv2d,
    ({ inputs, outputs, kernel, stride, padding, dilation, groups, bias, activation }) => ({
      ...{ inputs, outputs, kernel, stride, padding, dilation, groups, bias: bias !== null, activation },
    }),
    (f) => new Conv2d({ ...imageOptions(f), groups: f.count("groups") }),
  ),
  kind(
    "conv3d",
    Conv3d,
    ({ inputs, outputs, kernel, stride, padding, dilation, bias, activation }) => ({
      ...{ inputs, outputs, kernel, stride, padding, dilation, bias: bias !== null, activation },
    }),
    (f) => new Conv3d(volumeOptions(f)),
  ),
  kind(
    "tucker2Conv3d",
    Tucker2Conv3d,
    ({ ranks, convolutions: [first, middle, last] }) => {
      const { kernel, stride, padding, dilation } = middle;
      const { outputs, activation, bias } = last;
      return {
        inputs: first.inputs,
        outputs,
        kernel,
        stride,
        padding,
        dilation,
        bias: bias !== null,
        activation,
        ranks,
      };
    },
    (f) => new Tucker2Conv3d({ ...volumeOptions(f), ranks: f.pair("ranks") }),
  ),
  kind(
    "batchNorm",
    BatchNorm,
    ({ channels, momentum, epsilon }) => ({ channels, momentum, epsilon }),
    (f) => new BatchNorm(f.count("channels"), { momentum: f.share("momentum"), epsilon: f.atLeastZero("epsilon") }),
  ),
  kind(
    "maxPool2d",
    MaxPool2d,
    ({ kernel, stride, padding }) => ({ kernel, stride, padding }),
    (f) => new MaxPool2d(f.pair("kernel"), { stride: f.pair("stride"), padding: paddingOf2d(f) }),
  ),
  kind(
    "averagePool2d",
    AveragePool2d,
    ({ kernel, stride, padding }) => ({ kernel, stride, padding }),
    (f) => new AveragePool2d(f.pair("kernel"), { stride: f.pair("stride"), padding: paddingOf2d(f) }),
  ),
  ...rankKinds,
  kind(
    "tucker2Conv",
    Tucker2Conv,
    (layer) => ({ ...describeChain(layer), ranks: layer.ranks }),
    (f) => new Tucker2Conv({ ...imageOptions(f), ranks: f.pair("ranks") }),
  ),
  kind(
    "blockTermConv",
    BlockTermConv,
    (layer) => ({ ...describeChain(layer), blocks: layer.blocks, ranks: layer.ranks }),
    (f) => new BlockTermConv({ ...imageOptions(f), blocks: f.count("blocks"), ranks: f.pair("ranks") }),
  ),
  kind(
    "tensorRingConv",
    TensorRingConv,
    ({ convolution: { inputs, outputs, kernel, stride, padding, dilation }, ...layer }) => ({
      ...{ inputs, outputs, kernel, stride, padding, dilation },
      ...{ inputModes: layer.inputModes, outputModes: layer.outputModes, ranks: layer.ranks },
      ...{ bias: layer.bias !== null, activation: layer.activation },
    }),
    (f) => new TensorRingConv({ ...imageOptions(f), ...modesOptions(f) }),
  ),
  kind(
    "tensorRingLinear",
    TensorRingLinear,
    ({ inputModes, outputModes, ranks, bias, activation }) => ({
      ...{ inputModes, outputModes, ranks, bias: bias !== null, activation },
    }),
    (f) => new TensorRingLinear(modesOptions(f)),
  ),
  kind(
    "tuckerLinear",
    TuckerLinear,
    ({ inputModes, outputModes, ranks, bias, activation }) => ({
      ...{ inputModes, outputModes, ranks, bias: bias !== null, activation },
    }),
    (f) => new TuckerLinear(modesOptions(f)),
  ),
  kind(
    "svdLinear",
    SvdLinear,
    ({ inputs, outputs, rank, last }) => ({
      inputs,
      outputs,
      rank,
      bias: last.bias !== null,
      activation: last.activation,
    }),
    (f) =>
      new SvdLinear({
        inputs: f.count("inputs"),
        outputs: f.count("outputs"),
        rank: f.count("rank"),
        ...outputOptions(f),
      }),
  ),
  kind(
    "tensorTrainLinear",
    TensorTrainLinear,
    ({ inputModes, outputModes, ranks, contraction, bias, activation }) => ({
      inputModes,
      outputModes,
      ranks: ranks.slice(1, -1),
      // sizes of groups suit one size of batch, so a file holds "auto": the loaded layer chooses groups for each batch
      contraction: typeof contraction === "string" ? contraction : "auto",
      bias: bias !== null,
      activation,
    }),
    (f) =>
      new TensorTrainLinear({ ...modesOptions(f), contraction: f.choice("contraction", ["auto", "modes", "dense"]) }),
  ),
  kind(
    "chain",
    Chain,
    ({ name, layers }, depth) => ({ name, layers: layers.map((layer) => description(layer, depth + 1)) }),
    (f) => new Chain(f.text("name"), f.layers("layers")),
  ),
];

/** Most chains around a layer. Networks have two or three; the limit keeps a file from overflowing the stack. */
const DEEPEST = 16;

function description(layer: Layer, depth = 0): Description {
  const kindOfLayer = KINDS.find(({ is }) => is(layer));
  if (!kindOfLayer) throw new TenfoldError(`saveModel: ${layer.name} is of no kind that a file can hold`);
  if (depth > DEEPEST) throw new TenfoldError(`saveModel: chains are nested deeper than ${DEEPEST}`);
  return { kind: kindOfLayer.kind, ...kindOfLayer.describe(layer, depth) };
}

function layerOf(value: unknown, fail: (problem: string) => never, depth = 0): Layer {
  if (depth > DEEPEST) fail(`chains are nested deeper than ${DEEPEST}`);
  if (typeof value !== "object" || value === null) fail(`is ${jsonOf(value)}, needs an object`);
  const { kind: name } = value as Description;
  const named = KINDS.find(({ kind }) => kind === name);
  if (!named) fail(`its kind is ${jsonOf(name)}, known are ${KINDS.map(({ kind }) => kind).join(", ")}`);
  try {
    return named.build(new Fields(value as Description, (problem) => fail(`(${name}) ${problem}`), depth + 1));
  } catch (error) {
    // a layer's constructor refuses its options with a TenfoldError; a FormatError has the name of the file already
    if (error instanceof TenfoldError && !(error instanceof FormatError)) fail(`(${name}) ${error.message}`);
    throw error;
  }
}

/** Parameters with the names that a file gives them: `0.weight`, `2.1.bias`. */
function parametersByName(layers: readonly Layer[], before = ""): [name: string, parameter: Parameter][] {
  return layers.flatMap((layer, index) =>
    layer instanceof Chain
      ? parametersByName(layer.layers, `${before}${index}.`)
      : [...layer.parameters, ...(layer.state ?? [])].map((parameter): [string, Parameter] => [
          `${before}${index}.${parameter.name}`,
          parameter,
        ]),
  );
}

/** A copy of a layer for another network. The copy starts from the present values of the layer's parameters. */
export async function cloneLayer(layer: Layer): Promise<Layer> {
  const copy = layerOf(description(layer), (problem) => {
    throw new FormatError("cloneLayer", problem);
  });
  const parameters = parametersByName([layer]);
  for (const [index, [, parameter]] of parametersByName([copy]).entries())
    parameter.start = await parameters[index]![1].read();
  return copy;
}

/**
 * The network as the bytes of a `.safetensors` file. A parameter is named `layer.parameter`, as in `0.weight`, and within a
 * chain `layer.layer.parameter`. The metadata entry `tenfold` is JSON of the samples' shape and of every layer. Other programs
 * can read the tensors.
 *
 * @throws TenfoldError where a layer is of no kind that a file can hold
 */
export async function saveModel(model: Sequential): Promise<Uint8Array> {
  checkOption("saveModel", "the model", model, modelRule);
  const layers = model.layers.map((layer) => description(layer));
  const tensors: [string, NumericArray][] = [];
  for (const [name, { shape, value }] of parametersByName(model.layers))
    tensors.push([name, { shape: [...shape], data: await value.read() }]);
  return writeSafetensors(tensors, { tenfold: JSON.stringify({ inputShape: model.inputShape, layers }) });
}

/**
 * The network of a file that {@link saveModel} wrote, ready to run and to train further.
 *
 * @param bytes the bytes of the file
 * @param name how errors call the file
 * @throws FormatError where the file is cut short, or its layers and its tensors do not fit each other
 */
export async function loadModel(engine: Engine, bytes: Uint8Array, name = "model"): Promise<Sequential> {
  assertEngine("loadModel", engine);
  checkOption("loadModel", "the file", bytes, instanceOf(Uint8Array, "its bytes in a Uint8Array"));
  const { tensors, metadata } = readSafetensors(bytes, name);
  const fail = (problem: string): never => {
    throw new FormatError(name, problem);
  };
  if (metadata.tenfold === undefined) fail("holds tensors, but no layers: its metadata has no entry tenfold");
  let contents: unknown;
  try {
    contents = JSON.parse(metadata.tenfold!);
  } catch (error) {
    fail(`its layers are no JSON (${(error as Error).message})`);
  }
  if (typeof contents !== "object" || contents === null) fail("its layers are no object");
  const fields = new Fields(contents as Record<string, unknown>, fail);
  const inputShape = fields.counts("inputShape");
  const layers = fields.layers("layers");
  const parameters = parametersByName(layers);
  for (const [tensorName, parameter] of parameters) {
    const { shape } = parameter;
    const tensor = tensors.get(tensorName);
    if (!tensor) throw new FormatError(name, `has no tensor ${tensorName}, which the layers need`);
    if (formatShape(tensor.shape) !== formatShape(shape) || !(tensor.data instanceof Float32Array))
      fail(`tensor ${tensorName} is ${formatShape(tensor.shape)}, the layers need ${formatShape(shape)} of f32`);
    const data = tensor.data as Float32Array;
    const notFinite = data.findIndex((value) => !Number.isFinite(value));
    if (notFinite >= 0) fail(`tensor ${tensorName} holds ${data[notFinite]} at ${notFinite}, needs finite numbers`);
    parameter.start = data;
  }
  const known = new Set(parameters.map(([tensorName]) => tensorName));
  for (const tensor of tensors.keys()) if (!known.has(tensor)) fail(`tensor ${tensor} belongs to no layer`);
  try {
    return await Sequential.create(engine, layers, { inputShape });
  } catch (error) {
    throw new FormatError(name, (error as Error).message, { cause: error });
  }
}

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
import { Dropout, Flatten, Linear, ReLU } from "./layers.js";
import { assertEngine } from "./options.js";
import { Sequential } from "./sequential.js";
import { modelRule } from "./train.js";

/** A layer in JSON: what it is, and what it is made from. */
type Description = { kind: string } & Record<string, unknown>;

/** A value as errors show it; one that is nested without end has no text. */
function shown(value: unknown): string {
  try {
    const text = JSON.stringify(value) ?? "missing";
    return text.length > 100 ? `${text.slice(0, 100)}…` : text;
  } catch {
    return "nested too deeply";
  }
}

/** What a description says, read with care: files may say anything. */
class Fields {
  constructor(
    private readonly values: Record<string, unknown>,
    private readonly fail: (problem: string) => never,
    /** chains around them */
    private readonly depth = 0,
  ) {}

  #read<T>(name: string, is: (value: unknown) => boolean, needs: string): T {
    const value = this.values[name];
    if (!is(value)) this.fail(`${name} is ${shown(value)}, needs ${needs}`);
    return value as T;
  }

  count(name: string, least = 1): number {
    const is = (value: unknown): boolean => Number.isInteger(value) && (value as number) >= least;
    return this.#read(name, is, `a whole number from ${least}`);
  }

  counts(name: string, least = 1): number[] {
    const is = (value: unknown): boolean =>
      Array.isArray(value) && value.every((each) => Number.isInteger(each) && each >= least);
    return this.#read(name, is, `a list of whole numbers from ${least}`);
  }

  pair(name: string, least = 1): [number, number] {
    const found = this.counts(name, least);
    if (found.length !== 2) this.fail(`${name} has ${found.length} entries, needs 2`);
    return found as [number, number];
  }

  padding(name: string, count: number): number[] | "same" {
    if (this.values[name] === "same") return "same";
    const found = this.counts(name, 0);
    if (found.length !== count) this.fail(`${name} has ${found.length} entries, needs ${count}, or "same"`);
    return found;
  }

  triple(name: string, least = 1): [number, number, number] {
    const found = this.counts(name, least);
    if (found.length !== 3) this.fail(`${name} has ${found.length} entries, needs 3`);
    return found as [number, number, number];
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

  positive(name: string): number {
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
    return this.#read<unknown[]>(name, Array.isArray, "a list of layers").map((each, index) =>
      layerOf(each, (problem) => this.fail(`layer ${index}: ${problem}`), this.depth),
    );
  }
}

interface Kind<T extends Layer> {
  kind: string;
  is: (layer: Layer) => layer is T;
  describe: (layer: T, depth: number) => Record<string, unknown>;
  build: (fields: Fields) => T;
}

/** `Class` may have subclasses that are kinds of their own. */
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

/** What all chains that stand for a convolution have. */
function describeChain({ shape, convolutions }: FactorisedConv): Record<string, unknown> {
  const last = convolutions.at(-1)!;
  return { ...shape, bias: last.bias !== null, activation: last.activation };
}

const paddingOf2d = (f: Fields) => f.padding("padding", 2) as [number, number] | "same";

const chainOptions = (f: Fields) => ({
  inputs: f.count("inputs"),
  outputs: f.count("outputs"),
  kernel: f.pair("kernel"),
  stride: f.pair("stride"),
  padding: paddingOf2d(f),
  dilation: f.pair("dilation"),
  bias: f.flag("bias"),
  activation: f.choice("activation", ACTIVATIONS),
});

const volumeOptions = (f: Fields) => ({
  inputs: f.count("inputs"),
  outputs: f.count("outputs"),
  kernel: f.triple("kernel"),
  stride: f.triple("stride"),
  padding: f.padding("padding", 3) as [number, number, number] | "same",
  dilation: f.triple("dilation"),
  bias: f.flag("bias"),
  activation: f.choice("activation", ACTIVATIONS),
});

const modesOptions = (f: Fields) => ({
  inputModes: f.counts("inputModes"),
  outputModes: f.counts("outputModes"),
  ranks: f.counts("ranks"),
  bias: f.flag("bias"),
  activation: f.choice("activation", ACTIVATIONS),
});

/** Chains of one rank. */
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
    (f) => new Class({ ...chainOptions(f), rank: f.count("rank") }),
  ),
);

/** Every layer that a file may hold. */
const KINDS: readonly Kind<Layer>[] = [
  kind(
    "linear",
    Linear,
    ({ inputs, outputs, bias, activation }) => ({ inputs, outputs, bias: bias !== null, activation }),
    (f) =>
      new Linear(f.count("inputs"), f.count("outputs"), {
        bias: f.flag("bias"),
        activation: f.choice("activation", ACTIVATIONS),
      }),
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
    (f) =>
      new Conv2d({
        inputs: f.count("inputs"),
        outputs: f.count("outputs"),
        kernel: f.pair("kernel"),
        stride: f.pair("stride"),
        padding: paddingOf2d(f),
        dilation: f.pair("dilation"),
        groups: f.count("groups"),
        bias: f.flag("bias"),
        activation: f.choice("activation", ACTIVATIONS),
      }),
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
    (f) => new BatchNorm(f.count("channels"), { momentum: f.share("momentum"), epsilon: f.positive("epsilon") }),
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
    (f) => new Tucker2Conv({ ...chainOptions(f), ranks: f.pair("ranks") }),
  ),
  kind(
    "blockTermConv",
    BlockTermConv,
    (layer) => ({ ...describeChain(layer), blocks: layer.blocks, ranks: layer.ranks }),
    (f) => new BlockTermConv({ ...chainOptions(f), blocks: f.count("blocks"), ranks: f.pair("ranks") }),
  ),
  kind(
    "tensorRingConv",
    TensorRingConv,
    ({ convolution: { inputs, outputs, kernel, stride, padding, dilation }, ...layer }) => ({
      ...{ inputs, outputs, kernel, stride, padding, dilation },
      ...{ inputModes: layer.inputModes, outputModes: layer.outputModes, ranks: layer.ranks },
      ...{ bias: layer.bias !== null, activation: layer.activation },
    }),
    (f) => new TensorRingConv({ ...chainOptions(f), ...modesOptions(f) }),
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
        bias: f.flag("bias"),
        activation: f.choice("activation", ACTIVATIONS),
      }),
  ),
  kind(
    "tensorTrainLinear",
    TensorTrainLinear,
    ({ inputModes, outputModes, ranks, contraction, bias, activation }) => ({
      inputModes,
      outputModes,
      ranks: ranks.slice(1, -1),
      // groups of one's own depend on the batch at hand: a loaded layer finds them anew
      contraction: typeof contraction === "string" ? contraction : "auto",
      bias: bias !== null,
      activation,
    }),
    (f) =>
      new TensorTrainLinear({
        inputModes: f.counts("inputModes"),
        outputModes: f.counts("outputModes"),
        ranks: f.counts("ranks"),
        contraction: f.choice("contraction", ["auto", "modes", "dense"]),
        bias: f.flag("bias"),
        activation: f.choice("activation", ACTIVATIONS),
      }),
  ),
  kind(
    "chain",
    Chain,
    ({ name, layers }, depth) => ({ name, layers: layers.map((layer) => description(layer, depth + 1)) }),
    (f) => new Chain(f.text("name"), f.layers("layers")),
  ),
];

/** Chains in chains that a file may hold: networks have two or three, and a file that says more may say any number. */
const DEEPEST = 16;

function description(layer: Layer, depth = 0): Description {
  const found = KINDS.find(({ is }) => is(layer));
  if (!found) throw new TenfoldError(`saveModel: ${layer.name} is of no kind that files know`);
  if (depth > DEEPEST) throw new TenfoldError(`saveModel: chains are nested deeper than ${DEEPEST}`);
  return { kind: found.kind, ...found.describe(layer, depth) };
}

function layerOf(value: unknown, fail: (problem: string) => never, depth = 0): Layer {
  if (depth > DEEPEST) fail(`chains are nested deeper than ${DEEPEST}`);
  if (typeof value !== "object" || value === null) fail(`is ${shown(value)}, needs an object`);
  const { kind: name } = value as Description;
  const found = KINDS.find((each) => each.kind === name);
  if (!found) fail(`its kind is ${shown(name)}, known are ${KINDS.map((each) => each.kind).join(", ")}`);
  try {
    return found.build(new Fields(value as Description, (problem) => fail(`(${name}) ${problem}`), depth + 1));
  } catch (error) {
    // what a constructor does not take; what a member of the description is, `fail` has said
    if (error instanceof TenfoldError && !(error instanceof FormatError)) fail(`(${name}) ${error.message}`);
    throw error;
  }
}

/** Parameters with the names that a file gives them: `0.weight`, `2.1.bias`. */
function named(layers: readonly Layer[], before = ""): [name: string, parameter: Parameter][] {
  return layers.flatMap((layer, index) =>
    layer instanceof Chain
      ? named(layer.layers, `${before}${index}.`)
      : [...layer.parameters, ...(layer.state ?? [])].map((parameter): [string, Parameter] => [
          `${before}${index}.${parameter.name}`,
          parameter,
        ]),
  );
}

/** A layer like this one that starts from the values it has now, for another network. */
export async function cloneLayer(layer: Layer): Promise<Layer> {
  const copy = layerOf(description(layer), (problem) => {
    throw new FormatError("cloneLayer", problem);
  });
  const parameters = named([layer]);
  for (const [index, [, place]] of named([copy]).entries()) place.start = await parameters[index]![1].read();
  return copy;
}

/**
 * The network as a `.safetensors` file: parameters named `layer.parameter` (those of a chain `layer.layer.parameter`), and
 * in the metadata `tenfold`, JSON of the samples' shape and of every layer. Other programs read the tensors as they are.
 */
export async function saveModel(model: Sequential): Promise<Uint8Array> {
  checkOption("saveModel", "the model", model, modelRule);
  const layers = model.layers.map((layer) => description(layer));
  const tensors: [string, NumericArray][] = [];
  for (const [name, { shape, value }] of named(model.layers))
    tensors.push([name, { shape: [...shape], data: (await value.read()) as Float32Array }]);
  return writeSafetensors(tensors, { tenfold: JSON.stringify({ inputShape: model.inputShape, layers }) });
}

/**
 * The network of a file that {@link saveModel} wrote, ready to run and to train on.
 *
 * @param name how errors call the file
 * @throws FormatError where the file is cut short, or says of itself what is not so
 */
export async function loadModel(engine: Engine, bytes: Uint8Array, name = "model"): Promise<Sequential> {
  assertEngine("loadModel", engine);
  checkOption("loadModel", "the file", bytes, instanceOf(Uint8Array, "its bytes in a Uint8Array"));
  const { tensors, metadata } = readSafetensors(bytes, name);
  const fail = (problem: string): never => {
    throw new FormatError(name, problem);
  };
  if (metadata.tenfold === undefined) fail("holds tensors, but no layers: its metadata has no entry tenfold");
  let said: unknown;
  try {
    said = JSON.parse(metadata.tenfold!);
  } catch (error) {
    fail(`its layers are no JSON (${(error as Error).message})`);
  }
  if (typeof said !== "object" || said === null) fail("its layers are no object");
  const fields = new Fields(said as Record<string, unknown>, fail);
  const inputShape = fields.counts("inputShape");
  const layers = fields.layers("layers");
  const parameters = named(layers);
  for (const [parameter, place] of parameters) {
    const { shape } = place;
    const found = tensors.get(parameter);
    if (!found) throw new FormatError(name, `has no tensor ${parameter}, of which the layers speak`);
    if (formatShape(found.shape) !== formatShape(shape) || !(found.data instanceof Float32Array))
      fail(`tensor ${parameter} is ${formatShape(found.shape)}, the layers need ${formatShape(shape)} of f32`);
    const data = found.data as Float32Array;
    const bad = data.findIndex((value) => !Number.isFinite(value));
    if (bad >= 0) fail(`tensor ${parameter} holds ${data[bad]} at ${bad}`);
    place.start = data;
  }
  const known = new Set(parameters.map(([parameter]) => parameter));
  for (const tensor of tensors.keys()) if (!known.has(tensor)) fail(`tensor ${tensor} belongs to no layer`);
  try {
    return await Sequential.create(engine, layers, { inputShape });
  } catch (error) {
    throw new FormatError(name, (error as Error).message, { cause: error });
  }
}

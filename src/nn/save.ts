import { checkOption, type Engine, formatShape, TenfoldError } from "../gpu/index.js";
import { checkBytes, FormatError, type NumericArray, readSafetensors, writeSafetensors } from "../io/index.js";
import { Chain } from "./chain.js";
import { Join } from "./join.js";
import { JOIN_KINDS } from "./joins.js";
import type { Layer, Parameter } from "./layer.js";
import { type Description, Fields, jsonOf } from "./layerKind.js";
import { LAYER_KINDS } from "./layerKinds.js";
import { assertEngine } from "./layerRules.js";
import { Network, type PlaceOptions } from "./network.js";
import { Sequential } from "./sequential.js";
import { modelRule } from "./train.js";

/** Most chains around a layer. Networks have two or three; the limit keeps a file from overflowing the stack. */
const DEEPEST = 16;

function description(layer: Layer | Join, depth = 0): Description {
  const kind = layer instanceof Join ? JOIN_KINDS.find(({ is }) => is(layer)) : LAYER_KINDS.find(({ is }) => is(layer));
  if (!kind) throw new TenfoldError(`saveModel: ${layer.name} is of no kind that a file can hold`);
  if (depth > DEEPEST) throw new TenfoldError(`saveModel: chains are nested deeper than ${DEEPEST}`);
  return { kind: kind.name, ...kind.optionsOf(layer as never, (inner) => description(inner, depth + 1)) };
}

/** The fields of a description within `depth` chains. */
const fieldsOf = (values: Record<string, unknown>, fail: (problem: string) => never, depth: number): Fields =>
  new Fields(values, fail, (layer, failOfLayer) => layerOf(layer, failOfLayer, depth));

const layerOf = (value: unknown, fail: (problem: string) => never, depth = 0): Layer =>
  built(LAYER_KINDS, value, fail, depth);

/** A layer, or what else is of one of these kinds, from its description. */
function built<T extends Layer | Join>(
  kinds: readonly { name: string; build(fields: Fields): T }[],
  value: unknown,
  fail: (problem: string) => never,
  depth: number,
): T {
  if (depth > DEEPEST) fail(`chains are nested deeper than ${DEEPEST}`);
  if (typeof value !== "object" || value === null) fail(`is ${jsonOf(value)}, needs an object`);
  const { kind: name } = value as Description;
  const kind = kinds.find((one) => one.name === name);
  if (!kind) fail(`its kind is ${jsonOf(name)}, known are ${kinds.map((one) => one.name).join(", ")}`);
  try {
    return kind.build(fieldsOf(value as Description, (problem) => fail(`(${name}) ${problem}`), depth + 1));
  } catch (error) {
    // a layer's constructor refuses its options with a TenfoldError; a FormatError has the name of the file already
    if (error instanceof TenfoldError && !(error instanceof FormatError)) fail(`(${name}) ${error.message}`);
    throw error;
  }
}

/** The parameters of layers, each with the name that a file gives it: `0.weight`, and within chains `2.1.bias`. */
const parametersByName = (layers: Iterable<readonly [id: string | number, layer: Layer | Join]>) =>
  [...layers].flatMap(([id, layer]): [name: string, parameter: Parameter][] =>
    layer instanceof Join ? [] : parametersOf(layer).map(([name, parameter]) => [`${id}.${name}`, parameter]),
  );

const parametersOf = (layer: Layer): [name: string, parameter: Parameter][] =>
  layer instanceof Chain
    ? parametersByName(layer.layers.entries())
    : [...layer.parameters, ...(layer.state ?? [])].map((parameter) => [parameter.name, parameter]);

const parametersOfModel = ({ places }: Network) => parametersByName(places.map(({ id, of }) => [id, of]));

/** A copy of a layer for another network. The copy starts from the present values of the layer's parameters. */
export const cloneLayer = (layer: Layer): Promise<Layer> => changedCopy(layer, {});

/** A copy of a layer with other options, which starts from the present values of the parameters that both have. */
export async function changedCopy(layer: Layer, changes: Record<string, unknown>): Promise<Layer> {
  const copy = layerOf({ ...description(layer), ...changes }, copyFails);
  const parameters = new Map(parametersOf(layer));
  for (const [name, parameter] of parametersOf(copy)) {
    const source = parameters.get(name);
    if (source) parameter.start = await source.read();
  }
  return copy;
}

/** A copy of a join for another network. */
export const cloneJoin = (join: Join): Join => built(JOIN_KINDS, description(join), copyFails, 0);

const copyFails = (problem: string): never => {
  throw new FormatError("cloneLayer", problem);
};

/**
 * The network as the bytes of a `.safetensors` file. A parameter is named `place.parameter`, as in `0.weight`, and within a
 * chain `place.layer.parameter`. The metadata entry `tenfold` is JSON of the samples' shape and of every layer, or of every place
 * with what it reads. Other programs can read the tensors.
 *
 * @throws TenfoldError where a layer is of no kind that a file can hold, or two parameters would have the same name
 */
export async function saveModel(model: Network): Promise<Uint8Array> {
  checkOption("saveModel", "the model", model, modelRule);
  const { inputShape, places, layers, output } = model;
  const contents =
    model instanceof Sequential
      ? { inputShape, layers: layers.map((layer) => description(layer)) }
      : { inputShape, output, places: places.map(({ id, of, from }) => ({ id, from, of: description(of) })) };
  const tensors = new Map<string, NumericArray>();
  for (const [name, { shape, value }] of parametersOfModel(model)) {
    if (tensors.has(name)) throw new TenfoldError(`saveModel: two parameters are called ${name}; rename a place`);
    tensors.set(name, { shape: [...shape], data: await value.read() });
  }
  return writeSafetensors([...tensors], { tenfold: JSON.stringify(contents) });
}

/**
 * The network of layers in a row of a file that {@link saveModel} wrote, ready to run and to train further.
 *
 * @param bytes the bytes of the file
 * @param name how errors call the file
 * @throws FormatError where the file is cut short, its layers and its tensors do not fit each other, or its network is a graph
 */
export async function loadModel(engine: Engine, bytes: Uint8Array, name = "model"): Promise<Sequential> {
  const read = opened("loadModel", engine, bytes, name);
  const { fields, inputShape, fail } = read;
  if (fields.has("places")) fail("its network is a graph, which loadNetwork loads");
  const layers = fields.layers("layers");
  takeValues(read, parametersByName(layers.entries()));
  return madeFrom(name, () => Sequential.create(engine, layers, { inputShape }));
}

/**
 * The network of a file that {@link saveModel} wrote, of layers in a row or a graph, ready to run and to train further.
 *
 * @param bytes the bytes of the file
 * @param name how errors call the file
 * @throws FormatError where the file is cut short, or its places and its tensors do not fit each other
 */
export async function loadNetwork(engine: Engine, bytes: Uint8Array, name = "model"): Promise<Network> {
  const read = opened("loadNetwork", engine, bytes, name);
  const { fields, inputShape, fail } = read;
  if (!fields.has("places")) return loadModel(engine, bytes, name);
  const places = fields.list("places").map((value, index) => {
    const failOfPlace = (problem: string): never => fail(`place ${index}: ${problem}`);
    if (typeof value !== "object" || value === null) failOfPlace(`is ${jsonOf(value)}, needs an object`);
    const place = fieldsOf(value as Record<string, unknown>, failOfPlace, 0);
    const of = (value as { of?: Description }).of;
    const kinds: readonly { name: string; build(fields: Fields): Layer | Join }[] = [...LAYER_KINDS, ...JOIN_KINDS];
    return { id: place.text("id"), from: place.texts("from"), of: built(kinds, of, failOfPlace, 0) };
  });
  const output = fields.text("output");
  takeValues(read, parametersByName(places.map(({ id, of }) => [id, of])));
  return madeFrom(name, () => Network.create(engine, places satisfies PlaceOptions[], { inputShape, output }));
}

/** A file's tensors and what its metadata tell. */
interface Opened {
  name: string;
  tensors: ReturnType<typeof readSafetensors>["tensors"];
  fields: Fields;
  inputShape: number[];
  fail(problem: string): never;
}

function opened(operation: string, engine: Engine, bytes: Uint8Array, name: string): Opened {
  assertEngine(operation, engine);
  checkBytes(operation, bytes, 2);
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
  const fields = fieldsOf(contents as Record<string, unknown>, fail, 0);
  return { name, tensors, fields, inputShape: fields.counts("inputShape"), fail };
}

/** Gives parameters the values of a file's tensors. @throws FormatError where they do not fit each other */
function takeValues({ name, tensors, fail }: Opened, parameters: readonly [string, Parameter][]): void {
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
}

async function madeFrom<T>(name: string, create: () => Promise<T>): Promise<T> {
  try {
    return await create();
  } catch (error) {
    throw new FormatError(name, (error as Error).message, { cause: error });
  }
}

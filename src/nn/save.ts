import { checkOption, type Engine, formatShape, instanceOf, TenfoldError } from "../gpu/index.js";
import { FormatError, type NumericArray, readSafetensors, writeSafetensors } from "../io/index.js";
import { Chain } from "./chain.js";
import type { Layer, Parameter } from "./layer.js";
import { type Description, Fields, jsonOf } from "./layerKind.js";
import { LAYER_KINDS } from "./layerKinds.js";
import { assertEngine } from "./layerRules.js";
import { Sequential } from "./sequential.js";
import { modelRule } from "./train.js";

/** Most chains around a layer. Networks have two or three; the limit keeps a file from overflowing the stack. */
const DEEPEST = 16;

function description(layer: Layer, depth = 0): Description {
  const kind = LAYER_KINDS.find(({ is }) => is(layer));
  if (!kind) throw new TenfoldError(`saveModel: ${layer.name} is of no kind that a file can hold`);
  if (depth > DEEPEST) throw new TenfoldError(`saveModel: chains are nested deeper than ${DEEPEST}`);
  return { kind: kind.name, ...kind.optionsOf(layer, (inner) => description(inner, depth + 1)) };
}

/** The fields of a description within `depth` chains. */
const fieldsOf = (values: Record<string, unknown>, fail: (problem: string) => never, depth: number): Fields =>
  new Fields(values, fail, (layer, failOfLayer) => layerOf(layer, failOfLayer, depth));

function layerOf(value: unknown, fail: (problem: string) => never, depth = 0): Layer {
  if (depth > DEEPEST) fail(`chains are nested deeper than ${DEEPEST}`);
  if (typeof value !== "object" || value === null) fail(`is ${jsonOf(value)}, needs an object`);
  const { kind: name } = value as Description;
  const kind = LAYER_KINDS.find((one) => one.name === name);
  if (!kind) fail(`its kind is ${jsonOf(name)}, known are ${LAYER_KINDS.map((one) => one.name).join(", ")}`);
  try {
    return kind.build(fieldsOf(value as Description, (problem) => fail(`(${name}) ${problem}`), depth + 1));
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
  const fields = fieldsOf(contents as Record<string, unknown>, fail, 0);
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

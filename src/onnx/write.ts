import { TenfoldError } from "../errors.js";
import * as optionRules from "../gpu/optionRules.js";
import { checkOptions, type OptionRules, required } from "../gpu/options.js";
import { DATA_TYPES } from "./dataTypes.js";
import { OnnxModel } from "./model.js";
import { copyOf, isExternal, makeExternal, serialiseModel, type TensorProto } from "./proto.js";
import { MOST_BYTES } from "./read.js";
import { extentsOf, externalBytes } from "./tensors.js";

/**
 * The bytes of a model's file. A model that was read and not changed gives the bytes that it was read from; in a changed one
 * everything else stays, also what is not known here. Weights in external files stay where they are.
 *
 * @throws TenfoldError (LIMITS) beyond 2 GiB, with `splitOnnx` as the way out
 */
export function writeOnnx(model: OnnxModel): Uint8Array {
  if (model.source) return model.source;
  const weights = model.graph.initializer.reduce((sum, { rawData }) => sum + rawData.length, 0);
  if (weights > MOST_BYTES)
    throw new TenfoldError(
      `writeOnnx: ${model.file} has ${weights} bytes of weights, more than the 2 GiB of a protobuf; splitOnnx puts them into a file beside the model`,
      { code: "LIMITS" },
    );
  return serialiseModel(model.proto);
}

export interface SplitOnnxOptions {
  /** the name of the file of weights, which must lie in the model's folder: `model.onnx.data` */
  location: string;
  /** weights of fewer bytes stay in the model, 1024 by default */
  smallest?: number;
}

const splitRules: OptionRules<SplitOnnxOptions> = {
  location: required(optionRules.text),
  smallest: optionRules.count,
};

/** A model and a file of its weights beside it. */
export interface SplitOnnx {
  /** the bytes of the model's file */
  model: Uint8Array;
  /** the content of the file of weights, in pieces, one after the other; the bytes of one tensor are in memory at a time */
  data: AsyncIterable<Uint8Array>;
  /** how long `data` is */
  bytes: number;
}

/** Where tensors begin in a file of weights: pages, so that they can be mapped into memory. */
const ALIGNMENT = 4096;

/**
 * Writes a model as two files: the graph, and the weights of its main graph. That is how models beyond 2 GiB are written. Weights
 * that lie in external files now are copied, without what nothing refers to any more.
 *
 * @throws FormatError where a tensor contradicts itself
 */
export function splitOnnx(model: OnnxModel, options: SplitOnnxOptions): SplitOnnx {
  checkOptions("splitOnnx", options, splitRules);
  const { location, smallest = 1024 } = options;
  const moved: { tensor: TensorProto; offset: number; length: number }[] = [];
  let end = 0;
  const initializer = model.graph.initializer.map((tensor) => {
    const width = DATA_TYPES[tensor.dataType]?.bytes;
    const length = isExternal(tensor)
      ? (width ?? Number.NaN) * extentsOf(model.file, tensor).reduce((a, b) => a * b, 1)
      : tensor.rawData.length;
    // weights in typed fields and of types of a few bits stay as they are
    if (!(length >= (isExternal(tensor) ? 0 : Math.max(1, smallest)))) return tensor;
    const offset = Math.ceil(end / ALIGNMENT) * ALIGNMENT;
    end = offset + length;
    moved.push({ tensor, offset, length });
    return makeExternal(tensor, location, offset, length);
  });
  const graph = copyOf(model.graph, { initializer });
  const bytes = writeOnnx(new OnnxModel(model.file, copyOf(model.proto, { graph }), model.external, null));
  async function* data(): AsyncGenerator<Uint8Array> {
    let at = 0;
    for (const { tensor, offset, length } of moved) {
      if (offset > at) yield new Uint8Array(offset - at);
      yield isExternal(tensor) ? await externalBytes(model, tensor, length) : tensor.rawData;
      at = offset + length;
    }
  }
  return { model: bytes, data: { [Symbol.asyncIterator]: data }, bytes: end };
}

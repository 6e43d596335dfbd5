import * as optionRules from "../gpu/optionRules.js";
import { checkOptions, type OptionRules } from "../gpu/options.js";
import { checkBytes, FormatError, UnsupportedError } from "../io/errors.js";
import { type ExternalData, OnnxModel } from "./model.js";
import { type ModelProto, parseModel } from "./proto.js";

export interface ReadOnnxOptions {
  /** the file's name, for messages; `model.onnx` by default */
  file?: string;
  /** reads bytes of the files in which the model keeps its weights; `externalFiles` of `tenfold/node` gives one for a folder */
  external?: ExternalData;
}

const rules: OptionRules<ReadOnnxOptions> = { file: optionRules.text, external: optionRules.callback };

/** protobuf ends at 2 GiB */
export const MOST_BYTES = 2 ** 31 - 1;

/**
 * Reads an ONNX model. Weights are views of `bytes`, and those in external files are read when somebody asks for them.
 *
 * @param bytes the file; it must not change afterwards
 * @throws FormatError where the bytes are no ONNX model; UnsupportedError where there are more than 2 GiB of them
 */
export function readOnnx(bytes: Uint8Array, options: ReadOnnxOptions = {}): OnnxModel {
  checkOptions("readOnnx", options, rules);
  const { file = "model.onnx", external = null } = options;
  checkBytes("readOnnx", bytes);
  if (bytes.length > MOST_BYTES)
    throw new UnsupportedError(
      file,
      "is larger than 2 GiB, where protobuf ends; save the model with external data, which is read by parts",
    );
  let proto: ModelProto;
  try {
    proto = parseModel(bytes);
  } catch (error) {
    throw new FormatError(file, `is no ONNX model, or is cut off (${(error as Error).message})`, { cause: error });
  }
  check(file, proto);
  return new OnnxModel(file, proto, external, bytes);
}

/** What a model lacks that is cut off at the end of a field, and what nobody could make sense of. */
function check(file: string, { graph, irVersion, opsetImport }: ModelProto): void {
  const fail = (problem: string): never => {
    throw new FormatError(file, problem);
  };
  if (!graph) fail("is no ONNX model: it has no graph");
  // IR 1 and 2 had no list of operator sets
  if (!opsetImport.length && irVersion >= 3n) fail("has no version of its operators; it may be cut off");
  if (!graph!.node.length && !graph!.output.length) fail("has neither nodes nor outputs; it may be cut off");
  const produced = new Map<string, string>();
  for (const node of graph!.node)
    for (const output of node.output) {
      if (!output) continue;
      if (produced.has(output))
        fail(`two nodes make ${JSON.stringify(output)}: ${produced.get(output)}, ${node.opType}`);
      produced.set(output, node.opType);
    }
}

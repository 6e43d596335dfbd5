import { TenfoldError } from "../errors.js";
import { DATA_TYPES } from "./dataTypes.js";
import { OnnxModel } from "./model.js";
import { copyOf, isExternal, makeOpenInfo, type NodeProto, subgraphsOf, type ValueInfoProto } from "./proto.js";
import { extentsOf, externalBytes } from "./tensors.js";

/** A value of the main graph, and its element type by its number in TensorProto.DataType; 0 for an output whose type the runtime shall infer. */
export interface TypedValue {
  name: string;
  dataType: number;
}

/** All names that a node reads, those inside of its graphs included. */
export function namesRead(node: NodeProto): string[] {
  const inside = subgraphsOf(node).flatMap((graph) => [
    ...graph.node.flatMap(namesRead),
    ...graph.output.map(({ name }) => name),
  ]);
  return [...node.input, ...inside].filter(Boolean);
}

/**
 * The part of a model between some values and others: a runtime computes the whole graph, whichever outputs it is asked for.
 *
 * @param outputs what the part gives
 * @param inputs where it begins, as far as it needs them; the model's inputs by default
 */
export function cutOnnx(
  model: OnnxModel,
  outputs: readonly TypedValue[],
  inputs: readonly TypedValue[] = [],
): OnnxModel {
  const { graph, proto, file, external } = model;
  const start = new Set(inputs.map(({ name }) => name));
  const needed = new Set(outputs.map(({ name }) => name).filter((name) => !start.has(name)));
  const read = new Set<string>();
  const node: NodeProto[] = [];
  for (let at = graph.node.length - 1; at >= 0; at--) {
    const one = graph.node[at]!;
    if (!one.output.some((name) => needed.has(name))) continue;
    node.unshift(one);
    for (const name of namesRead(one)) {
      read.add(name);
      if (!start.has(name)) needed.add(name);
    }
  }
  const declared = new Map(graph.output.map((info) => [info.name, info]));
  const infoOf = ({ name, dataType }: TypedValue): ValueInfoProto => declared.get(name) ?? makeOpenInfo(name, dataType);
  const made = new Set(node.flatMap(({ output }) => output));
  const missing = outputs.find(({ name }) => !made.has(name));
  if (missing) throw new TenfoldError(`cutOnnx: no node of ${file} makes ${JSON.stringify(missing.name)}`);
  const part = copyOf(graph, {
    node,
    input: [
      ...graph.input.filter(({ name }) => needed.has(name)),
      ...inputs.filter(({ name }) => read.has(name)).map(infoOf),
    ],
    output: outputs.map(infoOf),
    initializer: graph.initializer.filter(({ name }) => needed.has(name)),
    // shapes are inferred again; those of values that are not there would be refused
    valueInfo: graph.valueInfo.filter(({ name }) => made.has(name) && !declared.has(name)),
    quantizationAnnotation: [],
  });
  return new OnnxModel(file, copyOf(proto, { graph: part }), external, null);
}

/** The same model with the weights of external files in it, for a runtime that gets bytes alone. */
export async function inlineExternal(model: OnnxModel): Promise<OnnxModel> {
  const { graph, proto, file } = model;
  if (!graph.initializer.some(isExternal)) return model;
  const initializer = await Promise.all(
    graph.initializer.map(async (tensor) => {
      if (!isExternal(tensor)) return tensor;
      const size = extentsOf(file, tensor).reduce((a, b) => a * b, DATA_TYPES[tensor.dataType]?.bytes ?? 0);
      const rawData = await externalBytes(model, tensor, size);
      return copyOf(tensor, { rawData, externalData: [], dataLocation: 0 });
    }),
  );
  return new OnnxModel(file, copyOf(proto, { graph: copyOf(graph, { initializer }) }), null, null);
}

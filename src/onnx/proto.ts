/** The messages of an ONNX file (onnx.proto, https://github.com/onnx/onnx), as far as they are looked at here. */
import { Codec } from "./codec.js";
import { FLOAT as FLOAT_TYPE, INT64 as INT64_TYPE } from "./dataTypes.js";

export interface Entry {
  key: string;
  value: string;
}

/** A member of which one case is set. */
type OneOf<Cases> =
  | { [K in keyof Cases]: { case: K; value: Cases[K] } }[keyof Cases]
  | { case: undefined; value?: undefined };

export interface Dimension {
  value: OneOf<{ dimValue: bigint; dimParam: string }>;
}

export interface TensorProto {
  dims: bigint[];
  dataType: number;
  floatData: number[];
  int32Data: number[];
  int64Data: bigint[];
  name: string;
  rawData: Uint8Array;
  doubleData: number[];
  externalData: Entry[];
  dataLocation: number;
}

export interface AttributeProto {
  name: string;
  type: number;
  f: number;
  i: bigint;
  s: Uint8Array;
  t?: TensorProto;
  g?: GraphProto;
  floats: number[];
  ints: bigint[];
  graphs: GraphProto[];
}

export interface NodeProto {
  input: string[];
  output: string[];
  name: string;
  opType: string;
  domain: string;
  attribute: AttributeProto[];
}

export interface ValueInfoProto {
  name: string;
  type?: { value: OneOf<{ tensorType: { elemType: number; shape?: { dim: Dimension[] } } }> };
}

export interface GraphProto {
  node: NodeProto[];
  name: string;
  initializer: TensorProto[];
  sparseInitializer: { values?: TensorProto }[];
  input: ValueInfoProto[];
  output: ValueInfoProto[];
  valueInfo: ValueInfoProto[];
  quantizationAnnotation: { tensorName: string }[];
}

export interface ModelProto {
  irVersion: bigint;
  producerName: string;
  producerVersion: string;
  graph?: GraphProto;
  opsetImport: { domain: string; version: bigint }[];
  metadataProps: Entry[];
  trainingInfo: {
    initialization?: GraphProto;
    algorithm?: GraphProto;
    initializationBinding: Entry[];
    updateBinding: Entry[];
  }[];
  functions: { name: string }[];
}

interface Messages {
  Model: ModelProto;
  Graph: GraphProto;
  Node: NodeProto;
  Attribute: AttributeProto;
  Tensor: TensorProto;
  ValueInfo: ValueInfoProto;
  Entry: Entry;
  Dimension: Dimension;
  Shape: { dim: Dimension[] };
  TensorType: { elemType: number; shape?: { dim: Dimension[] } };
  Type: NonNullable<ValueInfoProto["type"]>;
}

/** What is not listed stays as it is, such as documentation. */
const codec = new Codec({
  Model: `irVersion 1 int64, producerName 2 string, producerVersion 3 string, graph 7 Graph, opsetImport 8 Opset*,
    metadataProps 14 Entry*, trainingInfo 20 Training*, functions 25 Function*`,
  Graph: `node 1 Node*, name 2 string, initializer 5 Tensor*, input 11 ValueInfo*, output 12 ValueInfo*, valueInfo 13 ValueInfo*,
    quantizationAnnotation 14 Annotation*, sparseInitializer 15 SparseTensor*`,
  Node: "input 1 string*, output 2 string*, name 3 string, opType 4 string, attribute 5 Attribute*, domain 7 string",
  Attribute: `name 1 string, f 2 float, i 3 int64, s 4 bytes, t 5 Tensor, g 6 Graph, floats 7 float*, ints 8 int64*,
    graphs 11 Graph*, type 20 int32`,
  Tensor: `dims 1 int64*, dataType 2 int32, floatData 4 float*packed, int32Data 5 int32*packed, int64Data 7 int64*packed,
    name 8 string, rawData 9 bytes, doubleData 10 double*packed, externalData 13 Entry*, dataLocation 14 int32`,
  SparseTensor: "values 1 Tensor",
  ValueInfo: "name 1 string, type 2 Type",
  Type: "tensorType 1 TensorType value",
  TensorType: "elemType 1 int32, shape 2 Shape",
  Shape: "dim 1 Dimension*",
  Dimension: "dimValue 1 int64 value, dimParam 2 string value",
  Annotation: "tensorName 1 string",
  Entry: "key 1 string, value 2 string",
  Opset: "domain 1 string, version 2 int64",
  Function: "name 1 string",
  Training: "initialization 1 Graph, algorithm 2 Graph, initializationBinding 3 Entry*, updateBinding 4 Entry*",
});

/**
 * Parses a model. Bytes of weights are views of `bytes`.
 *
 * @throws TenfoldError where the bytes are no message
 */
export const parseModel = (bytes: Uint8Array): ModelProto => codec.read("Model", bytes) as unknown as ModelProto;
export const serialiseModel = (model: ModelProto): Uint8Array => codec.write("Model", model);

/** A message with the same fields; lists and messages inside are shared. Which fields are set, and unknown ones, stay. */
export function copyOf<T extends object>(message: T, changes: Partial<T> = {}): T {
  return Object.assign(Object.create(Object.getPrototypeOf(message)), message, changes);
}

/** A new message with these fields, all others unset. */
const make = <T extends keyof Messages>(type: T, fields: Partial<Messages[T]>): Messages[T] =>
  codec.make(type, fields) as unknown as Messages[T];

const text = new TextDecoder();
const utf8 = new TextEncoder();

// ---- attributes

const attribute = (node: NodeProto, name: string): AttributeProto | undefined =>
  node.attribute.find((one) => one.name === name);

/** An integer attribute; `otherwise` where the node lacks it. */
export const intOf = (node: NodeProto, name: string, otherwise: number): number => {
  const entry = attribute(node, name);
  return entry ? Number(entry.i) : otherwise;
};
export const floatOf = (node: NodeProto, name: string, otherwise: number): number =>
  attribute(node, name)?.f ?? otherwise;
/** A number, or null where the node lacks it. */
export const maybeFloatOf = (node: NodeProto, name: string): number | null => attribute(node, name)?.f ?? null;
/** A list of integers, or null where the node lacks it. */
export const intsOf = (node: NodeProto, name: string): number[] | null =>
  attribute(node, name)?.ints.map(Number) ?? null;
export const stringOf = (node: NodeProto, name: string, otherwise: string): string => {
  const entry = attribute(node, name);
  return entry ? text.decode(entry.s) : otherwise;
};
/** The tensor of a `Constant` node, also where it has numbers instead; null for strings and sparse tensors. */
export function constantOf(node: NodeProto): TensorProto | null {
  const [value] = node.attribute;
  switch (value?.name) {
    case "value":
      return value.t ?? null;
    case "value_float":
      return make("Tensor", { dataType: FLOAT_TYPE, floatData: [value.f] });
    case "value_floats":
      return make("Tensor", {
        dataType: FLOAT_TYPE,
        dims: [BigInt(value.floats.length)],
        floatData: value.floats,
      });
    case "value_int":
      return make("Tensor", { dataType: INT64_TYPE, int64Data: [value.i] });
    case "value_ints":
      return make("Tensor", {
        dataType: INT64_TYPE,
        dims: [BigInt(value.ints.length)],
        int64Data: value.ints,
      });
    default:
      return null;
  }
}

/** The graphs inside a node: the branches of `If`, the bodies of `Loop` and `Scan`. */
export const subgraphsOf = (node: NodeProto): GraphProto[] =>
  node.attribute.flatMap(({ g, graphs }) => (g ? [g, ...graphs] : graphs));

/** The node with the graphs inside it changed. */
export const withSubgraphs = (node: NodeProto, change: (graph: GraphProto) => GraphProto): NodeProto =>
  subgraphsOf(node).length
    ? copyOf(node, {
        attribute: node.attribute.map((one) =>
          one.g || one.graphs.length
            ? copyOf(one, { ...(one.g && { g: change(one.g) }), graphs: one.graphs.map(change) })
            : one,
        ),
      })
    : node;

/** AttributeProto.AttributeType */
const [FLOAT, INT, STRING, INTS] = [1, 2, 3, 7];
/** TensorProto.DataLocation */
const EXTERNAL = 1;

function makeAttribute(name: string, value: number | readonly number[] | string | { float: number }): AttributeProto {
  if (typeof value === "number") return make("Attribute", { name, type: INT, i: BigInt(value) });
  if (typeof value === "string") return make("Attribute", { name, type: STRING, s: utf8.encode(value) });
  if ("float" in value) return make("Attribute", { name, type: FLOAT, f: value.float });
  return make("Attribute", { name, type: INTS, ints: value.map(BigInt) });
}

/** Values of attributes; those that are undefined are left out. */
export type Attributes = Readonly<Record<string, Parameters<typeof makeAttribute>[1] | undefined>>;

const attributesFrom = (values: Attributes): AttributeProto[] =>
  Object.entries(values).flatMap(([name, value]) => (value === undefined ? [] : [makeAttribute(name, value)]));

/** A copy of a node with some attributes set, or left out where undefined. */
export const withAttributes = (node: NodeProto, values: Attributes): NodeProto =>
  copyOf(node, {
    attribute: [...node.attribute.filter(({ name }) => !Object.hasOwn(values, name)), ...attributesFrom(values)],
  });

// ---- new messages

export const makeNode = (
  opType: string,
  name: string,
  input: string[],
  output: string[],
  attributes: Attributes,
): NodeProto => make("Node", { opType, name, input, output, attribute: attributesFrom(attributes) });

/** A tensor whose bytes lie in the file, little-endian. */
export const makeTensor = (name: string, dataType: number, dims: readonly number[], rawData: Uint8Array): TensorProto =>
  make("Tensor", { name, dataType, dims: dims.map(BigInt), rawData: rawData });

/** The same tensor, its bytes in another file. */
export function makeExternal(tensor: TensorProto, location: string, offset: number, length: number): TensorProto {
  const moved: Partial<TensorProto> = copyOf(tensor, {
    dataLocation: EXTERNAL,
    externalData: [makeEntry("location", location), makeEntry("offset", `${offset}`), makeEntry("length", `${length}`)],
  });
  delete moved.rawData;
  return moved as TensorProto;
}

export const isExternal = (tensor: TensorProto): boolean => tensor.dataLocation === EXTERNAL;

export const makeEntry = (key: string, value: string): Entry => make("Entry", { key, value });

export const makeDimension = (extent: number | null): Dimension =>
  make("Dimension", extent === null ? {} : { value: { case: "dimValue", value: BigInt(extent) } });

export const makeValueInfo = (name: string, elemType: number, dim: Dimension[]): ValueInfoProto =>
  make("ValueInfo", {
    name,
    type: make("Type", {
      value: {
        case: "tensorType",
        value: make("TensorType", { elemType, shape: make("Shape", { dim }) }),
      },
    }),
  });

/** A model of one graph, for operator set `opset`. */
export const makeModel = (
  name: string,
  opset: number,
  { node, input, output }: Pick<GraphProto, "node" | "input" | "output">,
): ModelProto =>
  make("Model", {
    irVersion: 7n,
    producerName: "tenfold",
    graph: make("Graph", { name, node, input, output }),
    opsetImport: [codec.make("Opset", { domain: "", version: BigInt(opset) }) as ModelProto["opsetImport"][number]],
  });

/** A value of which only the element type is told, or with 0 only the name. */
export const makeOpenInfo = (name: string, elemType: number): ValueInfoProto =>
  make("ValueInfo", {
    name,
    ...(elemType && { type: make("Type", { value: { case: "tensorType", value: make("TensorType", { elemType }) } }) }),
  });

/** The dimensions that a value is declared with; null where none are. */
export function dimensionsOf(info: ValueInfoProto | undefined): Dimension[] | null {
  const type = info?.type?.value;
  return type?.case === "tensorType" ? (type.value.shape?.dim ?? null) : null;
}

/** The element type that a value is declared with, or 0. */
export function elementTypeOf(info: ValueInfoProto | undefined): number {
  const type = info?.type?.value;
  return type?.case === "tensorType" ? type.value.elemType : 0;
}

/** An extent; its name where it is symbolic; null where nothing is known. Exporters write -1 for what they do not know. */
export function extentOf({ value }: Dimension): number | string | null {
  if (value.case === "dimParam") return value.value || null;
  return value.case === "dimValue" && value.value >= 0n && value.value <= BigInt(Number.MAX_SAFE_INTEGER)
    ? Number(value.value)
    : null;
}

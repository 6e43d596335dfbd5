/** The messages of an ONNX file, as onnx-buf declares them. No other file imports onnx-buf. */
import { create, type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import {
  type AttributeProto,
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  type GraphProto,
  type ModelProto,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  StringStringEntryProtoSchema,
  type TensorProto,
  TensorProto_DataLocation,
  TensorProtoSchema,
  type TensorShapeProto_Dimension,
  TensorShapeProto_DimensionSchema,
  TensorShapeProtoSchema,
  TypeProto_TensorSchema,
  TypeProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from "onnx-buf";

import { FLOAT as FLOAT_TYPE, INT64 as INT64_TYPE } from "./dataTypes.js";

export type { AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto };
export type Dimension = TensorShapeProto_Dimension;

/** Parses a model. Bytes of weights are views of `bytes`; fields that the schema does not know are kept. */
export const parseModel = (bytes: Uint8Array): ModelProto => fromBinary(ModelProtoSchema, bytes);
export const serialiseModel = (model: ModelProto): Uint8Array => toBinary(ModelProtoSchema, model);

/** A message with the same fields; lists and messages inside are shared. Which fields are set, and unknown ones, stay. */
export function copyOf<T extends object>(message: T, changes: Partial<T> = {}): T {
  return Object.assign(Object.create(Object.getPrototypeOf(message)), message, changes);
}

/** A new message with these fields, all others unset. */
const make = <D extends DescMessage>(schema: D, fields: Partial<MessageShape<D>>): MessageShape<D> =>
  Object.assign(create(schema), fields);

const text = new TextDecoder();
const utf8 = new TextEncoder();

// ---- attributes

const attribute = (node: NodeProto, name: string): AttributeProto | undefined =>
  node.attribute.find((one) => one.name === name);

/** An integer attribute; `otherwise` where the node lacks it. */
export const intOf = (node: NodeProto, name: string, otherwise: number): number => {
  const found = attribute(node, name);
  return found ? Number(found.i) : otherwise;
};
export const floatOf = (node: NodeProto, name: string, otherwise: number): number =>
  attribute(node, name)?.f ?? otherwise;
/** A list of integers, or null where the node lacks it. */
export const intsOf = (node: NodeProto, name: string): number[] | null =>
  attribute(node, name)?.ints.map(Number) ?? null;
export const stringOf = (node: NodeProto, name: string, otherwise: string): string => {
  const found = attribute(node, name);
  return found ? text.decode(found.s) : otherwise;
};
/** The tensor of a `Constant` node, also where it has numbers instead; null for strings and sparse tensors. */
export function constantOf(node: NodeProto): TensorProto | null {
  const [value] = node.attribute;
  switch (value?.name) {
    case "value":
      return value.t ?? null;
    case "value_float":
      return make(TensorProtoSchema, { dataType: FLOAT_TYPE, floatData: [value.f] });
    case "value_floats":
      return make(TensorProtoSchema, {
        dataType: FLOAT_TYPE,
        dims: [BigInt(value.floats.length)],
        floatData: value.floats,
      });
    case "value_int":
      return make(TensorProtoSchema, { dataType: INT64_TYPE, int64Data: [value.i] });
    case "value_ints":
      return make(TensorProtoSchema, {
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

const { INT, INTS, FLOAT, STRING } = AttributeProto_AttributeType;
function makeAttribute(name: string, value: number | readonly number[] | string | { float: number }): AttributeProto {
  if (typeof value === "number") return make(AttributeProtoSchema, { name, type: INT, i: BigInt(value) });
  if (typeof value === "string")
    return make(AttributeProtoSchema, { name, type: STRING, s: utf8.encode(value) as Uint8Array<ArrayBuffer> });
  if ("float" in value) return make(AttributeProtoSchema, { name, type: FLOAT, f: value.float });
  return make(AttributeProtoSchema, { name, type: INTS, ints: value.map(BigInt) });
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
): NodeProto => make(NodeProtoSchema, { opType, name, input, output, attribute: attributesFrom(attributes) });

/** A tensor whose bytes lie in the file, little-endian. */
export const makeTensor = (name: string, dataType: number, dims: readonly number[], rawData: Uint8Array): TensorProto =>
  make(TensorProtoSchema, { name, dataType, dims: dims.map(BigInt), rawData: rawData as Uint8Array<ArrayBuffer> });

/** The same tensor, its bytes in another file. */
export function makeExternal(tensor: TensorProto, location: string, offset: number, length: number): TensorProto {
  const moved: Partial<TensorProto> = copyOf(tensor, {
    dataLocation: TensorProto_DataLocation.EXTERNAL,
    externalData: [makeEntry("location", location), makeEntry("offset", `${offset}`), makeEntry("length", `${length}`)],
  });
  delete moved.rawData;
  return moved as TensorProto;
}

export const isExternal = (tensor: TensorProto): boolean => tensor.dataLocation === TensorProto_DataLocation.EXTERNAL;

export const makeEntry = (key: string, value: string) => make(StringStringEntryProtoSchema, { key, value });

export const makeDimension = (extent: number | null): Dimension =>
  make(TensorShapeProto_DimensionSchema, extent === null ? {} : { value: { case: "dimValue", value: BigInt(extent) } });

export const makeValueInfo = (name: string, elemType: number, dim: Dimension[]): ValueInfoProto =>
  make(ValueInfoProtoSchema, {
    name,
    type: make(TypeProtoSchema, {
      value: {
        case: "tensorType",
        value: make(TypeProto_TensorSchema, { elemType, shape: make(TensorShapeProtoSchema, { dim }) }),
      },
    }),
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

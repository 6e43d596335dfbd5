/** Makes small ONNX models, by onnx-buf. */
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type AttributeProtoSchema, ModelProtoSchema } from "onnx-buf";

export interface BuiltNode {
  op: string;
  inputs: string[];
  outputs: string[];
  /** numbers are integers; { float } is a float */
  attributes?: Record<string, number | number[] | string | { float: number } | BuiltGraph>;
}

export interface BuiltGraph {
  nodes: BuiltNode[];
  /** extents by name, of float32; a name of an extent leaves it open */
  inputs?: Record<string, (number | string)[]>;
  outputs: Record<string, (number | string)[] | null>;
  weights?: Record<string, { shape: number[]; data: ArrayLike<number>; type?: number }>;
}

const FLOAT = 1;

const attributeOf = (
  name: string,
  value: NonNullable<BuiltNode["attributes"]>[string],
): MessageInitShape<typeof AttributeProtoSchema> => {
  if (typeof value === "number") return { name, type: 2, i: BigInt(value) };
  if (typeof value === "string") return { name, type: 3, s: new TextEncoder().encode(value) };
  if (Array.isArray(value)) return { name, type: 7, ints: value.map(BigInt) };
  if ("float" in value) return { name, type: 1, f: value.float };
  return { name, type: 5, g: graphOf(value) };
};

const valueInfoOf = (name: string, shape: readonly (number | string)[] | null) => ({
  name,
  type: {
    value: {
      case: "tensorType" as const,
      value: {
        elemType: FLOAT,
        ...(shape && {
          shape: {
            dim: shape.map((extent) => ({
              value:
                typeof extent === "number"
                  ? { case: "dimValue" as const, value: BigInt(extent) }
                  : { case: "dimParam" as const, value: extent },
            })),
          },
        }),
      },
    },
  },
});

const graphOf = ({ nodes, inputs = {}, outputs, weights = {} }: BuiltGraph) => ({
  name: "built",
  node: nodes.map(({ op, inputs: input, outputs: output, attributes = {} }) => ({
    opType: op,
    name: `${output[0]}_node`,
    ...{ input, output },
    attribute: Object.entries(attributes).map(([name, value]) => attributeOf(name, value)),
  })),
  input: Object.entries(inputs).map(([name, shape]) => valueInfoOf(name, shape)),
  output: Object.entries(outputs).map(([name, shape]) => valueInfoOf(name, shape)),
  initializer: Object.entries(weights).map(([name, { shape, data, type = FLOAT }]) => ({
    name,
    dims: shape.map(BigInt),
    dataType: type,
    rawData: new Uint8Array(
      type === FLOAT
        ? Float32Array.from(data).buffer
        : type === 7
          ? BigInt64Array.from(Array.from(data, BigInt)).buffer
          : Uint16Array.from(data).buffer,
    ),
  })),
});

/** The bytes of a model. */
export function buildModel(graph: BuiltGraph, opset = 17): Uint8Array {
  return toBinary(
    ModelProtoSchema,
    create(ModelProtoSchema, {
      irVersion: 8n,
      producerName: "build.ts",
      opsetImport: [{ domain: "", version: BigInt(opset) }],
      graph: graphOf(graph),
    }),
  );
}

/** Small ONNX models for tests, made of their nodes. */
import { readOnnx, writeOnnx } from "../../../src/onnx/index.js";
import { OnnxModel } from "../../../src/onnx/model.js";
import {
  type Attributes,
  copyOf,
  makeDimension,
  makeNode,
  makeTensor,
  makeValueInfo,
} from "../../../src/onnx/proto.js";
import { fixture } from "../../onnx/runtime.js";

export interface NodeOf {
  op: string;
  inputs: string[];
  output: string;
  /** further outputs */
  more?: string[];
  attributes?: Attributes;
}

/** A model of nodes, weights by name, and its input (called `x` by default) and output by shape; null is an open extent. */
export function modelOf(
  nodes: readonly NodeOf[],
  weights: Readonly<Record<string, { shape: number[]; data: Float32Array | BigInt64Array }>>,
  input: readonly (number | null)[],
  output: readonly (number | null)[],
  { opset, name = "x" }: { opset?: number; name?: string } = {},
): Uint8Array {
  // any model of the fixtures lends the versions
  const { proto, graph } = readOnnx(fixture("convolutions.onnx"));
  const info = (name: string, shape: readonly (number | null)[]) => makeValueInfo(name, 1, shape.map(makeDimension));
  const changed = copyOf(graph, {
    node: nodes.map(({ op, inputs, output: made, more = [], attributes = {} }) =>
      makeNode(op, made, inputs, [made, ...more], attributes),
    ),
    initializer: Object.entries(weights).map(([name, { shape, data }]) =>
      makeTensor(
        ...([name, data instanceof BigInt64Array ? 7 : 1, shape] as const),
        new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
      ),
    ),
    input: [info(name, input)],
    output: [info(nodes.at(-1)!.output, output)],
    valueInfo: [],
    quantizationAnnotation: [],
  });
  const opsetImport = opset
    ? proto.opsetImport.map((one) => copyOf(one, { version: BigInt(opset) }))
    : proto.opsetImport;
  const whole = copyOf(proto, { graph: changed, opsetImport, metadataProps: [] });
  return writeOnnx(new OnnxModel("test.onnx", whole, null, null));
}

/** A list of whole numbers, as a weight. */
export const integers = (...values: number[]) => ({
  shape: [values.length],
  data: BigInt64Array.from(values, BigInt),
});

/** Normal numbers of a seed. */
export function normals(seed: number): (size: number, scale?: number) => Float32Array {
  let state = seed * 2654435761 + 1;
  const uniform = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  return (size, scale = 1) =>
    Float32Array.from(
      { length: size },
      () => scale * Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
    );
}

/** A matrix of low rank, scaled so that outputs are about as large as inputs. */
export function lowRank(draw: ReturnType<typeof normals>, rows: number, columns: number, rank: number): Float32Array {
  const [a, b] = [draw(rows * rank), draw(rank * columns)];
  return Float32Array.from({ length: rows * columns }, (_, e) => {
    let sum = 0;
    for (let r = 0; r < rank; r++) sum += a[Math.floor(e / columns) * rank + r]! * b[r * columns + (e % columns)]!;
    return sum / Math.sqrt(rank * columns);
  });
}

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
import { tensorFrom } from "../../../src/onnx/tensors.js";
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
  {
    opset,
    name = "x",
    type = 1,
  }: { opset?: number; name?: string /** of floats: 1, or 10 for float16 */; type?: 1 | 10 } = {},
): Uint8Array {
  // any model of the fixtures lends the versions
  const { proto, graph } = readOnnx(fixture("convolutions.onnx"));
  const info = (name: string, shape: readonly (number | null)[]) => makeValueInfo(name, type, shape.map(makeDimension));
  const changed = copyOf(graph, {
    node: nodes.map(({ op, inputs, output: made, more = [], attributes = {} }) =>
      makeNode(op, made, inputs, [made, ...more], attributes),
    ),
    initializer: Object.entries(weights).map(([name, { shape, data }]) =>
      data instanceof BigInt64Array
        ? makeTensor(name, 7, shape, new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
        : tensorFrom("modelOf", name, type, shape, data),
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

/**
 * A network of VGG's kind with random weights: 3×3 convolutions with a pool behind each of some, products, and a Softmax, for images
 * 3×side×side. Its weights have falling singular values, as those of trained networks do.
 *
 * @param convolutions output channels of convolutions; with a pool behind those that are listed as [channels]
 * @param products outputs of products
 */
export function vggLike(
  side: number,
  convolutions: readonly (number | readonly [number])[],
  products: readonly number[],
): Uint8Array {
  const draw = normals(31);
  const nodes: NodeOf[] = [];
  const weights: Record<string, { shape: number[]; data: Float32Array }> = {};
  let [value, channels, extent] = ["x", 3, side];
  const node = (op: string, inputs: string[] = [], attributes: Attributes = {}): void => {
    const output = `${op.toLowerCase()}${nodes.length}`;
    nodes.push({ op, inputs: [value, ...inputs], output, attributes });
    value = output;
  };
  /** a part of few directions, and noise */
  const fill = (outputs: number, size: number): Float32Array => {
    const rank = Math.min(8, outputs, size);
    const [a, b] = [draw(outputs * rank), draw(rank * size)];
    const scale = Math.sqrt(2 / size);
    const out = draw(outputs * size, 0.3 * scale);
    for (let o = 0, at = 0; o < outputs; o++)
      for (let i = 0; i < size; i++, at++)
        for (let r = 0; r < rank; r++) out[at]! += (scale / Math.sqrt(rank)) * a[o * rank + r]! * b[r * size + i]!;
    return out;
  };
  for (const one of convolutions) {
    const outputs = typeof one === "number" ? one : one[0];
    const name = `w${nodes.length}`;
    weights[name] = { shape: [outputs, channels, 3, 3], data: fill(outputs, channels * 9) };
    node("Conv", [name], { pads: [1, 1, 1, 1] });
    node("Relu");
    if (typeof one !== "number") {
      node("MaxPool", [], { kernel_shape: [2, 2], strides: [2, 2] });
      extent /= 2;
    }
    channels = outputs;
  }
  node("Flatten");
  let size = channels * extent ** 2;
  for (const [at, outputs] of products.entries()) {
    const name = `w${nodes.length}`;
    weights[name] = { shape: [outputs, size], data: fill(outputs, size) };
    node("Gemm", [name], { transB: 1 });
    if (at < products.length - 1) node("Relu");
    size = outputs;
  }
  node("Softmax");
  return modelOf(nodes, weights, [1, 3, side, side], [1, size]);
}

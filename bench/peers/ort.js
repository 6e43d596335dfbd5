/**
 * ONNX Runtime Web on its WebGPU execution provider: one graph a case, operands and result in GPU buffers (io binding). Its
 * graph capture is left off: in 1.30 the second run of a captured graph fails ("createBindGroup … buffer is undefined"), in
 * Chromium as in Node.
 */
import onnxProto from "onnx-proto";
import * as ort from "onnxruntime-web/webgpu";
import { version } from "./node_modules/onnxruntime-web/package.json";
import { fastest, shapesOf, waysOf } from "./ways.js";

const { onnx } = onnxProto;
const FLOAT = 1;
const INT64 = 7;
const size = (shape) => shape.reduce((product, extent) => product * extent, 1);

export async function open() {
  ort.env.logLevel = "error";
  return { name: `ONNX Runtime ${version}`, prepare };
}

/** A graph written down by the vocabulary of ways.js; a value is its name and shape. */
class Graph {
  nodes = [];
  constants = [];
  count = 0;

  add(opType, inputs, shape, attribute = []) {
    const name = `v${++this.count}`;
    this.nodes.push({
      opType,
      name: `n${this.count}`,
      input: inputs.map((input) => input.name),
      output: [name],
      attribute,
    });
    return { name, shape };
  }

  integers(values) {
    const name = `c${++this.count}`;
    this.constants.push({ name, dataType: INT64, dims: [values.length], int64Data: values });
    return { name };
  }

  library = {
    matmul: (a, b, transposeA = false, transposeB = false) => {
      if (transposeA || transposeB) {
        // Gemm takes transposed operands as they lie
        const rows = a.shape[transposeA ? 1 : 0];
        const columns = b.shape[transposeB ? 0 : 1];
        const flag = (name, set) => ({ name, type: 2, i: Number(set) });
        return this.add("Gemm", [a, b], [rows, columns], [flag("transA", transposeA), flag("transB", transposeB)]);
      }
      const shape = [...(a.shape.length > b.shape.length ? a : b).shape];
      shape.splice(-2, 2, a.shape.at(-2), b.shape.at(-1));
      return this.add("MatMul", [a, b], shape);
    },
    reshape: (x, shape) => this.add("Reshape", [x, this.integers(shape)], shape),
    multiply: (x, y) =>
      this.add(
        "Mul",
        [x, y],
        x.shape.map((extent, index) => Math.max(extent, y.shape[index])),
      ),
    sum: (x, axis) =>
      this.add(
        "ReduceSum",
        [x, this.integers([axis])],
        x.shape.filter((_, index) => index !== axis),
        [{ name: "keepdims", type: 2, i: 0 }],
      ),
    transpose: (x) => this.add("Transpose", [x], [x.shape[1], x.shape[0]], [{ name: "perm", type: 7, ints: [1, 0] }]),
    conv2d: (x, w, padding) =>
      this.add(
        "Conv",
        [x, w],
        [x.shape[0], w.shape[0], x.shape[2], x.shape[3]],
        [{ name: "pads", type: 7, ints: [padding, padding, padding, padding] }],
      ),
    einsum: (equation, ...operands) => {
      const [left, right] = equation.split("->");
      const extents = {};
      left.split(",").forEach((term, index) => {
        [...term].forEach((letter, axis) => {
          extents[letter] = operands[index].shape[axis];
        });
      });
      const shape = [...right].map((letter) => extents[letter]);
      const encoded = new TextEncoder().encode(equation);
      return this.add("Einsum", operands, shape, [{ name: "equation", type: 3, s: encoded }]);
    },
  };

  encode(inputs, output) {
    const info = ({ name, shape }) => ({
      name,
      type: { tensorType: { elemType: FLOAT, shape: { dim: shape.map((dimValue) => ({ dimValue })) } } },
    });
    const graph = {
      name: "case",
      node: this.nodes,
      initializer: this.constants,
      input: inputs.map(info),
      output: [info(output)],
    };
    const model = onnx.ModelProto.create({ irVersion: 8, opsetImport: [{ domain: "", version: 13 }], graph });
    return onnx.ModelProto.encode(model).finish();
  }
}

async function prepare(work, inputs, isRight) {
  const ways = waysOf(work);
  if (ways.length === 0) return null;
  const shapes = shapesOf(work);
  return fastest(
    ways,
    async (way) => {
      const graph = new Graph();
      const places = [...new Set(way.operands)];
      const values = places.map((at) => ({ name: `x${at}`, shape: shapes[at] }));
      const result = way.apply(graph.library, ...way.operands.map((at) => values[places.indexOf(at)]));
      const model = graph.encode(values, result);
      const options = { executionProviders: ["webgpu"], preferredOutputLocation: "gpu-buffer" };
      const session = await ort.InferenceSession.create(model, options);
      const device = await ort.env.webgpu.device;
      const buffers = [];
      const onGpu = (dims, data) => {
        // STORAGE | COPY_SRC | COPY_DST
        const buffer = device.createBuffer({ size: Math.ceil(size(dims) / 4) * 16, usage: 0x80 | 0x4 | 0x8 });
        buffers.push(buffer);
        if (data) device.queue.writeBuffer(buffer, 0, data);
        return ort.Tensor.fromGpuBuffer(buffer, { dataType: "float32", dims });
      };
      const feeds = Object.fromEntries(places.map((at, index) => [`x${at}`, onGpu(values[index].shape, inputs[at])]));
      const output = onGpu(result.shape);
      return {
        async run(times) {
          for (let i = 0; i < times; i++) await session.run(feeds, { [result.name]: output });
          await device.queue.onSubmittedWorkDone();
        },
        async outputs() {
          const bytes = size(result.shape) * 4;
          const staging = device.createBuffer({ size: Math.ceil(bytes / 16) * 16, usage: 0x1 | 0x8 });
          const encoder = device.createCommandEncoder();
          encoder.copyBufferToBuffer(output.gpuBuffer, 0, staging, 0, staging.size);
          device.queue.submit([encoder.finish()]);
          await staging.mapAsync(1);
          const data = new Float32Array(staging.getMappedRange().slice(0, bytes));
          staging.destroy();
          return [data];
        },
        destroy() {
          session.release();
          for (const buffer of buffers) buffer.destroy();
        },
      };
    },
    isRight,
  );
}

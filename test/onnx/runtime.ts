/** Runs ONNX models in onnxruntime's WebAssembly, on one thread. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as ort from "onnxruntime-web";

ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

/** A file of fixtures/. */
export const fixture = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(join(import.meta.dirname, "fixtures", name)));

export interface Result {
  shape: readonly number[];
  data: ArrayLike<number>;
}

/** sin(0.37·k) for the k-th entry, as fixtures.py has it. */
export const signal = (shape: readonly number[]): Float32Array =>
  Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, k) => Math.sin(0.37 * k));

/** Dark specks in rows on white, from -1 to 1, which a reader of pictures [count, channels, height, width] takes for text. */
export function lines(shape: readonly number[]): Float32Array {
  const [height, width] = shape.slice(2) as [number, number];
  return Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, at) => {
    const [y, x] = [Math.floor(at / width) % height, at % width];
    const isLine = y % 24 > 8 && y % 24 < 20;
    return isLine && Math.sin(0.9 * x) * Math.cos(0.7 * y + x) > 0 ? -1 : 1;
  });
}

/** All outputs of a model, by their names. The runtime changes nothing of the graph, unless told otherwise. */
export async function runModel(
  bytes: Uint8Array,
  feeds: Readonly<Record<string, ort.Tensor>>,
  graphOptimizationLevel: "disabled" | "all" = "disabled",
): Promise<Map<string, Result>> {
  const session = await ort.InferenceSession.create(bytes, { logSeverityLevel: 3, graphOptimizationLevel });
  try {
    const results = await session.run(feeds);
    return new Map(
      session.outputNames.map((name) => {
        const { dims, data } = results[name]!;
        return [name, { shape: [...dims], data: data as unknown as ArrayLike<number> }];
      }),
    );
  } finally {
    await session.release();
  }
}

/** Inputs of float32, by their shapes. */
export const feedsOf = (shapes: Readonly<Record<string, readonly number[]>>): Record<string, ort.Tensor> =>
  Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => [name, new ort.Tensor("float32", signal(shape), [...shape])]),
  );

/** The largest difference of two outputs, beside the largest entry. */
export function difference(a: Result, b: Result | undefined): number {
  if (!b || a.shape.join() !== b.shape.join()) return Number.POSITIVE_INFINITY;
  let [most, largest] = [0, 0];
  for (let i = 0; i < a.data.length; i++) {
    const gap = Math.abs(a.data[i]! - b.data[i]!);
    if (!(gap <= most)) most = gap;
    largest = Math.max(largest, Math.abs(a.data[i]!));
  }
  return most / Math.max(largest, 1e-30);
}

export { ort };

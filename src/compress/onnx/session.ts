/** Running a model in a runtime that is handed in: onnxruntime-node, onnxruntime-web, or another with the same interface. */
import { TenfoldError } from "../../gpu/index.js";
import { halfToNumber } from "../../io/array.js";
import { cutOnnx, type TypedValue } from "../../onnx/cut.js";
import { type OnnxModel, writeOnnx } from "../../onnx/index.js";

/** A value that a model takes or gives. */
export interface OnnxArray {
  /** as onnxruntime calls element types: `float32`, `float16` (as bits), `int64` (as BigInt64Array), … */
  dtype: string;
  shape: readonly number[];
  /** row-major */
  data: ArrayBufferView & { readonly length: number };
}

/** One value for every input of a model. */
export type OnnxFeeds = Readonly<Record<string, OnnxArray>>;

/** A model, ready to run. */
export interface OnnxSession {
  /** all outputs by name */
  run(feeds: OnnxFeeds): Promise<Record<string, OnnxArray>>;
  release(): Promise<void>;
}

/** Makes a session of a model's bytes. */
export type OnnxSessions = (model: Uint8Array) => Promise<OnnxSession>;

/** What is used of onnxruntime-node and onnxruntime-web: `import * as ort from "onnxruntime-web"`. */
export interface OnnxRuntime {
  InferenceSession: { create(model: Uint8Array, options?: object): Promise<RuntimeSession> };
  Tensor: new (type: never, data: never, dims: readonly number[]) => unknown;
}
interface RuntimeSession {
  run(feeds: never): Promise<unknown>;
  release(): Promise<void>;
}
interface RuntimeTensor {
  type: string;
  dims: readonly number[];
  data: OnnxArray["data"];
}

/**
 * Sessions of an onnxruntime module, for `compressOnnx`.
 *
 * @param options of `InferenceSession.create`: `{ executionProviders: ["wasm"] }`
 */
export function runtimeSessions(runtime: OnnxRuntime, options: object = {}): OnnxSessions {
  return async (model) => {
    const session = await runtime.InferenceSession.create(model, { logSeverityLevel: 3, ...options });
    return {
      async run(feeds) {
        const tensors = Object.entries(feeds).map(([name, { dtype, shape, data }]) => [
          name,
          new runtime.Tensor(dtype as never, data as never, shape),
        ]);
        const results = (await session.run(Object.fromEntries(tensors) as never)) as Record<string, RuntimeTensor>;
        return Object.fromEntries(
          Object.entries(results).map(([name, { type, dims, data }]) => [
            name,
            { dtype: type, shape: [...dims], data },
          ]),
        );
      },
      release: () => session.release(),
    };
  };
}

/** The entries of a value of floats as f32 or f64. */
export function floatsOfArray({ dtype, data }: OnnxArray): Float32Array | Float64Array {
  if (data instanceof Float32Array || data instanceof Float64Array) return data;
  // runtimes with a Float16Array give that
  if (dtype === "float16" && data instanceof Uint16Array) return Float32Array.from(data, halfToNumber);
  return Float32Array.from(data as unknown as ArrayLike<number>);
}

/** Runs the part of a model that some values need. */
export class Part {
  private constructor(
    private readonly session: OnnxSession | null,
    private readonly inputs: readonly string[],
  ) {}

  /**
   * @param values names may be inputs of the part, too: what was fed comes back
   * @param from values that are fed beside inputs of the model
   */
  static async open(
    sessions: OnnxSessions,
    model: OnnxModel,
    values: readonly TypedValue[],
    from: readonly TypedValue[] = [],
  ): Promise<Part> {
    const inputs = new Set([...model.inputs, ...from].map(({ name }) => name));
    const wanted = [...new Map(values.map((value) => [value.name, value])).values()];
    const computed = wanted.filter(({ name }) => !inputs.has(name));
    if (!computed.length) return new Part(null, []);
    const part = cutOnnx(model, computed, from);
    try {
      return new Part(
        await sessions(writeOnnx(part)),
        part.inputs.map(({ name }) => name),
      );
    } catch (error) {
      throw new TenfoldError(`compressOnnx: the runtime refuses ${model.file}: ${firstLine(error)}`, { cause: error });
    }
  }

  /** @throws TenfoldError where the runtime fails, with what it says */
  async run(feeds: OnnxFeeds): Promise<Readonly<Record<string, OnnxArray>>> {
    if (!this.session) return feeds;
    try {
      const results = await this.session.run(Object.fromEntries(this.inputs.map((name) => [name, feeds[name]!])));
      return { ...feeds, ...results };
    } catch (error) {
      throw new TenfoldError(`compressOnnx: the runtime fails on a sample: ${firstLine(error)}`, { cause: error });
    }
  }

  async release(): Promise<void> {
    await this.session?.release();
  }
}

const firstLine = (error: unknown): string => ((error as Error)?.message ?? String(error)).split("\n")[0]!;

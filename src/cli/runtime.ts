/** The runtimes of ONNX models, and other packages that few commands need. */
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { InvalidArgumentError, Option } from "commander";

/** What is used of onnxruntime-node and onnxruntime-web. */
export interface Runtime {
  InferenceSession: { create(model: string | Uint8Array, options?: object): Promise<Session> };
  Tensor: new (type: string, data: unknown, dims: readonly number[]) => unknown;
  env?: { wasm: { numThreads?: number }; logLevel?: string };
}
interface Session {
  run(feeds: Record<string, unknown>): Promise<unknown>;
  endProfiling(): void;
  release(): Promise<void>;
}

/** The package of each runtime. */
export const RUNTIMES = { node: "onnxruntime-node", wasm: "onnxruntime-web" } as const;
export type RuntimeName = keyof typeof RUNTIMES;

/** `--runtime`, for a command that runs models. */
export const runtimeOption = (): Option =>
  new Option("--runtime <name>", "what the model runs in")
    .choices(Object.keys(RUNTIMES))
    .default("node")
    .argParser((text): RuntimeName => {
      if (Object.hasOwn(RUNTIMES, text)) return text as RuntimeName;
      throw new InvalidArgumentError(
        text === "webgpu"
          ? "WebGPU of onnxruntime-web needs a browser: use the page, or compressOnnx with sessions of your own; here it is node or wasm."
          : "It needs node or wasm.",
      );
    });

/** Imports a runtime's package; tests have another. */
export type LoadRuntime = (name: RuntimeName) => Promise<Runtime>;

/** A runtime, and the options of its sessions. */
export interface OpenRuntime {
  runtime: Runtime;
  settings: object;
}

/**
 * Opens a runtime.
 *
 * @param threads 0: as onnxruntime-node likes, and 1 in WebAssembly, as pages without special headers have
 * @throws where its package is not installed or does not load
 */
export async function openRuntime(
  name: RuntimeName,
  threads: number,
  load: LoadRuntime = (one) => importPackage(RUNTIMES[one]),
): Promise<OpenRuntime> {
  const runtime = await load(name);
  if (name === "node")
    return { runtime, settings: { executionProviders: ["cpu"], ...(threads && { intraOpNumThreads: threads }) } };
  if (runtime.env) {
    runtime.env.wasm.numThreads = threads || 1;
    runtime.env.logLevel = "error";
  }
  return { runtime, settings: { executionProviders: ["wasm"] } };
}

/**
 * Imports an optional package, which need not exist where this is built: as tenfold finds it, or as the folder does in which the command runs.
 *
 * @throws where it is not installed or does not load
 */
export async function importPackage<T extends object>(name: string): Promise<T> {
  const load = async (from: string): Promise<T> => {
    const module = (await import(from)) as T & { default?: T };
    return module.default ?? module;
  };
  try {
    return await load(name);
  } catch (error) {
    const here = createRequire(join(process.cwd(), "package.json"));
    let path: string;
    try {
      path = here.resolve(name);
    } catch {
      throw error;
    }
    return await load(pathToFileURL(path).href);
  }
}

import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

/** What is used of onnxruntime-node. */
export interface Runtime {
  InferenceSession: { create(model: string | Uint8Array, options?: object): Promise<Session> };
  Tensor: new (type: string, data: unknown, dims: readonly number[]) => unknown;
}
interface Session {
  run(feeds: Record<string, unknown>): Promise<unknown>;
  endProfiling(): void;
  release(): Promise<void>;
}

/**
 * Imports onnxruntime-node, which is an optional package: as tenfold finds it, or as the folder does in which the command runs.
 *
 * @throws where it is not installed or does not load
 */
export async function importRuntime(): Promise<Runtime> {
  // a variable, because the package need not exist where this is built
  const name = "onnxruntime-node";
  const load = async (from: string): Promise<Runtime> => {
    const module = (await import(from)) as Runtime & { default?: Runtime };
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

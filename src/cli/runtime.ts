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

export const importRuntime = (): Promise<Runtime> => importPackage("onnxruntime-node");

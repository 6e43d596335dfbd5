/** Replaces src/node in the page, where engines come from navigator.gpu. */
import { Engine, type EngineOptions } from "../../src/gpu/index.js";

export async function requestAdapter(): Promise<{ adapter: GPUAdapter; packaged: boolean }> {
  const adapter = await navigator.gpu.requestAdapter();
  if (!adapter) throw new Error("the browser gave no adapter");
  return { adapter, packaged: false };
}

export const openEngine = (options?: EngineOptions): Promise<Engine> => Engine.create(options);

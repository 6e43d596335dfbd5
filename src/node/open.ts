import { Engine, type EngineOptions, engineRules } from "../gpu/engine.js";
import { TenfoldError } from "../gpu/errors.js";
import { checkOptions, type OptionRules, oneOf } from "../gpu/options.js";
import type { GPU, GPUAdapter } from "../gpu/webgpu.js";
import { installedDrivers, usePackagedSwiftShader } from "./driver.js";

export interface OpenOptions extends EngineOptions {
  /**
   * `system` takes only installed drivers, `swiftshader` only the packaged software one; `auto` (default, or the
   * environment variable TENFOLD_ADAPTER) takes the first where there is one and the second otherwise.
   */
  adapter?: "auto" | "system" | "swiftshader";
}

const ADAPTERS = ["auto", "system", "swiftshader"] as const;
const openRules: OptionRules<OpenOptions> = { ...engineRules, adapter: oneOf(...ADAPTERS) };

/** Dawn's instance: it crashes the process when it is collected before its devices. */
let gpu: GPU | undefined;
let packaged = false;

/** What to install where no adapter was found. */
export const NO_ADAPTER = [
  "No WebGPU adapter was found.",
  "On a machine with a GPU: install its Vulkan driver (Linux), or update the graphics driver.",
  "Without one (Linux, x86-64): npm install @sparticuz/chromium@147 brings a software adapter that tenfold finds by itself;",
  "Mesa's lavapipe 25 or newer (Debian: mesa-vulkan-drivers) is faster.",
].join("\n");

/** Finds an adapter through Dawn (npm `webgpu`), bringing the packaged SwiftShader where there is no driver. */
export async function requestAdapter(
  adapter?: OpenOptions["adapter"],
): Promise<{ adapter: GPUAdapter; packaged: boolean }> {
  const wanted = adapter ?? (process.env.TENFOLD_ADAPTER as OpenOptions["adapter"]) ?? "auto";
  if (!ADAPTERS.includes(wanted))
    throw new TenfoldError(`TENFOLD_ADAPTER is "${wanted}", needs auto, system or swiftshader`, { code: "OPTION" });
  let dawn: typeof import("webgpu");
  try {
    dawn = await import("webgpu");
  } catch (error) {
    throw new TenfoldError(
      `openEngine: WebGPU in Node comes from npm package webgpu: npm install webgpu (${(error as Error).message})`,
      { code: "NO_GPU", cause: error },
    );
  }
  if (!gpu) {
    const linux = process.platform === "linux";
    if (linux && (wanted === "swiftshader" || (wanted === "auto" && installedDrivers().length === 0)))
      packaged = await usePackagedSwiftShader();
    gpu = dawn.create(["enable-dawn-features=allow_unsafe_apis", "disable-dawn-features=timestamp_quantization"]);
  }
  const options = { powerPreference: "high-performance" } as const;
  let found = await gpu.requestAdapter(options);
  if (!found && wanted === "auto" && !packaged && (await usePackagedSwiftShader())) {
    // drivers are listed, but none works
    packaged = true;
    gpu = dawn.create(["enable-dawn-features=allow_unsafe_apis", "disable-dawn-features=timestamp_quantization"]);
    found = await gpu.requestAdapter(options);
  }
  if (!found) throw new TenfoldError(NO_ADAPTER, { code: "NO_GPU" });
  return { adapter: found, packaged };
}

/** Opens an engine in Node: on the machine's GPU, or on a software adapter where there is none. */
export async function openEngine(options: OpenOptions = {}): Promise<Engine> {
  checkOptions("openEngine", options, openRules);
  const { adapter: wanted, ...own } = options;
  const { adapter } = await requestAdapter(wanted);
  return Engine.fromAdapter(adapter, own);
}

import { Engine, type EngineOptions, engineRules, isSoftware } from "../gpu/engine.js";
import { TenfoldError } from "../gpu/errors.js";
import { checkOptions, type OptionRules, oneOf } from "../gpu/options.js";
import type { GPU, GPUAdapter } from "../gpu/webgpu.js";
import { installedDrivers, usePackagedSwiftShader } from "./driver.js";
import { pacePolls } from "./pace.js";

export interface OpenOptions extends EngineOptions {
  /**
   * Which Vulkan driver to use on Linux. `system`: an installed driver. `swiftshader`: the software driver of npm
   * @sparticuz/chromium. `auto`: an installed driver where there is one, otherwise SwiftShader. The default is the environment
   * variable TENFOLD_ADAPTER, or `auto`.
   */
  adapter?: "auto" | "system" | "swiftshader";
}

const ADAPTERS = ["auto", "system", "swiftshader"] as const;
const openRules: OptionRules<OpenOptions> = { ...engineRules, adapter: oneOf(...ADAPTERS) };

/** Dawn's instance. It is never released, because the process crashes where it is collected before its devices. */
let gpu: GPU | undefined;
/** Whether {@link gpu} runs on the packaged SwiftShader. */
let packaged = false;

/** The error message where there is no adapter, with what to install. */
export const NO_ADAPTER = [
  "No WebGPU adapter was found.",
  "On a machine with a GPU: install its Vulkan driver (Linux), or update the graphics driver.",
  "Without one (Linux, x86-64): npm install @sparticuz/chromium@147 brings a software adapter that tenfold finds by itself;",
  "Mesa's lavapipe 25 or newer (Debian: mesa-vulkan-drivers) is faster.",
].join("\n");

/** Dawn's instance; its adapters are those whose name has TENFOLD_GPU in it, where that is set. */
function createGpu(dawn: typeof import("webgpu")): GPU {
  const name = process.env.TENFOLD_GPU;
  const flags = ["enable-dawn-features=allow_unsafe_apis", "disable-dawn-features=timestamp_quantization"];
  return dawn.create(name ? [...flags, `adapter=${name}`] : flags);
}

/**
 * Requests an adapter. Dawn throws where none has the name that was asked for, and lists those that there are.
 *
 * @throws TenfoldError with that list
 */
async function requestNamed(instance: GPU): Promise<GPUAdapter | null> {
  try {
    return await instance.requestAdapter({ powerPreference: "high-performance" });
  } catch (error) {
    const names = [...String((error as Error).message).matchAll(/name: '(.*)'/g)].map(([, name]) => name);
    throw new TenfoldError(
      `openEngine: TENFOLD_GPU is "${process.env.TENFOLD_GPU}", which is in no adapter's name; there are ${names.join(", ") || "none"}`,
      { code: "NO_GPU", cause: error },
    );
  }
}

/**
 * Requests an adapter from Dawn (npm `webgpu`), on the packaged SwiftShader where {@link OpenOptions.adapter} says so. The first
 * call decides on the driver for the entire process.
 *
 * @throws TenfoldError where there is no adapter or npm `webgpu` is missing, with what to install
 */
export async function requestAdapter(
  adapter?: OpenOptions["adapter"],
): Promise<{ adapter: GPUAdapter; packaged: boolean; software: boolean }> {
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
    gpu = createGpu(dawn);
  }
  let gpuAdapter = await requestNamed(gpu);
  if (!gpuAdapter && wanted === "auto" && !packaged && (await usePackagedSwiftShader())) {
    // drivers are installed, but none of them works
    packaged = true;
    gpu = createGpu(dawn);
    gpuAdapter = await requestNamed(gpu);
  }
  if (!gpuAdapter) throw new TenfoldError(NO_ADAPTER, { code: "NO_GPU" });
  const { vendor, architecture, device, description } = gpuAdapter.info;
  const software = isSoftware([vendor, architecture, device, description].join(" "));
  if (software) pacePolls();
  return { adapter: gpuAdapter, packaged, software };
}

/**
 * Opens an engine in Node: on the machine's GPU, or on a software adapter where there is none.
 *
 * @throws TenfoldError where there is no adapter or npm `webgpu` is missing, with what to install
 */
export async function openEngine(options: OpenOptions = {}): Promise<Engine> {
  checkOptions("openEngine", options, openRules);
  const { adapter: wanted, ...engineOptions } = options;
  const { adapter } = await requestAdapter(wanted);
  return Engine.fromAdapter(adapter, engineOptions);
}

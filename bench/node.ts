/** Runs the benchmark in this process, under Dawn. */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "vite";
import type { Engine } from "../src/gpu/index.js";
import { openEngine } from "../src/node/index.js";
import { type PeerModules, Session } from "./session.js";

export interface Options {
  /** names of the peers; null for all */
  peers: readonly string[] | null;
  slim: boolean;
}

export async function openInNode({ peers, slim }: Options): Promise<{ session: Session; environment: string }> {
  // before the peers, because it brings a driver where the machine has none
  const engine: Engine = await openEngine();
  const wanted = peers === null || peers.length > 0;
  if (wanted) await pretendBrowser();
  const modules = wanted ? await buildPeers() : {};
  const session = await Session.open(engine, modules, { slim, peers });
  return { session, environment: `Node ${process.versions.node} with Dawn` };
}

/**
 * Bundles the peers as for a page, because tfjs' modules do not load in Node unbundled. ONNX Runtime is not bundled, so that it
 * finds its files.
 */
async function buildPeers(): Promise<PeerModules> {
  const folder = join(import.meta.dirname, "peers");
  await build({
    root: folder,
    configFile: false,
    logLevel: "error",
    build: {
      outDir: join(folder, "dist"),
      lib: { entry: join(folder, "index.js"), formats: ["es"], fileName: "index" },
      target: "es2022",
      minify: false,
      rolldownOptions: { external: [/^onnx/, "util"] },
    },
  });
  // tfjs needs a global `require` in Node
  Object.assign(globalThis, { require: createRequire(join(folder, "index.js")) });
  const file = pathToFileURL(join(folder, "dist/index.js")).href;
  return ((await import(/* @vite-ignore */ file)) as { modules: PeerModules }).modules;
}

/** Puts WebGPU on navigator, where the peers look for it. The process must end with process.exit afterwards. */
async function pretendBrowser(): Promise<void> {
  const { create, globals } = await import("webgpu");
  Object.assign(globalThis, globals);
  const gpu = create(["enable-dawn-features=allow_unsafe_apis", "disable-dawn-features=timestamp_quantization"]);
  const { hardwareConcurrency = 2 } = globalThis.navigator ?? {};
  const navigator = { gpu, hardwareConcurrency, userAgent: `Node.js/${process.versions.node}`, language: "en" };
  Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true, writable: true });
  // ONNX Runtime's threads write from views of shared memory, which browsers take and Dawn for Node refuses: they are copied
  const { prototype } = GPUQueue as unknown as { prototype: GPUQueue };
  const writeBuffer = prototype.writeBuffer;
  prototype.writeBuffer = function (buffer, offset, data, ...rest) {
    if (ArrayBuffer.isView(data) && data.buffer instanceof SharedArrayBuffer)
      data = new Uint8Array(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    return writeBuffer.call(this, buffer, offset, data as GPUAllowSharedBufferSource, ...rest);
  };
}

/** Whether `npm ci --prefix bench/peers` was done. */
export const peersInstalled = (): boolean => existsSync(join(import.meta.dirname, "peers/node_modules/@jax-js/jax"));

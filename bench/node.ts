/** The benchmark in this process, under Dawn. */
import type { Engine } from "../src/gpu/index.js";
import { openEngine } from "../src/node/index.js";
import { Session } from "./session.js";

export interface Options {
  peers: boolean;
  slim: boolean;
}

export async function openInNode({ peers, slim }: Options): Promise<{ session: Session; environment: string }> {
  // first, as it brings a driver where there is none
  const engine: Engine = await openEngine();
  if (peers) await pretendBrowser();
  const modules = peers ? (await import("./peers/index.js")).modules : {};
  const session = await Session.open(engine, modules, { slim });
  return { session, environment: `Node ${process.versions.node} with Dawn` };
}

/** What the peers look for: WebGPU on navigator. The process must end with process.exit afterwards. */
async function pretendBrowser(): Promise<void> {
  const { create, globals } = await import("webgpu");
  Object.assign(globalThis, globals);
  const gpu = create(["enable-dawn-features=allow_unsafe_apis", "disable-dawn-features=timestamp_quantization"]);
  const { hardwareConcurrency = 2 } = globalThis.navigator ?? {};
  const navigator = { gpu, hardwareConcurrency, userAgent: `Node.js/${process.versions.node}`, language: "en" };
  Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true, writable: true });
  // Dawn for Node refuses views of shared memory, which ONNX Runtime's threads have; browsers take them
  const { prototype } = GPUQueue as unknown as { prototype: GPUQueue };
  const writeBuffer = prototype.writeBuffer;
  prototype.writeBuffer = function (buffer, offset, data, ...rest) {
    if (ArrayBuffer.isView(data) && data.buffer instanceof SharedArrayBuffer)
      data = new Uint8Array(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    return writeBuffer.call(this, buffer, offset, data as GPUAllowSharedBufferSource, ...rest);
  };
}

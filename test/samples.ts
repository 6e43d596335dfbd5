/** Runs code of README.md and of the guide as it stands there, with what it takes from "your program". */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { vi } from "vitest";

const root = resolve(import.meta.dirname, "..");

/**
 * What samples import from "./your-program". Those that open an engine get one on the device that tests of this process share: it has
 * compiled most of their kernels. test/node/ opens devices.
 */
const PROGRAM = `
import { plainDevice } from "${join(root, "test/gpu/kernels.ts")}";
import { siblingEngine } from "${join(root, "test/engine.ts")}";
export const openEngine = siblingEngine;
export const engine = await openEngine();
export const values = Float32Array.from({ length: 336 }, (_, n) => {
  const [i, j, k] = [Math.floor(n / 42), Math.floor(n / 6) % 7, n % 6];
  const peak = (x, centre) => Math.exp(-((x - centre) ** 2) / 4);
  return (1 + i) * peak(j, 2) * peak(k, 1) + (9 - i) * peak(j, 4) * peak(k, 4);
});
export const images = engine.tensor([120, 1, 28, 28], Float32Array.from({ length: 94080 }, (_, i) => Math.abs(Math.sin(i * i))));
export const labels = engine.tensor([120], Uint32Array.from({ length: 120 }, (_, i) => i % 10));
export const device = await plainDevice();
const buffer = (size) => device.createBuffer({ size: 4 * size, usage: 0x8c });
export const [x, matrix, out, products] = [210, 24, 140, 21].map(buffer);
export const factors = [21, 18, 15].map(buffer);
device.queue.writeBuffer(x, 0, new Float32Array(210).fill(1));
device.queue.writeBuffer(matrix, 0, new Float32Array(24).fill(0.5));
for (const factor of factors) device.queue.writeBuffer(factor, 0, new Float32Array(factor.size / 4).fill(1));
export const encoder = device.createCommandEncoder();
export async function read(source) {
  const staging = device.createBuffer({ size: source.size, usage: 0x9 });
  const copy = device.createCommandEncoder();
  copy.copyBufferToBuffer(source, 0, staging, 0, source.size);
  device.queue.submit([copy.finish()]);
  await staging.mapAsync(1);
  return new Float32Array(staging.getMappedRange().slice(0));
}
`;

/** What samples share, for tests to look at. */
export interface Program {
  engine: import("../src/gpu/index.js").Engine;
  device: GPUDevice;
  out: GPUBuffer;
  products: GPUBuffer;
  read(buffer: GPUBuffer): Promise<Float32Array>;
}

/** The blocks of code of a page in this language. */
export const codeOf = (page: string, language: string): string[] =>
  [...page.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, "gms"))].map(([, code]) => code!);

/** A folder in which samples run. `remove` it in the end. */
export class Samples {
  readonly #folder: string;
  #count = 0;

  constructor(name: string) {
    this.#folder = join(root, ".cache", `${name}-${process.pid}`);
    mkdirSync(this.#folder, { recursive: true });
    writeFileSync(join(this.#folder, "your-program.js"), PROGRAM);
  }

  /** Runs a sample; what it said, a line for each call of console.log. */
  async run(code: string): Promise<string[]> {
    const file = join(this.#folder, `sample-${this.#count++}.ts`);
    writeFileSync(file, code.replace('from "tenfold/node"', 'from "./your-program.js"'));
    const said: string[] = [];
    const log = vi.spyOn(console, "log").mockImplementation((...words: unknown[]) => void said.push(words.join(" ")));
    try {
      await import(/* @vite-ignore */ file);
    } finally {
      log.mockRestore();
    }
    return said;
  }

  program(): Promise<Program> {
    return import(/* @vite-ignore */ join(this.#folder, "your-program.js")) as Promise<Program>;
  }

  /** Frees what the samples' program holds, and removes the folder. */
  async close(): Promise<void> {
    const { engine, device } = await this.program();
    engine.destroy();
    device.destroy();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

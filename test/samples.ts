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
import { programOf } from "${join(root, "docs/.vitepress/samples/program.ts")}";
export const openEngine = siblingEngine;
export const device = await plainDevice();
export const engine = await openEngine();
export const { values, images, labels, x, matrix, out, products, factors, encoder, read } = programOf(engine, device);
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
    const isOpening = code.includes("await Engine.create()");
    writeFileSync(
      file,
      code
        .replace('from "tenfold/node"', 'from "./your-program.js"')
        .replace("await Engine.create()", "await openEngine()")
        .replace(/^/, isOpening ? 'import { openEngine } from "./your-program.js";\n' : ""),
    );
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

/** Runs the code of README.md as it stands there. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, it, vi } from "vitest";
import { goalsMarkdown, type Report } from "../bench/report.js";
import type { Engine } from "../src/gpu/index.js";

const root = resolve(import.meta.dirname, "..");
const readme = readFileSync(join(root, "README.md"), "utf8");
const samples = [...readme.matchAll(/^```ts\n(.*?)^```/gms)].map(([, code]) => code!);
const folder = join(root, ".cache", `readme-${process.pid}`);

/**
 * What the last two samples take from the user's program. The first two open an engine, and get one on the device that tests of this process
 * share: it has compiled most of their kernels. test/node/ opens devices.
 */
const PROGRAM = `
import { plainDevice } from "${join(root, "test/gpu/kernels.ts")}";
import { siblingEngine } from "${join(root, "test/engine.ts")}";
export const openEngine = siblingEngine;
export const engine = await openEngine();
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

afterAll(() => rmSync(folder, { recursive: true, force: true }));
mkdirSync(folder, { recursive: true });
writeFileSync(join(folder, "your-program.js"), PROGRAM);
const run = (index: number): Promise<unknown> => {
  const file = join(folder, `sample-${index}.ts`);
  writeFileSync(file, samples[index]!.replace('from "tenfold/node"', 'from "./your-program.js"'));
  return import(/* @vite-ignore */ file);
};

describe("README", () => {
  it("has the goals' tables as the benchmark wrote them, of the results that it names", () => {
    const named = [...readme.matchAll(/\(bench\/results\/([^)]+)\.md\)/g)].map(([, name]) => name!);
    expect(named.length).toBeGreaterThanOrEqual(2);
    const lengths: number[] = [];
    for (const name of named) {
      const report = JSON.parse(readFileSync(join(root, "bench/results", `${name}.json`), "utf8")) as Report;
      const table = goalsMarkdown(report);
      expect(table.length).toBeGreaterThanOrEqual(8);
      lengths.push(table.length);
      expect(readme).toContain(table.join("\n"));
      // the command that did it stands beside it
      expect(readme).toContain(report.command);
    }
    // both software adapters and the GPU have more than ten rows, whole factorisations have six
    expect(lengths.filter((length) => length > 10).length).toBeGreaterThanOrEqual(3);
  });

  it("has the four samples, each about ten lines", () => {
    expect(samples).toHaveLength(4);
    for (const sample of samples) expect(sample.trim().split("\n").length).toBeLessThanOrEqual(14);
  });

  it("decomposes a tensor", async () => {
    const said = vi.spyOn(console, "log").mockImplementation(() => {});
    await run(0);
    expect(said.mock.calls.join()).toMatch(/^error \S+, converged: true, 4 of 4 starts agree$/);
    const [, error] = /error (\S+),/.exec(said.mock.calls.join())!;
    expect(Number(error)).toBeLessThan(5e-7);
    said.mockRestore();
  });

  it("factorises a matrix", async () => {
    const said = vi.spyOn(console, "log").mockImplementation(() => {});
    await run(1);
    const [values] = said.mock.calls[0] as [Float32Array];
    expect([...values].map((value) => value.toFixed(4))).toEqual(["9.5255", "0.5143"]);
    said.mockRestore();
  });

  it("embeds in a host's device", async () => {
    await run(2);
    const program = (await import(/* @vite-ignore */ join(folder, "your-program.js"))) as {
      read(buffer: GPUBuffer): Promise<Float32Array>;
      out: GPUBuffer;
      products: GPUBuffer;
      device: GPUDevice;
    };
    expect(new Set(await program.read(program.out))).toEqual(new Set([3]));
    expect(new Set(await program.read(program.products))).toEqual(new Set([30]));
    program.device.destroy();
  });

  it("decomposes a network", async () => {
    const said: string[] = [];
    const log = vi.spyOn(console, "log").mockImplementation((line: string) => void said.push(line));
    await run(3);
    log.mockRestore();
    expect(said).toHaveLength(9);
    const [, before, now] = /^(\d+) numbers before, (\d+) now$/.exec(said[8]!)!;
    expect(Number(before)).toBe(61706);
    expect(Number(now)).toBeLessThanOrEqual(61706 / 4);
    const { engine } = (await import(/* @vite-ignore */ join(folder, "your-program.js"))) as { engine: Engine };
    engine.destroy();
  }, 400_000);
});

/** README.md: its samples run, its figures are those of the benchmark, and it points at nothing that the package lacks. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { cases } from "../bench/cases/index.js";
import { goalsMarkdown, heldToday, type Report } from "../bench/report.js";
import { bodyOf } from "../docs/.vitepress/samples/code.js";
import { codeOf, Samples } from "./samples.js";

const root = resolve(import.meta.dirname, "..");
const readme = readFileSync(join(root, "README.md"), "utf8");
const benchmarks = readFileSync(join(root, "docs/benchmarks.md"), "utf8");
const { files, repository } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  files: string[];
  repository?: { url: string };
};

const samples = new Samples("readme");
afterAll(() => samples.close());
const [tensor, network, embedding, ...others] = codeOf(readme, "ts") as [string, string, string];

describe("docs/benchmarks.md", () => {
  it("has the goals' tables as the benchmark wrote them, of the results that it names", () => {
    const named = [...benchmarks.matchAll(/\[All [^\]]*\]\(\.\.\/bench\/results\/([^)]+)\.md\)/g)].map(
      ([, name]) => name!,
    );
    expect(named.length).toBeGreaterThanOrEqual(2);
    const lengths: number[] = [];
    for (const name of named) {
      const report = JSON.parse(readFileSync(join(root, "bench/results", `${name}.json`), "utf8")) as Report;
      const table = goalsMarkdown(heldToday(report, cases()));
      expect(table.length).toBeGreaterThanOrEqual(8);
      lengths.push(table.length);
      expect(benchmarks).toContain(table.join("\n"));
      // the command that did it stands beside it
      expect(benchmarks).toContain(report.command);
    }
    // both software adapters and the GPU have more than ten rows, whole factorisations have six
    expect(lengths.filter((length) => length > 10).length).toBeGreaterThanOrEqual(3);
  });
});

describe("README", () => {
  it("has five figures of speed, which are those of docs/benchmarks.md", () => {
    const [, section] = /^## How fast\n(.*?)^## /ms.exec(readme)!;
    const rows = [...section!.matchAll(/^(\| .* \| .* \| [\d.]+ \|) .* \|$/gm)].map(([, row]) => row!);
    expect(rows).toHaveLength(5);
    for (const row of rows) expect(benchmarks).toContain(`\n${row} `);
  });

  it("says by which command all tests run", () => {
    expect(readme).toMatch(/^ {4}npm ci && npm test\b/m);
  });

  it("links to files of the package alone, or to the repository that package.json names", () => {
    const links = [...readme.matchAll(/\]\(([^)#\s]+)/g)].map(([, link]) => link!);
    expect(links.length).toBeGreaterThan(15);
    // npm packs these always
    const packed = ["README.md", "LICENSE", "package.json", ...files.filter((entry) => !entry.startsWith("!"))];
    for (const link of links) {
      if (/^https?:/.test(link)) expect(link.startsWith(repository?.url ?? "no repository is named")).toBe(true);
      else
        expect(
          packed.some((entry) => link === entry || link.startsWith(`${entry}/`)),
          link,
        ).toBe(true);
    }
  });

  it("has three samples, each about ten lines", () => {
    expect(others).toEqual([]);
    for (const sample of [tensor, network, embedding]) expect(sample.trim().split("\n").length).toBeLessThanOrEqual(14);
  });

  it("has a page that needs no bundler, which is that of examples/", () => {
    const [page] = codeOf(readme, "html") as [string];
    const example = readFileSync(join(root, "examples/import-map/index.html"), "utf8");
    const plain = (text: string) =>
      text.replace(/\s+/g, " ").replaceAll("../../dist/", "./node_modules/tenfold/dist/").trim();
    expect(plain(example)).toContain(plain(page));
  });

  it("has samples that are JavaScript too, as Node 20 runs them", () => {
    const AsyncFunction = (async () => {}).constructor as new (...of: string[]) => unknown;
    for (const sample of [tensor, network, embedding])
      expect(() => new AsyncFunction("load", bodyOf(sample, true))).not.toThrow();
  });

  it("decomposes a tensor", async () => {
    const [line, ...rest] = await samples.run(tensor);
    expect(rest).toEqual([]);
    expect(line).toMatch(/^error \S+, converged: true, 4 of 4 starts agree$/);
    expect(Number(/error (\S+),/.exec(line!)![1])).toBeLessThan(5e-7);
  });

  it("embeds in a host's device", async () => {
    await samples.run(embedding);
    const { read, out, products } = await samples.program();
    expect(new Set(await read(out))).toEqual(new Set([3]));
    expect(new Set(await read(products))).toEqual(new Set([30]));
  });

  it("decomposes a network", async () => {
    const said = await samples.run(network);
    expect(said).toHaveLength(9);
    const [, before, now] = /^(\d+) numbers before, (\d+) now$/.exec(said[8]!)!;
    expect(Number(before)).toBe(61706);
    expect(Number(now)).toBeLessThanOrEqual(61706 / 4);
  }, 400_000);
});

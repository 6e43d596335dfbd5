/** The code of the guide's pages runs, and says what the comments beside it say. */
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { bodyOf, isSample, promisedBy } from "../docs/.vitepress/samples/code.js";
import { codeOf, Samples } from "./samples.js";

const DOCS = resolve(import.meta.dirname, "../docs");
const pages = [...readdirSync(join(DOCS, "guide")).map((file) => `guide/${file}`), "files.md", "index.md"]
  .filter((file) => file.endsWith(".md"))
  .map((file) => ({ file, blocks: codeOf(readFileSync(join(DOCS, file), "utf8"), "ts") }))
  .filter(({ blocks }) => blocks.length);

const samples = new Samples("guide");
afterAll(() => samples.close());

describe.each(pages)("$file", ({ blocks }) => {
  it.each(blocks)("is JavaScript too, which the site's pages run", (code) => {
    const AsyncFunction = (async () => {}).constructor as new (...of: string[]) => unknown;
    expect(() => new AsyncFunction("load", bodyOf(code, false))).not.toThrow();
  });

  it.each(blocks.map((code, index) => ({ code, number: index + 1 })))("sample $number", async ({ code }) => {
    expect(isSample("ts", code), "it takes something from tenfold, and says what it prints").toBe(true);
    expect(await samples.run(code)).toEqual(promisedBy(code));
  });
});

it("most pages of the guide have code that runs", () => {
  expect(pages.map(({ file }) => file)).toEqual([
    ...["embedding", "large", "matrices", "memory", "missing", "networks"].map((page) => `guide/${page}.md`),
    ...["rank", "tensors", "which", "workers"].map((page) => `guide/${page}.md`),
    "files.md",
    "index.md",
  ]);
});

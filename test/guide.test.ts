/** The code of the guide's pages runs, and says what the comments beside it say. */
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { codeOf, Samples } from "./samples.js";

const GUIDE = resolve(import.meta.dirname, "../docs/guide");
const pages = readdirSync(GUIDE)
  .filter((file) => file.endsWith(".md"))
  .map((file) => ({ file, blocks: codeOf(readFileSync(join(GUIDE, file), "utf8"), "ts") }))
  .filter(({ blocks }) => blocks.length);

const samples = new Samples("guide");
afterAll(() => samples.close());

describe.each(pages)("$file", ({ blocks }) => {
  it.each(blocks.map((code, index) => ({ code, number: index + 1 })))("sample $number", async ({ code }) => {
    const promised = [...code.matchAll(/\/\/ → (.*)$/gm)].map(([, line]) => line!);
    expect(promised.length, "a sample says what comes of it").toBeGreaterThan(0);
    expect(await samples.run(code)).toEqual(promised);
  });
});

it("most pages of the guide have code that runs", () => {
  expect(pages.map(({ file }) => file)).toEqual([
    ...["embedding.md", "large.md", "matrices.md", "memory.md", "missing.md", "networks.md"],
    ...["rank.md", "tensors.md", "which.md"],
  ]);
});

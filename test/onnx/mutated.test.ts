/** Files that are cut off, or in which bytes were changed: one clear error each, or a model that reads. */
import { beforeAll, expect, it } from "vitest";
import { TenfoldError } from "../../src/errors.js";
import { foldOnnx, type OnnxModel, onnxSites, readOnnx, replaceSites, writeOnnx } from "../../src/onnx/index.js";
import { exactReplacement, schemesOf } from "./exact.js";
import { mutate, random } from "./mutate.js";
import { fixture } from "./runtime.js";

const FILES = [
  "convolutions",
  "transposed",
  "products",
  "transformer",
  "normalised",
  "torture",
  "half",
  "bfloat16",
  "old",
  "external",
  "shapes",
];
const SEED = 20201129;

/** Everything that one does with a model. */
async function everything(bytes: Uint8Array): Promise<OnnxModel> {
  const model = readOnnx(bytes, { file: "mutated.onnx", external: () => new Uint8Array(0) });
  const { sites } = onnxSites(model, { smallest: 0 });
  for (const site of sites) {
    await site.weights();
    await site.bias();
  }
  const { model: folded } = await foldOnnx(model);
  const small = onnxSites(folded, { smallest: 0 }).sites.filter(({ counts }) => counts.weights < 1e4);
  const replacements = await Promise.all(small.slice(0, 3).map((site) => exactReplacement(site, schemesOf(site)[0]!)));
  const changed = replaceSites(folded, replacements);
  readOnnx(writeOnnx(changed));
  return changed;
}

let memory = 0;
beforeAll(() => {
  memory = process.memoryUsage().arrayBuffers;
});

it.each(FILES)("%s", async (name) => {
  const bytes = fixture(`${name}.onnx`);
  const outcomes = { read: 0, refused: 0 };
  for (let turn = 0; turn < 100; turn++) {
    const seed = SEED + turn;
    const mutated = mutate(bytes, random(seed));
    try {
      await everything(mutated);
      outcomes.read++;
    } catch (error) {
      outcomes.refused++;
      const { message, stack } = error as Error;
      expect(error instanceof TenfoldError, `${name}, seed ${seed}: ${stack}`).toBe(true);
      expect(message, `${name}, seed ${seed}`).toMatch(/^(mutated\.onnx|model\.onnx|replaceSites|foldOnnx)/);
      expect(message.length, `${name}, seed ${seed}: ${message}`).toBeLessThan(700);
    }
    expect(process.memoryUsage().arrayBuffers - memory, `${name}, seed ${seed}`).toBeLessThan(400e6);
  }
  // the test would say nothing if all were refused at once, or none
  expect(outcomes.refused).toBeGreaterThan(20);
  expect(outcomes.read + outcomes.refused).toBe(100);
});

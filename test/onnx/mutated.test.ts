/** Files that are cut off, or in which bytes were changed: one clear error each, or a model that reads. */
import { beforeAll, expect, it } from "vitest";
import { TenfoldError } from "../../src/errors.js";
import { foldOnnx, type OnnxModel, onnxSites, readOnnx, replaceSites, writeOnnx } from "../../src/onnx/index.js";
import { exactReplacement, schemesOf } from "./exact.js";
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

/** mulberry32 */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A file that is cut off, has some bytes changed, or has a length replaced by another. */
function mutate(bytes: Uint8Array, next: () => number): Uint8Array {
  const below = (count: number): number => Math.floor(next() * count);
  const kind = below(4);
  if (kind === 0) return bytes.slice(0, below(bytes.length));
  const out = bytes.slice();
  // weights are most of a file: the graph's messages are changed more often than those
  for (let count = 1 + below(kind === 1 ? 1 : 6); count > 0; count--) {
    const at = below(2) ? below(out.length) : below(Math.min(out.length, 400));
    if (kind === 3) out.fill(0xff, at, at + 1 + below(9));
    else out[at] = below(256);
  }
  if (kind !== 2 || out.length < 30) return out;
  // bytes taken out or put in, so that no length fits any more
  const at = below(out.length - 20);
  return below(2)
    ? Uint8Array.from([...out.subarray(0, at), ...out.subarray(at + 1 + below(9))])
    : Uint8Array.from([...out.subarray(0, at), ...out.subarray(at, at + below(9)), ...out.subarray(at)]);
}

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

/** A file that is far larger than what may be used of memory: bytes of the engine and of the host's arrays, by their counters. */
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { stHosvd } from "../../src/decompositions/index.js";
import { openNpy } from "../../src/node/index.js";
import { type RowReader, streamed } from "../../src/sources/index.js";
import { siblingEngine } from "../engine.js";
import { randomArray } from "../reference.js";

const SHAPE = [64, 256, 256];
/** 33.6 MB as f8, of which a slab may take a fourth of 3 MB as f32 */
const BYTES = 8 * 64 * 256 * 256;
const MEMORY = 3e6;

const folder = mkdtempSync(join(tmpdir(), "large-"));
const name = join(folder, "x.npy");
const factors = SHAPE.map((extent, mode) => randomArray(2 * extent, 30 + mode));
beforeAll(() => {
  const header = Buffer.from(
    `\x93NUMPY\x01\x00v\x00${"{'descr': '<f8', 'fortran_order': False, 'shape': (64, 256, 256), }".padEnd(117)}\n`,
    "latin1",
  );
  const file = openSync(name, "w");
  writeSync(file, header);
  const [a, b, c] = factors as [Float32Array, Float32Array, Float32Array];
  const row = new Float64Array(256 * 256);
  for (let i = 0; i < 64; i++) {
    for (let j = 0; j < 256; j++) {
      const [one, two] = [a[2 * i]! * b[2 * j]!, a[2 * i + 1]! * b[2 * j + 1]!];
      for (let k = 0; k < 256; k++) row[256 * j + k] = one * c[2 * k]! + two * c[2 * k + 1]!;
    }
    writeSync(file, new Uint8Array(row.buffer));
  }
  closeSync(file);
});
afterAll(() => rmSync(folder, { recursive: true }));

it("a file of 34 MB is decomposed in 3 MB of the GPU's memory and as much of the host's, in four passes", async () => {
  const engine = await siblingEngine();
  using file = await openNpy(name);
  const host = (): number => process.memoryUsage().arrayBuffers;
  let rows = 0;
  let most = 0;
  const reader: RowReader = {
    shape: file.shape,
    format: file.format,
    async read(start, count, into) {
      rows += count;
      await file.read(start, count, into);
      most = Math.max(most, host());
    },
  };
  const before = { live: engine.memory().live, host: host() };
  using x = await streamed(engine, reader, { memory: MEMORY });
  expect(x.parts.length).toBe(32);
  const run = async (): Promise<number> => {
    const { tensor, relativeError } = await stHosvd(engine, x, { ranks: 2 });
    tensor.destroy();
    return relativeError;
  };
  // the first run has the probes of kernels, too
  await run();
  engine.buffers.memory.peak = engine.memory().live;
  [rows, most] = [0, 0];
  expect(await run()).toBeLessThan(1e-6);
  // sketches, a refinement, the core and what is lost
  expect(rows).toBe(3 * 64);
  expect(engine.memory().peak - before.live).toBeLessThan(MEMORY);
  // two slabs of 0.5 MB, two pieces of the file of 1 MB, and what waits to be collected
  expect(most - before.host).toBeLessThan(BYTES / 4);
});

/** Every solver that reads X by verbs, on every kind of source: the same result as on one f32 tensor. */
import { describe, expect, it } from "vitest";
import {
  cp,
  cpALS,
  cpErrorPreserving,
  hosvd,
  leadingSubspace,
  rankProfile,
  stHosvd,
  tuckerHOOI,
} from "../../src/decompositions/index.js";
import { dispose, type Engine, type Tensor } from "../../src/gpu/index.js";
import { type NumberFormat, type RowReader, type Source, slabs, sourceOf, streamed } from "../../src/sources/index.js";
import type { KruskalTensor, TuckerTensor } from "../../src/tensors/index.js";
import { kruskal } from "../decompositions/planted.js";
import { evaluate, expectClose, relativeError, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

const SHAPE = [13, 6, 7];
const SIZE = 13 * 42;
const ROW = 42;
/** of the numbers of rank 3 that are planted, from -100 to 100 */
const LARGEST = 100;

const clean = kruskal(
  SHAPE.map((extent, mode) => randomArray(3 * extent, 20 + mode)),
  SHAPE,
  3,
);
const most = clean.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
const noise = randomArray(SIZE, 7);
const values = Float32Array.from(clean, (value, at) => (LARGEST * (value + 0.02 * noise[at]!)) / (1.1 * most));

/** The upper bits of f32: what bf16 has. */
const bf16 = (value: number): number => new Uint32Array(Float32Array.of(value).buffer)[0]! >>> 16;
/** Small whole numbers and their halves as f16. */
function f16(value: number): number {
  if (value === 0) return 0;
  const exponent = Math.floor(Math.log2(Math.abs(value)));
  const fraction = Math.round((Math.abs(value) / 2 ** exponent - 1) * 1024);
  return (value < 0 ? 0x8000 : 0) | ((exponent + 15) << 10) | fraction;
}

/** Numbers of a format, and what they are as f32. */
const FORMATS: Record<NumberFormat, () => { data: Parameters<typeof sourceOf>[3]; floats: Float32Array }> = {
  f32: () => ({ data: values, floats: values }),
  u8: () => rounded(Uint8Array.from(values, (value) => 100 + Math.round(value))),
  i8: () => rounded(Int8Array.from(values, Math.round)),
  u16: () => rounded(Uint16Array.from(values, (value) => 30000 + Math.round(200 * value))),
  i16: () => rounded(Int16Array.from(values, (value) => Math.round(200 * value))),
  u32: () => rounded(Uint32Array.from(values, (value) => 100 + Math.round(value))),
  i32: () => rounded(Int32Array.from(values, (value) => Math.round(value))),
  f16: () => ({
    data: Uint16Array.from(values, (value) => f16(Math.round(value * 2) / 2)),
    floats: Float32Array.from(values, (value) => Math.round(value * 2) / 2),
  }),
  bf16: () => {
    const data = Uint16Array.from(values, bf16);
    return { data, floats: new Float32Array(Uint32Array.from(data, (half) => half << 16).buffer) };
  },
};
const rounded = <D extends ArrayLike<number>>(data: D) => ({ data, floats: Float32Array.from(data) });

const wordFormat = (format: NumberFormat) => (format === "f16" || format === "bf16" ? { format } : {});

/** Rows of an array, read as those of a file are. */
const readerOf = (data: { buffer: ArrayBufferLike; byteLength: number }, format: NumberFormat): RowReader => {
  const bytes = new Uint8Array(data.buffer);
  const row = data.byteLength / SHAPE[0]!;
  return {
    shape: SHAPE,
    format,
    async read(start, count, into) {
      await Promise.resolve();
      into.set(bytes.subarray(start * row, (start + count) * row));
    },
  };
};

type Made = Source & { [dispose](): void };

/** Sources, by what they are; `floats` are the numbers that they hold. */
const SOURCES: Record<string, (engine: Engine) => Promise<{ source: Made; floats: Float32Array }>> = {
  "one tensor that is its own": async (engine) => ({
    source: await sourceOf("test", engine, SHAPE, values, {}),
    floats: values,
  }),
  "slabs of the host": async (engine) => ({
    source: await slabs(
      engine,
      [0, 5, 9].map((start, index, starts) => {
        const stop = starts[index + 1] ?? SHAPE[0]!;
        return { shape: [stop - start, 6, 7], read: () => values.subarray(start * ROW, stop * ROW) };
      }),
    ),
    floats: values,
  }),
};
for (const format of Object.keys(FORMATS) as NumberFormat[]) {
  // 4 rows a slab, as f32; of u8 a slab ends within a word
  SOURCES[`slabs of ${format} on the GPU`] = async (engine) => {
    const { data, floats } = FORMATS[format]();
    return { source: await sourceOf("test", engine, SHAPE, data, wordFormat(format), 4.5 * 4 * ROW), floats };
  };
  SOURCES[`streamed ${format}`] = async (engine) => {
    const { data, floats } = FORMATS[format]();
    // 3 rows a slab of f32
    return { source: await streamed(engine, readerOf(data as Float32Array, format), { memory: 2200 }), floats };
  };
}
SOURCES["streamed out of an array"] = async (engine) => ({
  source: await sourceOf("test", engine, SHAPE, values, { memory: 2200 }),
  floats: values,
});

type Result = { tensor: KruskalTensor | TuckerTensor; relativeError: number };
const ranks = [3, 3, 3];
const SOLVERS: Record<string, (engine: Engine, x: Tensor | Source) => Promise<Result>> = {
  cp: (engine, x) => cp(engine, x, { rank: 3, starts: 2, sweeps: 100, tolerance: 1e-9, compression: "none" }),
  "cp by way of a core": (engine, x) => cp(engine, x, { rank: 2, starts: 2, sweeps: 100, tolerance: 1e-9 }),
  cpALS: (engine, x) => cpALS(engine, x, { rank: 3, sweeps: 8, tolerance: 0, seed: 1 }),
  "cpALS from the HOSVD": (engine, x) => cpALS(engine, x, { rank: 3, sweeps: 4, tolerance: 0, initialize: "hosvd" }),
  tuckerHOOI: (engine, x) => tuckerHOOI(engine, x, { ranks, sweeps: 4, tolerance: 0 }),
  hosvd: (engine, x) => hosvd(engine, x, { ranks, sweeps: 6, tolerance: 0 }),
  stHosvd: (engine, x) => stHosvd(engine, x, { ranks, sweeps: 6, tolerance: 0 }),
  async cpErrorPreserving(engine, x) {
    const start = await cpALS(engine, x, { rank: 3, sweeps: 4, tolerance: 0, seed: 1 });
    using _ = start.tensor;
    return await cpErrorPreserving(engine, x, start.tensor, { sweeps: 4, tolerance: 0, relativeError: 0.5 });
  },
};

/** What numbers are kept as is no matter of the solver: of packed sources one solver a family is tried. */
const PACKED = ["cpALS", "tuckerHOOI"];
const solversOf = (source: string) =>
  Object.entries(SOLVERS).filter(([name]) => !/ [uib]+f?(8|16|32)| f16/.test(source) || PACKED.includes(name));

describe.each(Object.entries(SOURCES))("%s", (kind, make) => {
  it.each(solversOf(kind))("%s", async (name, solve) => {
    const engine = await testEngine();
    const { live } = engine.memory();
    {
      const { source, floats } = await make(engine);
      using _source = source;
      using x = engine.tensor(SHAPE, floats);
      const results = [await solve(engine, x), await solve(engine, source)] as const;
      const full: Float32Array[] = [];
      for (const { tensor } of results) {
        full.push(await evaluate(engine, (s) => tensor.full(s)));
        tensor.destroy();
      }
      expect(Math.abs(results[1].relativeError - results[0].relativeError)).toBeLessThan(1e-5);
      // cp takes other kernels for one small tensor; both end at the same model
      expectClose(full[1]!, full[0]!, name.startsWith("cp") ? 2e-3 : 1e-4);
      // and the error that is told is that of the model
      let [lack, all] = [0, 0];
      for (const [at, value] of floats.entries()) {
        lack += (value - full[1]![at]!) ** 2;
        all += value ** 2;
      }
      expect(Math.abs(Math.sqrt(lack / all) - results[1].relativeError)).toBeLessThan(1e-5);
    }
    await engine.idle();
    expect(engine.memory().live).toBe(live);
  });
});

it("rank profiles and subspaces are those of one tensor", async () => {
  const engine = await testEngine();
  using x = engine.tensor(SHAPE, values);
  using source = await streamed(engine, readerOf(values, "f32"), { memory: 2200 });
  const profiles = [];
  const subspaces = [];
  for (const input of [x, source]) {
    profiles.push(await rankProfile(engine, input, { most: 2, starts: 2, sweeps: 100 }));
    const { vectors } = await leadingSubspace(engine, input, 1, 3, { sweeps: 20, tolerance: 0 });
    subspaces.push(await vectors.read());
    vectors.destroy();
  }
  expect(relativeError(subspaces[1]!, subspaces[0]!)).toBeLessThan(1e-4);
  for (const [index, fit] of profiles[1]!.ranks.entries()) {
    const { relativeError, coreConsistency, degeneracy } = profiles[0]!.ranks[index]!;
    expect(Math.abs(fit.relativeError - relativeError)).toBeLessThan(1e-5);
    expect(Math.abs(fit.coreConsistency! - coreConsistency!)).toBeLessThan(0.1);
    // factors are found to the root of what their error tells
    expect(Math.abs(fit.degeneracy / degeneracy - 1)).toBeLessThan(5e-3);
  }
});

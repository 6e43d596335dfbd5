/** Tensors that stay with the host: memory, order of reads, and errors. */
import { describe, expect, it } from "vitest";
import { cp, cpALS, tuckerHOOI } from "../../src/decompositions/index.js";
import { dispose, type Engine } from "../../src/gpu/index.js";
import { type RowReader, Slabs, source, sourceOf, streamed } from "../../src/sources/index.js";
import { siblingEngine, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

const SHAPE = [96, 40, 50];
const ROW = 2000;
const values = randomArray(96 * ROW, 3);

function reader(log: string[] = []): RowReader {
  return {
    shape: SHAPE,
    format: "f32",
    async read(start, count, into) {
      log.push(`${start}+${count}`);
      await Promise.resolve();
      into.set(new Uint8Array(values.buffer, 4 * start * ROW, 4 * count * ROW));
    },
  };
}

describe("streamed", () => {
  it("stays within its memory, whatever the solver", async () => {
    const engine = await siblingEngine();
    const memory = 400_000; // 96 rows have 768,000 bytes
    const before = engine.memory().live;
    {
      using x = await streamed(engine, reader(), { memory });
      expect(x.parts.length).toBeGreaterThan(4);
      const runs = [
        [0, () => cp(engine, x, { rank: 3, starts: 1, sweeps: 3, compression: "none" })],
        [0, () => cpALS(engine, x, { rank: 3, sweeps: 3 })],
        // the subspace of mode 0 has a projected tensor of 10 rows, and some more of that size
        [10 * 4 * 10 * ROW, () => tuckerHOOI(engine, x, { ranks: [2, 40, 50], sweeps: 3 })],
      ] as const;
      for (const [beside, run] of runs) {
        // the first run has the probes of kernels, too
        (await run()).tensor.destroy();
        engine.buffers.memory.peak = engine.memory().live;
        (await run()).tensor.destroy();
        expect(engine.memory().peak - before).toBeLessThan(memory + beside);
      }
    }
    expect(engine.memory().live).toBe(before);
    expect(4 * values.length).toBeGreaterThan(memory);
    engine.destroy();
  });

  it("reads each slab once in an iteration of cp, and twice in a plain sweep of cpALS, in order", async () => {
    const engine = await testEngine();
    const log: string[] = [];
    using x = await streamed(engine, reader(log), { memory: 400_000 });
    const slabs = x.parts.length;
    expect(log.length).toBe(slabs);
    const readsOf = async (run: () => Promise<{ tensor: { destroy(): void } }>): Promise<number> => {
      log.length = 0;
      (await run()).tensor.destroy();
      return log.length;
    };
    const cpReads = (sweeps: number) =>
      readsOf(() => cp(engine, x, { rank: 2, starts: 1, sweeps, tolerance: 0, compression: "none" }));
    expect((await cpReads(6)) - (await cpReads(4))).toBe(2 * slabs);
    // extrapolated sweeps read it a third time, for their error
    const options = { rank: 2, tolerance: 0, acceleration: "none" } as const;
    const alsReads = (sweeps: number) => readsOf(() => cpALS(engine, x, { ...options, sweeps }));
    expect((await alsReads(12)) - (await alsReads(10))).toBe(2 * 2 * slabs);
    const starts = log.map((entry) => Number.parseInt(entry, 10));
    for (const [index, start] of starts.entries())
      if (index && start) expect(start).toBeGreaterThan(starts[index - 1]!);
  });

  it("goes on after a run whose reader failed, with what is right", async () => {
    const engine = await testEngine();
    const { live } = engine.memory();
    let fails = false;
    const sound = reader();
    const x = await streamed(
      engine,
      {
        ...sound,
        read: (start, ...rest) => {
          if (fails && start > 30) throw new Error("the disk is gone");
          return sound.read(start, ...rest);
        },
      },
      { memory: 400_000 },
    );
    const run = () => cpALS(engine, x, { rank: 2, sweeps: 3, tolerance: 0 });
    const before = await run();
    fails = true;
    await expect(run()).rejects.toThrow("the disk is gone");
    fails = false;
    const after = await run();
    expect(after.errors).toEqual(before.errors);
    for (const { tensor } of [before, after]) tensor.destroy();
    x[dispose]();
    await engine.idle();
    expect(engine.memory().live).toBe(live);
  });

  it("says what it needs", async () => {
    const engine = await testEngine();
    const { live } = engine.memory();
    await expect(streamed(engine, reader(), { memory: 12_000 })).rejects.toThrow(
      /^streamed: a row of 96×40×50 takes .* as f32, and memory of .* has room for slabs of .*; allow .*, or permute the modes/,
    );
    await expect(streamed(engine, {} as RowReader)).rejects.toThrow("the second argument is no reader, needs { shape");
    await expect(streamed({} as Engine, reader())).rejects.toThrow("streamed: the first argument is no engine");
    await expect(streamed(engine, reader(), { memory: -1 })).rejects.toThrow("memory is -1, needs a number of bytes");
    const bad = reader();
    const withNaN: RowReader = {
      ...bad,
      async read(start, count, into) {
        await bad.read(start, count, into, undefined);
        if (start <= 17 && start + count > 17) new Float32Array(into.buffer)[(17 - start) * ROW + 50 + 3] = Number.NaN;
      },
    };
    await expect(streamed(engine, withNaN, { memory: 400_000 })).rejects.toThrow(
      "has 1 entry that is not finite, NaN at [17, 1, 3]; remove or replace it",
    );
    await engine.idle();
    expect(engine.memory().live).toBe(live);
  });
});

describe("source", () => {
  it("is one tensor where that fits, and slabs where it does not", async () => {
    const engine = await testEngine();
    const { live } = engine.memory();
    for (const data of [values, Float64Array.from(values), [...values]]) {
      using one = await source(engine, SHAPE, data);
      expect(one).not.toBeInstanceOf(Slabs);
    }
    {
      using large = await sourceOf(
        "source",
        engine,
        SHAPE,
        values.map((value) => value * 1e30),
        {},
        200_000,
      );
      expect(String(large)).toBe("a tensor 96×40×50 in 4 slabs");
      expect(large.exponent).toBe(99);
    }
    expect(engine.memory().live).toBe(live);
  });

  it("keeps numbers of fewer bytes as they are", async () => {
    const engine = await siblingEngine();
    const bytes = Int8Array.from(values, (value) => 100 * value);
    using x = await sourceOf("source", engine, SHAPE, bytes, {}, 40_000);
    expect(x).toBeInstanceOf(Slabs);
    // buffers come in steps of a fourth
    expect(engine.memory().live).toBeLessThan(1.3 * bytes.length);
    const before = engine.memory().live;
    const run = async () => (await cpALS(engine, x, { rank: 2, sweeps: 3 })).tensor.destroy();
    await run();
    engine.buffers.memory.peak = before;
    await run();
    // less than x as f32 takes
    expect(engine.memory().peak - before).toBeLessThan(0.6 * 4 * bytes.length);
  });

  it("says what it takes", async () => {
    const engine = await testEngine();
    await expect(source(engine, SHAPE, new Int8Array(5))).rejects.toThrow(
      "source: 5 values given, 96×40×50 needs 192000",
    );
    await expect(source(engine, [5], new Int8Array(5), { format: "f16" })).rejects.toThrow(
      "source: format f16 is for a Uint16Array, data is i8",
    );
    await expect(source(engine, [5], 5 as never)).rejects.toThrow("source: data is no list of numbers");
    await expect(source(engine, [2, 2], [1, 2, 3, Number.NaN])).rejects.toThrow("X 2×2 has 1 entry that is not finite");
  });
});

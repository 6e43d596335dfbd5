/** Tensors with missing entries: known entries alone count, and the model predicts the others. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { cp, cpALS, cpErrorPreserving, hosvd, ttSVD, tuckerHOOI } from "../../src/decompositions/index.js";
import { type Engine, Program, type Tensor } from "../../src/gpu/index.js";
import { accumulateWhere, packBits } from "../../src/ops/index.js";
import { masked } from "../../src/sources/index.js";
import { KruskalTensor, TuckerTensor } from "../../src/tensors/index.js";
import { kruskal } from "../decompositions/planted.js";
import { evaluate, expectClose, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

interface Case {
  x: number[];
  known: string;
  error: number;
  tensorly: number;
  unseen: number;
  full: number[];
}
const fixture = JSON.parse(readFileSync(new URL("../fixtures/masked/expected.json", import.meta.url), "utf8")) as {
  shape: [number, number, number];
  rank: number;
  cases: Record<string, Case>;
};
const { shape: SHAPE, rank: RANK, cases } = fixture;
const SIZE = 504;

/** Numbers with NaN where a case has no entry. */
const withNaN = ({ x, known }: Case): Float32Array =>
  Float32Array.from(x, (value, at) => (known[at] === "1" ? value : Number.NaN));

const fullOf = (engine: Engine, tensor: { full(s: never): Tensor }) =>
  evaluate(engine, (s) => tensor.full(s as never)) as Promise<Float32Array>;

describe.each(Object.entries(cases))("a part of %s missing", (part, expected) => {
  it("cp ends at the optimum of f64, and predicts what it does", async () => {
    const engine = await testEngine();
    const { live } = engine.memory();
    {
      using x = engine.tensor(SHAPE, withNaN(expected));
      using source = await masked(engine, x);
      expect(source.known).toBe([...expected.known].filter((bit) => bit === "1").length);
      const result = await cp(engine, source, { rank: RANK, starts: 4 });
      using tensor = result.tensor;
      expect(result.known).toBe(source.known);
      expect(result.converged).toBe(true);
      expect(Math.abs(result.relativeError - expected.error)).toBeLessThan(2e-6);
      expect(result.relativeError).toBeLessThan(expected.tensorly + 2e-6);
      expectClose(await fullOf(engine, tensor), expected.full, 1e-2);
      // half of the entries or more missing take some 20 to 160 iterations, by the start that is the best
      expect(result.sweeps).toBeLessThan(300);
    }
    expect(engine.memory().live).toBe(live);
  });

  it("cpALS tells the error of known entries", async () => {
    const engine = await testEngine();
    using x = engine.tensor(SHAPE, withNaN(expected));
    using source = await masked(engine, x);
    const result = await cpALS(engine, source, { rank: RANK, starts: 2, sweeps: 400, tolerance: 1e-8, seed: 3 });
    using tensor = result.tensor;
    // alternating least squares may end at another minimum
    if (part !== "0.5") expect(result.relativeError).toBeLessThan(1.02 * expected.error);
    const full = await fullOf(engine, tensor);
    let [lack, all] = [0, 0];
    for (let at = 0; at < SIZE; at++) {
      if (expected.known[at] !== "1") continue;
      lack += (expected.x[at]! - full[at]!) ** 2;
      all += expected.x[at]! ** 2;
    }
    expect(Math.abs(Math.sqrt(lack / all) - result.relativeError)).toBeLessThan(1e-5);
  });
});

describe("masked", () => {
  const data = cases["0.5"]!;

  it("takes masks as arrays and tensors, and integers with a mask; what lies beneath does not matter", async () => {
    const engine = await testEngine();
    const bits = Uint8Array.from(data.known, Number);
    using x = engine.tensor(SHAPE, withNaN(data));
    using hidden = engine.tensor(
      SHAPE,
      data.x.map((value, at) => (bits[at] ? value : 1e30)),
    );
    using all = engine.tensor(
      SHAPE,
      Int32Array.from(data.x, (value) => 1000 * value),
    );
    using floats = engine.tensor(SHAPE, Float32Array.from(bits));
    const facts = async (input: Tensor | Tensor<"i32">, mask?: Parameters<typeof masked>[2]) => {
      using source = await masked(engine, input as Tensor, mask);
      return [source.known, source.exponent, source.squaredNorm, source.largest];
    };
    const expected = await facts(x);
    for (const mask of [bits, [...bits], floats]) {
      expect(await facts(x, { mask })).toEqual(expected);
      expect(await facts(hidden, { mask })).toEqual(expected);
    }
    const [known, , norm] = await facts(all, { mask: bits });
    expect(known).toBe(expected[0]);
    expect(Math.abs(Math.sqrt(norm! / expected[2]!) / 1000 - 1)).toBeLessThan(1e-3);
  });

  it("scales what is very large or small", async () => {
    const engine = await testEngine();
    const results = [];
    for (const scale of [1, 2 ** 60, 2 ** -70]) {
      using x = engine.tensor(
        SHAPE,
        withNaN(data).map((value) => value * scale),
      );
      using source = await masked(engine, x);
      const { tensor, relativeError } = await cp(engine, source, { rank: RANK, starts: 1, seed: 2 });
      results.push({ relativeError, full: (await fullOf(engine, tensor)).map((value) => value / scale) });
      tensor.destroy();
    }
    for (const { relativeError, full } of results.slice(1)) {
      expect(Math.abs(relativeError - results[0]!.relativeError)).toBeLessThan(1e-6);
      expectClose(full, results[0]!.full, 1e-3);
    }
  });

  it("leaves a slice of which nothing is known at 0, says which, and predicts the rest", async () => {
    const engine = await testEngine();
    const known = data.known.split("").map((bit, at) => (Math.floor(at / 7) % 8 === 3 || at < 56 ? 0 : Number(bit)));
    using x = engine.tensor(SHAPE, data.x);
    using source = await masked(engine, x, { mask: known });
    expect(source.unknownSlices).toEqual([
      { mode: 0, index: 0 },
      { mode: 1, index: 3 },
    ]);
    for (const solve of [
      () => cp(engine, source, { rank: RANK, starts: 2 }),
      () => cpALS(engine, source, { rank: RANK, sweeps: 30 }),
      () => tuckerHOOI(engine, source, { ranks: [2, 2, 2], sweeps: 30 }),
    ]) {
      const { tensor, relativeError } = await solve();
      const full = await fullOf(engine, tensor);
      expect(relativeError).toBeLessThan(0.2);
      expect(full.every(Number.isFinite)).toBe(true);
      for (let at = 0; at < 56; at++) expect(Math.abs(full[at]!)).toBeLessThan(1e-5);
      tensor.destroy();
    }
  });

  it("is for tuckerHOOI, by expectation maximisation", async () => {
    const engine = await testEngine();
    const few = cases["0.1"]!;
    using x = engine.tensor(SHAPE, withNaN(few));
    using source = await masked(engine, x);
    const result = await tuckerHOOI(engine, source, { ranks: [2, 2, 2], sweeps: 60, tolerance: 1e-7 });
    using tensor = result.tensor;
    // a model of CP is one of Tucker's
    expect(result.relativeError).toBeLessThan(few.error + 1e-4);
    expect(result.known).toBe(source.known);
    const full = await fullOf(engine, tensor);
    let [lack, all] = [0, 0];
    for (let at = 0; at < SIZE; at++) {
      if (few.known[at] === "1") continue;
      lack += (few.full[at]! - full[at]!) ** 2;
      all += few.full[at]! ** 2;
    }
    expect(Math.sqrt(lack / all)).toBeLessThan(0.1);
  });

  it("an exact model of nine tenths missing is found", async () => {
    const engine = await testEngine();
    const shape = [20, 19, 18];
    const clean = kruskal(
      shape.map((extent, mode) => randomArray(2 * extent, 30 + mode)),
      shape,
      2,
    );
    const random = randomArray(clean.length, 5);
    using x = engine.tensor(
      shape,
      Float32Array.from(clean, (value, at) => (random[at]! < -0.8 ? value : Number.NaN)),
    );
    using source = await masked(engine, x);
    expect(source.known / source.size).toBeLessThan(0.12);
    const { tensor, relativeError } = await cp(engine, source, { rank: 2, starts: 4, sweeps: 300 });
    expect(relativeError).toBeLessThan(1e-3);
    expectClose(await fullOf(engine, tensor), clean, 1e-2);
    tensor.destroy();
  });

  it("differences, residuals and what they make are those of known entries, weighted", async () => {
    const engine = await testEngine();
    using x = engine.tensor(SHAPE, withNaN(data));
    using source = await masked(engine, x);
    const factors = SHAPE.map((extent, mode) => engine.tensor([extent, 2], randomArray(2 * extent, 60 + mode)));
    using core = engine.tensor([2, 2, 2], randomArray(8, 9));
    using weights = engine.tensor([2], [1, 2]);
    const models = [new KruskalTensor(weights, factors), new TuckerTensor(core, factors)];
    const weight = SIZE / source.known;
    for (const model of models) {
      const full = await fullOf(engine, model);
      let squared = 0;
      const difference = data.x.map((value, at) => (data.known[at] === "1" ? Math.fround(value) - full[at]! : 0));
      for (const value of difference) squared += weight * value ** 2;
      using residual = engine.tensor([1]);
      using norm = engine.tensor([1]);
      using product = engine.tensor([SHAPE[1]!, 2]);
      const left = source.difference();
      await Program.run(engine, (p) => {
        source.residual(p, model, { out: residual });
        left.refresh(p, model);
        left.squaredNorm(p, { out: norm });
        left.mttkrp(p, factors, 1, { out: product });
      });
      left.destroy();
      expect(Math.abs((await residual.read())[0]! / squared - 1)).toBeLessThan(1e-5);
      expect(Math.abs((await norm.read())[0]! / squared - 1)).toBeLessThan(1e-5);
      const [a, , c] = await engine.read(factors);
      const wanted = new Float64Array(2 * SHAPE[1]!);
      for (let at = 0; at < SIZE; at++) {
        const [i, j, k] = [Math.floor(at / 56), Math.floor(at / 7) % 8, at % 7];
        for (let r = 0; r < 2; r++) wanted[2 * j + r]! += weight * difference[at]! * a![2 * i + r]! * c![2 * k + r]!;
      }
      expectClose(await product.read(), wanted, 1e-5);
    }
    for (const factor of factors) factor.destroy();
  });

  it("says what is wrong, and what takes no such tensor", async () => {
    const engine = await testEngine();
    const { live } = engine.memory();
    {
      using x = engine.tensor(SHAPE, withNaN(data));
      using source = await masked(engine, x);
      await expect(ttSVD(engine, source, { ranks: 2 })).rejects.toThrow(
        /^ttSVD: a tensor 9×8×7 with \d+ entries known/,
      );
      await expect(hosvd(engine, source, { ranks: [2, 2, 2] })).rejects.toThrow("changes with the model");
      using start = new KruskalTensor(
        engine.tensor([1], [1]),
        SHAPE.map((extent) => engine.tensor([extent, 1])),
      );
      await expect(cpErrorPreserving(engine, source, start)).rejects.toThrow("changes with the model, take cp");
      await expect(masked(engine, x, { mask: [1, 2] })).rejects.toThrow("mask: 2 values given");
      await expect(masked(engine, x, { mask: new Uint8Array(SIZE) })).rejects.toThrow(
        "no entry of tensor 9×8×7 is known",
      );
      await expect(masked(engine, x, { mask: new Uint8Array(SIZE).fill(1) })).rejects.toThrow("entries that are not");
      using other = engine.tensor([8, 9, 7]);
      await expect(masked(engine, x, { mask: other })).rejects.toThrow("masked: a mask 8×9×7 for tensor 9×8×7");
      using all = engine.tensor([2, 2], Int32Array.of(1, 2, 3, 4));
      await expect(masked(engine, all)).rejects.toThrow("which has no NaN; give a mask");
      const inf = withNaN(data);
      inf[inf.findIndex((value) => value > 0)] = Number.POSITIVE_INFINITY;
      using infinite = engine.tensor(SHAPE, inf);
      await expect(masked(engine, infinite)).rejects.toThrow("has 1 entry that is not finite, infinity at");
    }
    await engine.idle();
    expect(engine.memory().live).toBe(live);
  });

  it("costs an iteration two passes more than a full tensor does", async () => {
    const engine = await testEngine();
    const shape = [40, 30, 20];
    const numbers = randomArray(24000, 8);
    using x = engine.tensor(shape, numbers);
    using source = await masked(engine, x, { mask: numbers.map((value) => (value > -0.5 ? 1 : 0)) });
    const dispatchesOf = async (sweeps: number): Promise<number> => {
      const before = engine.counters.dispatches;
      const options = { rank: 4, starts: 1, sweeps, tolerance: 0, compression: "none" } as const;
      (await cp(engine, source, options)).tensor.destroy();
      return engine.counters.dispatches - before;
    };
    const perSweep = ((await dispatchesOf(12)) - (await dispatchesOf(8))) / 4;
    expect(perSweep).toBeLessThan(20);
  });
});

describe("bits", () => {
  it.each([1, 31, 32, 33, 100, 131])("%i of them", async (size) => {
    const engine = await testEngine();
    const values = randomArray(size, 4).map((value, at) => (at % 3 === 1 ? 0 : at % 7 === 2 ? Number.NaN : value));
    const others = randomArray(size, 5);
    using x = engine.tensor([size], values);
    const tests = { notZero: (value: number) => value !== 0, notNaN: (value: number) => !Number.isNaN(value) };
    for (const [test, holds] of Object.entries(tests)) {
      const words = await evaluate(engine, (s) => packBits(s, x, { test: test as "notNaN" }));
      const isSet = (at: number) => ((words[at >> 5]! >>> (at % 32)) & 1) === 1;
      expect(values.every((value, at) => isSet(at) === holds(value))).toBe(true);
      if (size % 32) expect(words.at(-1)! >>> (size % 32)).toBe(0);
    }
    // NaN before a factor of 0 does not count
    using out = engine.tensor([size], others);
    const mixed = await evaluate(engine, (s) => {
      const bits = packBits(s, x, { test: "notNaN" });
      return accumulateWhere(s, x, out, bits, { where: true, alpha: 2, beta: -1, gamma: 3 });
    });
    const expected = others.map((other, at) => (Number.isNaN(values[at]!) ? 3 * other : 2 * values[at]! - other));
    expectClose(mixed, expected, 1e-6);
  });
});

/** Tensors with missing entries: known entries alone count, and the model predicts the others. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { cp, cpALS, cpErrorPreserving, hosvd, ttSVD, tuckerHOOI } from "../../src/decompositions/index.js";
import { type Engine, Program, type Tensor } from "../../src/gpu/index.js";
import {
  accumulateKnown,
  copy,
  holdOut,
  kruskalDifference,
  kruskalResidual,
  markMissing,
  uniform,
} from "../../src/ops/index.js";
import { masked, type Reader, type Source, TensorReader } from "../../src/sources/index.js";
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

  it.each([
    ["cp", cp],
    ["cpALS", cpALS],
  ] as const)("%s begins at singular vectors of what is known", async (_, solve) => {
    const engine = await testEngine();
    using x = engine.tensor(SHAPE, withNaN(expected));
    using source = await masked(engine, x);
    const result = await solve(engine, source, { rank: RANK, starts: 1, sweeps: 400, initialize: "hosvd" });
    using _tensor = result.tensor;
    // one start may end at another minimum
    expect(result.relativeError).toBeLessThan((part === "0.5" ? 2 : 1.2) * expected.error);
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

  it("a sweep of tuckerHOOI is one of the tensor that its start fills", async () => {
    const engine = await testEngine();
    const few = cases["0.1"]!;
    using x = engine.tensor(SHAPE, withNaN(few));
    using source = await masked(engine, x);
    const zeros = withNaN(few).map((value) => (Number.isNaN(value) ? 0 : value));
    using plain = engine.tensor(SHAPE, zeros);
    const { tensor: start } = await hosvd(engine, plain, { ranks: [2, 2, 2] });
    // hosvd's core is that of known entries and zeros, and its model fills the rest
    const model = await fullOf(engine, start);
    using filled = engine.tensor(
      SHAPE,
      zeros.map((value, at) => (few.known[at] === "1" ? value : model[at]!)),
    );
    const how = { ranks: [2, 2, 2], initialize: start, sweeps: 1, tolerance: 0 };
    const [ours, theirs] = [await tuckerHOOI(engine, source, how), await tuckerHOOI(engine, filled, how)];
    for (const [mode, factor] of ours.tensor.factors.entries())
      expectClose(await factor!.read(), await theirs.tensor.factors[mode]!.read(), 1e-4);
    for (const tensor of [start, ours.tensor, theirs.tensor]) tensor.destroy();
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

  it("costs an iteration no more passes than a full tensor does", async () => {
    const engine = await testEngine();
    const shape = [40, 30, 20];
    const numbers = randomArray(24000, 8);
    using x = engine.tensor(shape, numbers);
    using source = await masked(engine, x, { mask: numbers.map((value) => (value > -0.5 ? 1 : 0)) });
    const options = { rank: 4, starts: 1, tolerance: 0, initialize: "random" } as const;
    const dispatchesOf = async (solve: (sweeps: number) => Promise<{ tensor: KruskalTensor }>): Promise<number> => {
      const counts = [];
      for (const sweeps of [8, 12]) {
        const before = engine.counters.dispatches;
        (await solve(sweeps)).tensor.destroy();
        counts.push(engine.counters.dispatches - before);
      }
      return (counts[1]! - counts[0]!) / 4;
    };
    const solvers = [
      (input: Tensor | Source) => (sweeps: number) => cp(engine, input, { ...options, sweeps, compression: "none" }),
      (input: Tensor | Source) => (sweeps: number) => cpALS(engine, input, { ...options, sweeps }),
    ];
    const extra = [];
    for (const solve of solvers) extra.push((await dispatchesOf(solve(source))) - (await dispatchesOf(solve(x))));
    // cp takes fewer dispatches for a small tensor; cpALS copies its model, and adds what missing entries have to two products
    expect(extra[0]).toBeLessThan(8);
    expect(extra[1]).toBeLessThan(12);
  });
});

describe("marks of missing entries", () => {
  const LARGEST = 3.4028234663852886e38;

  it("part entries by the numbers that uniform has, wherever a part begins, beyond 2³⁴ entries, too", async () => {
    const engine = await testEngine();
    const drawn = { seed: 7, stream: 3, share: 0.3 };
    const numbers = await evaluate(engine, (s) => uniform(s, [300], drawn));
    const values = randomArray(300, 4);
    values[5] = LARGEST;
    for (const [first, count] of [
      [0, 300],
      [1, 3],
      [37, 130],
    ] as const) {
      using part = engine.tensor([count], values.subarray(first, first + count));
      const [held, others] = await evaluate(engine, (s) => [
        holdOut(s, part, { ...drawn, side: "held out", first }),
        holdOut(s, part, { ...drawn, side: "others", first }),
      ]);
      for (let at = 0; at < count; at++) {
        const [value, u] = [values[first + at]!, numbers[first + at]!];
        expect(held![at]).toBe(u < Math.fround(0.3) ? value : LARGEST);
        expect(others![at]).toBe(u > Math.fround(0.3) ? value : LARGEST);
      }
    }
    using part = engine.tensor([64], values.subarray(64, 128));
    const at = (first: number) => evaluate(engine, (s) => holdOut(s, part, { ...drawn, side: "held out", first }));
    const [before, far] = [await at(0), await at(2 ** 34)];
    expect(far).not.toEqual(before);
    // a part that goes over 2³⁴
    const over = await at(2 ** 34 - 32);
    using half = engine.tensor([32], values.subarray(96, 128));
    const rest = await evaluate(engine, (s) => holdOut(s, half, { ...drawn, side: "held out", first: 2 ** 34 }));
    expect([...over.subarray(32)]).toEqual([...rest]);
  });

  it.each([1, 31, 64, 65, 131])("%i entries", async (size) => {
    const engine = await testEngine();
    const values = randomArray(size, 4).map((value, at) => (at % 3 === 1 ? 0 : at % 7 === 2 ? Number.NaN : value));
    values[size - 1] = LARGEST;
    const others = randomArray(size, 5);
    const bits = others.map((value, at) => (value > 0 || at === size - 1 ? 1 : 0));
    using x = engine.tensor([size], values);
    using mask = engine.tensor([size], bits);
    const [byNaN, byMask] = await evaluate(engine, (s) => [markMissing(s, x), markMissing(s, x, { mask })]);
    // a number that stands for missing entries is no known one
    const numberOf = (value: number) => (value === LARGEST ? Math.fround(LARGEST * (1 - 2 ** -24)) : value);
    expect(numberOf(LARGEST)).toBeLessThan(LARGEST);
    for (const [at, value] of values.entries()) {
      expect(byNaN![at]).toBe(Number.isNaN(value) ? LARGEST : numberOf(value));
      expect(byMask![at]).toBe(bits[at] ? numberOf(value) : LARGEST);
    }
    // NaN before a factor of 0 does not count
    using out = engine.tensor(
      [size],
      others.map((value, at) => (Number.isNaN(values[at]!) ? value : Number.NaN)),
    );
    const mixed = await evaluate(engine, (s) => {
      const marked = markMissing(s, x);
      return accumulateKnown(s, marked, out, { alpha: 0.5, beta: 0, gamma: 3 });
    });
    for (const [at, value] of values.entries())
      expect(mixed[at]).toBe(Math.fround(Number.isNaN(value) ? 3 * others[at]! : 0.5 * numberOf(value)));
  });

  it.each([[[9, 8, 7]], [[13, 5]], [[3, 5, 2, 11]], [[2, 3, 2, 3, 7]]])(
    "differences to Kruskal tensors of %s",
    async (shape) => {
      const engine = await testEngine();
      const size = shape.reduce((product, extent) => product * extent, 1);
      const values = randomArray(size, 6).map((value, at) => (at % 5 < 2 ? Number.NaN : value));
      const arrays = shape.map((extent, mode) => randomArray(3 * extent, 60 + mode));
      using x = engine.tensor(shape, values);
      using weights = engine.tensor([3], [1, -2, 3]);
      const factors = arrays.map((array, mode) => engine.tensor([shape[mode]!, 3], array));
      const scaled = arrays.map((array, mode) =>
        mode ? array : array.map((value, at) => value * [1, -2, 3][at % 3]!),
      );
      const model = kruskal(scaled, shape, 3);
      using squaredNorm = engine.tensor([1]);
      const [difference, residual] = await evaluate(engine, (s) => {
        const marked = markMissing(s, x);
        const missing = { scale: 4 };
        return [
          kruskalDifference(s, marked, weights, factors, { squaredNorm, missing }),
          kruskalResidual(s, marked, weights, factors, { missing }),
        ];
      });
      const expected = model.map((value, at) => (Number.isNaN(values[at]!) ? 0 : values[at]! - value));
      expectClose(
        difference!,
        expected.map((value) => 4 * value),
        1e-5,
      );
      const squares = expected.reduce((sum, value) => sum + value ** 2, 0);
      expect(Math.abs(residual![0]! / squares - 1)).toBeLessThan(1e-5);
      expect(Math.abs((await squaredNorm.read())[0]! / squares - 1)).toBeLessThan(1e-5);
      for (const factor of factors) factor.destroy();
    },
  );
});

describe("the verbs", () => {
  const SMALL = [5, 4, 3, 2];
  const size = 120;

  it("read X with the last model's entries where they are missing, whatever the model", async () => {
    const engine = await testEngine();
    const values = randomArray(size, 6).map((value, at) => (at % 5 < 2 ? Number.NaN : value));
    using x = engine.tensor(SMALL, values);
    using source = await masked(engine, x);
    const tensorsOf = (rank: number, seed: number) =>
      SMALL.map((extent, mode) => engine.tensor([extent, rank], randomArray(rank * extent, seed + mode)));
    const [factors, others] = [tensorsOf(2, 60), tensorsOf(3, 70)];
    using weights = engine.tensor([2], [1, -2]);
    using core = engine.tensor([2, 2, 2, 2], randomArray(16, 9));
    using y = engine.tensor([5, 2, 3, 2], randomArray(60, 12));
    const verbs = (p: Program, reader: Reader) => {
      const copyOf = (tensor: Tensor) => {
        const result = engine.tensor(tensor.shape);
        copy(p.s, tensor, { out: result });
        p.s.release(tensor);
        return result;
      };
      const results = SMALL.map((_, mode) => copyOf(reader.mttkrp(p, others, mode)));
      results.push(copyOf(reader.partialMttkrp(p, others, [0, 2])), copyOf(reader.partialMttkrp(p, others, [1, 4])));
      results.push(copyOf(reader.project(p, others, { skip: 1 })), copyOf(reader.unfoldedProduct(p, y, 1)));
      return results;
    };
    for (const model of [null, new KruskalTensor(weights, factors), new TuckerTensor(core, factors)]) {
      const full = model ? await fullOf(engine, model) : new Float32Array(size);
      using whole = engine.tensor(
        SMALL,
        values.map((value, at) => (Number.isNaN(value) ? full[at]! : value)),
      );
      const results: [Tensor[], Tensor[]] = [[], []];
      await Program.run(engine, (p) => {
        if (model) source.refresh(p, model);
        results[0] = verbs(p, source);
        results[1] = verbs(p, new TensorReader(whole));
      });
      const [read, expected] = [await engine.read(results[0]), await engine.read(results[1])];
      for (const [at, numbers] of read.entries()) expectClose(numbers, expected[at]!, 2e-6);
      for (const tensor of results.flat()) tensor.destroy();
    }
    for (const factor of [...factors, ...others]) factor.destroy();
  });
});

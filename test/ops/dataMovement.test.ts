import { describe, expect, it } from "vitest";
import { Kernel, type Scheduler } from "../../src/gpu/index.js";
import {
  add,
  columnNorms,
  copy,
  divide,
  fill,
  gatherRows,
  innerProduct,
  map,
  mean,
  multiply,
  norm,
  normal,
  normalizeColumns,
  pasteColumns,
  permute,
  randomModels,
  reduceMaximum,
  reduceMinimum,
  safeDivide,
  scaleColumns,
  slice,
  squaredDistance,
  subtract,
  sum,
  sumOfMagnitudes,
  sumOfSquares,
  type UnaryFunction,
  uniform,
} from "../../src/ops/index.js";
import { evaluate, expectClose, plainEngine, testEngine } from "../engine.js";
import fc from "../property.js";
import * as reference from "../reference/movement.js";
import { randomArray } from "../reference.js";
import bitsShader from "./shaders/random_bits.wgsl";

const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
const shapes = fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 5 });

describe.each([
  ["with its features", testEngine],
  ["without subgroups", plainEngine],
] as const)("on an adapter %s:", (_, open) => {
  describe("permute and slice", () => {
    it("move what a loop moves", async () => {
      const engine = await open();
      await fc.assert(
        fc.asyncProperty(
          shapes.chain((shape) =>
            fc.tuple(
              fc.constant(shape),
              fc.shuffledSubarray([...shape.keys()], { minLength: shape.length }),
              fc.tuple(...shape.map((extent) => fc.integer({ min: 0, max: extent - 1 }))),
            ),
          ),
          async ([shape, axes, starts]) => {
            const data = randomArray(size(shape), 3);
            using x = engine.tensor(shape, data);
            const sizes = shape.map((extent, axis) => Math.max(1, Math.floor((extent - starts[axis]!) * 0.7)));
            const [moved, cut] = await evaluate(engine, (s) => [permute(s, x, axes), slice(s, x, starts, sizes)]);
            expect([...moved!]).toEqual([...reference.permute(data, shape, axes)]);
            expect([...cut!]).toEqual([...reference.slice(data, shape, starts, sizes)]);
          },
        ),
        { numRuns: 40 },
      );
    });

    it.each([
      { shape: [33, 65], axes: [1, 0] },
      { shape: [64, 32, 3], axes: [1, 2, 0] },
      { shape: [3, 41, 70], axes: [0, 2, 1] },
      { shape: [9, 2, 3, 35], axes: [3, 1, 2, 0] },
      { shape: [2, 3, 2, 3, 2, 3, 2, 3], axes: [7, 5, 3, 1, 0, 2, 4, 6] },
      { shape: [12, 5, 8], axes: [1, 0, 2] },
      { shape: [8, 1, 100], axes: [2, 1, 0] },
    ])("move $shape by $axes", async ({ shape, axes }) => {
      const engine = await open();
      const data = randomArray(size(shape), 2);
      using x = engine.tensor(shape, data);
      const moved = await evaluate(engine, (s) => permute(s, x, axes));
      expect([...moved]).toEqual(reference.permute(data, shape, axes));
    });

    it("cut and move blocks that are whole vectors, and those that are not", async () => {
      const engine = await open();
      const data = randomArray(24 * 16, 2);
      using x = engine.tensor([24, 16], data);
      for (const [starts, sizes] of [
        [
          [3, 4],
          [20, 8],
        ],
        [
          [3, 2],
          [20, 8],
        ],
        [
          [0, 4],
          [24, 9],
        ],
      ] as const) {
        const cut = await evaluate(engine, (s) => slice(s, x, starts, sizes));
        expect([...cut]).toEqual(reference.slice(data, [24, 16], starts, sizes));
      }
    });

    it("write what they are told to and nothing beside it", async () => {
      const engine = await open();
      const data = randomArray(192, 1);
      using arena = engine.tensor([192], data);
      using x = engine.tensor([61], randomArray(61, 2));
      // 61 elements: the last vector of four holds three elements of another tensor
      const view = arena.rows(64, 125);
      const writes = [
        (s: Scheduler) => fill(s, view, 7),
        (s: Scheduler) => map(s, x, "identity", { out: view }),
        (s: Scheduler) => add(s, x, x, { out: view }),
        (s: Scheduler) => copy(s, x, { out: view }),
        (s: Scheduler) => uniform(s, [61], { out: view }),
      ];
      for (const write of writes) {
        const after = await evaluate(engine, (s) => {
          write(s);
          return arena;
        });
        expect([...after.subarray(0, 64)]).toEqual([...data.subarray(0, 64)]);
        expect([...after.subarray(125)]).toEqual([...data.subarray(125)]);
        expect([...after.subarray(64, 125)]).not.toEqual([...data.subarray(64, 125)]);
      }
    });

    it("say what does not fit", async () => {
      const engine = await open();
      using x = engine.tensor([2, 3], randomArray(6));
      const s = engine.scheduler();
      expect(() => permute(s, x, [0, 0])).toThrow(/permute: axes 0, 0 of tensor 2×3/);
      expect(() => slice(s, x, [1, 0], [2, 3])).toThrow(/slice: from 1, 0 a block of 2×3 of tensor 2×3/);
      expect(() => copy(s, x, { out: s.tensor([5]) })).toThrow(/copy: .*6 elements/);
      s.destroy();
    });
  });

  describe("rows and columns", () => {
    it("gathers rows, clamps what is beyond, pastes columns", async () => {
      const engine = await open();
      const data = randomArray(35, 1);
      using x = engine.tensor([5, 7], data);
      using indices = engine.tensor([4], Uint32Array.of(3, 0, 3, 99));
      const [rows, pasted] = await evaluate(engine, (s) => {
        const wide = fill(s, s.tensor([5, 10]), 2);
        pasteColumns(s, x, wide, 2);
        return [gatherRows(s, x, indices), wide];
      });
      expect([...rows!]).toEqual([3, 0, 3, 4].flatMap((row) => [...data.subarray(row * 7, row * 7 + 7)]));
      for (let i = 0; i < 5; i++)
        expect([...pasted!.subarray(i * 10, i * 10 + 10)]).toEqual([2, 2, ...data.subarray(i * 7, i * 7 + 7), 2]);
    });
  });

  describe("elementwise", () => {
    it("broadcasts as NumPy does", async () => {
      const engine = await open();
      await fc.assert(
        fc.asyncProperty(
          shapes.chain((shape) =>
            fc.tuple(
              fc.constant(shape),
              fc.tuple(...shape.map(() => fc.boolean())),
              fc.tuple(...shape.map(() => fc.boolean())),
              fc.nat(shape.length - 1),
            ),
          ),
          async ([shape, oneA, oneB, cut]) => {
            const shapeA = shape.map((extent, k) => (oneA[k] ? 1 : extent));
            const shapeB = shape.map((extent, k) => (oneB[k] ? 1 : extent)).slice(cut);
            const [a, b] = [randomArray(size(shapeA), 1), randomArray(size(shapeB), 2)];
            using ta = engine.tensor(shapeA, a);
            using tb = engine.tensor(shapeB, b);
            const results = await evaluate(engine, (s) => [add, subtract, multiply, divide].map((op) => op(s, ta, tb)));
            const functions = [
              (x: number, y: number) => x + y,
              (x: number, y: number) => x - y,
              (x: number, y: number) => x * y,
              (x: number, y: number) => x / y,
            ];
            functions.forEach((f, k) => {
              expectClose(results[k]!, reference.broadcast(a, shapeA, b, shapeB, f), 1e-6);
            });
          },
        ),
        { numRuns: 25 },
      );
    });

    it("divides by zero only when told to", async () => {
      const engine = await open();
      using a = engine.tensor([3], [1, -2, 0]);
      using b = engine.tensor([3], [0, 4, 0]);
      expect([...(await evaluate(engine, (s) => safeDivide(s, a, b)))]).toEqual([0, -0.5, 0]);
      const s = engine.scheduler();
      using c = engine.tensor([2], [1, 1]);
      expect(() => add(s, a, c)).toThrow(/add: 3 and 2 do not broadcast/);
      s.destroy();
    });

    it("maps functions", async () => {
      const engine = await open();
      const data = randomArray(1009, 4).map((v) => 3 * v);
      const positive = data.map((v) => Math.abs(v) + 0.1);
      using x = engine.tensor([1009], data);
      using y = engine.tensor([1009], positive);
      const functions: Record<UnaryFunction, (v: number) => number> = {
        identity: (v) => v,
        relu: (v) => Math.max(v, 0),
        sqrt: Math.sqrt,
        square: (v) => v * v,
        exp: Math.exp,
        log: Math.log,
        abs: Math.abs,
        reciprocal: (v) => 1 / v,
        sign: Math.sign,
        tanh: Math.tanh,
        sigmoid: (v) => 1 / (1 + Math.exp(-v)),
      };
      const names = Object.keys(functions) as UnaryFunction[];
      const needsPositive = new Set<UnaryFunction>(["sqrt", "log", "reciprocal"]);
      const results = await evaluate(engine, (s) =>
        names.map((name) => map(s, needsPositive.has(name) ? y : x, name, { alpha: -2, beta: 0.5 })),
      );
      names.forEach((name, k) => {
        const input = needsPositive.has(name) ? positive : data;
        expectClose(
          results[k]!,
          Array.from(input, (v) => -2 * functions[name](v) + 0.5),
          2e-6,
        );
      });
    });
  });

  describe("reductions", () => {
    it("agree with f64 loops over any axis", async () => {
      const engine = await open();
      await fc.assert(
        fc.asyncProperty(
          fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 3000 }), fc.integer({ min: 1, max: 12 })),
          async (shape) => {
            const data = randomArray(size(shape), 6);
            using x = engine.tensor(shape, data);
            for (const axis of [0, 1, 2]) {
              const results = await evaluate(engine, (s) => [
                sum(s, x, { axis }),
                sumOfSquares(s, x, { axis }),
                reduceMaximum(s, x, { axis }),
                reduceMinimum(s, x, { axis }),
                sumOfMagnitudes(s, x, { axis }),
                mean(s, x, { axis }),
                norm(s, x, { axis }),
              ]);
              const fibres = reference.fibres(data, shape, axis);
              const total = (values: number[]) => values.reduce((a, b) => a + b, 0);
              const scale = Math.max(...fibres.map((v) => total(v.map(Math.abs))));
              const expected = [
                total,
                (v: number[]) => total(v.map((e) => e * e)),
                (v: number[]) => Math.max(...v),
                (v: number[]) => Math.min(...v),
                (v: number[]) => total(v.map(Math.abs)),
                (v: number[]) => total(v) / v.length,
                (v: number[]) => Math.hypot(...v),
              ].map((f) => fibres.map(f));
              for (const [k, values] of expected.entries())
                for (const [i, value] of values.entries())
                  if (!(Math.abs(results[k]![i]! - value) < 3e-7 * scale))
                    expect.fail(
                      `reduction ${k} of ${shape} over ${axis}: ${results[k]![i]} at ${i}, expected ${value}`,
                    );
            }
          },
        ),
        { numRuns: 6 },
      );
    });

    it("keep seven digits over millions of terms", async () => {
      const engine = await open();
      const n = 4_000_037;
      const data = randomArray(n, 8).map((v) => 1 + 0.1 * v);
      const other = data.map((v, i) => v + (i % 3) * 1e-3);
      using x = engine.tensor([n], data);
      using y = engine.tensor([n], other);
      const results = await evaluate(engine, (s) => [
        sum(s, x),
        sumOfSquares(s, x),
        innerProduct(s, x, y),
        squaredDistance(s, x, y),
      ]);
      const expected = [0, 0, 0, 0];
      for (let i = 0; i < n; i++) {
        expected[0]! += data[i]!;
        expected[1]! += data[i]! ** 2;
        expected[2]! += data[i]! * other[i]!;
        expected[3]! += (data[i]! - other[i]!) ** 2;
      }
      results.forEach((value, k) => {
        expect(Math.abs(value[0]! / expected[k]! - 1)).toBeLessThan(3e-7);
      });
    });

    it.each([
      [70_001, 3],
      [3, 70_001],
      [2000, 16],
      [1, 9],
      [9, 1],
    ])("sum rows and columns of %i×%i", async (rows, columns) => {
      const engine = await open();
      const data = randomArray(rows * columns, 9).map((v) => v + 1);
      using x = engine.tensor([rows, columns], data);
      const results = await evaluate(engine, (s) => [0, 1].map((axis) => sum(s, x, { axis })));
      for (const axis of [0, 1])
        expectClose(
          results[axis]!,
          reference.fibres(data, [rows, columns], axis).map((v) => v.reduce((a, b) => a + b, 0)),
          3e-7,
        );
    });

    it("scale columns by weights", async () => {
      const engine = await open();
      const data = randomArray(35, 2);
      using a = engine.tensor([5, 7], data);
      using weights = engine.tensor([7], [1, 2, 3, 4, 5, 6, -7]);
      const [times, by, lengths] = await evaluate(engine, (s) => [
        scaleColumns(s, a, weights),
        scaleColumns(s, a, weights, { inverse: true }),
        columnNorms(s, a),
      ]);
      const w = [1, 2, 3, 4, 5, 6, -7];
      expectClose(
        times!,
        Array.from(data, (v, i) => v * w[i % 7]!),
        2e-7,
      );
      expectClose(
        by!,
        Array.from(data, (v, i) => v / w[i % 7]!),
        3e-7,
      );
      expectClose(
        lengths!,
        reference.fibres(data, [5, 7], 0).map((v) => Math.hypot(...v)),
        3e-7,
      );
      const s = engine.scheduler();
      expect(() => scaleColumns(s, weights, weights)).toThrow(/scaleColumns: .* needs a weight for every column/);
      expect(() => columnNorms(s, weights)).toThrow(/columnNorms: .* needs a matrix/);
      s.destroy();
    });

    it("bring columns to norm 1 and leave zero columns zero", async () => {
      const engine = await open();
      const data = randomArray(93, 2);
      for (let i = 0; i < 31; i++) data[i * 3 + 1] = 0;
      using a = engine.tensor([31, 3], data);
      const [out, norms] = await evaluate(engine, (s) => {
        const result = normalizeColumns(s, a);
        return [result.out, result.norms];
      });
      const lengths = [0, 1, 2].map((c) => Math.hypot(...Array.from({ length: 31 }, (_, i) => data[i * 3 + c]!)));
      expectClose(norms!, lengths, 1e-6);
      expectClose(
        out!,
        Array.from(data, (v, i) => (lengths[i % 3] ? v / lengths[i % 3]! : 0)),
        1e-6,
      );
    });
  });
});

it("large grids are folded", async () => {
  const engine = await testEngine();
  const data = randomArray(2053 * 2049, 5);
  using x = engine.tensor([2053, 2049], data);
  const moved = await evaluate(engine, (s) => permute(s, x, [1, 0]));
  for (let i = 0; i < 2053; i += 171)
    for (let j = 0; j < 2049; j += 128) expect(moved[j * 2053 + i]).toBe(data[i * 2049 + j]);
});

describe("random numbers", () => {
  it("are Philox's known answers, bit for bit", () => {
    // Random123's known-answer tests for philox4x32-10
    const ones = 0xffffffff;
    expect(reference.philox([0, 0, 0, 0], [0, 0])).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
    expect(reference.philox([ones, ones, ones, ones], [ones, ones])).toEqual([
      0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd,
    ]);
  });

  it("give other kernels the same words as the CPU, bit for bit", async () => {
    const engine = await testEngine();
    const blocks = 300;
    using out = engine.tensor([4 * blocks], null, { dtype: "u32" });
    const kernel = new Kernel(bitsShader, ({ blocks }) => [Math.ceil(blocks! / 64)]);
    const params = { counter_y: 0xffffffff, counter_z: 3, counter_w: 0x80000001, key_x: 0xdeadbeef, key_y: 17 };
    const bits = await evaluate(engine, (s) => {
      s.run(kernel, { out }, { blocks, ...params });
      return out;
    });
    const expected = Array.from({ length: blocks }, (_, i) =>
      reference.philox([i, params.counter_y, params.counter_z, params.counter_w], [params.key_x, params.key_y]),
    ).flat();
    expect([...bits]).toEqual(expected);
  });

  it("are the same bits as on the CPU", async () => {
    const engine = await testEngine();
    using step = engine.tensor([1], Uint32Array.of(7));
    const [a, b, c] = await evaluate(engine, (s) => [
      uniform(s, [1003], { seed: 2 ** 40 + 5, stream: 3 }),
      uniform(s, [17], { seed: 1, low: -2, high: 6, step }),
      normal(s, [2001], { seed: 9 }),
    ]);
    expect([...a!]).toEqual([...reference.uniform(1003, 2 ** 40 + 5, 3, 0)]);
    expectClose(
      b!,
      [...reference.uniform(17, 1, 0, 7)].map((v) => 8 * v - 2),
      1e-6,
    );
    expectClose(c!, reference.normal(2001, 9, 0, 0), 1e-6);
  });

  it.each([1, 2, 5])("of %d models side by side are those of each model alone", async (models) => {
    const engine = await testEngine();
    const [rows, columns] = [7, 3];
    const seed = 2 ** 32 - 2;
    const [together, ...alone] = await evaluate(engine, (s) => [
      randomModels(s, [rows, columns], models, { seed, stream: 4 }),
      ...Array.from({ length: models }, (_, model) =>
        (model % 2 ? normal : uniform)(s, [rows, columns], { seed: (seed + model) % 2 ** 32, stream: 4 }),
      ),
    ]);
    const expected = Array.from({ length: rows }, (_, row) =>
      alone.flatMap((values) => [...values!.slice(row * columns, (row + 1) * columns)]),
    ).flat();
    expect([...together!]).toEqual(expected);
  });

  it("have the moments they should have", async () => {
    const engine = await testEngine();
    const n = 200_001;
    const [u, z] = await evaluate(engine, (s) => [
      uniform(s, [n], { seed: 4 }),
      normal(s, [n], { seed: 4, mean: 2, deviation: 3 }),
    ]);
    const moments = (values: ArrayLike<number>) => {
      const list = Array.from(values);
      const average = list.reduce((a, b) => a + b, 0) / n;
      const central = (k: number) => list.reduce((a, b) => a + (b - average) ** k, 0) / n;
      return {
        average,
        variance: central(2),
        skew: central(3) / central(2) ** 1.5,
        kurtosis: central(4) / central(2) ** 2,
      };
    };
    const flat = moments(u!);
    expect(Math.abs(flat.average - 0.5)).toBeLessThan(0.003);
    expect(Math.abs(flat.variance - 1 / 12)).toBeLessThan(0.001);
    expect(Math.min(...Array.from(u!).slice(0, 50_000))).toBeGreaterThanOrEqual(0);
    const bell = moments(z!);
    expect(Math.abs(bell.average - 2)).toBeLessThan(0.03);
    expect(Math.abs(bell.variance - 9)).toBeLessThan(0.15);
    expect(Math.abs(bell.skew)).toBeLessThan(0.03);
    expect(Math.abs(bell.kurtosis - 3)).toBeLessThan(0.06);
  });
});

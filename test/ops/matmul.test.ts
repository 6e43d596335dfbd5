import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Engine, isSoftware } from "../../src/gpu/index.js";
import { alternativesOf } from "../../src/ops/adapter.js";
import { matmul } from "../../src/ops/matmul.js";
import { evaluate, expectClose, siblingEngine, testEngine } from "../engine.js";
import * as reference from "../reference.js";

const shapes: [rows: number, inner: number, columns: number][] = [
  [1, 1, 1],
  [1, 7, 1],
  [5, 1, 3],
  [4, 4, 4],
  [37, 53, 29],
  [64, 64, 64],
  [65, 17, 130],
  [131, 36, 68],
  [3, 5000, 2],
  [20, 3001, 7],
  [1500, 12, 4],
  [2, 9, 3001],
  [1999, 9, 3],
  [300, 13, 30],
  [31, 14, 300],
  [128, 256, 132],
  [900, 70, 31],
  // tall matrices that are read in several stages, with rows that are a multiple of four long, and with others
  [200, 300, 16],
  [131, 261, 13],
  [260, 140, 32],
  // large enough for the wider tiles of SwiftShader and of GPUs
  [1030, 9, 1028],
];

const families = alternativesOf(await testEngine(), "matmul");

describe.each(families)("matmul, family %s", (family) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await siblingEngine({ variants: { matmul: family } });
  });
  afterAll(() => engine.destroy());

  it.each(shapes)("%i×%i times %i columns, either side transposed", async (rows, inner, columns) => {
    const a = reference.randomArray(rows * inner, 1);
    const b = reference.randomArray(inner * columns, 2);
    using a0 = engine.tensor([rows, inner], a);
    using a1 = engine.tensor([inner, rows], a);
    using b0 = engine.tensor([inner, columns], b);
    using b1 = engine.tensor([columns, inner], b);
    const cases = [false, true].flatMap((transposeA) =>
      [false, true].map((transposeB) => ({ transposeA, transposeB })),
    );
    const results = await evaluate(engine, (s) =>
      cases.map((options) => matmul(s, options.transposeA ? a1 : a0, options.transposeB ? b1 : b0, options)),
    );
    cases.forEach((options, index) => {
      expectClose(results[index]!, reference.matmul(a, b, rows, inner, columns, options), 3e-6);
    });
  });

  it("takes its largest tiles over edges", async () => {
    const [rows, inner, columns] = [2050, 11, 2044];
    const a = reference.randomArray(rows * inner, 7);
    const b = reference.randomArray(inner * columns, 8);
    using ta = engine.tensor([rows, inner], a);
    using tb = engine.tensor([inner, columns], b);
    const out = await evaluate(engine, (s) => matmul(s, ta, tb));
    expectClose(out, reference.matmul(a, b, rows, inner, columns), 3e-6);
  });

  it.each([
    [33, 50, 21],
    [64, 32, 96],
    [3, 4000, 10], // a sum in parts: the reduction of the parts applies bias and relu
  ])("scales, adds a bias and applies relu (%i×%i×%i)", async (rows, inner, columns) => {
    const a = reference.randomArray(rows * inner, 3);
    const b = reference.randomArray(inner * columns, 4);
    const bias = reference.randomArray(columns, 5);
    using ta = engine.tensor([rows, inner], a);
    using tb = engine.tensor([inner, columns], b);
    using tbias = engine.tensor([columns], bias);
    using out = engine.tensor([rows, columns]);
    const [relu, doubled] = await evaluate(engine, (s) => [
      matmul(s, ta, tb, { bias: tbias, activation: "relu", alpha: -0.5 }),
      matmul(s, ta, tb, { alpha: 2, out }),
    ]);
    const product = reference.matmul(a, b, rows, inner, columns);
    expectClose(
      relu!,
      product.map((value, e) => Math.max(0, -0.5 * value + bias[e % columns]!)),
      3e-6,
    );
    expectClose(
      doubled!,
      product.map((value) => 2 * value),
      3e-6,
    );
  });

  it("keeps its digits over long sums", async () => {
    const inner = 300_000;
    const a = reference.randomArray(inner, 6).map(Math.abs);
    using ta = engine.tensor([1, inner], a);
    const out = await evaluate(engine, (s) => matmul(s, ta, ta, { transposeB: true }));
    expectClose(out, reference.matmul(a, a, 1, inner, 1), 3e-6);
  });
});

it("says which extents differ", async () => {
  using engine = await siblingEngine();
  using a = engine.tensor([3, 4]);
  using s = engine.scheduler();
  expect(() => matmul(s, a, a)).toThrow("matmul: 3×4 times 3×4, inner extents 4 and 3 differ");
  expect(() => matmul(s, a, a, { transposeB: true, out: a })).toThrow("matmul: out is 3×4, expected 3×3");
  using bias = engine.tensor([2]);
  expect(() => matmul(s, a, a, { transposeB: true, bias })).toThrow("matmul: bias is 2, expected 3");
});

it("has the subgroup family on the software adapter", async () => {
  const engine = await testEngine();
  expect(families).toEqual(["tiled", "register", ...(isSoftware(engine.adapterName) ? ["subgroup"] : [])]);
});

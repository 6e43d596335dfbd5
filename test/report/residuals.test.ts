/** What is measured of X − X̂, of models of every kind, against f64 loops; in one piece and slab by slab. */
import { describe, expect, it } from "vitest";
import { type Engine, Tensor } from "../../src/gpu/index.js";
import { measureResiduals } from "../../src/report/residuals.js";
import { type Model, slabs } from "../../src/sources/index.js";
import {
  BlockTermTensor,
  KruskalTensor,
  Parafac2Tensor,
  TensorRing,
  TensorTrain,
  TuckerTensor,
} from "../../src/tensors/index.js";
import { testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

const SHAPE = [7, 5, 6];
const SIZE = 210;
let seed = 1;
const random = (engine: Engine, ...shape: number[]): Tensor =>
  engine.tensor(
    shape,
    randomArray(
      shape.reduce((a, b) => a * b, 1),
      seed++,
    ),
  );

const tucker = (e: Engine): TuckerTensor =>
  new TuckerTensor(random(e, 2, 3, 6), [random(e, 7, 2), random(e, 5, 3), null]);
const MODELS: Record<string, (engine: Engine) => Model> = {
  "Kruskal tensors": (e) => new KruskalTensor(random(e, 2), [random(e, 7, 2), random(e, 5, 2), random(e, 6, 2)]),
  "Tucker tensors": tucker,
  "Tucker tensors whose first mode is left alone": (e) =>
    new TuckerTensor(random(e, 7, 3, 2), [null, random(e, 5, 3), random(e, 6, 2)]),
  "tensor trains": (e) => new TensorTrain([random(e, 1, 7, 2), random(e, 2, 5, 3), random(e, 3, 6, 1)]),
  "tensor rings": (e) => new TensorRing([random(e, 2, 7, 3), random(e, 3, 5, 2), random(e, 2, 6, 2)]),
  "block terms": (e) => new BlockTermTensor([tucker(e), tucker(e)]),
};

/** Σ r² and Σ x² of every slice of every mode, in f64. */
function slicesOf(x: ArrayLike<number>, full: ArrayLike<number>, isKnown = (_: number): boolean => true) {
  const sums = SHAPE.map((extent) => ({ residual: new Float64Array(extent), data: new Float64Array(extent) }));
  for (let flat = 0; flat < SIZE; flat++) {
    if (!isKnown(flat)) continue;
    const place = [Math.floor(flat / 30), Math.floor(flat / 6) % 5, flat % 6];
    for (const [mode, at] of place.entries()) {
      sums[mode]!.residual[at]! += (x[flat]! - full[flat]!) ** 2;
      sums[mode]!.data[at]! += x[flat]! ** 2;
    }
  }
  return sums;
}

function expectMeasured(
  { slices, residuals }: Awaited<ReturnType<typeof measureResiduals>>,
  x: ArrayLike<number>,
  full: ArrayLike<number>,
  { scale = 1, isKnown = (_: number): boolean => true } = {},
): void {
  const expected = slicesOf(x, full, isKnown);
  for (const [mode, { residual, data }] of slices!.entries())
    for (const at of residual.keys()) {
      expect(residual[at]! / (expected[mode]!.residual[at]! * scale ** 2)).toBeCloseTo(1, 4);
      expect(data[at]! / (expected[mode]!.data[at]! * scale ** 2)).toBeCloseTo(1, 4);
    }
  // each residual is in its bin, but for rounding at a bin's ends
  const known = [...Array(SIZE).keys()].filter(isKnown).map((at) => x[at]! - full[at]!);
  expect(residuals!.reduce((sum, { count }) => sum + count, 0)).toBe(known.length);
  known.sort((a, b) => a - b);
  const ends = residuals!.flatMap(({ from, to, count }) => Array.from({ length: count }, () => [from, to] as const));
  for (const [at, [from, to]] of ends.entries()) {
    const slack = 1e-5 * Math.abs(known[at]!) + 1e-6 * Math.abs(known.at(-1)!);
    expect(known[at]!).toBeGreaterThanOrEqual(from - slack);
    expect(known[at]!).toBeLessThanOrEqual(to + slack);
  }
}

describe("residuals", () => {
  it.each(Object.keys(MODELS))("of %s, in one piece and in slabs, of numbers of any size", async (kind) => {
    const engine = await testEngine();
    const model = MODELS[kind]!(engine);
    const out = engine.tensor(SHAPE);
    await engine.run((s) => void model.full(s, out));
    const full = await engine.read(out);
    const noise = randomArray(SIZE, 90);
    const x = Float32Array.from(full, (value, at) => value + noise[at]!);
    using tensor = engine.tensor(SHAPE, x);
    expectMeasured(await measureResiduals(engine, { x: tensor }, model), x, full);
    const parts = [3, 1, 3].map((rows, k) => {
      const start = [0, 3, 4][k]!;
      return { shape: [rows, 5, 6], read: async () => x.slice(30 * start, 30 * (start + rows)) };
    });
    using source = await slabs(engine, parts);
    expectMeasured(await measureResiduals(engine, { x: source }, model), x, full, { scale: 2 ** -source.exponent });
    out.destroy();
    for (const part of Object.values(model).flat()) if (part instanceof Tensor) part.destroy();
  });

  it("of PARAFAC2, whose slices are mode 0", async () => {
    const engine = await testEngine();
    const projections = Array.from({ length: 7 }, () => random(engine, 5, 2));
    using model = new Parafac2Tensor(
      random(engine, 2),
      [random(engine, 7, 2), random(engine, 2, 2), random(engine, 6, 2)],
      projections,
    );
    const full = new Float32Array(SIZE);
    for (let k = 0; k < 7; k++) {
      using out = engine.tensor([5, 6]);
      await engine.run((s) => void model.full(s, k, out));
      full.set(await engine.read(out), 30 * k);
    }
    const x = randomArray(SIZE, 91);
    using tensor = engine.tensor(SHAPE, x);
    expectMeasured(await measureResiduals(engine, { x: tensor }, model), x, full);
  });

  it("of known entries", async () => {
    const engine = await testEngine();
    const model = MODELS["Kruskal tensors"]!(engine);
    using out = engine.tensor(SHAPE);
    await engine.run((s) => void model.full(s, out));
    const isKnown = (flat: number): boolean => flat % 7 !== 3;
    const noise = randomArray(SIZE, 92);
    // one residual is 0, as those of missing entries are
    const x = Float32Array.from(await engine.read(out), (value, at) =>
      isKnown(at) ? value + (at ? noise[at]! : 0) : 0,
    );
    using tensor = engine.tensor(SHAPE, x);
    using known = engine.tensor(
      SHAPE,
      x.map((_, at) => Number(isKnown(at))),
    );
    const measured = await measureResiduals(engine, { x: tensor, known }, model);
    expectMeasured(measured, x, await engine.read(out), { isKnown });
    expect(measured.residuals!.find(({ from, to }) => from === to)).toEqual({ from: 0, to: 0, count: 1 });
  });

  it("are not told where squares leave f32", async () => {
    const engine = await testEngine();
    const model = MODELS["Kruskal tensors"]!(engine);
    using x = engine.tensor(SHAPE, new Float32Array(SIZE));
    expect(await measureResiduals(engine, { x }, model)).toEqual({ slices: null, residuals: null, squaredNorm: 0 });
  });
});

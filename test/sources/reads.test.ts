import { afterAll, beforeAll, expect, it } from "vitest";
import { cpALS, tuckerHOOI } from "../../src/decompositions/index.js";
import type { Engine, Tensor } from "../../src/gpu/index.js";
import { mttkrp, sumOfSquares } from "../../src/ops/index.js";
import { countReads, type Slabs, slabs } from "../../src/sources/index.js";
import { testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

let engine: Engine;
let x: Tensor;
beforeAll(async () => {
  engine = await testEngine();
  x = engine.tensor([6, 5, 8], randomArray(240, 1));
});
afterAll(() => x.destroy());

it("counts dispatches that are bound to read the tensor, replay by replay", async () => {
  const reads = countReads(x);
  const s = engine.scheduler("reads");
  const factors = [6, 5, 8].map((extent) => s.tensor([extent, 2]));
  mttkrp(s, x, factors, 1);
  // the first half of its rows, and something else
  sumOfSquares(s, x.reshape([12, 20]).reshape([6, 5, 8]));
  sumOfSquares(s, factors[0]!);
  using schedule = await s.compile();
  expect(reads.passes).toBe(0);
  engine.submit(schedule, 3);
  expect(reads.passes).toBe(6);
  engine.submit([[schedule, 2]]);
  expect(reads.passes).toBe(10);
  await engine.idle();
  // a later count begins at 0, and the schedule still counts for the first
  expect(countReads(x).passes).toBe(0);
});

it("counts a view by its entries", async () => {
  using y = engine.tensor([128, 2], randomArray(256, 1));
  const reads = countReads(y);
  await engine.run((s) => void sumOfSquares(s, y.rows(32, 64)));
  expect(reads.passes).toBe(0.25);
});

it("counts all that a solver reads: its look, its sweeps, the residual of the result", async () => {
  const passesOf = async (sweeps: number): Promise<number> => {
    const reads = countReads(x);
    const { tensor } = await cpALS(engine, x, { rank: 2, sweeps, tolerance: 0 });
    tensor.destroy();
    return reads.passes;
  };
  const [four, eight] = [await passesOf(4), await passesOf(8)];
  // two reads for the products of all modes, as a dimension tree has it, and one for the residual
  expect([(eight - four) / 4, eight]).toEqual([(eight - four) / 4, four + 4 * 3]);
});

it.each([
  [[6, 5, 8], 2],
  [[6, 4, 3, 7], 2],
  [[8, 3, 3, 3, 4], 2],
  // four modes are truncated, and what two of them would share is larger than half a slab
  [[4, 3, 2, 3, 4], 4],
])("a sweep of HOOI on %j reads it twice, and in slabs %i times", async (shape, inSlabs) => {
  const rows = shape[0]! / 2;
  const rest = shape.slice(1);
  const size = shape.reduce((product, extent) => product * extent, 1);
  using first = engine.tensor([rows, ...rest], randomArray(size / 2, 1));
  using second = engine.tensor([rows, ...rest], randomArray(size / 2, 2));
  using all = engine.tensor(shape, [...randomArray(size / 2, 1), ...randomArray(size / 2, 2)]);
  using parts = await slabs(engine, [first, second]);
  const run = async (x: Tensor | Slabs, sweeps: number): Promise<[passes: number, error: number]> => {
    const reads = countReads(x);
    const options = { ranks: shape.map(() => 2), sweeps, tolerance: 0, initialize: "random" } as const;
    const { tensor, relativeError } = await tuckerHOOI(engine, x, options);
    tensor.destroy();
    return [reads.passes, relativeError];
  };
  const errors: number[] = [];
  for (const [x, times] of [[all, 2] as const, [parts, inSlabs] as const]) {
    const [[four], [eight, error]] = [await run(x, 4), await run(x, 8)];
    // and once more for its error
    expect((eight - four) / 4).toBe(times + 1);
    errors.push(error);
  }
  expect(errors[0]).toBeCloseTo(errors[1]!, 5);
});

it("counts the scaled copy of a tensor, and one of bytes, too", async () => {
  const passesOf = async (of: Tensor | Tensor<"u8">): Promise<number> => {
    const reads = countReads(of);
    const { tensor } = await tuckerHOOI(engine, of, { ranks: [2, 2, 2], sweeps: 4, tolerance: 0 });
    tensor.destroy();
    return reads.passes;
  };
  const plain = await passesOf(x);
  expect(plain).toBeGreaterThan(10);
  using large = engine.tensor(
    [6, 5, 8],
    randomArray(240, 1).map((value) => value * 2 ** 40),
  );
  expect(await passesOf(large)).toBeGreaterThan(plain);
  using bytes = engine.tensor(
    [6, 5, 8],
    Uint8Array.from({ length: 240 }, (_, index) => (index * index) % 251),
  );
  expect(await passesOf(bytes)).toBeGreaterThan(plain);
});

it("counts slabs by their part of the tensor", async () => {
  using first = engine.tensor([2, 5, 8], randomArray(80, 1));
  using second = engine.tensor([4, 5, 8], randomArray(160, 2));
  using source = await slabs(engine, [first, second]);
  const reads = countReads(source);
  await engine.run((s) => void sumOfSquares(s, second));
  expect(reads.passes).toBeCloseTo(2 / 3);
  const { tensor } = await cpALS(engine, source, { rank: 2, sweeps: 4, tolerance: 0 });
  tensor.destroy();
  expect(reads.passes).toBeGreaterThan(8);
});

import { afterAll, beforeAll, expect, it } from "vitest";
import { cpALS, tuckerHOOI } from "../../src/decompositions/index.js";
import type { Engine, Tensor } from "../../src/gpu/index.js";
import { mttkrp, sumOfSquares } from "../../src/ops/index.js";
import { countReads, slabs } from "../../src/sources/index.js";
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

/** Unimodal regression of columns against f64: every peak tried, each side by pooling. */
import { describe, expect, it } from "vitest";
import { unimodalColumns } from "../../src/ops/index.js";
import { evaluate, expectClose, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

/** Rising regression of at least 0. */
function rising(t: readonly number[]): number[] {
  const blocks: { sum: number; size: number }[] = [];
  for (const value of t) {
    let block = { sum: value, size: 1 };
    for (let last = blocks.at(-1); last && last.sum / last.size >= block.sum / block.size; last = blocks.at(-1)) {
      block = { sum: block.sum + last.sum, size: block.size + last.size };
      blocks.pop();
    }
    blocks.push(block);
  }
  return blocks.flatMap(({ sum, size }) => new Array<number>(size).fill(Math.max(0, sum / size)));
}

function unimodal(t: readonly number[]): number[] {
  let [best, least]: [number[], number] = [[], Number.POSITIVE_INFINITY];
  for (let count = 0; count <= t.length; count++) {
    const candidate = [...rising(t.slice(0, count)), ...rising(t.slice(count).reverse()).reverse()];
    const error = candidate.reduce((sum, value, i) => sum + (value - t[i]!) ** 2, 0);
    if (error < least - 1e-12) [best, least] = [candidate, error];
  }
  return best;
}

describe.each([
  [1, 1],
  [2, 3],
  [7, 2],
  [50, 4],
  [301, 3],
])("%i rows of %i columns", (rows, rank) => {
  it.each([0, 0.05])("regresses targets of noise %f and bumps of %i rows", async (bump) => {
    const engine = await testEngine();
    const noise = randomArray(rows * rank, 7);
    const right = Float32Array.from(noise, (value, at) => {
      const i = Math.floor(at / rank);
      return value + (bump ? 3 * Math.exp(-(((i / rows - 0.4) / (0.1 + bump)) ** 2)) : 0);
    });
    // columns that share nothing: the regression of B itself
    const normal = new Float32Array(rank * rank);
    for (let r = 0; r < rank; r++) normal[r * rank + r] = 1;
    using b = engine.tensor([rows, rank], right);
    using v = engine.tensor([rank, rank], normal);
    using a = engine.tensor([rows, rank]);
    const y = await evaluate(engine, (s) => unimodalColumns(s, v, b, { factor: a, passes: 1 }));
    for (let r = 0; r < rank; r++) {
      const pick = (values: Float32Array) => [...values].filter((_, at) => at % rank === r);
      expectClose(pick(y), unimodal(pick(right)), 1e-5);
    }
  });

  it("goes on with columns that share much, one after the other", async () => {
    const engine = await testEngine();
    const right = randomArray(rows * rank, 8);
    const normal = Float32Array.from({ length: rank * rank }, (_, at) => (at % (rank + 1) ? 0.4 : 1.5));
    const start = randomArray(rows * rank, 9).map(Math.abs);
    using b = engine.tensor([rows, rank], right);
    using v = engine.tensor([rank, rank], normal);
    using a = engine.tensor([rows, rank], start);
    const y = await evaluate(engine, (s) => unimodalColumns(s, v, b, { factor: a, passes: 2 }));
    const expected = Float64Array.from(start);
    for (let turn = 0; turn < 2; turn++)
      for (let r = 0; r < rank; r++) {
        const target = Array.from({ length: rows }, (_, i) => {
          let rest = right[i * rank + r]!;
          for (let s = 0; s < rank; s++) if (s !== r) rest -= expected[i * rank + s]! * normal[r * rank + s]!;
          return rest / normal[r * rank + r]!;
        });
        unimodal(target).forEach((value, i) => {
          expected[i * rank + r] = value;
        });
      }
    expectClose(y, expected, 2e-5);
  });
});

it("leaves a column alone that has no share in V", async () => {
  const engine = await testEngine();
  using b = engine.tensor([3, 1], Float32Array.of(1, 2, 3));
  using v = engine.tensor([1, 1]);
  using a = engine.tensor([3, 1], Float32Array.of(1, 2, 1));
  expect([...(await evaluate(engine, (s) => unimodalColumns(s, v, b, { factor: a })))]).toEqual([1, 2, 1]);
  using s = engine.scheduler("test");
  using wrong = engine.tensor([2, 2]);
  expect(() => unimodalColumns(s, wrong, b, { factor: a })).toThrow("needs 2 columns");
});

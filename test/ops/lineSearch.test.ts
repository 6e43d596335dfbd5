/** The steps of a line search, what it chooses, and what is taken, against loops. */
import { expect, it } from "vitest";
import type { Tensor } from "../../src/gpu/index.js";
import { LINE_SEARCH_START, lineSearchChoice, lineSearchSteps, lineSearchTake } from "../../src/ops/index.js";
import { expectClose, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

it("goes on from a matrix times its weights, and clips", async () => {
  const engine = await testEngine();
  const [fresh, last] = [randomArray(141, 51), randomArray(141, 52)];
  const weights = [2, 3, 0];
  const made = [fresh, last, new Float32Array(141)].map((data) => engine.tensor([141], data));
  const [x, plain, further] = made as [Tensor, Tensor, Tensor];
  using w = engine.tensor([3], weights);
  using state = engine.tensor([4], [...LINE_SEARCH_START]);
  await engine.run((s) =>
    lineSearchSteps(s, { fresh: x, scaled: { weights: w, range: [64, 124] }, clip: [10, 70], state, plain, further }),
  );
  const f = fresh.map((value, at) => (at >= 64 && at < 124 ? value * weights[(at - 64) % 3]! : value));
  const far = f.map((value, at) => {
    const moved = value + 0.8 * (value - last[at]!);
    return at >= 10 && at < 70 ? Math.max(0, moved) : moved;
  });
  const [gotPlain, gotFurther] = (await engine.read([plain, further])) as [Float32Array, Float32Array];
  expectClose(gotPlain, f, 1e-6);
  expectClose(gotFurther, far, 1e-6);
  for (const tensor of made) tensor.destroy();
});

it.each([
  [[1, 2], 3, 0, 0.8 / 1.5],
  [[2, 1], 3, 1, 0.8 * 1.1],
  [[2, 3], 1, 2, 0.8 / 1.5],
  [[2, 1], 1, 1, 0.8 * 1.1],
  [[1, 1], 1, 0, 0.8 / 1.5],
] as const)("of errors %o after %f it takes step %f", async ([first, second], before, choice, length) => {
  const engine = await testEngine();
  using plain = engine.tensor([1], [first]);
  using further = engine.tensor([1], [second]);
  using state = engine.tensor([4], [0.8, before, 2, 5]);
  const outs = [5, 8].map((size) => ({
    x: [1, 2].map((value) => engine.tensor([size], new Float32Array(size).fill(value))) as [Tensor, Tensor],
    out: engine.tensor([size], new Float32Array(size).fill(9)),
  }));
  await engine.run((s) => {
    lineSearchChoice(s, { plain, further }, state);
    for (const { x, out } of outs) {
      lineSearchTake(s, "plain", x[0], state, out);
      lineSearchTake(s, "further", x[1], state, out);
    }
  });
  const told = await state.read();
  expect(told[0]).toBeCloseTo(length, 6);
  expect([told[1], told[2], told[3]]).toEqual([Math.min(first, second, before), choice, choice === 2 ? 6 : 0]);
  for (const { x, out } of outs) {
    expect([...(await out.read())]).toEqual(Array(out.size).fill([1, 2, 9][choice]));
    for (const tensor of [...x, out]) tensor.destroy();
  }
});

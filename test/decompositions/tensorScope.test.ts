import { describe, expect, it } from "vitest";
import { TensorScope, together } from "../../src/decompositions/tensorScope.js";
import { testEngine } from "../engine.js";

describe("TensorScope", () => {
  it("frees what it holds, last first, where nothing is handed out", async () => {
    const engine = await testEngine();
    const { live } = engine.memory();
    const order: number[] = [];
    expect(() => {
      using scope = new TensorScope(engine);
      scope.allocate([1000], "values");
      for (const item of [1, 2, 3]) scope.keep({ destroy: () => order.push(item) });
      throw new Error("halfway");
    }).toThrow("halfway");
    expect(order).toEqual([3, 2, 1]);
    expect(engine.memory().live).toBe(live);
  });

  it("hands a result out, and moves to another holder", async () => {
    const engine = await testEngine();
    const { live } = engine.memory();
    const make = (): { result: { destroy(): void }; moved: TensorScope } => {
      using scope = new TensorScope(engine);
      const result = scope.handOut(scope.allocate([1000], "values"));
      scope.allocate([1000], "state", "u32");
      return { result, moved: scope.move() };
    };
    const { result, moved } = make();
    const both = engine.memory().live - live;
    moved.destroy();
    moved.destroy();
    expect(2 * (engine.memory().live - live)).toBe(both);
    result.destroy();
    expect(engine.memory().live).toBe(live);
  });
});

it("together waits for all tasks before it throws", async () => {
  let isOver = false;
  const slow = new Promise<number>((resolve) =>
    setTimeout(() => {
      isOver = true;
      resolve(1);
    }, 30),
  );
  await expect(together([slow, Promise.reject(new Error("at once"))])).rejects.toThrow("at once");
  expect(isOver).toBe(true);
  expect(await together([slow, Promise.resolve("two")])).toEqual([1, "two"]);
});

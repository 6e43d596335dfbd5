import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { pacedBy } from "../../src/node/pace.js";
import { testEngine } from "../engine.js";

describe("pacedBy", () => {
  const calls: unknown[][] = [];
  const take = (name: string) =>
    Object.assign((...args: unknown[]) => void calls.push([name, ...args]), { [promisify.custom]: () => "kept" });
  const paced = pacedBy(take("at once") as never, take("later") as never) as unknown as (...args: unknown[]) => void;
  // an add-on's functions look like this one
  const native = Function.prototype;
  const arrow = () => {};
  const named = { poll() {} }.poll;
  const bound = named.bind(null);

  it.each([
    ["a function", named, []],
    ["a function with arguments", named, [1, 2]],
    ["an arrow without a name", (() => () => {})(), []],
    ["a bound function", bound, []],
    ["a bound arrow", arrow.bind(null), []],
    ["a function of the engine with a name", Math.max, []],
    ["an add-on's function with arguments", native, [1]],
  ])("leaves %s alone", (_, callback, args) => {
    calls.length = 0;
    paced(callback, ...args);
    expect(calls).toEqual([["at once", callback, ...args]]);
  });

  it("lets an add-on's function without a name wait a millisecond", () => {
    calls.length = 0;
    paced(native);
    expect(calls).toEqual([["later", native, 1]]);
  });

  it("keeps what belongs to the function", () => {
    expect((paced as unknown as Record<symbol, () => string>)[promisify.custom]!()).toBe("kept");
  });
});

it("setImmediate works as before where a software adapter is open, by promises too", async () => {
  await testEngine();
  expect(await new Promise((resolve) => setImmediate(resolve, 5))).toBe(5);
  expect(await promisify(setImmediate)(7)).toBe(7);
  let ran = false;
  clearImmediate(setImmediate(() => (ran = true)));
  await new Promise((resolve) => setImmediate(resolve));
  expect(ran).toBe(false);
});

import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { pacedBy } from "../../src/node/pace.js";
import { testEngine } from "../engine.js";

describe("pacedBy", () => {
  const calls: unknown[][] = [];
  const take = (name: string) =>
    Object.assign((...args: unknown[]) => void calls.push([name, ...args]), { [promisify.custom]: () => "kept" });
  let time = 0;
  const paced = pacedBy(take("at once") as never, take("later") as never, () => time) as unknown as (
    ...args: unknown[]
  ) => void;
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

  it("lets polls wait a millisecond each, once a wait has lasted half of one", () => {
    // a poll that asks for the next: without a name, and of the engine's own code as far as its text tells
    const poll = Object.defineProperty(() => paced(poll), "name", { value: "" });
    const text = Function.prototype.toString;
    Function.prototype.toString = function (this: unknown) {
      return this === poll ? "function () { [native code] }" : text.call(this);
    };
    try {
      calls.length = 0;
      const run = () => (calls.at(-1)![1] as () => void)();
      time = 10;
      paced(poll);
      time = 10.4;
      run();
      time = 10.6;
      run();
      run();
      expect(calls.map(([name, , ms]) => [name, ms])).toEqual([
        ["at once", undefined],
        ["at once", undefined],
        ["later", 1],
        ["later", 1],
      ]);
      // another wait
      paced(poll);
      expect(calls.at(-1)![0]).toBe("at once");
    } finally {
      Function.prototype.toString = text;
    }
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

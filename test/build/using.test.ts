import { expect, it } from "vitest";
import usingContext from "../../src/build/using.js";
import { dispose } from "../../src/gpu/dispose.js";

type Declare = ReturnType<typeof usingContext>["u"];

/** Runs a block as a build writes it. */
function run(block: (declare: Declare) => void): unknown {
  try {
    const context = usingContext();
    try {
      block(context.u);
    } catch (error) {
      context.e = error;
    } finally {
      context.d();
    }
  } catch (error) {
    return error;
  }
  return "no error";
}

it("disposes of what was declared, the last first, also where the block throws", () => {
  const said: string[] = [];
  const disposable = (name: string) => ({ [dispose]: () => void said.push(name) });
  expect(
    run((declare) => {
      const first = disposable("first");
      expect(declare(first)).toBe(first);
      expect(declare(null)).toBe(null);
      expect(declare(undefined)).toBe(undefined);
      declare(disposable("second"));
      said.push("block");
    }),
  ).toBe("no error");
  expect(said).toEqual(["block", "second", "first"]);
  said.length = 0;
  const thrown = run((declare) => {
    declare(disposable("first"));
    throw undefined;
  });
  expect(thrown).toBe(undefined);
  expect(said).toEqual(["first"]);
});

it("goes on where disposing throws, and throws the first error", () => {
  const said: string[] = [];
  const failing = (name: string) => ({
    [dispose]: () => {
      said.push(name);
      throw new Error(name);
    },
  });
  const fail = (declare: Declare): void => {
    declare(failing("first"));
    declare(failing("second"));
  };
  expect(run(fail)).toMatchObject({ message: "second" });
  expect(said).toEqual(["second", "first"]);
  const error = run((declare) => {
    fail(declare);
    throw new Error("block");
  });
  expect(error).toMatchObject({ message: "block" });
  expect(said).toEqual(["second", "first", "second", "first"]);
});

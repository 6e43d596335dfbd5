/** Errors as programs see them: by their class and by their code. Which classes there are, architecture.test.ts reads from src. */
import { describe, expect, it } from "vitest";
import { InputError, InterruptedError } from "../src/cli/context.js";
import { ConvergenceError } from "../src/decompositions/iterate.js";
import { type ErrorCode, TenfoldError } from "../src/errors.js";
import { type Comparison, UnfinishedError } from "../src/experiments/compare.js";
import { DeviceLostError, Engine, KernelError, OutOfLimitsError, ShapeError } from "../src/gpu/index.js";
import { InexactError } from "../src/io/array.js";
import { UnsupportedError } from "../src/io/errors.js";
import { FormatError, readNpy, readNpz } from "../src/io/index.js";
import { cloneLayer, type Layer } from "../src/nn/index.js";
import { FileError, readBytes, writeAtomic } from "../src/node/files.js";
import { freshEngine } from "./engine.js";

const cause = new Error("the cause");

describe.each<[error: TenfoldError, name: string, code: ErrorCode, message: string]>([
  [new TenfoldError("x"), "TenfoldError", "USAGE", "x"],
  [new TenfoldError("x", { code: "NO_GPU" }), "TenfoldError", "NO_GPU", "x"],
  [new ShapeError("x"), "ShapeError", "SHAPE", "x"],
  [new OutOfLimitsError("x"), "OutOfLimitsError", "LIMITS", "x"],
  [new KernelError(["gram"], "x", { cause }), "KernelError", "KERNEL", "x"],
  [new DeviceLostError("unknown", "x"), "DeviceLostError", "DEVICE_LOST", "The GPU device was lost (unknown): x"],
  [new ConvergenceError("x", { cause }), "ConvergenceError", "CONVERGENCE", "x"],
  [new FormatError("a.npy", "x", { cause }), "FormatError", "FORMAT", "a.npy: x"],
  // of the class that is exported
  [new UnsupportedError("a.npy", "x"), "FormatError", "UNSUPPORTED", "a.npy: x"],
  [new InexactError(3, 2n ** 60n), "InexactError", "INEXACT", "1152921504606846976"],
  [new FileError("a.npy", "x", { cause }), "FileError", "FILE", "a.npy: x"],
  [new UnfinishedError({ stopped: "x" } as Comparison, cause), "UnfinishedError", "UNFINISHED", "compareMethods: x"],
  [new InputError("x"), "InputError", "INPUT", "x"],
  [new InterruptedError("x"), "InterruptedError", "INTERRUPTED", "x"],
])("%s", (error, name, code, message) => {
  it(`is a TenfoldError with the code ${code}`, () => {
    expect(error).toBeInstanceOf(TenfoldError);
    expect(error).toBeInstanceOf(Error);
    expect([error.name, error.code, error.message]).toEqual([name, code, message]);
    expect(String(error)).toBe(`${name}: ${message}`);
    if ("cause" in error && error.cause) expect(error.cause).toBe(cause);
  });
});

it("a subclass is told from its parent by instanceof and by code", () => {
  expect(new UnsupportedError("a", "x")).toBeInstanceOf(FormatError);
  expect(new FormatError("a", "x")).not.toBeInstanceOf(UnsupportedError);
});

describe("what is thrown has the code that says what it is", () => {
  const failure = async (call: () => unknown): Promise<unknown> => {
    try {
      return await call();
    } catch (error) {
      return error;
    }
  };

  it("without a GPU", async () => {
    const gpu = { requestAdapter: async () => null } as unknown as GPU;
    expect(await failure(() => Engine.create({ gpu }))).toMatchObject({ code: "NO_GPU" });
    expect(await failure(() => new Engine({} as GPUDevice))).toMatchObject({ code: "USAGE" });
    expect(await failure(() => Engine.create({ gpus: gpu } as object))).toMatchObject({ code: "OPTION" });
    expect(await failure(() => readNpy(new Uint8Array(9), "a.npy"))).toMatchObject({
      code: "UNSUPPORTED",
      file: "a.npy",
    });
    expect(await failure(() => readNpz(new Uint8Array(9), "a.npz"))).toMatchObject({ code: "FORMAT", file: "a.npz" });
    expect(await failure(() => readBytes("no/such/file"))).toMatchObject({ code: "FILE", file: "no/such/file" });
    const folder = (await failure(() => writeAtomic(import.meta.dirname, ""))) as FileError;
    expect(folder).toMatchObject({
      code: "FILE",
      message: `${import.meta.dirname}: cannot be written: it is a folder`,
    });
    const strange = { name: "strange" } as unknown as Layer;
    expect(await failure(() => cloneLayer(strange))).toMatchObject({
      code: "USAGE",
      message: "saveModel: strange is of no kind that a file can hold",
    });
  });

  it("by an engine", async () => {
    const engine = await freshEngine();
    const codeOf = async (call: () => unknown): Promise<unknown> => ((await failure(call)) as TenfoldError).code;
    expect(await codeOf(() => engine.tensor([2, 2], [1, 2, 3]))).toBe("SHAPE");
    expect(await codeOf(() => engine.tensor([2 ** 20, 2 ** 20]))).toBe("LIMITS");
    expect(await codeOf(() => engine.tensor([2], null, { dtype: "f64" as "f32" }))).toBe("OPTION");
    expect(await codeOf(() => engine.tensor([2], "ab" as never))).toBe("USAGE");
    const x = engine.tensor([2]);
    engine.destroy();
    expect(await codeOf(() => x.read())).toBe("DESTROYED");
    expect(await codeOf(() => engine.tensor([2]))).toBe("DESTROYED");
  });
});

/** `-` in place of a file: what is piped into a command. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { writeNpy, writeNpz, writeSafetensors } from "../../src/io/index.js";
import { randomArray } from "../reference.js";
import { command } from "./command.js";

const SHAPE = [4, 3, 2];
const X = { shape: SHAPE, data: randomArray(24, 1) };
const LINES = [...X.data].map((value, at) => [Math.floor(at / 6), Math.floor(at / 2) % 3, at % 2, value].join());
const fixture = (...path: string[]): string => join(import.meta.dirname, "..", ...path);

/** A command into which bytes are piped, in pieces of seven. */
function piped(bytes: Uint8Array | string, ...argv: string[]) {
  const all = Buffer.from(bytes);
  const pieces = Array.from({ length: Math.ceil(all.length / 7) }, (_, at) => all.subarray(7 * at, 7 * at + 7));
  return command(argv, { stdin: Readable.from(pieces) });
}

describe("standard input", () => {
  it.each<[string, Uint8Array | string, string]>([
    [".npy", writeNpy(X), "f4"],
    [".npz", writeNpz([["X", X]]), "f4"],
    [".safetensors", writeSafetensors([["X", X]]), "f4"],
    [".csv", `i,j,k,value\n${LINES.join("\n")}`, "f8"],
  ])("is told to be %s by its first bytes", async (_, bytes, dtype) => {
    const { code, stdout, stderr } = await piped(bytes, "info", "-", "--json", "--quick");
    expect([code, stderr]).toEqual([0, ""]);
    const info = JSON.parse(stdout);
    expect(info).toMatchObject({ shape: SHAPE, dtype, entries: 24, missing: 0 });
    expect(info.largest).toBeCloseTo(Math.max(...X.data), 6);
    expect(info.suggestions[0]).toMatch(/^tenfold rank -(:X)? --max 6$/);
  });

  it("is told to be .mat, and holds several arrays of which one is asked for", async () => {
    const bytes = readFileSync(fixture("fixtures/io/tensors/plain.mat"));
    const info = await piped(bytes, "info", "-:double", "--json", "--quick");
    expect(JSON.parse(info.stdout)).toMatchObject({ shape: SHAPE, largest: 321.5 });
    expect((await piped(bytes, "info", "-", "--quick")).stderr).toMatch(/^error: -: holds \d+ arrays, give one as -:/);
  });

  it("is read once by commands that compute", async () => {
    const info = await piped(writeNpy(X), "info", "-", "--json");
    expect(JSON.parse(info.stdout).ranks).toHaveLength(2);
    const decomposed = await piped(writeNpy(X), "decompose", "-", "--rank", "2", "--sweeps", "3", "--out", "-");
    expect(decomposed).toMatchObject({ code: 0, stdout: expect.stringMatching(/^PK.*factor_2/s) });
    expect(decomposed.stderr).toContain("-: 4×3×2, 24 entries");
    const rank = await piped(writeNpy(X), "rank", "-", "--max", "1", "--starts", "1", "--json", "-");
    expect(JSON.parse(rank.stdout)).toMatchObject({ file: "-", shape: SHAPE });
  });

  it("holds an ONNX model", async () => {
    const bytes = readFileSync(fixture("onnx/fixtures/convolutions.onnx"));
    const { code, stdout } = await piped(bytes, "inspect", "-", "--json", "-");
    expect(code).toBe(0);
    expect(JSON.parse(stdout).sites.length).toBeGreaterThan(0);
    expect((await piped(bytes, "info", "-")).stderr).toBe(
      "error: -: is an ONNX model, it seems: tenfold inspect lists its layers\n",
    );
    expect((await piped(writeNpy(X), "inspect", "-")).stderr).toMatch(/^error: -: is no ONNX model/);
  });

  it.each<[string, Uint8Array, RegExp]>([
    ["empty", new Uint8Array(), /standard input is empty; pipe a file in, as in cat X\.npy \| tenfold info -/],
    ["of no kind", Uint8Array.of(0, 1, 2, 3, 4), /-: begins with 00 01 02 03, as no \.npy, \.npz, .* does/],
    ["packed", gzipSync("1,2"), /-: is packed by gzip: unpack it first/],
    [
      "of HDF5",
      readFileSync(fixture("fixtures/io/tensors/plain.h5")),
      /-: is an HDF5 file: save it under a name that ends in \.h5/,
    ],
    ["of v7.3", readFileSync(fixture("fixtures/io/tensors/v73.mat")), /-: is a MAT-file of version 7\.3: save it/],
    ["cut off", writeNpy(X).subarray(0, 100), /-: .*/],
  ])("that is %s is an error", async (_, bytes, message) => {
    for (const argv of [
      ["decompose", "-", "--rank", "1"],
      ["info", "-"],
      ["rank", "-"],
    ]) {
      const { code, stdout, stderr } = await piped(bytes, ...argv);
      expect([code, stdout]).toEqual([2, ""]);
      expect(stderr).toMatch(message);
    }
  });

  it("is not waited for at a terminal, nor after Ctrl-C, nor sent to workers", async () => {
    const terminal = Object.assign(Readable.from([]), { isTTY: true });
    expect((await command(["inspect", "-"], { stdin: terminal })).stderr).toMatch(/standard input is a terminal; pipe/);
    const endless = new Readable({ read() {} });
    const stopped = await command(["info", "-"], { stdin: endless, signal: AbortSignal.timeout(20) });
    expect(stopped).toMatchObject({ code: 130, stderr: expect.stringContaining("stopped while standard input") });
    const workers = await piped(writeNpy(X), "decompose", "-", "--rank", "1", "--workers", "2");
    expect(workers.stderr).toMatch(/workers cannot read standard input: give the name of a file/);
  });
});

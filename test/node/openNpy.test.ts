import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { cp, ttCross } from "../../src/decompositions/index.js";
import { writeNpy } from "../../src/io/index.js";
import { openNpy } from "../../src/node/index.js";
import { streamed } from "../../src/sources/index.js";
import { testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

const folder = mkdtempSync(join(tmpdir(), "npy-"));
afterAll(() => rmSync(folder, { recursive: true }));
const shape = [9, 4, 5];
const floats = randomArray(180, 4);

/** A file with this header, of numbers row by row. */
function save(name: string, descr: string, data: Uint8Array, fortran = false): string {
  const text = `{'descr': '${descr}', 'fortran_order': ${fortran ? "True" : "False"}, 'shape': (9, 4, 5), }`;
  const header = text.padEnd(117, " ");
  const begin = Uint8Array.of(0x93, ...[..."NUMPY"].map((letter) => letter.charCodeAt(0)), 1, 0, 118, 0);
  const file = join(folder, name);
  writeFileSync(file, Buffer.concat([begin, Buffer.from(`${header}\n`, "latin1"), data]));
  return file;
}
const bytesOf = (array: { buffer: ArrayBufferLike }) => new Uint8Array(array.buffer);

describe("openNpy", () => {
  const swapped = new Uint8Array(720);
  for (const [at, value] of floats.entries()) new DataView(swapped.buffer).setFloat32(4 * at, value);
  const small = Int8Array.from(floats, (value) => 50 * value);
  it.each([
    ["<f4", "f32", bytesOf(floats), floats],
    [">f4", "f32", swapped, floats],
    ["<f8", "f32", bytesOf(Float64Array.from(floats)), floats],
    ["<i8", "f32", bytesOf(BigInt64Array.from(small, BigInt)), Float32Array.from(small)],
    ["|b1", "f32", bytesOf(Uint8Array.from(small, (value) => (value > 0 ? 1 : 0))), small.map((v) => (v > 0 ? 1 : 0))],
    ["|i1", "i8", bytesOf(small), small],
    ["|u1", "u8", bytesOf(Uint8Array.from(small)), Uint8Array.from(small)],
    ["<i2", "i16", bytesOf(Int16Array.from(small)), Int16Array.from(small)],
    ["<u2", "u16", bytesOf(Uint16Array.from(small)), Uint16Array.from(small)],
    ["<i4", "i32", bytesOf(Int32Array.from(small)), Int32Array.from(small)],
  ] as const)("reads rows of %s as %s", async (descr, format, data, expected) => {
    using file = await openNpy(save(`${format}.npy`, descr, data));
    expect([file.shape, file.format]).toEqual([shape, format]);
    const bytes = expected.BYTES_PER_ELEMENT;
    const size = format === "f32" ? 4 : bytes;
    const into = new Uint8Array(size * 60);
    await file.read(2, 3, into);
    const wanted = expected.slice(40, 100);
    const numbers =
      format === "f32" ? new Float32Array(into.buffer) : new (expected.constructor as typeof Int8Array)(into.buffer);
    expect([...numbers]).toEqual([...wanted]);
  });

  it.each([
    ["<f4", bytesOf(floats), floats],
    [">f4", swapped, floats],
    ["<i8", bytesOf(BigInt64Array.from(small, BigInt)), small],
  ] as const)("reads single entries of %s, in any order", async (descr, data, expected) => {
    using file = await openNpy(save("entries.npy", descr, data));
    const at = [8, 3, 4, 0, 0, 0, 5, 1, 2, 8, 3, 4, 0, 0, 1];
    const places = [179, 0, 107, 179, 1];
    expect([...(await file.entries(Uint32Array.from(at), 5))]).toEqual(places.map((place) => expected[place]));
  });

  it("is what ttCross takes entries from", async () => {
    const engine = await testEngine();
    const name = join(folder, "rank1.npy");
    const data = Float64Array.from({ length: 180 }, (_, at) => (1 + (at % 5)) * (2 + Math.floor(at / 20)));
    writeFileSync(name, writeNpy({ shape, data }));
    using file = await openNpy(name);
    const { tensor, relativeError } = await ttCross(engine, file, { samples: 20 });
    expect(relativeError).toBeLessThan(1e-6);
    expect(tensor.ranks).toEqual([1, 1, 1, 1]);
    tensor.destroy();
  });

  it("is what streamed reads", async () => {
    const engine = await testEngine();
    // two components and a little noise: of noise alone, rounding decides where a few sweeps end
    const [a, b, c] = [randomArray(18, 1), randomArray(8, 2), randomArray(10, 3)];
    const data = floats.map((noise, n) => {
      const at = [Math.floor(n / 20), Math.floor(n / 5) % 4, n % 5] as const;
      const entry = (r: number) => a[2 * at[0] + r]! * b[2 * at[1] + r]! * c[2 * at[2] + r]!;
      return entry(0) + entry(1) + 0.01 * noise;
    });
    const name = join(folder, "x.npy");
    writeFileSync(name, writeNpy({ shape, data }));
    using file = await openNpy(name);
    using x = await streamed(engine, file, { memory: 1500 });
    expect(x.parts.length).toBeGreaterThan(2);
    using tensor = engine.tensor(shape, data);
    // a file in parts begins at random, a tensor that is there by generalised eigenvalues
    const options = { rank: 2, starts: 1, sweeps: 30, initialize: "random", compression: "none" } as const;
    const results = [await cp(engine, x, options), await cp(engine, tensor, options)];
    expect(Math.abs(results[0]!.relativeError - results[1]!.relativeError)).toBeLessThan(1e-5);
    expect(results[0]!.relativeError).toBeLessThan(0.03);
    for (const { tensor } of results) tensor.destroy();
  });

  it("says what is wrong with a file", async () => {
    await expect(openNpy(join(folder, "none.npy"))).rejects.toThrow("cannot be read: no such file");
    await expect(openNpy(save("fortran.npy", "<f4", bytesOf(floats), true))).rejects.toThrow("numpy.ascontiguousarray");
    await expect(openNpy(save("short.npy", "<f4", new Uint8Array(700)))).rejects.toThrow(
      "short.npy: cut short: it needs 848 bytes, and has 828",
    );
    writeFileSync(join(folder, "text.npy"), "hello");
    await expect(openNpy(join(folder, "text.npy"))).rejects.toThrow("not an .npy file");
    const name = save("cut.npy", "<f4", bytesOf(floats));
    using file = await openNpy(name);
    writeFileSync(name, bytesOf(floats).subarray(0, 400));
    await expect(file.read(0, 9, new Uint8Array(720))).rejects.toThrow("cut.npy: cut short: it ends at byte 400");
  });
});

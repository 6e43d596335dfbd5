import { describe, expect, it } from "vitest";
import { dispose, type Engine, type Tensor } from "../../src/gpu/index.js";
import { resident, restore, restoreValues } from "../../src/sources/index.js";
import { freshEngine, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

const shape = [3, 4, 5];
const values = randomArray(60, 5);

describe("a resident source", () => {
  it.each([-149, -100, -30, -10, 0, 15, 16, 60, 127])("brings 2^%i·X near 1, exactly", async (exponent) => {
    const engine = await testEngine();
    // the largest entry is 1.5, and no digit is lost where numbers are subnormal
    const coarse = Float32Array.from({ length: 60 }, (_, i) => (exponent < -110 ? 1 : (values[i]! * 1.5) / 1.01));
    coarse[7] = exponent < -110 ? 1 : 1.5;
    using x = engine.tensor(
      shape,
      Float32Array.from(coarse, (value) => value * 2 ** exponent),
    );
    const { live } = engine.memory();
    const source = await resident(engine, "test", x);
    const scaled = await engine.read(source.x);
    expect(source.isZero).toBe(false);
    expect(source.x === x).toBe(exponent >= -10 && exponent <= 15);
    expect([...scaled]).toEqual([...Float32Array.from(coarse, (value) => value * 2 ** (exponent - source.exponent))]);
    const norm = [...scaled].reduce((sum, value) => sum + value * value, 0);
    expect(Math.abs(source.squaredNorm / norm - 1)).toBeLessThan(1e-6);
    source[dispose]();
    expect(engine.memory().live).toBe(live);
  });

  it.each([
    Uint8Array.from({ length: 60 }, (_, i) => 200 + i / 2),
    Int32Array.from({ length: 60 }, (_, i) => i - 30),
    Uint32Array.from({ length: 60 }, (_, i) => i * 50_000_000),
  ])("takes integers by value", async (integers) => {
    const engine = await testEngine();
    using x = engine.tensor(shape, integers);
    const { live } = engine.memory();
    const source = await resident(engine, "test", x);
    const floats = await engine.read(source.x);
    const scale = 2 ** source.exponent;
    expect([...floats].map((value) => value * scale)).toEqual([...Float32Array.from(integers)]);
    source[dispose]();
    expect(engine.memory().live).toBe(live);
  });

  it("knows a zero tensor", async () => {
    const engine = await testEngine();
    using x = engine.tensor(shape, new Float32Array(60));
    using source = await resident(engine, "test", x);
    expect(source).toMatchObject({ isZero: true, exponent: 0, squaredNorm: 0 });
  });

  it("names what is not finite, in one error", async () => {
    const engine = await testEngine();
    const bad = Float32Array.from(values);
    bad[1 * 20 + 2 * 5 + 3] = Number.POSITIVE_INFINITY;
    using one = engine.tensor(shape, bad, { label: "X" });
    await expect(resident(engine, "cpALS", one)).rejects.toThrow(
      "cpALS: X 3×4×5 has 1 entry that is not finite, infinity at [1, 2, 3]; remove or replace it",
    );
    bad[2] = Number.NaN;
    using two = engine.tensor(shape, bad, { label: "X" });
    await expect(resident(engine, "cpALS", two)).rejects.toThrow(
      "cpALS: X 3×4×5 has 2 entries that are not finite, the first NaN at [0, 0, 2]; remove or replace them",
    );
  });

  it("names what is no tensor of the engine", async () => {
    const engine = await testEngine();
    using x = engine.tensor([2, 2], [1, 2, 3, 4]);
    const call = (first: unknown, second: unknown) => resident(first as Engine, "cpALS", second as Tensor);
    await expect(call(x, { rank: 3 })).rejects.toThrow(
      "cpALS: the first argument is a tensor, needs an engine: call cpALS(engine, tensor, options)",
    );
    await expect(call(undefined, x)).rejects.toThrow("the first argument is undefined, needs an engine");
    await expect(call(engine, [[1, 2]])).rejects.toThrow("the second argument is an object (Array), needs a tensor");
    await expect(call(engine, undefined)).rejects.toThrow("the second argument is undefined, needs a tensor");
    using other = await freshEngine();
    await expect(call(other, x)).rejects.toThrow("cpALS: tensor 2×2 belongs to another engine");
    const gone = engine.tensor([2, 2]);
    gone.destroy();
    await expect(call(engine, gone)).rejects.toThrow("cpALS: tensor 2×2 was destroyed");
    using scalar = engine.tensor([], [1]);
    await expect(call(engine, scalar)).rejects.toThrow("has order 0, needs at least one mode");
  });
});

describe("restore", () => {
  it("gives a result its size back", async () => {
    const engine = await testEngine();
    const core = engine.tensor([2, 2], [1, -2, 3, 0.1]);
    expect(await restore(engine, "test", "core", core, 0)).toBe(core);
    using restored = await restore(engine, "test", "core", core, -40);
    expect([...(await restored.read())]).toEqual([...Float32Array.of(1, -2, 3, 0.1)].map((value) => value * 2 ** -40));
    expect(() => core.write([1, 2, 3, 4])).toThrow("destroyed");
    expect([...restoreValues("test", "weights", [1.5, 0], 100)]).toEqual([1.5 * 2 ** 100, 0]);
  });

  it("says where that leaves f32", async () => {
    const engine = await testEngine();
    using core = engine.tensor([2], [3, 0]);
    await expect(restore(engine, "tuckerHOOI", "core", core, 127)).rejects.toThrow(
      "tuckerHOOI: the core of the result would be 5.10e+38, above 3.4e38, the largest f32; divide X by a power of ten first",
    );
    expect(() => restoreValues("cpALS", "weights", [3], -160)).toThrow("below 1.4e-45, the least f32");
    expect([...(await core.read())]).toEqual([3, 0]);
  });
});

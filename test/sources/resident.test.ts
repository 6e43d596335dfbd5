import { describe, expect, it } from "vitest";
import { cp, cpALS, nonnegativeTucker, tuckerHOOI } from "../../src/decompositions/index.js";
import { dispose, type Engine, Program, type Tensor } from "../../src/gpu/index.js";
import { resident, restore, restoreValues, type Source } from "../../src/sources/index.js";
import { packedResident } from "../../src/sources/packed.js";
import { TuckerTensor } from "../../src/tensors/index.js";
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

describe("a tensor of bytes", () => {
  // rows that fill words, and rows that do not; signed bytes, so that a part is negative
  it.each([
    [12, 10, 8],
    [11, 9, 7],
  ])("of %i×%i×%i is decomposed as it lies, as f32 is", async (...extents) => {
    const engine = await testEngine();
    const size = extents.reduce((product, extent) => product * extent, 1);
    const factors = extents.map((extent, mode) => randomArray(2 * extent, 8 + mode));
    const errors = randomArray(size, 7);
    const [, J, K] = extents as [number, number, number];
    // two terms and errors of a tenth of them, so that there is one best model
    const floats = Float32Array.from({ length: size }, (_, at) => {
      const places = [Math.floor(at / (J * K)), Math.floor(at / K) % J, at % K];
      const term = (r: number): number =>
        factors.reduce((product, factor, mode) => product * factor[2 * places[mode]! + r]!, 1);
      return Math.round(60 * (term(0) + term(1)) + 3 * errors[at]!);
    });
    using x = engine.tensor(extents, Int8Array.from(floats), { dtype: "i8" });
    using y = engine.tensor(extents, floats);
    const packed = (await packedResident(engine, "test", x))!;
    using same = await resident(engine, "test", y);
    expect([packed.squaredNorm, packed.largest]).toEqual([same.squaredNorm, same.largest]);
    const everywhere = { sweeps: 4, tolerance: 0, seed: 3 };
    const solvers: ((
      x: Source,
    ) => Promise<{ tensor: { destroy(): void }; relativeError: number; negativePart?: number }>)[] = [
      (x) => cp(engine, x, { rank: 2, seed: 1 }),
      (x) => cp(engine, x, { rank: 2, compression: "none", seed: 1 }),
      (x) => cpALS(engine, x, { rank: 3, ...everywhere }),
      (x) => cpALS(engine, x, { rank: 3, initialize: "hosvd", ...everywhere }),
      (x) => cpALS(engine, x, { rank: 3, nonnegative: true, ...everywhere }),
      (x) => tuckerHOOI(engine, x, { ranks: [3, 2, 2], sweeps: 3, tolerance: 0 }),
      (x) => tuckerHOOI(engine, x, { ranks: [...extents], sweeps: 2, tolerance: 0 }),
      (x) => tuckerHOOI(engine, x, { ranks: [null, null, null] }),
      (x) => nonnegativeTucker(engine, x, { ranks: 2, ...everywhere }),
    ];
    for (const solve of solvers) {
      const [one, other] = [await solve(packed), await solve(same)];
      expect(Math.abs(one.relativeError - other.relativeError)).toBeLessThan(2e-6);
      expect(one.negativePart).toBe(other.negativePart);
      one.tensor.destroy();
      other.tensor.destroy();
    }
    packed[dispose]();
    expect(x.storage.alive).toBe(true);
    expect(() => packed.tensor("svd")).toThrow("svd: tensor");
    expect(() => packed.x).toThrow("is read as it lies");
  });

  it("is taken so by solvers that read it by verbs, where it is large", async () => {
    const engine = await testEngine();
    const shape = [128, 256, 256];
    using x = engine.tensor(
      shape,
      Uint8Array.from({ length: 2 ** 23 }, (_, at) => (at * at) % 251),
    );
    const before = engine.memory().live;
    engine.buffers.memory.peak = before;
    const { tensor, relativeError } = await cpALS(engine, x, { rank: 1, sweeps: 2 });
    // no model, so that no sweep keeps X − X̂
    expect(relativeError).toBeGreaterThan(0.4);
    // as f32 it would take 32 MiB
    expect(engine.memory().peak - before).toBeLessThan(16 * 2 ** 20);
    tensor.destroy();
    expect(engine.memory().live).toBe(before);
  });

  it("is no such source where it is to be scaled, or is f32", async () => {
    const engine = await testEngine();
    using floats = engine.tensor([2, 2], [1, 2, 3, 4]);
    expect(await packedResident(engine, "test", floats)).toBeNull();
    using large = engine.tensor([2, 2], Uint32Array.of(1, 2, 3, 1e8));
    expect(await packedResident(engine, "test", large)).toBeNull();
  });
});

describe("the residual of a Tucker tensor", () => {
  it.each([
    [
      [19, 23, 21],
      [3, 4, 5],
    ],
    [
      [19, 23, 21],
      [3, 4, 20],
    ],
    [
      [19, 23, 21],
      [2, null, null],
    ],
    [
      [19, 23, 21],
      [null, null, 2],
    ],
    [
      [19, 23, 21],
      [null, 4, null],
    ],
    [
      [19, 23, 21],
      [null, null, null],
    ],
    [
      [7, 5, 6, 4],
      [2, null, 3, 3],
    ],
    [[301], [2]],
  ])("%j by ranks %j is that of its entries", async (shape, ranks) => {
    const engine = await testEngine();
    const extents = ranks.map((rank, mode) => rank ?? shape[mode]!);
    const coreSize = extents.reduce((product, extent) => product * extent, 1);
    using core = engine.tensor(extents, randomArray(coreSize, 1));
    const factors = ranks.map((rank, mode) =>
      rank ? engine.tensor([shape[mode]!, rank], randomArray(shape[mode]! * rank, 2 + mode)) : null,
    );
    using model = new TuckerTensor(core, factors);
    using full = engine.tensor(shape);
    await engine.run((s) => void model.full(s, full));
    // near a fit of 1, where norms that cancel would tell nothing
    const near = Float32Array.from(await full.read(), (value, at) => value + 1e-3 * Math.sin(at));
    const exact = near.reduce((sum, value, at) => sum + (value - near[at]! + 1e-3 * Math.sin(at)) ** 2, 0);
    using x = engine.tensor(shape, near);
    using source = await resident(engine, "test", x);
    using out = engine.tensor([1]);
    await Program.run(engine, (p) => void source.residual(p, model, { out }));
    expect(Math.abs((await out.read())[0]! / exact - 1)).toBeLessThan(1e-2);
  });

  it("takes no memory of X's size", async () => {
    const engine = await testEngine();
    const shape = [64, 60, 62];
    using x = engine.tensor(shape, randomArray(64 * 60 * 62, 3));
    using core = engine.tensor([3, 3, 3], randomArray(27, 4));
    using model = new TuckerTensor(
      core,
      shape.map((extent, mode) => engine.tensor([extent, 3], randomArray(3 * extent, 5 + mode))),
    );
    using source = await resident(engine, "test", x);
    using out = engine.tensor([1]);
    const residual = () => Program.run(engine, (p) => void source.residual(p, model, { out }));
    await residual(); // kernels that are probed take memory, too
    engine.trim();
    const { live } = engine.memory();
    engine.buffers.memory.peak = live;
    await residual();
    expect(engine.memory().peak - live).toBeLessThan(x.bytes / 4);
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

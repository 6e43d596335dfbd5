import { describe, expect, it, vi } from "vitest";
import { Engine, formatBytes, formatShape, OutOfLimitsError, ShapeError } from "../../src/gpu/index.js";
import { testEngine } from "../engine.js";
import { plainDevice, shifted, widen } from "./kernels.js";

describe("data", () => {
  it("comes back as it went, for every dtype", async () => {
    const engine = await testEngine();
    using floats = engine.tensor([2, 2], new Float64Array([1.5, -2, 0, 1e-20]));
    using words = engine.tensor([3], new Uint32Array([0, 1, 2 ** 32 - 1]));
    using integers = engine.tensor([2], new Int32Array([-5, 2 ** 31 - 1]));
    using bytes = engine.tensor([5], new Uint8Array([1, 2, 3, 4, 255]));
    expect([floats.dtype, words.dtype, integers.dtype, bytes.dtype]).toEqual(["f32", "u32", "i32", "u8"]);
    const before = engine.counters.readbacks;
    const all = await engine.read([floats, words, integers, bytes]);
    expect(engine.counters.readbacks - before).toBe(1);
    expect(all).toEqual([
      new Float32Array([1.5, -2, 0, 1e-20]),
      new Uint32Array([0, 1, 2 ** 32 - 1]),
      new Int32Array([-5, 2 ** 31 - 1]),
      new Uint8Array([1, 2, 3, 4, 255]),
    ]);
    expect(await engine.read([])).toEqual([]);
  });

  it("takes plain numbers as the dtype that is asked for", async () => {
    const engine = await testEngine();
    using x = engine.tensor([3], [1, 2, 3], { dtype: "u8" });
    expect(await x.read()).toEqual(new Uint8Array([1, 2, 3]));
    x.write([4, 5, 6]);
    expect(await x.read()).toEqual(new Uint8Array([4, 5, 6]));
  });

  it("of bytes reaches kernels four to a word", async () => {
    const engine = await testEngine();
    const bytes = Uint8Array.from({ length: 13 }, (_, i) => 250 - 17 * i);
    using x = engine.tensor([13], bytes);
    using out = engine.tensor([13], null, { dtype: "u32" });
    await engine.run((s) => s.run(widen, { x, out }, { count: 13 }));
    expect([...(await out.read())]).toEqual([...bytes]);
  });

  it("of the wrong length is refused", async () => {
    const engine = await testEngine();
    expect(() => engine.tensor([2, 3], [1, 2], { label: "x" })).toThrow("x: 2 values given, 2×3 needs 6");
    using x = engine.tensor([2, 3]);
    expect(() => x.write([1])).toThrow("write: 1 values given, tensor 2×3 needs 6");
    for (const shape of [[0], [2, -1], [1.5], [Number.NaN]])
      expect(() => engine.tensor(shape)).toThrow(/every extent must be a positive whole number/);
  });

  it("is read in parts where one staging buffer cannot hold it all", async () => {
    const engine = await testEngine();
    const tensors = Array.from({ length: 5 }, (_, i) => engine.tensor([100], new Float32Array(100).fill(i)));
    const { limits } = engine.device;
    vi.spyOn(engine.device, "limits", "get").mockReturnValue(
      new Proxy(limits, { get: (target, key) => (key === "maxBufferSize" ? 1000 : Reflect.get(target, key)) }),
    );
    const values = await engine.read(tensors);
    vi.restoreAllMocks();
    expect(values.map(([first]) => first)).toEqual([0, 1, 2, 3, 4]);
    for (const tensor of tensors) tensor.destroy();
  });

  it("of a scalar has one element", async () => {
    const engine = await testEngine();
    using x = engine.tensor([], [3]);
    expect([x.size, x.order, `${x}`, (await x.read())[0]]).toEqual([1, 0, "tensor scalar", 3]);
  });
});

describe("views", () => {
  it("reshape shares the buffer and infers one extent", async () => {
    const engine = await testEngine();
    using x = engine.tensor(
      [2, 6],
      Array.from({ length: 12 }, (_, i) => i),
    );
    const y = x.reshape([3, -1]);
    expect(y.shape).toEqual([3, 4]);
    expect(y.buffer).toBe(x.buffer);
    y.write(new Float32Array(12).fill(5));
    expect((await x.read())[11]).toBe(5);
    for (const shape of [
      [5, -1],
      [3, 3],
      [-2, -6],
      [-1, -1],
    ])
      expect(() => x.reshape(shape)).toThrow(/^reshape: tensor 2×6 has 12 elements, .* does not fit$/);
  });

  it("rows are a window on the first mode", async () => {
    const engine = await testEngine();
    using x = engine.tensor(
      [8, 16],
      Array.from({ length: 128 }, (_, i) => i),
    );
    const part = x.rows(4, 6);
    expect([part.shape, part.offset]).toEqual([[2, 16], 256]);
    expect([...(await part.read())]).toEqual(Array.from({ length: 32 }, (_, i) => 64 + i));
    using out = engine.tensor([2, 16]);
    await engine.run((s) => shifted(s, part, 0.5, out));
    expect((await out.read())[31]).toBe(95.5);
    part.write(new Float32Array(32).fill(-1));
    expect((await x.read()).slice(63, 65)).toEqual(new Float32Array([63, -1]));
    expect((await x.read())[96]).toBe(96);
    expect(() => x.rows(1, 2)).toThrow("rows: row 1 of tensor 8×16 begins at byte 64, views begin at multiples of 256");
    expect(() => x.rows(4, 4)).toThrow(ShapeError);
    expect(() => x.rows(0, 9)).toThrow("rows: 0 to 9 of tensor 8×16, needs 0 ≤ start < stop ≤ 8");
    expect(() => x.rows(0, 1.5)).toThrow(ShapeError);
    using bytes = engine.tensor([10, 3], new Uint8Array(30));
    expect(() => bytes.rows(0, 1)).toThrow(/end within a word/);
    expect(bytes.rows(0, 10).size).toBe(30);
  });

  it("die with what they look at", async () => {
    const engine = await testEngine();
    const x = engine.tensor([4]);
    const view = x.reshape([2, 2]);
    x.destroy();
    await expect(view.read()).rejects.toThrow("read: tensor 2×2 was destroyed or released");
  });
});

describe("a host's buffer", () => {
  it("is borrowed, and left alone", async () => {
    const device = await plainDevice();
    const engine = new Engine(device);
    const buffer = device.createBuffer({ size: 1024, usage: 0x80 | 0x4 | 0x8, label: "host's" });
    const destroyed = vi.spyOn(buffer, "destroy");
    using x = engine.wrap(buffer, [8, 8], { offset: 256 });
    device.queue.writeBuffer(buffer, 256, new Float32Array(64).fill(2));
    expect((await x.read())[63]).toBe(2);
    expect(`${x}`).toBe("host's 8×8");
    x.destroy();
    await expect(x.read()).rejects.toThrow("read: host's 8×8 was destroyed");
    engine.destroy();
    expect(destroyed).not.toHaveBeenCalled();
    device.destroy();
  });

  it("is refused where it cannot serve", async () => {
    const engine = await testEngine();
    const { device } = engine;
    const storage = device.createBuffer({ size: 1024, usage: 0x80, label: "plain" });
    const uniform = device.createBuffer({ size: 1024, usage: 0x40, label: "uniform" });
    expect(() => engine.wrap(uniform, [4])).toThrow("wrap: uniform needs GPUBufferUsage.STORAGE");
    expect(() => engine.wrap(storage, [4], { offset: 4 })).toThrow(
      "wrap: plain begins at byte 4, needs a multiple of 256",
    );
    expect(() => engine.wrap(storage, [16, 16, 2])).toThrow(
      "wrap: plain has 1024 bytes, 16×16×2 from byte 0 needs 2048",
    );
    const x = engine.wrap(storage, [4]);
    await expect(x.read()).rejects.toThrow("read: plain is the host's and lacks GPUBufferUsage.COPY_SRC");
    expect(() => x.write([1, 2, 3, 4])).toThrow("write: plain is the host's and lacks GPUBufferUsage.COPY_DST");
    storage.destroy();
    uniform.destroy();
  });
});

describe("limits", () => {
  it("are named before anything is allocated", async () => {
    const device = await plainDevice();
    expect(device.limits.maxStorageBufferBindingSize).toBe(128 * 2 ** 20);
    const engine = new Engine(device);
    const allocated = vi.spyOn(device, "createBuffer");
    const tooLarge = "images (60000×28×28 f32) needs 179.4 MiB, the device's maxStorageBufferBindingSize is 128 MiB";
    expect(() => engine.tensor([60_000, 28, 28], null, { label: "images" })).toThrow(tooLarge);
    expect(() => engine.tensor([60_000, 28, 28], null, { label: "images" })).toThrow(OutOfLimitsError);
    const s = engine.scheduler();
    expect(() => s.tensor([60_000, 28, 28], { label: "images" })).toThrow(tooLarge);
    expect(allocated).not.toHaveBeenCalled();
    expect(engine.memory()).toEqual({ live: 0, pooled: 0, peak: 0, buffers: 0 });
    // bytes take a quarter
    engine.tensor([60_000, 28, 28], null, { dtype: "u8" }).destroy();
    expect(allocated).toHaveBeenCalledTimes(1);
    engine.destroy();
    device.destroy();
  });
});

it("formats shapes and bytes", () => {
  expect([[], [3], [30, 5]].map(formatShape)).toEqual(["scalar", "3", "30×5"]);
  expect([0, 1023, 1024, 1.5 * 2 ** 20, 2 ** 30].map(formatBytes)).toEqual([
    "0 B",
    "1023 B",
    "1 KiB",
    "1.5 MiB",
    "1 GiB",
  ]);
});

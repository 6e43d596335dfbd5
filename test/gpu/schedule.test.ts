import { afterEach, describe, expect, it, vi } from "vitest";
import { Engine, Kernel } from "../../src/gpu/index.js";
import { testEngine } from "../engine.js";
import { affine, affineShader, incrementing, plainDevice, shifted, widen } from "./kernels.js";

afterEach(() => {
  vi.restoreAllMocks();
});

describe("replaying", () => {
  it("many times takes one submit", async () => {
    const engine = await testEngine();
    using x = engine.tensor([10]);
    using schedule = await incrementing(engine, x, 1, 3);
    const submits = vi.spyOn(engine.device.queue, "submit");
    const before = { ...engine.counters };
    engine.submit(schedule, 500);
    expect(submits).toHaveBeenCalledTimes(1);
    expect(engine.counters.submits - before.submits).toBe(1);
    expect(engine.counters.dispatches - before.dispatches).toBe(1500);
    expect([...(await x.read())]).toEqual(new Array(10).fill(1500));
    expect(engine.counters.readbacks - before.readbacks).toBe(1);
    expect(engine.counters.bytesRead - before.bytesRead).toBe(40);
  });

  it("more dispatches than a command buffer takes still is one submit", async () => {
    const engine = await testEngine();
    using x = engine.tensor([2]);
    using schedule = await incrementing(engine, x, 1, 7);
    const submits = vi.spyOn(engine.device.queue, "submit");
    engine.submit(schedule, 1500);
    expect(submits).toHaveBeenCalledTimes(1);
    expect(submits.mock.calls[0]![0]).toHaveLength(3);
    expect([...(await x.read())]).toEqual([10_500, 10_500]);
  });

  it("zero times, or nothing, does nothing", async () => {
    const engine = await testEngine();
    using x = engine.tensor([2], [1, 2]);
    using schedule = await incrementing(engine, x);
    using empty = await engine.scheduler().compile();
    const before = { ...engine.counters };
    engine.submit(schedule, 0);
    engine.submit(empty, 5);
    expect(engine.counters).toEqual(before);
    expect([...(await x.read())]).toEqual([1, 2]);
  });

  it("makes one uniform buffer and every bind group once", async () => {
    const device = await plainDevice();
    const buffers = vi.spyOn(device, "createBuffer");
    const bindGroups = vi.spyOn(device, "createBindGroup");
    const engine = new Engine(device);
    using x = engine.tensor([64], new Float32Array(64));
    using y = engine.tensor([64]);
    const s = engine.scheduler();
    for (let i = 0; i < 20; i++) {
      shifted(s, x, i, y);
      shifted(s, y, 0, x);
    }
    using schedule = await s.compile();
    const uniforms = buffers.mock.calls.filter(([{ usage }]) => usage & 0x40);
    expect(uniforms).toHaveLength(1);
    expect(bindGroups).toHaveBeenCalledTimes(2);
    for (let i = 0; i < 5; i++) engine.submit(schedule, 2);
    expect((await x.read())[63]).toBe(10 * 190);
    expect(buffers.mock.calls.filter(([{ usage }]) => usage & 0x40)).toHaveLength(1);
    expect(bindGroups).toHaveBeenCalledTimes(2);
    engine.destroy();
    device.destroy();
  });

  it("belongs to the engine that recorded it", async () => {
    const engine = await testEngine();
    using other = new Engine(engine.device);
    using x = engine.tensor([2]);
    using schedule = await incrementing(engine, x);
    expect(() => other.submit(schedule)).toThrow("submit: increments belongs to another engine");
  });

  it("ends with destroy, by `using` and by hand", async () => {
    const engine = await testEngine();
    using x = engine.tensor([2]);
    const before = engine.memory().live;
    const schedule = await incrementing(engine, x);
    expect(engine.memory().live).toBeGreaterThan(before);
    schedule.destroy();
    schedule.destroy();
    expect(engine.memory().live).toBe(before);
    expect(() => engine.submit(schedule)).toThrow("increments: the schedule was destroyed");
    expect(() => schedule.encode(engine.device.createCommandEncoder())).toThrow("the schedule was destroyed");
    {
      using scoped = await incrementing(engine, x);
      expect(scoped.dispatches).toBe(1);
    }
    expect(engine.memory().live).toBe(before);
  });

  it("counts how often a tensor is read", async () => {
    const engine = await testEngine();
    using x = engine.tensor([4]);
    const s = engine.scheduler();
    const y = shifted(s, x, 1);
    shifted(s, x.reshape([2, 2]), 1);
    shifted(s, y, 1);
    using schedule = await s.compile();
    expect([schedule.reads(x), schedule.reads(y)]).toEqual([2, 1]);
  });
});

describe("encoding", () => {
  it("goes into a caller's encoder and into an open compute pass", async () => {
    const engine = await testEngine();
    using x = engine.tensor([3], [1, 2, 3]);
    using schedule = await incrementing(engine, x, 1, 2);
    const submits = { ...engine.counters }.submits;
    const encoder = engine.device.createCommandEncoder();
    schedule.encode(encoder);
    const pass = encoder.beginComputePass();
    schedule.encode(pass);
    schedule.encode(pass);
    pass.end();
    engine.device.queue.submit([encoder.finish()]);
    expect([...(await x.read())]).toEqual([7, 8, 9]);
    expect(engine.counters.submits).toBe(submits);
  });
});

describe("profiling", () => {
  it("times every dispatch by timestamps, with its group", async () => {
    const engine = await testEngine();
    expect(engine.device.features.has("timestamp-query")).toBe(true);
    const size = 100_000;
    using x = engine.tensor([size]);
    const s = engine.scheduler("profiled");
    s.group("layer", () => {
      const y = s.group("first", () => shifted(s, x, 1));
      shifted(s, y, 1);
    });
    shifted(s, x, 1);
    using schedule = await s.compile();
    const profile = await schedule.profile();
    expect(profile.by).toBe("timestamps");
    expect(profile.rows.map(({ kernel, group, dispatches }) => [kernel, group, dispatches])).toEqual([
      ["affine", "layer/first", 1],
      ["affine", "layer", 1],
      ["affine", "", 1],
    ]);
    for (const { ms } of profile.rows) expect(ms).toBeGreaterThan(0);
    expect(profile.ms).toBeCloseTo(profile.rows.reduce((sum, { ms }) => sum + ms, 0));
    expect(profile.ms).toBeLessThan(10_000);
  });

  it("takes more dispatches than a query set holds", async () => {
    const engine = await testEngine();
    using x = engine.tensor([2]);
    using schedule = await incrementing(engine, x, 1, 2100);
    const profile = await schedule.profile();
    expect(profile.rows[0]!.dispatches).toBe(2100);
    expect([...(await x.read())]).toEqual([2100, 2100]);
  });

  it("falls back to the wall clock", async () => {
    const device = await plainDevice();
    expect(device.features.has("timestamp-query")).toBe(false);
    using engine = new Engine(device);
    using x = engine.tensor([2]);
    using schedule = await incrementing(engine, x, 1, 3);
    const profile = await schedule.profile();
    expect(profile).toMatchObject({ by: "wall clock", rows: [{ kernel: "increment", dispatches: 3 }] });
    expect(profile.ms).toBeGreaterThan(0);
    expect([...(await x.read())]).toEqual([3, 3]);
    engine.destroy();
    device.destroy();
  });
});

describe("recording refuses", () => {
  const recording = async () => {
    const engine = await testEngine();
    const x = engine.tensor([4], [1, 2, 3, 4], { label: "x" });
    return { engine, x, s: engine.scheduler("s"), params: { count: 4, offset: 0 } };
  };

  it("names that the shader does not have", async () => {
    const { s, x, params } = await recording();
    const out = s.tensor([4]);
    expect(() => s.run(affine, { x, output: out }, params)).toThrow(
      'affine: no binding named "output"; it has params, x, out',
    );
    expect(() => s.run(affine, { x, out }, { ...params, size: 4 })).toThrow(
      'affine: no param named "size"; it has count, offset',
    );
    expect(() => affine.with({ TILE: 4 })).toThrow('affine: no constant named "TILE"; it has SIZE, FACTOR, ROUND');
    expect(s.dispatches).toBe(0);
  });

  it("what is missing", async () => {
    const { s, x, params } = await recording();
    expect(() => s.run(affine, { x }, params)).toThrow('affine: binding "out" is missing');
    expect(() => s.run(affine, { x, out: s.tensor([4]) }, { count: 4 })).toThrow('affine: param "offset" is missing');
  });

  it("params that are no numbers of their type", async () => {
    const { s, x, engine } = await recording();
    const attempt = async (params: Record<string, number>) => {
      const s = engine.scheduler();
      s.run(affine, { x, out: s.tensor([4]) }, params);
      await s.compile();
    };
    await expect(attempt({ count: 1.5, offset: 0 })).rejects.toThrow(
      'affine: param "count" is 1.5, needs a whole number from 0 to 2³² − 1',
    );
    await expect(attempt({ count: -1, offset: 0 })).rejects.toThrow('param "count" is -1');
    await expect(attempt({ count: 2 ** 32, offset: 0 })).rejects.toThrow('param "count" is 4294967296');
    await expect(attempt({ count: 4, offset: Number.NaN })).rejects.toThrow(
      'affine: param "offset" is NaN, needs a finite number in the range of f32',
    );
    await expect(attempt({ count: 4, offset: 1e39 })).rejects.toThrow('param "offset" is 1e+39');
    s.destroy();
  });

  it("constants that are none of their type", () => {
    expect(() => affine.with({ SIZE: 1.5 })).toThrow("affine: constant SIZE is 1.5, needs u32");
    expect(() => affine.with({ SIZE: -1 })).toThrow("affine: constant SIZE is -1, needs u32");
    expect(() => affine.with({ FACTOR: Number.NaN })).toThrow("affine: constant FACTOR is NaN, needs f32");
    expect(() => affine.with({ ROUND: 1 })).toThrow("affine: constant ROUND is 1, needs bool");
  });

  it("the wrong dtype", async () => {
    const { engine, s, x, params } = await recording();
    using words = engine.tensor([4], new Uint32Array(4), { label: "words" });
    expect(() => s.run(affine, { x: words, out: s.tensor([4]) }, params)).toThrow(
      "affine: x (words 4) is u32, needs f32",
    );
    expect(() => s.run(widen, { x, out: words }, { count: 4 })).toThrow("widen: x (x 4) is f32, needs u32");
  });

  it("one buffer for reading and writing", async () => {
    const { engine, s, x, params } = await recording();
    expect(() => s.run(affine, { x, out: x }, params)).toThrow(
      "affine: x and out share a buffer and one of them is written; WebGPU needs two buffers",
    );
    using tall = engine.tensor([128, 1]);
    expect(() => s.run(affine, { x: tall.rows(0, 64), out: tall.rows(64, 128) }, params)).toThrow(/share a buffer/);
  });

  it("tensors that are gone or another engine's", async () => {
    const { engine, s, x, params } = await recording();
    using other = new Engine(engine.device);
    using foreign = other.tensor([4], null, { label: "theirs" });
    expect(() => s.run(affine, { x: foreign, out: s.tensor([4]) }, params)).toThrow(
      "affine: x (theirs 4) belongs to another engine",
    );
    const out = s.tensor([4]);
    x.destroy();
    expect(() => s.run(affine, { x, out }, params)).toThrow(
      "affine: x (x 4) was destroyed or released before this use",
    );
  });

  it("anything after compile", async () => {
    const { s, x, params } = await recording();
    const out = s.tensor([4]);
    s.run(affine, { x, out }, params);
    using schedule = await s.compile();
    expect(schedule.dispatches).toBe(1);
    expect(() => s.run(affine, { x, out }, params)).toThrow("run: s is closed; record into a new Scheduler");
    expect(() => s.tensor([4])).toThrow("tensor: s is closed");
    expect(() => s.release(out)).toThrow("release: s is closed");
    await expect(s.compile()).rejects.toThrow("compile: s is closed");
  });

  it("a grid that WebGPU does not allow, and gives back what it held", async () => {
    const { engine, x, params } = await recording();
    const live = engine.memory().live;
    for (const grid of [[0], [65536], [1.5], [1, Number.NaN]]) {
      const s = engine.scheduler();
      s.run(new Kernel(affineShader, () => grid), { x, out: s.tensor([4]) }, params);
      await expect(s.compile()).rejects.toThrow(/^affine: grid .*, needs 1 to 65535 a dimension$/);
    }
    expect(engine.memory().live).toBe(live);
  });
});

describe("a tensor that a schedule uses", () => {
  it("may not be gone at submit", async () => {
    const engine = await testEngine();
    const x = engine.tensor([4], null, { label: "gone" });
    using schedule = await incrementing(engine, x);
    x.destroy();
    expect(() => engine.submit(schedule)).toThrow("increments: increment's x (gone 4) was destroyed");
    expect(() => schedule.encode(engine.device.createCommandEncoder())).toThrow("(gone 4) was destroyed");
    await expect(schedule.profile()).rejects.toThrow("(gone 4) was destroyed");
  });
});

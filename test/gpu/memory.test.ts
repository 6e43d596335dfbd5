import { describe, expect, it, vi } from "vitest";
import { Engine } from "../../src/gpu/index.js";
import { BufferPool, type Memory, sizeClass } from "../../src/gpu/pool.js";
import { copy, fill } from "../../src/ops/index.js";
import { freshEngine, testEngine } from "../engine.js";
import { incrementing, plainDevice, shifted } from "./kernels.js";

describe("size classes", () => {
  it("waste at most a fifth and never shrink", () => {
    let last = 0;
    for (let bytes = 1; bytes < 5_000_000; bytes = Math.ceil(bytes * 1.013)) {
      const size = sizeClass(bytes);
      expect(size).toBeGreaterThanOrEqual(Math.max(bytes, last));
      expect(size % 16).toBe(0);
      expect(sizeClass(size)).toBe(size);
      if (bytes > 256) expect((size - bytes) / size).toBeLessThanOrEqual(0.2);
      last = size;
    }
  });
});

describe("the pool", () => {
  const setup = (limit = 2 ** 20, largest = 2 ** 24) => {
    const memory: Memory = { live: 0, pooled: 0, peak: 0, buffers: 0 };
    const made: { size: number; alive: boolean }[] = [];
    const create = (size: number) => {
      const record = { size, alive: true };
      made.push(record);
      return { size, destroy: () => (record.alive = false) } as unknown as GPUBuffer;
    };
    return { memory, made, pool: new BufferPool({ create, largest, limit, memory }) };
  };

  it("uses a buffer again for its size class only", () => {
    const { pool, made, memory } = setup();
    const first = pool.acquire(1000, "a");
    expect(first.fresh).toBe(true);
    pool.release(first.buffer);
    expect(pool.acquire(3000, "b").buffer).not.toBe(first.buffer);
    const again = pool.acquire(900, "c");
    expect(again).toEqual({ buffer: first.buffer, fresh: false });
    expect(made).toHaveLength(2);
    expect(memory).toEqual({ live: 1024 + 3072, pooled: 0, peak: 1024 + 3072, buffers: 2 });
  });

  it("ignores a second release", () => {
    const { pool, memory } = setup();
    const { buffer } = pool.acquire(1000, "a");
    pool.release(buffer);
    pool.release(buffer);
    expect(memory).toEqual({ live: 0, pooled: 1024, peak: 1024, buffers: 1 });
    expect(pool.acquire(1000, "b").buffer).not.toBe(pool.acquire(1000, "c").buffer);
  });

  it("gives back what is free before it asks for more than was ever in use, and 64 MiB", () => {
    const { pool, made, memory } = setup(2 ** 30, 2 ** 30);
    const mebi = (count: number) => pool.acquire(count * 2 ** 20, "x").buffer;
    const buffers = [mebi(128), mebi(16)];
    for (const buffer of buffers) pool.release(buffer);
    // 144 MiB were in use once: with 32 MiB more there are 176
    const third = mebi(32);
    expect(made.every(({ alive }) => alive)).toBe(true);
    pool.release(third);
    mebi(64);
    expect(made.map(({ alive }) => alive)).toEqual([false, true, true, true]);
    expect([memory.live, memory.pooled].map((bytes) => bytes / 2 ** 20)).toEqual([64, 48]);
  });

  it("keeps to its limit by destroying what was freed longest ago", () => {
    const { pool, made, memory } = setup(4096);
    const buffers = [1024, 2048, 1024, 2048].map((bytes) => pool.acquire(bytes, "x").buffer);
    for (const buffer of buffers) pool.release(buffer);
    expect(made.map(({ alive }) => alive)).toEqual([false, false, true, true]);
    expect(memory).toMatchObject({ live: 0, pooled: 3072, buffers: 2 });
    pool.release(pool.acquire(8192, "too large to keep").buffer);
    expect(memory).toMatchObject({ live: 0, pooled: 3072, buffers: 2 });
    pool.trim();
    expect(memory).toMatchObject({ pooled: 0, buffers: 0 });
    expect(made.some(({ alive }) => alive)).toBe(false);
  });

  it("never gives out an allocation that failed", () => {
    const { pool, memory } = setup();
    const [free, taken] = [pool.acquire(1000, "a").buffer, pool.acquire(1000, "b").buffer];
    pool.release(free);
    pool.condemn(free);
    pool.condemn(taken);
    pool.release(taken);
    expect(memory).toMatchObject({ live: 0, pooled: 0, buffers: 0 });
    expect(pool.acquire(1000, "c").fresh).toBe(true);
  });
});

describe("temporaries", () => {
  it("of a chain that releases take the room of two", async () => {
    const engine = await freshEngine();
    const size = 4096;
    const base = engine.memory().live;
    using x = engine.tensor([size], new Float32Array(size));
    using out = engine.tensor([size]);
    const s = engine.scheduler("chain");
    let value = shifted(s, x, 1);
    for (let link = 0; link < 50; link++) {
      const next = shifted(s, value, 1);
      s.release(value);
      value = next;
    }
    shifted(s, value, 1, out);
    expect(s.temporaryBytes).toBe(2 * 4 * size);
    using schedule = await s.compile();
    // x, out, two temporaries, and one block of params, which all dispatches share
    expect(engine.memory().live - base).toBe(4 * 4 * size + 256);
    engine.submit(schedule);
    expect(new Set(await out.read())).toEqual(new Set([52]));
    engine.destroy();
  });

  it("that are not released have separate memory", async () => {
    const engine = await testEngine();
    using x = engine.tensor([64], new Float32Array(64));
    const s = engine.scheduler();
    const temporaries = [1, 2, 3, 4].map((offset) => shifted(s, x, offset));
    expect(s.temporaryBytes).toBe(4 * 256);
    using schedule = await s.compile();
    engine.submit(schedule);
    expect((await engine.read(temporaries)).map(([first]) => first)).toEqual([1, 2, 3, 4]);
  });

  it("are refused after their release, whatever took their place", async () => {
    const engine = await testEngine();
    using x = engine.tensor([64]);
    using s = engine.scheduler("s");
    const old = shifted(s, x, 1);
    const view = old.reshape([8, 8]);
    s.release(old);
    const young = shifted(s, x, 2);
    expect(young.buffer).toBe(old.buffer);
    expect(() => shifted(s, old, 1)).toThrow(/affine: x \(temporary 64\) was destroyed or released before this use/);
    expect(() => shifted(s, view, 1)).toThrow(/released before/);
    expect(() => s.release(old)).toThrow(/was released before/);
    expect(() => s.release(x)).toThrow(/release: tensor 64 is not a temporary of s/);
    expect(() => young.destroy()).toThrow(/its schedule frees it/);
  });

  it("of another schedule are refused once that is gone", async () => {
    const engine = await testEngine();
    using x = engine.tensor([4], [1, 2, 3, 4]);
    const first = engine.scheduler("first");
    const y = shifted(first, x, 1);
    const schedule = await first.compile();
    engine.submit(schedule);
    const second = engine.scheduler("second");
    const z = shifted(second, y, 1);
    using dependent = await second.compile();
    engine.submit(dependent);
    expect([...(await z.read())]).toEqual([3, 4, 5, 6]);
    schedule.destroy();
    expect(() => engine.submit(dependent)).toThrow(/second: affine's x \(temporary 4\) was destroyed/);
  });

  it("come back when a recording is dropped or does not compile", async () => {
    const engine = await freshEngine();
    const x = engine.tensor([100]);
    const { live } = engine.memory();
    {
      using s = engine.scheduler();
      shifted(s, x, 1);
      expect(engine.memory().live).toBeGreaterThan(live);
    }
    expect(engine.memory().live).toBe(live);
    const s = engine.scheduler();
    const temporary = shifted(s, x, 1);
    x.destroy();
    engine.destroy();
    await expect(s.compile()).rejects.toThrow("the engine was destroyed");
    expect(temporary.storage.alive).toBe(false);
    expect(engine.memory()).toMatchObject({ live: 0, pooled: 0, buffers: 0 });
  });
});

describe("tensors", () => {
  it("hold zeros without data, also in memory that was used before", async () => {
    const engine = await freshEngine();
    const used = engine.tensor([300], new Float32Array(300).fill(7));
    const { buffer } = used;
    await used.read();
    used.destroy();
    using x = engine.tensor([290]);
    expect(x.buffer).toBe(buffer);
    expect(new Set(await x.read())).toEqual(new Set([0]));
    engine.destroy();
  });

  it("are cleared together, before anything is written to one of them", async () => {
    const engine = await freshEngine();
    const used = [300, 3000, 30000].map((size) => engine.tensor([size], new Float32Array(size).fill(7)));
    await engine.read(used);
    for (const tensor of used) tensor.destroy();
    const submit = vi.spyOn(engine.device.queue, "submit");
    const again = [290, 2900, 29000].map((size) => engine.tensor([size]));
    expect(submit).toHaveBeenCalledTimes(0);
    // as a host does that knows of buffers alone
    engine.device.queue.writeBuffer(again[1]!.buffer, 0, new Float32Array([3]));
    expect(submit).toHaveBeenCalledTimes(1);
    submit.mockRestore();
    const [first, second, third] = await engine.read(again);
    expect([first![0], second![0], second![1], third![28999]]).toEqual([0, 3, 0, 0]);
    engine.destroy();
  });

  it("are cleared with the work that is submitted next, but for what was written in full", async () => {
    const engine = await freshEngine();
    const submit = vi.spyOn(engine.device.queue, "submit");
    const reused = async (sizes: readonly number[]) => {
      const used = sizes.map((size) => engine.tensor([size], new Float32Array(size).fill(7)));
      await engine.read(used);
      for (const tensor of used) tensor.destroy();
      submit.mockClear();
      return sizes.map((size) => engine.tensor([size]));
    };
    const values = Float32Array.from({ length: 3000 }, (_, at) => at);
    {
      const [x, written, part, out] = await reused([300, 3000, 4096, 300]);
      written!.write(values);
      // a view is a part alone: the rest is cleared before
      part!.rows(64, 128).write(new Float32Array(64).fill(5));
      expect(submit).toHaveBeenCalledTimes(1);
      await engine.run((s) => void copy(s, x!, { out: out! }));
      expect(submit).toHaveBeenCalledTimes(2);
      const read = await engine.read([x!, written!, part!, out!]);
      expect(read[0]).toEqual(new Float32Array(300));
      expect(read[1]).toEqual(values);
      expect([read[2]![63], read[2]![64], read[2]![127], read[2]![128]]).toEqual([0, 5, 5, 0]);
      expect(read[3]).toEqual(new Float32Array(300));
      for (const tensor of [x, written, part, out]) tensor!.destroy();
    }
    {
      // in one submit with the work, whose result stays, and with a read
      const [x, out] = await reused([300, 3000]);
      await engine.run((s) => void fill(s, out!, 2));
      expect(submit).toHaveBeenCalledTimes(1);
      expect([...new Set(await x!.read()), ...new Set(await out!.read())]).toEqual([0, 2]);
      for (const tensor of [x, out]) tensor!.destroy();
    }
    {
      // in a host's own commands, before them
      const [x, out] = await reused([300, 300]);
      const s = engine.scheduler("host");
      copy(s, x!, { out: out! });
      const schedule = await s.compile();
      const encoder = engine.device.createCommandEncoder();
      schedule.encode(encoder);
      engine.device.queue.submit([encoder.finish()]);
      expect([...new Set(await out!.read())]).toEqual([0]);
      schedule.destroy();
    }
    submit.mockRestore();
    engine.destroy();
  });

  it("give their memory back by `using` and by hand, once", async () => {
    const engine = await freshEngine();
    const before = engine.memory();
    {
      using x = engine.tensor([1000]);
      expect(engine.memory().live - before.live).toBe(sizeClass(x.bytes));
    }
    expect(engine.memory().live).toBe(before.live);
    const y = engine.tensor([1000]);
    expect(engine.memory().buffers).toBe(before.buffers + 1);
    y.destroy();
    y.destroy();
    expect(engine.memory().live).toBe(before.live);
    expect(engine.memory().peak).toBe(sizeClass(4000));
    await expect(y.read()).rejects.toThrow(/read: tensor 1000 was destroyed/);
    expect(() => y.write(new Float32Array(1000))).toThrow(/write: tensor 1000 was destroyed/);
    engine.trim();
    expect(engine.memory()).toMatchObject({ live: 0, pooled: 0, buffers: 0 });
    engine.destroy();
  });
});

describe("an engine", () => {
  it("frees everything by `using` and leaves a borrowed device alone", async () => {
    const device = await plainDevice();
    const destroyed: GPUBuffer[] = [];
    const createBuffer = device.createBuffer.bind(device);
    vi.spyOn(device, "createBuffer").mockImplementation((descriptor) => {
      const buffer = createBuffer(descriptor);
      const destroy = buffer.destroy.bind(buffer);
      buffer.destroy = () => {
        destroyed.push(buffer);
        return destroy();
      };
      return buffer;
    });
    let made = 0;
    {
      using engine = new Engine(device);
      const x = engine.tensor([100], new Float32Array(100).fill(1));
      const schedule = await incrementing(engine, x);
      engine.submit(schedule, 3);
      expect((await x.read())[99]).toBe(4);
      made = engine.memory().buffers;
      expect(made).toBe(3); // the tensor, the params, the staging
    }
    expect(destroyed).toHaveLength(made);
    // the device still works
    expect(device.createBuffer({ size: 4, usage: 8 }).size).toBe(4);
    device.destroy();
  });

  it("leaks nothing over 10,000 replays", async () => {
    const engine = await freshEngine();
    using x = engine.tensor([64], new Float32Array(64));
    const s = engine.scheduler("replays");
    const y = shifted(s, x, 1);
    shifted(s, y, 0, x);
    using schedule = await s.compile();
    engine.submit(schedule, 10);
    await engine.idle();
    await x.read();
    const buffers = vi.spyOn(engine.device, "createBuffer");
    const bindGroups = vi.spyOn(engine.device, "createBindGroup");
    const before = engine.memory();
    for (let submitted = 0; submitted < 100; submitted++) engine.submit(schedule, 95);
    await engine.idle();
    for (let submitted = 0; submitted < 490; submitted++) engine.submit(schedule);
    expect(new Set(await x.read())).toEqual(new Set([10_000]));
    expect(engine.memory()).toEqual(before);
    expect(buffers).not.toHaveBeenCalled();
    expect(bindGroups).not.toHaveBeenCalled();
    engine.destroy();
  });

  it("leaks nothing over many recordings", async () => {
    const engine = await freshEngine();
    using x = engine.tensor([1000], new Float32Array(1000));
    const cycle = async () => {
      const s = engine.scheduler();
      const y = shifted(s, x, 1);
      shifted(s, y, 0, x);
      using schedule = await s.compile();
      engine.submit(schedule);
      using spare = engine.tensor([333]);
      expect(spare.size).toBe(333);
    };
    await cycle();
    await x.read();
    const before = engine.memory();
    for (let round = 0; round < 300; round++) await cycle();
    expect((await x.read())[0]).toBe(301);
    expect(engine.memory()).toEqual(before);
    expect(engine.counters.pipelines).toBe(1);
    engine.destroy();
  });
});

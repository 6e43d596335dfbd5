import { afterEach, describe, expect, it, vi } from "vitest";
import { DeviceLostError, Engine, KernelError, OutOfLimitsError, TenfoldError } from "../../src/gpu/index.js";
import { freshEngine, testEngine } from "../engine.js";
import { affine, incrementing, plainDevice, shifted } from "./kernels.js";

const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => "nothing went wrong",
    (error: unknown) => error,
  );

/** A schedule that uses a buffer of the host, which the host then destroys: only the device notices, at submit. */
async function doomed(engine: Engine) {
  const buffer = engine.device.createBuffer({ size: 256, usage: 0x80 | 0x4, label: "doomed" });
  const x = engine.wrap(buffer, [4]);
  const schedule = await incrementing(engine, x);
  buffer.destroy();
  return schedule;
}

describe("a device error during our work", () => {
  it("rejects the next read, naming schedule and kernel", async () => {
    const engine = await testEngine();
    using x = engine.tensor([4], [1, 2, 3, 4]);
    using schedule = await doomed(engine);
    engine.submit(schedule);
    const error = (await failure(x.read())) as KernelError;
    expect(error).toBeInstanceOf(KernelError);
    expect(error.kernels).toEqual(["increment"]);
    expect(error.message).toMatch(/^increments \(kernels: increment\): .*doomed/s);
    // an error is reported once; after it the engine works as before
    expect([...(await x.read())]).toEqual([1, 2, 3, 4]);
    await engine.idle();
  });

  it("rejects idle, run, profile and the next compile too", async () => {
    const engine = await testEngine();
    using x = engine.tensor([4]);
    using schedule = await doomed(engine);
    engine.submit(schedule);
    await expect(engine.idle()).rejects.toThrow("increments (kernels: increment)");
    engine.submit(schedule);
    await expect(incrementing(engine, x)).rejects.toThrow("increments (kernels: increment)");
    await expect(schedule.profile()).rejects.toThrow("increments: profile (kernels: increment)");
    const buffer = engine.device.createBuffer({ size: 256, usage: 0x80 });
    const gone = engine.wrap(buffer, [4]);
    buffer.destroy();
    await expect(
      engine.run((s) => s.run(affine, { x, out: gone }, { count: 4, offset: 0 }), "one-off"),
    ).rejects.toThrow("one-off (kernels: affine)");
    await engine.idle();
  });

  it("reaches everyone who waits for it", async () => {
    const engine = await testEngine();
    using x = engine.tensor([4]);
    using y = engine.tensor([4]);
    using schedule = await doomed(engine);
    engine.submit(schedule);
    const errors = await Promise.all([failure(x.read()), failure(engine.idle()), failure(y.read())]);
    for (const error of errors) expect(error).toBeInstanceOf(KernelError);
    expect(new Set(errors).size).toBe(1);
    expect((await x.read()).length).toBe(4);
  });

  it("outside of all scopes rejects the next wait as well, where the device is ours", async () => {
    const engine = await freshEngine();
    using x = engine.tensor([4]);
    using schedule = await incrementing(engine, x);
    engine.submit(schedule);
    // an error outside of the engine's error scopes
    engine.device.createBuffer({ size: 4, usage: 0x1 | 0x80 });
    await engine.device.queue.onSubmittedWorkDone();
    await new Promise((resolve) => setTimeout(resolve, 20));
    const error = (await failure(x.read())) as KernelError;
    expect(error.message).toMatch(/^uncaptured device error \(kernels submitted last: increment\): /);
    expect(error.kernels).toEqual(["increment"]);
    engine.destroy();
  });

  it("at a bind group names the kernel", async () => {
    const engine = await testEngine();
    using x = engine.tensor([4]);
    const s = engine.scheduler("crooked");
    s.run(affine, { x, out: s.tensor([4]) }, { count: 4, offset: 0 });
    const live = engine.memory().live;
    const { device } = engine;
    const create = device.createBindGroup.bind(device);
    // an offset that is not aligned stands for any error that only the device can notice
    vi.spyOn(device, "createBindGroup").mockImplementationOnce(({ entries, ...rest }) => {
      const [params, first, ...others] = [...entries] as [GPUBindGroupEntry, GPUBindGroupEntry];
      const crooked = { ...first, resource: { ...(first.resource as GPUBufferBinding), offset: 4, size: 4 } };
      return create({ ...rest, entries: [params, crooked, ...others] });
    });
    const error = (await failure(s.compile())) as KernelError;
    vi.restoreAllMocks();
    expect(error.message).toMatch(/^crooked: bind \(kernels: affine\): /);
    expect(engine.memory().live).toBeLessThan(live);
  });

  it("at another device's buffer names tensor and engine, before it is used and while it is", async () => {
    const engine = await testEngine();
    const theirs = await plainDevice();
    const buffer = theirs.createBuffer({ size: 256, usage: 0x80 | 0x4, label: "theirs" });
    const said =
      /^wrap: theirs 4 is no buffer of this engine's device \(.+\); wrap it with an engine of the device that made it/;
    engine.wrap(buffer, [4]);
    expect(((await failure(engine.idle())) as Error).message).toMatch(said);
    expect(((await failure(engine.wrap(buffer, [4]).read())) as Error).message).toMatch(said);
    const s = engine.scheduler();
    s.run(affine, { x: engine.wrap(buffer, [4]), out: s.tensor([4]) }, { count: 4, offset: 0 });
    expect(((await failure(s.compile())) as Error).message).toMatch(said);
    theirs.destroy();
  });

  it("at an allocation names the tensor, and the buffer is never used again", async () => {
    const engine = await freshEngine();
    const create = engine.device.createBuffer.bind(engine.device);
    // an invalid usage (MAP_WRITE with STORAGE) stands for a device that is out of memory
    vi.spyOn(engine.device, "createBuffer").mockImplementationOnce((d) => create({ ...d, usage: d.usage | 0x2 }));
    const x = engine.tensor([100], null, { label: "weights" });
    const error = (await failure(engine.idle())) as Error;
    expect(error.message).toMatch(/^allocate weights \(400 B\)|^allocate weights \(448 B\)/);
    const { buffer } = x;
    x.destroy();
    using y = engine.tensor([100], new Float32Array(100).fill(1));
    expect(y.buffer).not.toBe(buffer);
    expect((await y.read())[99]).toBe(1);
    engine.destroy();
  });
});

describe("a lost device", () => {
  const pending: Promise<unknown>[] = [];
  const unhandled: unknown[] = [];
  // this file runs in browsers too
  const node = globalThis.process as NodeJS.Process | undefined;
  const note = (error: unknown) => unhandled.push(error);
  afterEach(() => {
    node?.off("unhandledRejection", note);
  });

  it("rejects everything pending once, with its reason, and everything later at once", async () => {
    node?.on("unhandledRejection", note);
    const engine = await freshEngine();
    const x = engine.tensor([4], [1, 2, 3, 4]);
    const schedule = await incrementing(engine, x, 1, 50);
    const s = engine.scheduler("late");
    shifted(s, x, 1);
    const settled: number[] = [];
    engine.submit(schedule, 100);
    pending.push(x.read(), engine.read([x, x]), engine.idle(), schedule.profile(), s.compile());
    pending.push(engine.run((s) => void shifted(s, x, 2)));
    const outcomes = pending.map((promise, index) => failure(promise).finally(() => settled.push(index)));
    const lost = failure(engine.lost);
    engine.device.destroy();
    const errors = await Promise.all(outcomes);
    const reason = (await lost) as DeviceLostError;
    expect(reason).toBeInstanceOf(DeviceLostError);
    expect(reason.reason).toBe("destroyed");
    expect(reason.message).toMatch(/^The GPU device was lost \(destroyed\): ./);
    for (const error of errors) expect(error).toBe(reason);
    expect(settled.sort()).toEqual([0, 1, 2, 3, 4, 5]);

    // later: at once, with the same reason
    expect(() => engine.submit(schedule)).toThrow(reason);
    expect(() => engine.tensor([2])).toThrow(reason);
    expect(() => x.write([1, 2, 3, 4])).toThrow(reason);
    const record = engine.scheduler();
    expect(() => record.tensor([2])).toThrow(reason);
    expect(await failure(x.read())).toBe(reason);
    expect(await failure(engine.idle())).toBe(reason);
    expect(await failure(engine.scheduler().compile())).toBe(reason);
    expect(await failure(schedule.profile())).toBe(reason);
    expect(await failure(engine.run((s) => void shifted(s, x, 1)))).toBe(reason);

    // cleaning up still works
    schedule.destroy();
    x.destroy();
    engine.destroy();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(unhandled).toEqual([]);
  });

  it("rejects what the driver never settles", async () => {
    const engine = await freshEngine();
    vi.spyOn(engine.device.queue, "onSubmittedWorkDone").mockReturnValue(new Promise(() => {}));
    const waiting = [failure(engine.idle()), failure(engine.idle())];
    engine.device.destroy();
    for (const error of await Promise.all(waiting)) expect(error).toBeInstanceOf(DeviceLostError);
    vi.restoreAllMocks();
    engine.destroy();
  });

  it("that the host lost says so too", async () => {
    const device = await plainDevice();
    const engine = new Engine(device);
    const x = engine.tensor([4]);
    const read = failure(x.read());
    const hosts = device.lost;
    device.destroy();
    expect(await read).toBeInstanceOf(DeviceLostError);
    expect((await hosts).reason).toBe("destroyed");
    engine.destroy();
  });
});

describe("a destroyed engine", () => {
  it("rejects what is pending and refuses what comes later", async () => {
    const engine = await freshEngine();
    const x = engine.tensor([4]);
    const schedule = await incrementing(engine, x, 1, 10);
    engine.submit(schedule, 10);
    const outcomes = [x.read(), engine.idle(), incrementing(engine, x)].map(failure);
    engine.destroy();
    engine.destroy();
    for (const error of await Promise.all(outcomes)) {
      expect(error).toBeInstanceOf(TenfoldError);
      expect((error as Error).message).toBe("the engine was destroyed");
    }
    expect(() => engine.tensor([1])).toThrow("the engine was destroyed");
    expect(() => engine.submit(schedule)).toThrow("the engine was destroyed");
    expect(await failure(x.read())).toMatchObject({ message: "the engine was destroyed" });
    // tensors and schedules of it may be let go in any order
    schedule.destroy();
    x.destroy();
    expect(engine.memory()).toMatchObject({ live: 0, pooled: 0, buffers: 0 });
  });
});

describe("opening", () => {
  it.skipIf(globalThis.navigator?.gpu)("says what is missing", async () => {
    await expect(Engine.create({ gpu: undefined })).rejects.toThrow(
      /^Engine.create: there is no navigator.gpu. .*tenfold\/node/,
    );
    const empty = { requestAdapter: async () => null } as unknown as GPU;
    await expect(Engine.create({ gpu: empty })).rejects.toThrow(/gave no adapter/);
  });

  it("takes an adapter's features and names it", async () => {
    const engine = await testEngine();
    expect(engine.adapterName).toMatch(/\w+/);
    expect(engine.adapterName).not.toBe("unknown adapter");
  });
});

it("errors are of their classes", () => {
  for (const error of [new OutOfLimitsError("x"), new KernelError(["k"], "x"), new DeviceLostError("unknown", "")]) {
    expect(error).toBeInstanceOf(TenfoldError);
    expect(error.name).toBe(error.constructor.name);
  }
});

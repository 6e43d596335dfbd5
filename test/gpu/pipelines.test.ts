import { afterEach, expect, it, vi } from "vitest";
import { Engine, Kernel, KernelError } from "../../src/gpu/index.js";
import { testEngine } from "../engine.js";
import { affine, affineShader, incrementing, plainDevice, shifted } from "./kernels.js";

const opened: GPUDevice[] = [];
async function hostEngine(): Promise<Engine> {
  const device = await plainDevice();
  opened.push(device);
  return new Engine(device);
}
afterEach(() => {
  vi.restoreAllMocks();
  for (const device of opened.splice(0)) device.destroy();
});

it("compiles a kernel once, finished or in flight", async () => {
  const engine = await hostEngine();
  const compiled = vi.spyOn(engine.device, "createComputePipelineAsync");
  using x = engine.tensor([5], [1, 2, 3, 4, 5]);
  const record = () => {
    const s = engine.scheduler();
    shifted(s, x, 1);
    shifted(s, x, 2);
    return s.compile();
  };
  const schedules = await Promise.all([record(), record(), record()]);
  expect(compiled).toHaveBeenCalledTimes(1);
  schedules.push(await record());
  expect(compiled).toHaveBeenCalledTimes(1);
  expect(engine.counters.pipelines).toBe(1);
  for (const schedule of schedules) schedule.destroy();
});

it("shares what is compiled with other engines on the device, which may end before", async () => {
  const first = await hostEngine();
  const start = first.device.createComputePipelineAsync.bind(first.device);
  let finish = () => {};
  const finished = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const compiled = vi.spyOn(first.device, "createComputePipelineAsync").mockImplementation(async (descriptor) => {
    const pipeline = start(descriptor);
    await finished;
    return pipeline;
  });
  const second = new Engine(first.device);
  const x = first.tensor([3], [1, 2, 3]);
  const s = first.scheduler();
  shifted(s, x, 1);
  const compiling = s.compile();
  using y = second.tensor([3], [4, 5, 6]);
  const t = second.scheduler();
  const shiftedY = shifted(t, y, 1);
  const schedule = t.compile();
  await vi.waitFor(() => expect(compiled).toHaveBeenCalledTimes(1));
  first.destroy();
  await expect(compiling).rejects.toThrow("the engine was destroyed");
  finish();
  second.submit(await schedule);
  expect([...(await shiftedY.read())]).toEqual([5, 6, 7]);
  expect(compiled).toHaveBeenCalledTimes(1);
  expect([first.counters.pipelines, second.counters.pipelines]).toEqual([1, 1]);
  second.destroy();
});

it("compiles specialisations apart, equal ones once", async () => {
  const engine = await hostEngine();
  using x = engine.tensor([3], [1, 2, 3]);
  using out = engine.tensor([3, 3]);
  const parts = [0, 1, 2].map(() => engine.tensor([3]));
  const s = engine.scheduler();
  const kernels = [affine.with({ FACTOR: 2 }), affine.with({ FACTOR: 2 }), affine.with({ FACTOR: 3 })];
  for (const [index, kernel] of kernels.entries()) s.run(kernel, { x, out: parts[index]! }, { count: 3, offset: 0.5 });
  using schedule = await s.compile();
  expect(engine.counters.pipelines).toBe(2);
  expect(schedule.kernels).toEqual(["affine{FACTOR=2}", "affine{FACTOR=2}", "affine{FACTOR=3}"]);
  engine.submit(schedule);
  expect((await engine.read(parts)).map((part) => [...part])).toEqual([
    [2.5, 4.5, 6.5],
    [2.5, 4.5, 6.5],
    [3.5, 6.5, 9.5],
  ]);
  for (const part of parts) part.destroy();
  expect(out.size).toBe(9);
});

it("keeps two shaders of one name apart", async () => {
  const engine = await hostEngine();
  const doubling = new Kernel(
    { ...affineShader, code: affineShader.code.replace(/FACTOR ?\* ?x\[id\.x\]/, "2.0 * x[id.x]") },
    affine.grid,
  );
  using x = engine.tensor([2], [1, 2]);
  using a = engine.tensor([2]);
  using b = engine.tensor([2]);
  await engine.run((s) => {
    s.run(affine, { x, out: a }, { count: 2, offset: 0 });
    s.run(doubling, { x, out: b }, { count: 2, offset: 0 });
  });
  expect([...(await a.read())]).toEqual([1, 2]);
  expect([...(await b.read())]).toEqual([2, 4]);
});

it("rejects broken WGSL with the kernel's name, and tries again when asked again", async () => {
  const engine = await testEngine();
  using x = engine.tensor([4]);
  const broken = new Kernel(
    { ...affineShader, name: "brokenKernel", code: `${affineShader.code}\nfn f() -> u32 { return 1.5; }` },
    affine.grid,
  );
  for (let attempt = 0; attempt < 2; attempt++) {
    const s = engine.scheduler();
    s.run(broken, { x, out: s.tensor([4]) }, { count: 4, offset: 0 });
    const failure = await s.compile().then(
      () => null,
      (error: unknown) => error,
    );
    expect(failure).toBeInstanceOf(KernelError);
    expect((failure as KernelError).kernels).toEqual(["brokenKernel"]);
    expect((failure as KernelError).message).toMatch(/^brokenKernel: .*1\.5/s);
  }
  // the next compile is not affected
  using fine = await incrementing(engine, x);
  engine.submit(fine);
  expect([...(await x.read())]).toEqual([1, 1, 1, 1]);
});

it("rejects a workgroup larger than the device allows, naming the kernel", async () => {
  const engine = await testEngine();
  using x = engine.tensor([4]);
  const s = engine.scheduler();
  s.run(affine.with({ SIZE: 100_000 }), { x, out: s.tensor([4]) }, { count: 4, offset: 0 });
  await expect(s.compile()).rejects.toThrow(/^affine\{SIZE=100000\}: /);
});

it("names a feature that the device lacks", async () => {
  const engine = await hostEngine();
  using x = engine.tensor([4]);
  const s = engine.scheduler();
  const needy = new Kernel({ ...affineShader, features: ["shader-f16"] }, affine.grid);
  s.run(needy, { x, out: s.tensor([4]) }, { count: 4, offset: 0 });
  await expect(s.compile()).rejects.toThrow("affine: needs the feature shader-f16, which the device lacks");
});

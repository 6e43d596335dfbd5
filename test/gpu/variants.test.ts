import { expect, it, vi } from "vitest";
import { Engine, Kernel, Schedule, type Scheduler, Variants } from "../../src/gpu/index.js";
import { declareChoice } from "../../src/gpu/variants.js";
import { freshEngine, testEngine } from "../engine.js";
import { affine, affineShader } from "./kernels.js";

const sample = (s: Scheduler, kernel: Kernel, size: number) => {
  const count = 2 ** 14 * size;
  s.run(kernel, { x: s.tensor([count]), out: s.tensor([count]) }, { count, offset: 0 });
};
/** The affine kernel by another name. */
const slow = new Kernel({ ...affineShader, name: "affine_slow" }, affine.grid);

/** Makes a clock of the work that an engine submits: a replay of `affine_slow` takes 20 ms, of other kernels 2 ms. */
function timeByKernel(engine: Engine): () => void {
  let clock = 0;
  const now = vi.spyOn(performance, "now").mockImplementation(() => clock);
  const submit = engine.submit.bind(engine);
  const submitted = vi.spyOn(engine, "submit").mockImplementation((work, times = 1) => {
    if (work instanceof Schedule) clock += times * (work.kernels.includes("affine_slow") ? 20 : 2);
    submit(work, times);
  });
  return () => {
    now.mockRestore();
    submitted.mockRestore();
  };
}

async function affineBy(engine: Engine, variants: Variants): Promise<string> {
  const x = engine.tensor([3], [1, 2, 3]);
  const s = engine.scheduler();
  const out = s.tensor([3]);
  s.run(variants, { x, out }, { count: 3, offset: 1 });
  using schedule = await s.compile();
  engine.submit(schedule);
  expect([...(await out.read())]).toEqual([2, 3, 4]);
  x.destroy();
  return schedule.kernels[0]!;
}

it("the fastest is picked, once an adapter, and its probe leaves no trace", async () => {
  const engine = await freshEngine();
  const variants = new Variants("pick", { slow, fast: affine }, sample);
  const probed = vi.spyOn(variants as { sample: typeof sample }, "sample");
  const { live } = engine.memory();
  const restore = timeByKernel(engine);
  const [first, second] = await Promise.all([affineBy(engine, variants), affineBy(engine, variants)]).finally(restore);
  expect([first, second]).toEqual(["affine", "affine"]);
  // ten times as slow is hopeless: there is nothing left to choose on a larger sample
  const sizes = probed.mock.calls.map(([, , size]) => size);
  expect(sizes).toEqual([1, 1]);
  expect(engine.counters).toMatchObject({ submits: 2, dispatches: 2 });
  expect(engine.memory().live).toBe(live);
  // another engine on the same adapter takes the same variant without a probe
  const other = await freshEngine();
  expect(await affineBy(other, new Variants("pick", { slow, fast: affine }, sample))).toBe("affine");
  expect(probed).toHaveBeenCalledTimes(sizes.length);
  expect(other.counters.pipelines).toBe(1);
  engine.destroy();
  other.destroy();
});

it("a choice can be forced", async () => {
  const device = (await testEngine()).device;
  const variants = new Variants("forced", { slow, fast: affine }, sample);
  using engine = new Engine(device, { variants: { forced: "slow" } });
  expect(await affineBy(engine, variants)).toBe("affine_slow");
  expect(() => new Engine(device, { variants: { forced: "fastest" } })).toThrow(
    'new Engine: forced is "fastest", needs one of slow, fast',
  );
  expect(() => new Engine(device, { variants: { fourced: "fast" } })).toThrow(
    /^new Engine: variants has no choice "fourced"; there are .*\bforced\b/,
  );
  // a variant of this name is known, but the choice at hand does not offer it
  using other = new Engine(device, { variants: { forced: "slow" } });
  await expect(affineBy(other, new Variants("forced", { fast: affine }, sample))).rejects.toThrow(
    'forced: no variant "slow"; there are fast',
  );
});

it("a choice of numbers is forced by those that it takes, and by the names of some", async () => {
  const device = (await testEngine()).device;
  declareChoice("few", ["none"], {
    needs: "a whole number from 1 to 3",
    is: (value) => [1, 2, 3].includes(value as number),
  });
  for (const few of [1, 3, "none"]) {
    using engine = new Engine(device, { variants: { few } });
    expect(engine.forced("few")).toBe(few);
  }
  for (const few of [0, 1.5, Number.NaN, "1", "some"])
    expect(() => new Engine(device, { variants: { few } })).toThrow(
      `new Engine: few is ${typeof few === "string" ? `"${few}"` : few}, needs a whole number from 1 to 3, or one of none`,
    );
  expect(() => new Engine(device, { variants: { matmul2: 3 } })).toThrow(/there are .*\bfew\b/);
});

it("variants that need a feature are left out where the device lacks it", async () => {
  const needy = new Kernel({ ...affineShader, name: "affine_needy", features: ["no-such-feature"] }, affine.grid);
  const device = (await testEngine()).device;
  using engine = new Engine(device);
  const probed = vi.fn(sample);
  expect(await affineBy(engine, new Variants("needy", { needy, other: affine }, probed))).toBe("affine");
  // a single variant is left, so there is nothing to probe
  expect(probed).not.toHaveBeenCalled();
  using forced = new Engine(device, { variants: { needy: "needy" } });
  await expect(affineBy(forced, new Variants("needy", { needy, other: affine }, probed))).rejects.toThrow(
    "affine_needy: needs the feature no-such-feature, which the device lacks",
  );
});

it("near ties go to the one listed first", async () => {
  const engine = await freshEngine();
  vi.spyOn(performance, "now").mockReturnValue(0);
  const small = (s: Scheduler, kernel: Kernel) => sample(s, kernel, 1 / 64);
  const twin = new Kernel({ ...affineShader, name: "affine_twin" }, affine.grid);
  expect(await affineBy(engine, new Variants("tie", { twin, other: affine }, small))).toBe("affine_twin");
  expect(await affineBy(engine, new Variants("tie2", { other: affine, twin }, small))).toBe("affine");
  vi.restoreAllMocks();
  engine.destroy();
});

it("specialising goes to those that know the constant", async () => {
  const device = (await testEngine()).device;
  const variants = new Variants("special", { slow, fast: affine }, sample).with({ FACTOR: 1, SIZE: 32 });
  using engine = new Engine(device, { variants: { special: "fast" } });
  expect(await affineBy(engine, variants)).toBe("affine{SIZE=32}");
  expect(() => variants.with({ TILE: 1 })).toThrow('special: no variant has a constant named "TILE"');
});

it("variants need the same bindings and params", () => {
  const other = new Kernel({ ...affineShader, name: "other", params: affineShader.params.slice(1) }, affine.grid);
  expect(() => new Variants("unlike", { affine, other }, sample)).toThrow(
    "unlike: affine and other differ in their bindings or params",
  );
  expect(() => new Variants("none", {}, sample)).toThrow("none: needs at least one variant");
});

it("a probe that fails is tried again", async () => {
  const engine = await freshEngine();
  let broken = true;
  const variants = new Variants("retry", { slow, fast: affine }, (s, kernel, size) => {
    if (broken) throw new Error("no sample today");
    sample(s, kernel, size);
  });
  await expect(affineBy(engine, variants)).rejects.toThrow("no sample today");
  broken = false;
  const restore = timeByKernel(engine);
  expect(await affineBy(engine, variants).finally(restore)).toBe("affine");
  engine.destroy();
});

import { afterEach, describe, expect, it, vi } from "vitest";
import { type Engine, Program, Replay, type Slab, type Tensor } from "../../src/gpu/index.js";
import { freshEngine, testEngine } from "../engine.js";
import { affine, increment, shifted } from "./kernels.js";

afterEach(() => {
  vi.restoreAllMocks();
});

const add = (p: Program, x: Tensor, amount: number): void => p.s.run(increment, { x }, { count: x.size, amount });

/** A promise that the test resolves. */
function gate(): { open: () => void; passed: Promise<void> } {
  let open = () => {};
  const passed = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, passed };
}

const counted = async (
  engine: Engine,
  run: () => Promise<unknown>,
): Promise<{ submits: number; dispatches: number }> => {
  const { submits, dispatches } = { ...engine.counters };
  await run();
  return { submits: engine.counters.submits - submits, dispatches: engine.counters.dispatches - dispatches };
};

describe("a program without steps", () => {
  it("is one schedule, and n replays are one submit that is made at once", async () => {
    const engine = await testEngine();
    using x = engine.tensor([10]);
    const p = new Program(engine, "adds");
    for (let i = 0; i < 3; i++) add(p, x, 1);
    using program = await p.compile();
    expect([program.dispatches, program.hasSteps, program.label]).toEqual([3, false, "adds"]);
    const submits = vi.spyOn(engine.device.queue, "submit");
    expect(await counted(engine, () => program.run(500))).toEqual({ submits: 1, dispatches: 1500 });
    expect(submits).toHaveBeenCalledTimes(1);
    const running = program.run();
    expect(submits).toHaveBeenCalledTimes(2);
    await running;
    expect([...(await x.read())]).toEqual(new Array(10).fill(1503));
  });

  it("goes into one submit with others", async () => {
    const engine = await testEngine();
    using x = engine.tensor([4]);
    const compiled = async (amount: number): Promise<Replay> => {
      const p = new Program(engine);
      add(p, x, amount);
      return await p.compile();
    };
    using one = await compiled(1);
    using hundred = await compiled(100);
    const work = () =>
      Replay.runAll([
        [one, 2],
        [hundred, 3],
      ]);
    expect(await counted(engine, work)).toEqual({ submits: 1, dispatches: 5 });
    expect([...(await x.read())]).toEqual(new Array(4).fill(302));
  });

  it("does nothing zero times, or where nothing is recorded", async () => {
    const engine = await testEngine();
    using x = engine.tensor([2], [1, 2]);
    const p = new Program(engine);
    add(p, x, 1);
    using program = await p.compile();
    using empty = await new Program(engine).compile();
    expect(await counted(engine, () => program.run(0))).toEqual({ submits: 0, dispatches: 0 });
    expect(await counted(engine, () => empty.run(3))).toEqual({ submits: 0, dispatches: 0 });
    expect([...(await x.read())]).toEqual([1, 2]);
  });

  it("is recorded, run and freed by Program.run", async () => {
    const engine = await testEngine();
    using x = engine.tensor([2], [1, 2]);
    const { live } = engine.memory();
    let seen = 0;
    await Program.run(engine, (p) => {
      const y = shifted(p.s, x, 5);
      p.step(() => {
        seen++;
      });
      shifted(p.s, y, 5, x);
    });
    expect([...(await x.read())]).toEqual([11, 12]);
    expect([seen, engine.memory().live]).toEqual([1, live]);
    await expect(
      Program.run(engine, (p) => {
        p.tensor([100]);
        throw new Error("recording");
      }),
    ).rejects.toThrow("recording");
    expect(engine.memory().live).toBe(live);
  });
});

describe("host steps", () => {
  it("run in their places, and temporaries live across them", async () => {
    const engine = await testEngine();
    using x = engine.tensor([2], [1, 2]);
    const p = new Program(engine);
    const input = p.tensor([2], { label: "input" });
    const order: string[] = [];
    p.step(() => {
      order.push("first");
      engine.write(input, [10, 20]);
    });
    const sum = shifted(p.s, input, 1);
    p.step(async () => {
      order.push("reading");
      order.push(`${[...(await engine.read(input))]}`);
      engine.write(input, [100, 200]);
    });
    p.step(() => void order.push("third"));
    // the sum of the first values is a temporary, and still there
    shifted(p.s, sum, 5, x);
    add(p, input, 1);
    p.step(() => void order.push("last"));
    using program = await p.compile();
    expect(program.hasSteps).toBe(true);
    expect(await counted(engine, () => program.run())).toEqual({ submits: 2, dispatches: 3 });
    expect(order).toEqual(["first", "reading", "10,20", "third", "last"]);
    expect([...(await x.read())]).toEqual([16, 26]);
    expect([...(await engine.read(input))]).toEqual([101, 201]);
  });

  it("are awaited before what follows is submitted, in every replay", async () => {
    const engine = await testEngine();
    using x = engine.tensor([1]);
    const gates = [gate(), gate()];
    let entered = 0;
    const p = new Program(engine);
    add(p, x, 1);
    p.step(() => gates[entered++]!.passed);
    add(p, x, 10);
    using program = await p.compile();
    const before = engine.counters.submits;
    const running = program.run(2);
    expect([entered, engine.counters.submits - before]).toEqual([1, 1]);
    expect([...(await x.read())]).toEqual([1]);
    gates[0]!.open();
    await vi.waitFor(() => expect(entered).toBe(2));
    // the end of the first replay and the beginning of the second are one submit
    expect(engine.counters.submits - before).toBe(2);
    expect([...(await x.read())]).toEqual([12]);
    await expect(program.run()).rejects.toThrow("program: runs already; await it first");
    gates[1]!.open();
    await running;
    expect([...(await x.read())]).toEqual([22]);
  });

  it("end a run by an error, after which the program runs again", async () => {
    const engine = await testEngine();
    using x = engine.tensor([1]);
    let fails = true;
    const p = new Program(engine);
    add(p, x, 1);
    p.step(() => {
      if (fails) throw new Error("the disk is gone");
    });
    add(p, x, 10);
    using program = await p.compile();
    await expect(program.run(3)).rejects.toThrow("the disk is gone");
    expect([...(await x.read())]).toEqual([1]);
    fails = false;
    await program.run();
    expect([...(await x.read())]).toEqual([12]);
  });

  it("end a run by an abort, before the next of them and within one", async () => {
    const engine = await testEngine();
    using x = engine.tensor([1]);
    const reason = new Error("enough");
    const p = new Program(engine);
    let abort = new AbortController();
    let aborts = 0;
    add(p, x, 1);
    p.step((signal) => {
      if (aborts === 0) abort.abort(reason);
      else
        return new Promise((_, reject) => {
          signal!.addEventListener("abort", () => reject(signal!.reason));
          abort.abort(reason);
        });
    });
    add(p, x, 10);
    p.step(() => {});
    add(p, x, 100);
    using program = await p.compile();
    // what is between the steps is submitted before the signal is looked at again
    await expect(program.run(2, { signal: abort.signal })).rejects.toBe(reason);
    expect([...(await x.read())]).toEqual([11]);
    aborts++;
    abort = new AbortController();
    await expect(program.run(2, { signal: abort.signal })).rejects.toBe(reason);
    expect([...(await x.read())]).toEqual([12]);
  });
});

describe("each", () => {
  const slabs = (x: Tensor, log: string[]): (Slab & { value: number })[] =>
    [1, 2, 3].map((value) => ({
      value,
      load: async () => {
        log.push(`load ${value}`);
        await Promise.resolve();
        x.engine.write(x, [value]);
      },
    }));

  it("records for one slab after the other, each loaded before", async () => {
    const engine = await testEngine();
    using sums = engine.tensor([3 * 64]);
    const p = new Program(engine);
    const slab = p.tensor([1]);
    const log: string[] = [];
    const indices: number[] = [];
    p.each(slabs(slab, log), ({ value }, index) => {
      indices.push(index);
      // one place for every slab: the value that it had when its dispatches ran, plus its own
      p.s.run(affine, { x: slab, out: sums.rows(64 * index, 64 * index + 1) }, { count: 1, offset: 10 * value });
    });
    expect(log).toEqual([]);
    using program = await p.compile();
    expect(await counted(engine, () => program.run(2))).toEqual({ submits: 6, dispatches: 6 });
    expect([indices, log]).toEqual([
      [0, 1, 2],
      ["load 1", "load 2", "load 3", "load 1", "load 2", "load 3"],
    ]);
    const values = await sums.read();
    expect([0, 64, 128].map((at) => values[at])).toEqual([11, 22, 33]);
  });

  it("of slabs that lie on the GPU takes no steps", async () => {
    const engine = await testEngine();
    using a = engine.tensor([1]);
    using b = engine.tensor([1]);
    const p = new Program(engine);
    p.each([{ x: a }, { x: b }] as (Slab & { x: Tensor })[], ({ x }, index) => add(p, x, index + 1));
    using program = await p.compile();
    expect(await counted(engine, () => program.run(4))).toEqual({ submits: 1, dispatches: 8 });
    expect([...(await a.read()), ...(await b.read())]).toEqual([4, 8]);
  });
});

describe("what a program holds", () => {
  it("is freed by destroy, before and after it is compiled", async () => {
    const engine = await testEngine();
    const { live } = engine.memory();
    const p = new Program(engine);
    shifted(p.s, p.tensor([1000]), 1);
    expect(engine.memory().live).toBeGreaterThan(live);
    p.destroy();
    p.destroy();
    expect(engine.memory().live).toBe(live);
    const second = new Program(engine, "second");
    shifted(second.s, second.tensor([1000]), 1);
    const program = await second.compile();
    second.destroy();
    expect(engine.memory().live).toBeGreaterThan(live);
    program.destroy();
    program.destroy();
    expect(engine.memory().live).toBe(live);
    await expect(program.run()).rejects.toThrow("second: the program was destroyed");
    expect(() => second.tensor([1])).toThrow("tensor: second is closed; record into a new Program");
    expect(() => second.step(() => {})).toThrow("step: second is closed");
    await expect(second.compile()).rejects.toThrow("compile: second is closed");
    expect(() => new Program(engine).step(3 as never)).toThrow("step: given 3, needs a function: (signal) => { … }");
  });

  it("is not used any more where it is destroyed within a step", async () => {
    const engine = await testEngine();
    using x = engine.tensor([1]);
    const p = new Program(engine);
    p.step(() => program.destroy());
    add(p, x, 1);
    const program = await p.compile();
    await expect(program.run()).rejects.toThrow("program: the program was destroyed");
    expect([...(await x.read())]).toEqual([0]);
  });

  it("is freed where it does not compile", async () => {
    const engine = await freshEngine();
    const { live } = engine.memory();
    const p = new Program(engine);
    p.s.run(affine, { x: p.tensor([1]), out: p.tensor([1]) }, { count: 0, offset: 0 });
    await expect(p.compile()).rejects.toThrow(/grid/);
    expect(engine.memory().live).toBe(live);
    engine.destroy();
  });
});

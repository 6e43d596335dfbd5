/** Who hears of what goes wrong on a device, with a device that is made up: no GPU. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { Faults } from "../../src/gpu/faults.js";
import { DeviceLostError, KernelError, TenfoldError } from "../../src/gpu/index.js";

/** A device that does nothing but report errors, when it is told to. */
function madeUp() {
  /** the scopes that are open, innermost last; each with what it will report */
  const scopes: { filter: string; error: { message: string } | null }[] = [];
  const listeners: ((event: unknown) => void)[] = [];
  let lose = (_: { reason?: string; message: string }): void => {};
  const device = {
    lost: new Promise((resolve) => {
      lose = resolve;
    }),
    pushErrorScope: (filter: string) => void scopes.push({ filter, error: null }),
    popErrorScope: () => Promise.resolve(scopes.pop()!.error),
    addEventListener: (_: string, listener: (event: unknown) => void) => void listeners.push(listener),
  };
  /** something goes wrong on the device now */
  const fail = (message: string, filter = "validation"): void => {
    const scope = scopes.findLast((open) => open.filter === filter);
    if (scope) scope.error = { message };
    else for (const listener of listeners) listener({ preventDefault: () => {}, error: { message } });
  };
  return {
    device: device as unknown as GPUDevice,
    fail,
    lose: (info: { reason?: string; message: string }) => lose(info),
    scopes,
  };
}

const outcome = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => "nothing went wrong",
    (error: unknown) => error,
  );

afterEach(() => {
  vi.useRealTimers();
});

describe("an error in a scope", () => {
  it("is told to the next one who waits, once, with label and kernels", async () => {
    const { device, fail, scopes } = madeUp();
    const faults = new Faults(device);
    const work = (): number => {
      fail("too large");
      return 7;
    };
    expect(faults.guard("sweep", ["gram", "matmul"], work)).toBe(7);
    expect(scopes).toEqual([]);
    const error = (await outcome(faults.settled())) as KernelError;
    expect(error).toBeInstanceOf(KernelError);
    expect([error.message, error.kernels]).toEqual(["sweep (kernels: gram, matmul): too large", ["gram", "matmul"]]);
    await faults.settled();
  });

  it("is heard by everyone who began before it was told, and by nobody who began later", async () => {
    const { device, fail } = madeUp();
    const faults = new Faults(device);
    const early = faults.now;
    faults.guard("work", [], () => fail("wrong"));
    const told = await outcome(faults.settled());
    expect(await outcome(faults.settled(early))).toBe(told);
    expect(await outcome(faults.settled(faults.now))).toBe("nothing went wrong");
    expect(await outcome(faults.settled())).toBe("nothing went wrong");
  });

  it("comes first where several go wrong before anyone waits", async () => {
    const { device, fail } = madeUp();
    const faults = new Faults(device);
    const condemned: string[] = [];
    faults.guard(
      "first",
      [],
      () => fail("a", "out-of-memory"),
      () => void condemned.push("first"),
    );
    faults.guard(
      "second",
      [],
      () => fail("b", "internal"),
      () => void condemned.push("second"),
    );
    faults.guard(
      "third",
      [],
      () => {},
      () => void condemned.push("third"),
    );
    await expect(faults.settled()).rejects.toThrow("first: a");
    await faults.settled();
    // each is told to its own work
    expect(condemned).toEqual(["first", "second"]);
  });

  it("is kept where the work itself throws, whose error goes through", async () => {
    const { device, fail, scopes } = madeUp();
    const faults = new Faults(device);
    const work = (): void => {
      fail("on the device");
      throw new TypeError("in the work");
    };
    expect(() => faults.guard("work", [], work)).toThrow("in the work");
    expect(scopes).toEqual([]);
    await expect(faults.settled()).rejects.toThrow("work: on the device");
  });
});

it("an error outside of all scopes is told with the kernels of the last submit, where we listen", async () => {
  const { device, fail } = madeUp();
  const faults = new Faults(device);
  fail("nobody listens");
  await faults.settled();
  let kernels: string[] = [];
  faults.listen(() => kernels);
  fail("early");
  await expect(faults.settled()).rejects.toThrow(/^uncaptured device error: early$/);
  kernels = ["gram"];
  fail("late");
  const error = (await outcome(faults.settled())) as KernelError;
  expect([error.message, error.kernels]).toEqual([
    "uncaptured device error (kernels submitted last: gram): late",
    ["gram"],
  ]);
});

describe("the end", () => {
  it("by a lost device rejects everyone who waits, and everyone later, with its reason", async () => {
    const { device, lose } = madeUp();
    const faults = new Faults(device);
    const waiting = [faults.untilOver(new Promise(() => {})), faults.untilOver(new Promise(() => {}))].map(outcome);
    const lost = outcome(faults.lost);
    expect(faults.over).toBeNull();
    faults.assertOpen();
    lose({ message: "unplugged" });
    const reason = (await lost) as DeviceLostError;
    expect(reason).toBeInstanceOf(DeviceLostError);
    expect(reason.message).toBe("The GPU device was lost (unknown): unplugged");
    expect(await Promise.all(waiting)).toEqual([reason, reason]);
    expect(await outcome(faults.untilOver(Promise.resolve(1)))).toBe(reason);
    expect(await outcome(faults.settled())).toBe(reason);
    expect(() => faults.assertOpen()).toThrow(reason);
    // the first reason stays
    faults.end(new TenfoldError("destroyed"));
    expect(faults.over).toBe(reason);
  });

  it("by the engine is no lost device, even if the device goes with it", async () => {
    const { device, lose } = madeUp();
    const faults = new Faults(device);
    const told = vi.fn();
    faults.lost.catch(told);
    faults.end(new TenfoldError("the engine was destroyed"));
    lose({ reason: "destroyed", message: "" });
    await new Promise((resolve) => setTimeout(resolve));
    expect(told).not.toHaveBeenCalled();
    await expect(faults.untilOver(Promise.reject(new Error("aborted")))).rejects.toThrow("the engine was destroyed");
  });

  it("gives a lost device's reason time to arrive where a promise failed of it, and a pipeline's error none", async () => {
    vi.useFakeTimers();
    const { device, lose } = madeUp();
    const faults = new Faults(device);
    const mapping = outcome(faults.untilOver(Promise.reject(new Error("mapping failed"))));
    const broken = Object.assign(new Error("no such type"), { name: "GPUPipelineError" });
    const compiling = outcome(faults.untilOver(Promise.reject(broken)));
    await vi.advanceTimersByTimeAsync(1);
    expect(await compiling).toBe(broken);
    lose({ reason: "destroyed", message: "gone" });
    await vi.advanceTimersByTimeAsync(200);
    expect(await mapping).toBeInstanceOf(DeviceLostError);
    const other = new Faults(madeUp().device);
    const failed = outcome(other.untilOver(Promise.reject(new Error("mapping failed"))));
    await vi.advanceTimersByTimeAsync(200);
    expect(await failed).toMatchObject({ message: "mapping failed" });
  });
});

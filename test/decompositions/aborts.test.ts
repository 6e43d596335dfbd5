/** What an abort leaves: a result that says so, or the signal's reason where there is none; never memory. */
import { describe, expect, it } from "vitest";
import {
  cpALS,
  cpErrorPreserving,
  hosvd,
  stHosvd,
  tensorRingALS,
  tensorRingSVD,
  ttSVD,
  tuckerHOOI,
} from "../../src/decompositions/index.js";
import type { Engine, Tensor } from "../../src/gpu/index.js";
import { KruskalTensor } from "../../src/tensors/index.js";
import { testEngine } from "../engine.js";
import { randomArray } from "../reference.js";
import { kruskal } from "./planted.js";

/** A signal that counts how often it is asked, and aborts at one of these times. */
function abortsAt(count: number, reason: Error): { signal: AbortSignal; asked: () => number } {
  const controller = new AbortController();
  let asked = 0;
  const tell = (): AbortSignal => {
    if (++asked === count) controller.abort(reason);
    return controller.signal;
  };
  const signal = new Proxy(controller.signal, {
    get(target, key) {
      if (key === "aborted") return tell().aborted;
      if (key === "throwIfAborted") return () => tell().throwIfAborted();
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return { signal, asked: () => asked };
}

type Call = (engine: Engine, x: Tensor, signal: AbortSignal) => Promise<{ tensor: { destroy(): void } }>;

const WITHOUT_RESULT: [string, Call][] = [
  ["ttSVD", (engine, x, signal) => ttSVD(engine, x, { ranks: 3, signal })],
  ["tensorRingSVD", (engine, x, signal) => tensorRingSVD(engine, x, { ranks: 2, signal })],
  ["hosvd", (engine, x, signal) => hosvd(engine, x, { relativeError: 0.5, signal })],
  ["stHosvd", (engine, x, signal) => stHosvd(engine, x, { relativeError: 0.5, signal })],
];

const WITH_START: [string, Call][] = [
  ["tuckerHOOI by relativeError", (engine, x, signal) => tuckerHOOI(engine, x, { relativeError: 0.5, signal })],
  ["tensorRingALS", (engine, x, signal) => tensorRingALS(engine, x, { ranks: 2, signal })],
  ["cpALS from singular vectors", (engine, x, signal) => cpALS(engine, x, { rank: 3, initialize: "hosvd", signal })],
];

describe.each([...WITHOUT_RESULT, ...WITH_START])("an abort of %s", (_, call) => {
  it("before it begins gives the signal's reason and frees all", async () => {
    const engine = await testEngine();
    using x = engine.tensor([8, 7, 9], randomArray(504, 4));
    const reason = new Error("enough");
    const { live } = engine.memory();
    await expect(call(engine, x, AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(engine.memory().live).toBe(live);
  });
});

describe.each(WITHOUT_RESULT)("an abort of %s", (_, call) => {
  it("whenever it is looked for gives the signal's reason and frees all", async () => {
    const engine = await testEngine();
    using x = engine.tensor([8, 7, 9], randomArray(504, 4));
    const reason = new Error("enough");
    const { live } = engine.memory();
    const { signal, asked } = abortsAt(Number.POSITIVE_INFINITY, reason);
    (await call(engine, x, signal)).tensor.destroy();
    expect(engine.memory().live).toBe(live);
    const times = asked();
    expect(times).toBeGreaterThan(2);
    for (const count of new Set([2, Math.ceil(times / 2), times - 1, times])) {
      const what = `time ${count} of ${times}`;
      await expect(call(engine, x, abortsAt(count, reason).signal), what).rejects.toBe(reason);
      expect(engine.memory().live, what).toBe(live);
    }
  });
});

describe("an abort of cpErrorPreserving", () => {
  it("of a run that has not met its bound gives the signal's reason, not a word about f32", async () => {
    const engine = await testEngine();
    const [shape, m] = [[6, 5, 7], 200];
    const near = shape.map((extent, mode) => {
      const [a, b] = [randomArray(extent, 1 + mode), randomArray(extent, 5 + mode)];
      return Float32Array.from({ length: 2 * extent }, (_, e) => a[e >> 1]! + (e % 2 ? 0 : b[e >> 1]! / m));
    });
    const terms = Float64Array.from(near[0]!, (value, e) => (e % 2 ? -m : m) * value);
    using x = engine.tensor(shape, Float32Array.from(kruskal([terms, near[1]!, near[2]!], shape, 2)));
    using start = new KruskalTensor(
      engine.tensor([2], Float32Array.of(m, -m)),
      near.map((factor, mode) => engine.tensor([shape[mode]!, 2], factor)),
    );
    const { live } = engine.memory();
    const reason = new Error("enough");
    const controller = new AbortController();
    let told = 0;
    const aborted = cpErrorPreserving(engine, x, start, {
      relativeError: 1e-4,
      sweeps: 40,
      signal: controller.signal,
      onIteration() {
        told++;
        controller.abort(reason);
      },
    });
    await expect(aborted).rejects.toBe(reason);
    expect(told).toBeLessThan(12);
    expect(engine.memory().live).toBe(live);
  });
});

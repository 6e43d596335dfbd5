import { describe, expect, it } from "vitest";
import { inspect, inspection, scaleByPower, toFloat } from "../../src/ops/index.js";
import { evaluate, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

async function inspected(values: Float32Array) {
  const engine = await testEngine();
  using x = engine.tensor([values.length], values);
  using findings = engine.tensor([4], new Uint32Array(4));
  await engine.run((s) => void inspect(s, x, findings));
  return inspection(await engine.read(findings));
}

describe("inspect", () => {
  it.each([1, 5, 255, 4096, 100_003])("finds the largest of %i entries, and nothing else", async (size) => {
    const values = randomArray(size, 3);
    const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    expect(await inspected(values)).toEqual({ notFinite: 0, first: null, largest });
  });

  // a multiple of 4 is read in vectors
  it.each([70_001, 70_000])("counts NaN and infinity of either sign among %i and finds the first", async (size) => {
    const values = randomArray(size, 4);
    values[69_999] = Number.NaN;
    values[41_234] = Number.NEGATIVE_INFINITY;
    values[51_234] = Number.POSITIVE_INFINITY;
    values[3] = -7;
    expect(await inspected(values)).toEqual({
      notFinite: 3,
      first: { index: 41_234, kind: "infinity" },
      largest: 7,
    });
    values[0] = Number.NaN;
    expect(await inspected(values)).toMatchObject({ notFinite: 4, first: { index: 0, kind: "NaN" } });
  });

  it.each([1, 5, 4096, 100_003, 1_000_000])("adds up the squares of %i entries to f32's digits", async (size) => {
    const engine = await testEngine();
    const values = randomArray(size, 5);
    using x = engine.tensor([size], values);
    using findings = engine.tensor([4], new Uint32Array(4));
    using squaredNorm = engine.tensor([1]);
    await engine.run((s) => void inspect(s, x, findings, { squaredNorm }));
    const squares = values.reduce((sum, value) => sum + value * value, 0);
    const [sum] = await engine.read(squaredNorm);
    expect(Math.abs(sum! - squares) / squares).toBeLessThan(3e-7);
    expect(inspection(await engine.read(findings)).notFinite).toBe(0);
  });

  it("sees subnormal numbers, zeros and the largest f32", async () => {
    expect((await inspected(Float32Array.of(0, -0))).largest).toBe(0);
    expect((await inspected(Float32Array.of(0, 2 ** -149))).largest).toBe(2 ** -149);
    expect((await inspected(Float32Array.of(-3.4028234663852886e38, 1))).largest).toBe(3.4028234663852886e38);
  });
});

describe("scaleByPower", () => {
  const values = Float32Array.of(
    ...[0, -0, 1, -1.5, 3.4028234663852886e38, 2 ** -126, 2 ** -127, -(2 ** -149), 2 ** -140 + 2 ** -149, 1e-40],
    ...[1.1754943e-38, -1.1754942e-38, 7.25, 1 / 3, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
    ...randomArray(64, 9),
  );
  it.each([0, 1, -1, 20, -20, 127, -127, 149, -149, -150, 253, -280])(
    "is what f64 rounded to f32 gives, for 2^%i",
    async (exponent) => {
      const engine = await testEngine();
      using x = engine.tensor([values.length], values);
      const scaled = await evaluate(engine, (s) => scaleByPower(s, x, exponent));
      expect([...scaled]).toEqual([...Float32Array.from(values, (value) => value * 2 ** exponent)]);
    },
  );
});

describe("toFloat", () => {
  it.each([
    // a multiple of 4 is written in vectors
    Uint8Array.from({ length: 259 }, (_, i) => (i * 7) % 256),
    Uint8Array.from({ length: 260 }, (_, i) => (i * 7) % 256),
    Int32Array.of(0, -1, 5, 2 ** 31 - 1, -(2 ** 31), 16_777_217),
    Int32Array.of(0, -1, 5, 2 ** 31 - 1, -(2 ** 31), 16_777_217, 7, -8),
    Uint32Array.of(0, 1, 2 ** 32 - 1, 2 ** 31, 16_777_219),
    Uint32Array.of(0, 1, 2 ** 32 - 1, 16_777_219),
  ])("takes values as they are", async (values) => {
    const engine = await testEngine();
    using x = engine.tensor([values.length], values);
    expect([...(await evaluate(engine, (s) => toFloat(s, x)))]).toEqual([...Float32Array.from(values)]);
  });

  it.each([259, 260])("takes packed integers of a byte and of two, %i of them", async (length) => {
    const engine = await testEngine();
    const bytes = Int8Array.from({ length }, (_, i) => (i * 7) % 256);
    const shorts = Int16Array.from({ length }, (_, i) => [0, -1, 1, 2 ** 15 - 1, -(2 ** 15), 1234, -4321][i % 7]! ^ i);
    for (const [dtype, values] of [
      ["i8", bytes],
      ["u8", Uint8Array.from(bytes)],
      ["i16", shorts],
      ["u16", Uint16Array.from(shorts)],
    ] as const) {
      using x = engine.tensor([length], values, { dtype });
      expect([...(await evaluate(engine, (s) => toFloat(s, x)))]).toEqual([...values]);
      expect([...(await x.read())]).toEqual([...values]);
    }
  });

  it("takes every 16-bit float exactly; NaN and infinity stay as they are, for inspect", async () => {
    const engine = await testEngine();
    const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
    for (const [dtype, length] of [
      ["f16", 65536],
      ["f16", 65535],
      ["bf16", 65536],
      ["bf16", 65535],
    ] as const) {
      using x = engine.tensor([length], all.subarray(0, length), { dtype });
      const floats = await evaluate(engine, (s) => toFloat(s, x));
      const [mantissa, bias] = dtype === "f16" ? [10, 15] : [7, 127];
      let wrong = 0;
      for (let bits = 0; bits < length; bits++) {
        const exponent = (bits & 0x7fff) >> mantissa;
        const fraction = (bits & (2 ** mantissa - 1)) / 2 ** mantissa;
        const size = exponent ? (1 + fraction) * 2 ** (exponent - bias) : fraction * 2 ** (1 - bias);
        const ends = exponent < 2 * bias + 1;
        const value = (bits & 0x8000 ? -1 : 1) * (ends ? size : fraction ? Number.NaN : Number.POSITIVE_INFINITY);
        if (!Object.is(floats[bits], value)) wrong++;
      }
      expect(wrong).toBe(0);
    }
    expect(() => engine.tensor([2], [1, 2], { dtype: "f16" })).toThrow(
      "tensor: elements of f16 are given as their bits, needs a Uint16Array",
    );
  });
});

import { expect, it } from "vitest";
import { HISTOGRAM_BINS, histogram, histogramBins } from "../../src/ops/index.js";
import { testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

const noise = randomArray(5_001, 5).map((value, at) => value ** 5 * (at % 3 ? 1 : 1e12));
const nasty = Float32Array.of(
  ...[0, -0, 2 ** -149, -(2 ** -130), 2 ** -126, 1, 1 + 2 ** -6, 1 + 2 ** -5, -1, -1.5, 2 ** 127 * 1.99],
  ...[-3.4028234663852886e38, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
);

it.each([
  ["noise of many sizes", noise],
  ["zeros, ends of bins and what is not finite", nasty],
  ["one number often", new Float32Array(5000).fill(-7)],
])("counts %s by bins, and adds to what was counted", async (_, values) => {
  const engine = await testEngine();
  using x = engine.tensor([values.length], values);
  using counts = engine.tensor([HISTOGRAM_BINS], null, { dtype: "u32" });
  await engine.run((s) => void histogram(s, x, counts));
  await engine.run((s) => void histogram(s, x, counts));
  const bins = histogramBins(await engine.read(counts));
  const finite = values.filter(Number.isFinite);
  expect(bins.reduce((sum, { count }) => sum + count, 0)).toBe(2 * finite.length);
  for (const [at, { from, to }] of bins.entries()) {
    expect(from).toBeGreaterThanOrEqual(at ? bins[at - 1]!.to : Number.NEGATIVE_INFINITY);
    // as wide as 1/32 of a power of two, where numbers are not denormal
    if (Math.abs(from) > 2 ** -126) expect((to - from) / Math.abs(from)).toBeLessThan(1 / 31);
  }
  // a magnitude lies in [least, largest), of numbers below 0 too
  const isIn = ({ from, to }: { from: number; to: number }, value: number): boolean => {
    if (from === to) return Math.abs(value) < 2 ** -131;
    return from < 0 ? -value >= -to && -value < -from : value >= from && value < to;
  };
  for (const bin of bins) expect(bin.count).toBe(2 * finite.filter((value) => isIn(bin, value)).length);
});

it("refuses what it cannot count", async () => {
  const engine = await testEngine();
  using x = engine.tensor([3], null, { dtype: "u32" });
  using counts = engine.tensor([7], null, { dtype: "u32" });
  using floats = engine.tensor([3]);
  const s = engine.scheduler("histogram");
  expect(() => histogram(s, x as never, counts)).toThrow(/is u32, needs f32/);
  expect(() => histogram(s, floats, floats as never)).toThrow(/counts are f32, needs u32/);
  expect(() => histogram(s, floats, counts)).toThrow(/histogram: counts .*16384/);
});

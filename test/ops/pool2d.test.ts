import { describe, expect, it } from "vitest";
import { averagePool2d, averagePool2dGradient, maxPool2d, maxPool2dGradient } from "../../src/ops/index.js";
import { evaluate, expectClose, testEngine } from "../engine.js";
import * as plain from "../reference/convolution.js";
import { randomArray } from "../reference.js";

/** A shape with padding "same". */
const same = (height: number, width: number, kernel: [number, number], stride: [number, number]): plain.PoolShape => ({
  ...{ planes: 3, height, width, kernel, stride },
  ...plain.samePadding([height, width], kernel, stride),
});

describe("pooling", () => {
  it.each<[string, plain.PoolShape]>([
    ["2×2", { planes: 6, height: 28, width: 28, kernel: [2, 2], stride: [2, 2], padding: [0, 0] }],
    ["one element", { planes: 1, height: 1, width: 1, kernel: [1, 1], stride: [1, 1], padding: [0, 0] }],
    ["overlapping, padded", { planes: 3, height: 7, width: 11, kernel: [3, 3], stride: [2, 1], padding: [1, 1] }],
    ["a rest at the border", { planes: 2, height: 5, width: 8, kernel: [2, 3], stride: [2, 3], padding: [0, 0] }],
    ["gaps between windows", { planes: 2, height: 9, width: 10, kernel: [2, 1], stride: [3, 4], padding: [1, 0] }],
    ["same, odd", same(7, 8, [3, 3], [1, 1])],
    ["same, even, overlapping", same(6, 9, [2, 4], [1, 2])],
    ["same, side by side, the last window over the border", same(5, 7, [2, 2], [2, 2])],
    ["same, a window larger than the plane", same(2, 3, [5, 4], [2, 1])],
  ])("%s", async (_, shape) => {
    const engine = await testEngine();
    const { planes, height, width } = shape;
    // few different values, so that some windows have several largest elements
    const x = randomArray(planes * height * width, 1).map((value) => Math.round(3 * value));
    const y = plain.pool2d(x, "max", shape);
    const dy = randomArray(y.length, 2);
    const outSize = [0, 1].map((at) => {
      const padding = shape.padding[at]! + (shape.behind ?? shape.padding)[at]!;
      return Math.floor(([height, width][at]! + padding - shape.kernel[at]!) / shape.stride[at]!) + 1;
    });
    const options = { ...shape, padding: shape.behind ? ("same" as const) : shape.padding };
    if (shape.behind)
      expect(outSize).toEqual([Math.ceil(height / shape.stride[0]), Math.ceil(width / shape.stride[1])]);
    using tx = engine.tensor([1, planes, height, width], x);
    using tdy = engine.tensor([1, planes, ...outSize], dy);
    const [largest, mean, dLargest, dMean] = await evaluate(engine, (s) => [
      maxPool2d(s, tx, options),
      averagePool2d(s, tx, options),
      maxPool2dGradient(s, tx, tdy, options),
      averagePool2dGradient(s, tx, tdy, options),
    ]);
    expectClose(largest!, y, Number.MIN_VALUE);
    expectClose(mean!, plain.pool2d(x, "average", shape), 1e-6);
    expectClose(dLargest!, plain.pool2dGradient(x, dy, "max", shape), 1e-6);
    expectClose(dMean!, plain.pool2dGradient(x, dy, "average", shape), 1e-6);
  });

  it("says what does not fit", async () => {
    const engine = await testEngine();
    const s = engine.scheduler("shapes");
    expect(() => maxPool2d(s, s.tensor([3, 3]), { kernel: 4 })).toThrow(
      "maxPool2d: 3×3, window 4×4: the window is larger",
    );
    expect(() => maxPool2d(s, s.tensor([3, 3]), { kernel: 2, padding: 2 })).toThrow("padding 2×2, needs at most half");
    expect(() => averagePool2d(s, s.tensor([3]), { kernel: 1 })).toThrow("needs …×height×width");
    s.destroy();
  });
});

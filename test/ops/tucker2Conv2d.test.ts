import { describe, expect, it } from "vitest";
import type { Engine } from "../../src/gpu/index.js";
import { fitsTucker2, tucker2Conv2d } from "../../src/ops/index.js";
import { evaluate, expectClose, plainEngine, testEngine } from "../engine.js";
import fc from "../property.js";
import * as plain from "../reference/convolution.js";
import { randomArray } from "../reference.js";

type Pair = [number, number];
interface Sample {
  x: [number, number, number, number];
  ranks: Pair;
  outputs: number;
  kernel: Pair;
  stride: Pair;
  padding: Pair;
  dilation: Pair;
}
const sample = (x: Sample["x"], ranks: Pair, outputs: number, kernel: Pair, rest: Partial<Sample> = {}): Sample => ({
  x,
  ranks,
  outputs,
  kernel,
  stride: [1, 1],
  padding: [0, 0],
  dilation: [1, 1],
  ...rest,
});

/** Every case compiles a kernel; those with an `epilogue` another one, with a bias and an activation. */
const cases: [name: string, sample: Sample, epilogue?: boolean][] = [
  ["one pixel", sample([1, 1, 1, 1], [1, 1], 1, [1, 1]), true],
  ["LeNet's first, padded", sample([2, 1, 28, 28], [1, 3], 6, [5, 5], { padding: [2, 2] })],
  ["LeNet's second", sample([3, 6, 14, 14], [3, 6], 16, [5, 5]), true],
  ["odd, in several tiles", sample([2, 7, 37, 41], [5, 9], 11, [3, 3], { padding: [1, 1] }), true],
  ["many channels, small ranks", sample([1, 67, 9, 9], [6, 5], 70, [3, 3], { padding: [1, 1] })],
  [
    "strides, padding and dilation",
    sample([2, 3, 19, 23], [2, 3], 5, [3, 2], { stride: [2, 3], padding: [2, 1], dilation: [2, 3] }),
  ],
  ["more padding than kernel", sample([1, 2, 3, 4], [2, 2], 3, [2, 2], { padding: [3, 2] })],
];

/** Outputs in f64, by three convolutions. */
function reference(sampled: Sample, weights: Float32Array[]): Float64Array {
  const [batch, channels, height, width] = sampled.x;
  const one: Pair = [1, 1];
  const unit = { stride: one, padding: [0, 0] as Pair, dilation: one, groups: 1, kernel: one };
  const [x, u, core, v] = weights as [Float32Array, Float32Array, Float32Array, Float32Array];
  const z = plain.conv2d(x, u, { ...unit, batch, channels, height, width, outputs: sampled.ranks[0] });
  const middle = { ...sampled, batch, channels: sampled.ranks[0], height, width, outputs: sampled.ranks[1], groups: 1 };
  const h = plain.conv2d(z, core, middle);
  const [outHeight, outWidth] = plain.outSizeOf(middle);
  const last = {
    ...unit,
    batch,
    channels: sampled.ranks[1],
    height: outHeight,
    width: outWidth,
    outputs: sampled.outputs,
  };
  return plain.conv2d(h, v, last);
}

async function check(engine: Engine, sampled: Sample, epilogue = true): Promise<void> {
  const { x, ranks, outputs, kernel, stride, padding, dilation } = sampled;
  const shapes = [x, [ranks[0], x[1], 1, 1], [ranks[1], ranks[0], ...kernel], [outputs, ranks[1], 1, 1]];
  const values = shapes.map((shape, at) =>
    randomArray(
      shape.reduce((a, b) => a * b, 1),
      at + 1,
    ),
  );
  const tensors = shapes.map((shape, at) => engine.tensor(shape, values[at]!));
  const bias = randomArray(outputs, 9);
  using tb = engine.tensor([outputs], bias);
  const [tx, first, core, last] = tensors as [typeof tb, typeof tb, typeof tb, typeof tb];
  const options = { stride, padding, dilation };
  const [y, full] = await evaluate(engine, (s) => [
    tucker2Conv2d(s, tx, { first, core, last }, options),
    ...(epilogue ? [tucker2Conv2d(s, tx, { first, core, last }, { ...options, bias: tb, activation: "relu" })] : []),
  ]);
  const expected = reference(sampled, values);
  expectClose(y!, expected, 5e-6);
  const plane = expected.length / x[0] / outputs;
  if (epilogue)
    expectClose(
      full!,
      expected.map((value, at) => Math.max(0, value + bias[Math.floor(at / plane) % outputs]!)),
      5e-6,
    );
  for (const tensor of tensors) tensor.destroy();
}

describe("tucker2Conv2d", () => {
  it.each(cases)("%s", async (_, sampled, epilogue = false) => check(await testEngine(), sampled, epilogue));

  // it is the same kernel there
  it("a device without optional features", async () => check(await plainEngine(), cases[3]![1]));

  it("is right for any extents", async () => {
    const engine = await testEngine();
    const small = fc.integer({ min: 1, max: 3 });
    const pair = fc.tuple(small, small);
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          x: fc.tuple(
            small,
            fc.integer({ min: 1, max: 6 }),
            fc.integer({ min: 5, max: 18 }),
            fc.integer({ min: 5, max: 18 }),
          ),
          ranks: fc.tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 6 })),
          outputs: fc.integer({ min: 1, max: 9 }),
          kernel: pair,
          stride: pair,
          padding: fc.tuple(fc.nat(2), fc.nat(2)),
          dilation: fc.tuple(fc.integer({ min: 1, max: 2 }), fc.integer({ min: 1, max: 2 })),
        }),
        fc.tuple(small, fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 9 })),
        async (sampled, [batch, channels, outputs]) => {
          await check(engine, sampled, false);
          // mostly by the same kernel: which one is compiled follows from ranks and window
          await check(engine, { ...sampled, x: [batch, channels, sampled.x[2], sampled.x[3]], outputs }, false);
        },
      ),
      { numRuns: 4 },
    );
  });

  it("says what does not fit", async () => {
    const engine = await testEngine();
    const s = engine.scheduler("misfits");
    const x = s.tensor([1, 3, 40, 40]);
    const weights = (rankIn: number, rankOut: number) => ({
      first: s.tensor([rankIn, 3, 1, 1]),
      core: s.tensor([rankOut, rankIn, 3, 3]),
      last: s.tensor([4, rankOut, 1, 1]),
    });
    expect(() => tucker2Conv2d(s, x, { ...weights(2, 3), last: s.tensor([4, 2, 1, 1]) })).toThrow("ranks differ");
    expect(fitsTucker2(x, weights(8, 8))).toBe(true);
    expect(fitsTucker2(x, weights(300, 8))).toBe(false);
    expect(() => tucker2Conv2d(s, x, weights(300, 8))).toThrow("take three convolutions");
    expect(() => tucker2Conv2d(s, x, weights(2, 3), { bias: s.tensor([5]) })).toThrow("expected 4");
    s.destroy();
  });
});

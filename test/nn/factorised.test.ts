import { describe, expect, it } from "vitest";
import type { Engine } from "../../src/gpu/index.js";
import {
  type Layer,
  Linear,
  Sequential,
  SvdLinear,
  svdLinear,
  TensorTrainLinear,
  ttLinear,
} from "../../src/nn/index.js";
import { evaluate, expectClose, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";
import { checkGradients } from "./gradients.js";

/** x·Wᵀ + b in f64. */
function dense(
  x: ArrayLike<number>,
  weight: ArrayLike<number>,
  bias: ArrayLike<number> | null,
  inputs: number,
): number[] {
  const outputs = weight.length / inputs;
  return Array.from({ length: (x.length / inputs) * outputs }, (_, e) => {
    const [row, j] = [Math.floor(e / outputs), e % outputs];
    let value = bias?.[j] ?? 0;
    for (let i = 0; i < inputs; i++) value += x[row * inputs + i]! * weight[j * inputs + i]!;
    return value;
  });
}

/** Output of one layer on a batch. */
async function outputOf(engine: Engine, layer: Layer, x: Float32Array, inputs: number): Promise<Float32Array> {
  using model = await Sequential.create(engine, [layer], { inputShape: [inputs], seed: 3 });
  using data = engine.tensor([x.length / inputs, inputs], x);
  return (await evaluate(engine, (s) => model.forward(s, data))) as Float32Array;
}

const weights = (inputs: number, outputs: number, activation: "none" | "relu" = "none") => ({
  inputs,
  outputs,
  weight: randomArray(inputs * outputs, 1),
  bias: randomArray(outputs, 2),
  activation,
});

type Fit = (
  engine: Engine,
  source: ReturnType<typeof weights>,
) => Promise<Layer & { toDense(): Promise<Float32Array> }>;

const full: { name: string; fit: Fit; inputs: number; outputs: number }[] = [
  { name: "svd", inputs: 12, outputs: 9, fit: (e, source) => svdLinear(e, source, { rank: 9 }) },
  { name: "svd, wide", inputs: 7, outputs: 15, fit: (e, source) => svdLinear(e, source, { rank: 7 }) },
  ...(["modes", "dense"] as const).flatMap((contraction) => [
    {
      name: `tt by ${contraction}`,
      inputs: 60,
      outputs: 24,
      fit: ((e, source) =>
        ttLinear(e, source, { inputModes: [3, 4, 5], outputModes: [2, 3, 4], ranks: 100, contraction })) as Fit,
    },
    {
      name: `tt from the right by ${contraction}`,
      inputs: 24,
      outputs: 60,
      fit: ((e, source) =>
        ttLinear(e, source, { inputModes: [2, 3, 4], outputModes: [5, 4, 3], ranks: 100, contraction })) as Fit,
    },
  ]),
];

describe("factorised dense layers", () => {
  it.each(full)("$name: full rank is the layer itself", async ({ fit, inputs, outputs }) => {
    const engine = await testEngine();
    for (const activation of ["none", "relu"] as const) {
      const source = weights(inputs, outputs, activation);
      const layer = await fit(engine, source);
      expectClose(await layer.toDense(), source.weight, 1e-5);
      const x = randomArray(5 * inputs, 7);
      const expected = dense(x, source.weight, source.bias, inputs);
      if (activation === "relu") expected.forEach((value, e) => void (expected[e] = Math.max(0, value)));
      expectClose(await outputOf(engine, layer, x, inputs), expected, 1e-5);
    }
  });

  const scratch: {
    name: string;
    make: (start?: "he") => Layer & { toDense(): Promise<Float32Array> };
    inputs: number;
  }[] = [
    {
      name: "svd",
      inputs: 12,
      make: (start) => new SvdLinear({ inputs: 12, outputs: 9, rank: 3, ...(start && { start }) }),
    },
    ...(["modes", "dense"] as const).flatMap((contraction) => [
      {
        name: `tt ${contraction}`,
        inputs: 60,
        make: (start?: "he") =>
          new TensorTrainLinear({
            inputModes: [3, 4, 5],
            outputModes: [2, 3, 4],
            ranks: 3,
            contraction,
            ...(start && { start }),
          }),
      },
      {
        name: `tt from the right, ${contraction}`,
        inputs: 24,
        make: (start?: "he") =>
          new TensorTrainLinear({
            inputModes: [2, 3, 4],
            outputModes: [5, 4, 3],
            ranks: [2, 3],
            contraction,
            ...(start && { start }),
          }),
      },
    ]),
    {
      name: "tt of one core",
      inputs: 6,
      make: () => new TensorTrainLinear({ inputModes: [6], outputModes: [4], ranks: 3, contraction: "dense" }),
    },
  ];

  it.each(scratch)("$name: gradients agree with differences", async ({ make, inputs }) => {
    await checkGradients(await testEngine(), make(), [inputs]);
  });

  it.each(scratch)("$name: the dense export gives the same outputs", async ({ make, inputs }) => {
    const engine = await testEngine();
    const layer = make();
    const x = randomArray(4 * inputs, 8);
    using model = await Sequential.create(engine, [layer], { inputShape: [inputs], seed: 3 });
    using data = engine.tensor([4, inputs], x);
    const y = (await evaluate(engine, (s) => model.forward(s, data))) as Float32Array;
    const bias = (await layer.parameters.at(-1)!.read()) as Float32Array;
    expectClose(y, dense(x, await layer.toDense(), bias, inputs), 1e-5);
  });

  it.each([
    { name: "svd", make: (start: "uniform" | "he") => new SvdLinear({ inputs: 256, outputs: 256, rank: 64, start }) },
    {
      name: "tt",
      make: (start: "uniform" | "he") =>
        new TensorTrainLinear({ inputModes: [4, 8, 8], outputModes: [8, 8, 4], ranks: 8, start }),
    },
  ])("$name: from scratch the weight has the variance of a dense start", async ({ make }) => {
    const engine = await testEngine();
    for (const start of ["uniform", "he"] as const) {
      let variance = 0;
      for (const seed of [1, 2, 3, 4]) {
        const layer = make(start);
        using _model = await Sequential.create(engine, [layer], { inputShape: [256], seed });
        const weight = await layer.toDense();
        variance += weight.reduce((sum, value) => sum + value * value, 0) / weight.length / 4;
      }
      const expected = (start === "he" ? 2 : 1 / 3) / 256;
      expect(variance / expected).toBeGreaterThan(0.75);
      expect(variance / expected).toBeLessThan(1.3);
    }
  });
});

describe("counts of the literature", () => {
  it("TT layers of VGG-16: compression 713,614 / 194,622 / 50,972", () => {
    const modes = { inputModes: [2, 7, 8, 8, 7, 4], outputModes: [4, 4, 4, 4, 4, 4] };
    const compression = [1, 2, 4].map((ranks) => {
      const { weights: stored } = new TensorTrainLinear({ ...modes, ranks }).counts();
      return Math.floor((25088 * 4096) / stored);
    });
    expect(compression).toEqual([713614, 194622, 50972]);
  });

  it("Novikov's 4·8·8·4 and t3f's network", () => {
    const modes = { inputModes: [4, 8, 8, 4], outputModes: [4, 8, 8, 4] };
    expect([1, 2, 3, 4].map((ranks) => new TensorTrainLinear({ ...modes, ranks }).counts().weights)).toEqual([
      160, 576, 1248, 2176,
    ]);
    const t3f = (ranks: number) => {
      const first = new TensorTrainLinear({ inputModes: [7, 4, 7, 4], outputModes: [5, 5, 5, 5], ranks }).counts();
      const last = new Linear(625, 10).counts();
      return first.weights + first.biases + last.weights + last.biases;
    };
    expect(t3f(16)).toBe(21845);
    expect(t3f(4)).toBe(7985);
    // 3.5 times more multiplications than the 784×625 of the dense layer
    const { multiplications } = new TensorTrainLinear({
      inputModes: [7, 4, 7, 4],
      outputModes: [5, 5, 5, 5],
      ranks: 16,
    }).counts();
    expect(multiplications / (784 * 625)).toBeCloseTo(3.5, 1);
  });

  it("SVD: R(I + O), twice", () => {
    const {
      weights: stored,
      multiplications,
      biases,
    } = new SvdLinear({ inputs: 784, outputs: 625, rank: 20 }).counts([784]);
    expect([stored, multiplications, biases]).toEqual([20 * 1409, 20 * 1409, 625]);
  });
});

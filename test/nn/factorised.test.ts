import { describe, expect, it } from "vitest";
import type { Engine } from "../../src/gpu/index.js";
import {
  type Layer,
  Linear,
  Sequential,
  SvdLinear,
  svdLinear,
  TensorRingLinear,
  TensorTrainLinear,
  TuckerLinear,
  tensorRingLinear,
  ttLinear,
  tuckerLinear,
} from "../../src/nn/index.js";
import { evaluate, expectClose, testEngine } from "../engine.js";
import { PAPER, paperEngine } from "../ops/paperEngine.js";
import { randomArray } from "../reference.js";
import { FACTORISED } from "./layers.js";

/** x·Wᵀ + b in f64, batch×outputs. */
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

/** Outputs of one layer for a batch. */
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
  ...(["modes", "dense", "auto", [1, 2], [2, 1]] as const).flatMap((contraction) => [
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
  {
    name: "tensor ring",
    inputs: 12,
    outputs: 20,
    fit: (e, source) => tensorRingLinear(e, source, { inputModes: [3, 4], outputModes: [4, 5], relativeError: 1e-6 }),
  },
  {
    name: "tucker",
    inputs: 24,
    outputs: 10,
    fit: (e, source) => tuckerLinear(e, source, { inputModes: [4, 2, 3], outputModes: [10], ranks: [4, 2, 3, 10] }),
  },
  {
    name: "tucker, factors on both sides",
    inputs: 12,
    outputs: 40,
    fit: (e, source) => tuckerLinear(e, source, { inputModes: [3, 4], outputModes: [40], ranks: [3, 4, 12] }),
  },
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

  it.each(FACTORISED.filter(({ shape }) => shape.length === 1))(
    "$name: the dense export gives the same outputs",
    async ({ make, shape }) => {
      const [inputs] = shape as [number];
      const engine = await testEngine();
      const layer = make();
      const x = randomArray(4 * inputs, 8);
      using model = await Sequential.create(engine, [layer], { inputShape: [inputs], seed: 3 });
      using data = engine.tensor([4, inputs], x);
      const y = (await evaluate(engine, (s) => model.forward(s, data))) as Float32Array;
      const bias = (await layer.parameters.at(-1)!.read()) as Float32Array;
      expectClose(y, dense(x, await layer.toDense(), bias, inputs), 1e-5);
    },
  );
});

describe("the contraction of a tensor train", () => {
  /** Every way to cut d cores into groups of neighbours, from either end. */
  const everyContraction = (d: number) =>
    Array.from({ length: 2 ** (d - 1) }, (_, cuts) => {
      const edges = [0, ...Array.from({ length: d - 1 }, (__, k) => k + 1).filter((k) => (cuts >> (k - 1)) & 1), d];
      return edges.slice(1).map((stop, index) => [edges[index]!, stop] as const);
    }).flatMap((groups) => (["left", "right"] as const).map((direction) => ({ direction, groups })));

  it.each([
    { inputModes: [4, 7, 4, 7], outputModes: [5, 5, 5, 5], ranks: [3, 9, 2] },
    { inputModes: [2, 7, 8, 8, 7, 4], outputModes: [4, 4, 4, 4, 4, 4], ranks: 4 },
    { inputModes: [8, 8, 8], outputModes: [8, 8, 8], ranks: 64 },
    { inputModes: [3, 1, 6, 2, 5], outputModes: [1, 9, 2, 3, 2], ranks: 2 },
    { inputModes: [30], outputModes: [20], ranks: [] },
  ])("of $inputModes by $outputModes is the cheapest of all", async (options) => {
    const engine = await testEngine();
    const layer = new TensorTrainLinear(options);
    for (const batch of [1, 30, 1000]) {
      const costs = everyContraction(options.inputModes.length).map((plan) => layer.costOf(engine, plan, batch));
      expect(layer.costOf(engine, layer.contractionOf(engine, batch), batch)).toBe(Math.min(...costs));
    }
  });

  it("is dense for high ranks and many samples, core by core for low ranks", async () => {
    const engine = await testEngine();
    const modes = { inputModes: [8, 8, 8], outputModes: [8, 8, 8] };
    expect(new TensorTrainLinear({ ...modes, ranks: 64 }).contractionOf(engine, 1000).groups).toEqual([[0, 3]]);
    const large = { inputModes: [16, 16, 16], outputModes: [16, 16, 16] };
    expect(new TensorTrainLinear({ ...large, ranks: 2 }).contractionOf(engine, 1000).groups).toEqual([
      [0, 1],
      [1, 2],
      [2, 3],
    ]);
    // from the right the contraction costs less, because there are few outputs at that end
    const narrow = new TensorTrainLinear({ inputModes: [4, 4, 16], outputModes: [16, 16, 2], ranks: 4 });
    expect(narrow.contractionOf(engine, 1000).direction).toBe("right");
  });

  it("follows what dispatches and elements cost on the adapter, and how much may be merged", () => {
    const train = (extent: number, ranks: number) =>
      new TensorTrainLinear({ inputModes: [extent, extent, extent], outputModes: [extent, extent, extent], ranks });
    const groups = (layer: TensorTrainLinear, batch: number, variants: Record<string, number>) =>
      layer.contractionOf(paperEngine(PAPER.gpu, { variants }), batch).groups.length;
    const [high, low] = [train(8, 64), train(16, 2)];
    expect([groups(high, 1000, {}), groups(high, 1000, { dispatchCost: 1e12 })]).toEqual([1, 3]);
    const most = 8 ** 6;
    expect([most, most - 1].map((mergedElements) => groups(high, 1000, { mergedElements }))).toEqual([1, 3]);
    expect([groups(low, 10_000, {}), groups(low, 10_000, { elementCost: 1e6 })]).toEqual([3, 1]);
  });

  it("gives the same outputs, whichever contraction it takes", async () => {
    const engine = await testEngine();
    const options = { inputModes: [3, 4, 5], outputModes: [2, 3, 4], ranks: 3 };
    const sizes = [
      [1, 3, 2, 3],
      [3, 4, 3, 3],
      [3, 5, 4, 1],
    ];
    const cores = sizes.map((size, k) =>
      randomArray(
        size.reduce((a, b) => a * b, 1),
        k + 1,
      ),
    );
    const bias = randomArray(24, 9);
    const x = randomArray(7 * 60, 8);
    const expected = dense(x, await new TensorTrainLinear({ ...options, cores }).toDense(), bias, 60);
    for (const contraction of ["auto", "modes", "dense", [1, 1, 1], [1, 2], [2, 1], [3]] as const) {
      const layer = new TensorTrainLinear({ ...options, cores, bias, contraction });
      expectClose(await outputOf(engine, layer, x, 60), expected, 1e-5);
    }
  });

  // 2³⁹ ways to contract them: a search through all would not end
  it("is found for 40 cores, and their layer is its dense weight", async () => {
    const engine = await testEngine();
    const modes = (extent: number) => Array.from({ length: 40 }, (_, k) => (k % 10 === 3 ? extent : 1));
    const layer = new TensorTrainLinear({ inputModes: modes(2), outputModes: modes(3), ranks: 3 });
    const x = randomArray(5 * 16, 8);
    using model = await Sequential.create(engine, [layer], { inputShape: [16], seed: 3 });
    using data = engine.tensor([5, 16], x);
    const y = await evaluate(engine, (s) => model.forward(s, data));
    expectClose(y, dense(x, await layer.toDense(), await layer.bias!.read(), 16), 1e-5);
  });

  it("takes the multiplications of the cheaper side", () => {
    // from the left 3·2·8 + 4·6·5, from the right 2·3·10 + 5·4·4
    const { multiplications } = new TensorTrainLinear({ inputModes: [2, 3], outputModes: [4, 5], ranks: 2 }).counts();
    expect(multiplications).toBe(140);
  });
});

describe("a plain layer for deployment", () => {
  const modes = { inputModes: [3, 4, 5], outputModes: [2, 3, 4], activation: "relu" } as const;
  it.each([
    { name: "tensor train", make: () => new TensorTrainLinear({ ...modes, ranks: 4 }) },
    { name: "tensor ring", make: () => new TensorRingLinear({ ...modes, ranks: 2, bias: false }) },
    { name: "Tucker", make: () => new TuckerLinear({ ...modes, ranks: [2, 2, 2, 2, 2, 2] }) },
  ])("$name: the same outputs", async ({ make }) => {
    const engine = await testEngine();
    const layer = make();
    const x = randomArray(6 * 60, 4);
    using model = await Sequential.create(engine, [layer], { inputShape: [60], seed: 2 });
    using data = engine.tensor([6, 60], x);
    const y = await evaluate(engine, (s) => model.forward(s, data));
    const plain = await layer.toLinear();
    expect(plain).toBeInstanceOf(Linear);
    expectClose(await outputOf(engine, plain, x, 60), y, 1e-5);
    expect(y.some((value) => value === 0)).toBe(true);
  });
});

describe("fits", () => {
  const covarianceOf = (x: Float32Array, inputs: number): Float64Array => {
    const c = new Float64Array(inputs * inputs);
    for (let row = 0; row < x.length / inputs; row++)
      for (let i = 0; i < inputs; i++)
        for (let j = 0; j < inputs; j++) c[i * inputs + j]! += x[row * inputs + i]! * x[row * inputs + j]!;
    return c;
  };
  const outputError = (a: Float32Array, b: Float32Array, x: Float32Array, inputs: number): number => {
    const difference = a.map((value, e) => value - b[e]!);
    return Math.hypot(...dense(x, difference, null, inputs)) / Math.hypot(...dense(x, a, null, inputs));
  };

  it("SVD by the inputs' covariance: outputs at least as near, with inputs that never change too", async () => {
    const engine = await testEngine();
    const [inputs, outputs] = [20, 14];
    const source = weights(inputs, outputs);
    // correlated inputs of very different sizes; five of the inputs are always 0
    const x = randomArray(60 * inputs, 9).map((value, e) =>
      e % inputs < 5 ? 0 : value * (1 + 4 * (e % 3)) + 0.5 * Math.sin(e / inputs),
    );
    const covariance = covarianceOf(x, inputs);
    for (const rank of [1, 3, 7]) {
      const plain = await (await svdLinear(engine, source, { rank })).toDense();
      const aware = await (await svdLinear(engine, source, { rank, covariance })).toDense();
      expect(outputError(source.weight, aware, x, inputs)).toBeLessThan(
        0.99 * outputError(source.weight, plain, x, inputs),
      );
    }
    await expect(svdLinear(engine, source, { rank: 2, covariance: new Float64Array(4) })).rejects.toThrow(/20×20/);
  });

  const formats: {
    name: string;
    fit: (e: Engine, covariance?: Float64Array) => Promise<{ toDense(): Promise<Float32Array> }>;
  }[] = [
    {
      name: "TT",
      fit: (e, covariance) =>
        ttLinear(e, weights(24, 15), { inputModes: [6, 4], outputModes: [5, 3], ranks: 5, covariance }),
    },
    {
      name: "tensor ring",
      fit: (e, covariance) =>
        tensorRingLinear(e, weights(24, 15), { inputModes: [6, 4], outputModes: [5, 3], ranks: 2, covariance }),
    },
    {
      name: "Tucker",
      fit: (e, covariance) =>
        tuckerLinear(e, weights(24, 15), { inputModes: [6, 4], outputModes: [15], ranks: [3, 2, 6], covariance }),
    },
    {
      name: "Tucker of undivided inputs",
      fit: (e, covariance) => tuckerLinear(e, weights(24, 15), { ranks: [5, 5], covariance }),
    },
  ];
  it.each(formats)("$name by the inputs' covariance: outputs at least as near", async ({ fit }) => {
    const engine = await testEngine();
    // images 6×4 whose pixels share one noise term with their row and another with their column; the last row is always 0
    const noise = randomArray(80 * 24, 9);
    const x = noise.map((_, e) => {
      const [sample, i, j] = [Math.floor(e / 24), Math.floor((e % 24) / 4), e % 4];
      const near = noise[sample * 24 + i * 4]! + noise[sample * 24 + j]! + 0.3 * noise[e]!;
      return i === 5 ? 0 : near * (1 + i);
    });
    const covariance = covarianceOf(x, 24);
    const source = weights(24, 15);
    const plain = outputError(source.weight, await (await fit(engine)).toDense(), x, 24);
    const aware = outputError(source.weight, await (await fit(engine, covariance)).toDense(), x, 24);
    expect(aware).toBeLessThan(0.97 * plain);
  });

  it("by relative error leave the weight no larger an error", async () => {
    const engine = await testEngine();
    const source = weights(36, 25);
    for (const relativeError of [0.4, 0.1]) {
      for (const layer of [
        await ttLinear(engine, source, { inputModes: [6, 6], outputModes: [5, 5], relativeError }),
        await tensorRingLinear(engine, source, { inputModes: [6, 6], outputModes: [5, 5], relativeError }),
      ]) {
        const back = await layer.toDense();
        const error = Math.hypot(...back.map((value, e) => value - source.weight[e]!)) / Math.hypot(...source.weight);
        expect(error).toBeLessThanOrEqual(relativeError);
      }
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

  it("tensor ring: cores stored, r²(I + O) multiplications", () => {
    const layer = new TensorRingLinear({ inputModes: [5, 5, 5, 10], outputModes: [5, 8, 8], ranks: 6 });
    expect(layer.counts()).toEqual({ weights: 36 * 46, biases: 320, multiplications: 36 * 1570 });
  });

  it("Tucker: core and factors", () => {
    const layer = new TuckerLinear({ inputModes: [16, 5, 5], outputModes: [120], ranks: [8, 5, 5, 40] });
    expect(layer.counts()).toEqual({
      weights: 16 * 8 + 200 * 40 + 40 * 120,
      biases: 120,
      multiplications: 400 * 8 + 200 * 40 + 40 * 120,
    });
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

import { describe, expect, it } from "vitest";
import type { Engine } from "../../src/gpu/index.js";
import {
  BlockTermConv,
  blockTermConv,
  Conv2d,
  type ConvolutionSource,
  CpConv,
  cpConv,
  type FactorisedConv,
  type Layer,
  SeparableBasisConv,
  Sequential,
  SpatialConv,
  separableBasisConv,
  spatialConv,
  TensorRingConv,
  TensorRingLinear,
  Tucker2Conv,
  Tucker2Conv3d,
  tensorRingConv,
  tucker2Conv,
} from "../../src/nn/index.js";
import { copy, sgdStep, squaredDistance, subtract } from "../../src/ops/index.js";
import { evaluate, expectClose, siblingEngine, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";
import { startLayers } from "./start.js";

/** Outputs of one layer for a batch of samples. */
async function outputOf(
  engine: Engine,
  layer: Layer,
  x: Float32Array,
  shape: readonly number[],
): Promise<Float32Array> {
  using model = await Sequential.create(engine, [layer], { inputShape: shape, seed: 3 });
  const size = shape.reduce((a, b) => a * b, 1);
  using data = engine.tensor([x.length / size, ...shape], x);
  return (await evaluate(engine, (s) => model.forward(s, data))) as Float32Array;
}

/** ‖W − Ŵ‖ / ‖W‖ */
const kernelError = (kernel: Float32Array, weight: Float32Array): number =>
  Math.hypot(...kernel.map((value, e) => value - weight[e]!)) / Math.hypot(...weight);

/** Mean squared error of a layer's outputs against those of the convolution, after 0, 10, …, 50 steps of gradient descent. */
async function tune(
  engine: Engine,
  layer: Layer,
  source: { inputs: number; outputs: number; kernel: readonly [number, number]; weight: Float32Array },
): Promise<number[]> {
  const shape = [source.inputs, 6, 4];
  using model = await Sequential.create(engine, [layer], { inputShape: shape });
  using dense = await Sequential.create(engine, [new Conv2d({ ...source, bias: false })], { inputShape: shape });
  using x = engine.tensor([8, ...shape], randomArray(8 * source.inputs * 24, 3));
  const size = 8 * model.outputShape.reduce((a, b) => a * b, 1);
  using target = engine.tensor([8, ...model.outputShape]);
  await engine.run((s) => void copy(s, dense.forward(s, x), { out: target }));
  using velocity = engine.tensor(model.weights.shape, new Float32Array(model.weights.size));
  using loss = engine.tensor([1]);
  const s = engine.scheduler("fine-tuning");
  const y = model.forward(s, x, { training: true });
  squaredDistance(s, y, target, { out: loss });
  model.backward(s, subtract(s, y, target));
  const settings = {
    kind: "sgd",
    rate: (0.3 * source.outputs) / size,
    momentum: 0,
    weightDecay: 0,
    nesterov: false,
  } as const;
  sgdStep(s, { weights: model.weights, gradient: model.gradients, velocity }, settings);
  using schedule = await s.compile();
  const losses: number[] = [];
  for (let step = 0; step < 6; step++) {
    engine.submit(schedule);
    losses.push((await engine.read(loss))[0]! / size);
    engine.submit(schedule, 9);
  }
  return losses;
}

describe("factorised convolutions", () => {
  const full: { name: string; fit: (e: Engine, source: ConvolutionSource) => Promise<FactorisedConv> }[] = [
    { name: "Jaderberg 2", fit: (e, source) => spatialConv(e, source, { rank: 12 }) },
    { name: "Jaderberg 1", fit: (e, source) => separableBasisConv(e, source, { rank: 9 }) },
    { name: "Tucker-2", fit: (e, source) => tucker2Conv(e, source, { ranks: [4, 6] }) },
    { name: "BTD of one block", fit: (e, source) => blockTermConv(e, source, { blocks: 1, ranks: [4, 6], sweeps: 4 }) },
  ];
  it.each(full)("$name: full rank is the convolution itself", async ({ fit }) => {
    const engine = await testEngine();
    const options = { inputs: 4, outputs: 6, kernel: 3, stride: 2, padding: 1 } as const;
    const weight = randomArray(6 * 4 * 9, 1);
    const bias = randomArray(6, 2);
    const source = new Conv2d({ ...options, weight, bias, activation: "relu" });
    const layer = await fit(engine, source);
    expectClose(await layer.toDense(), weight, 1e-5);
    const x = randomArray(2 * 4 * 49, 3);
    expectClose(await outputOf(engine, layer, x, [4, 7, 7]), await outputOf(engine, source, x, [4, 7, 7]), 1e-5);
  });

  it.each([
    { ranks: [4, 3], kernels: [3, 1], weights: 4 * 3 * 9 + 3 * 6 },
    { ranks: [2, 6], kernels: [1, 3], weights: 4 * 2 + 2 * 6 * 9 },
    { ranks: [4, 6], kernels: [3], weights: 4 * 6 * 9 },
  ] as const)("Tucker-2 of ranks $ranks: a mode of full rank has no 1×1", async ({ ranks, kernels, weights }) => {
    const engine = await testEngine();
    const weight = randomArray(6 * 4 * 9, 1);
    const source = new Conv2d({ inputs: 4, outputs: 6, kernel: 3, weight, bias: randomArray(6, 2) });
    const layer = await tucker2Conv(engine, source, { ranks });
    expect(layer.convolutions.map(({ kernel }) => kernel[0])).toEqual(kernels);
    expect(layer.counts([4, 7, 7]).weights).toBe(weights);
    const dense = await layer.toDense();
    if (kernels.length === 1) expectClose(dense, weight, 1e-5);
    const x = randomArray(2 * 4 * 49, 3);
    const same = new Conv2d({ inputs: 4, outputs: 6, kernel: 3, weight: dense, bias: randomArray(6, 2) });
    expectClose(await outputOf(engine, layer, x, [4, 7, 7]), await outputOf(engine, same, x, [4, 7, 7]), 1e-5);
  });

  it.each([
    ["fused", 1],
    ["chain", 3],
  ] as const)("Tucker-2 outside training, %s: %i dispatches, the same outputs", async (tucker2, dispatches) => {
    const engine = await siblingEngine({ variants: { tucker2 } });
    const layer = new Tucker2Conv({
      inputs: 5,
      outputs: 7,
      kernel: 3,
      stride: 2,
      padding: 1,
      ranks: [2, 3],
      activation: "relu",
    });
    using model = await Sequential.create(engine, [layer], { inputShape: [5, 11, 9], seed: 6 });
    const x = randomArray(2 * 5 * 99, 4);
    using data = engine.tensor([2, 5, 11, 9], x);
    using y = engine.tensor([2, 7, 6, 5]);
    const before = engine.counters.dispatches;
    await engine.run((s) => copy(s, model.forward(s, data), { out: y }), "Tucker-2");
    expect(engine.counters.dispatches - before).toBe(dispatches + 1);
    const weight = await layer.toDense();
    const bias = await layer.convolutions.at(-1)!.bias!.read();
    const dense = new Conv2d({
      inputs: 5,
      outputs: 7,
      kernel: 3,
      stride: 2,
      padding: 1,
      weight,
      bias,
      activation: "relu",
    });
    const expected = await outputOf(engine, dense, x, [5, 11, 9]);
    expectClose((await y.read()) as Float32Array, expected, 1e-5);
    await expect(engine.run((s) => void model.forward(s, s.tensor([2, 4, 11, 9])))).rejects.toThrow(
      "expected samples of shape 5×11×9",
    );
    engine.destroy();
  });

  it.each([4, 5])(
    "CP finds a kernel that is a Kruskal tensor; BTD one that is a sum of blocks (seed %i)",
    async (seed) => {
      const engine = await testEngine();
      const shape = { inputs: 6, outputs: 7, kernel: 3 } as const;
      for (const [planted, fit] of [
        [
          new CpConv({ ...shape, rank: 3 }),
          (source: ConvolutionSource) => cpConv(engine, source, { rank: 3, solverRidge: 1e-6 }),
        ],
        [
          new BlockTermConv({ ...shape, blocks: 2, ranks: [2, 2] }),
          (source: ConvolutionSource) => blockTermConv(engine, source, { blocks: 2, ranks: [2, 2], starts: 2 }),
        ],
      ] as const) {
        const arena = await startLayers(engine, [planted], seed);
        const weight = await planted.toDense();
        expect(kernelError(await (await fit({ ...shape, weight })).toDense(), weight)).toBeLessThan(1e-5);
        arena.destroy();
      }
    },
  );

  it("the solver's ridge is not the covariance's: it shrinks CP's terms, and holds BTD's factors back", async () => {
    const engine = await testEngine();
    const source = { inputs: 5, outputs: 6, kernel: 3, weight: randomArray(5 * 6 * 9, 2) };
    type Ridges = { ridge?: number; solverRidge?: number };
    const cp = async (ridges: Ridges) =>
      Math.hypot(...(await (await cpConv(engine, source, { rank: 4, starts: 1, sweeps: 20, ...ridges })).toDense()));
    expect(await cp({ ridge: 0.3 })).toBe(await cp({}));
    expect(await cp({ solverRidge: 0.3 })).toBeLessThan(0.9 * (await cp({})));
    const btd = async (ridges: Ridges) => {
      const layer = await blockTermConv(engine, source, { blocks: 2, ranks: [2, 2], sweeps: 8, ...ridges });
      return kernelError(await layer.toDense(), source.weight);
    };
    expect(await btd({ ridge: 1e4 })).toBe(await btd({}));
    expect(await btd({ solverRidge: 1e4 })).toBeGreaterThan(1.005 * (await btd({})));
  });

  /** Σ ‖a∘b∘c∘d‖² over all terms ÷ ‖W‖²: how much a small relative change of a factor moves the kernel W. */
  async function sensitivity(layer: CpConv, weight: Float32Array): Promise<number> {
    const { rank } = layer;
    const kernels = await layer.kernels();
    const terms = Array.from({ length: rank }, (_, r) =>
      kernels.reduce((product, kernel, part) => {
        const extent = kernel.weight.length / rank;
        let squared = 0;
        for (let i = 0; i < extent; i++) squared += kernel.weight[part === 3 ? i * rank + r : r * extent + i]! ** 2;
        return product * squared;
      }, 1),
    );
    return terms.reduce((a, b) => a + b) / Math.hypot(...weight) ** 2;
  }

  it("corrected CP has smaller factors at nearly the same error", async () => {
    const engine = await testEngine();
    const source = { inputs: 6, outputs: 8, kernel: 3, weight: randomArray(6 * 8 * 9, 2) };
    const options = { rank: 10, starts: 1, sweeps: 80 };
    const plain = await cpConv(engine, source, options);
    const corrected = await cpConv(engine, source, { ...options, correct: 1.05 });
    const sizes = [await sensitivity(plain, source.weight), await sensitivity(corrected, source.weight)] as const;
    expect(sizes[1]).toBeLessThan(0.9 * sizes[0]);
    const error = kernelError(await corrected.toDense(), source.weight);
    expect(error).toBeLessThan(1.06 * kernelError(await plain.toDense(), source.weight));
    // the four vectors of term 3 have the same length
    const lengths = (await corrected.kernels()).map(({ weight }, part) =>
      Math.hypot(...weight.filter((_, e) => (part === 3 ? e % 10 : Math.floor(e / (weight.length / 10))) === 3)),
    );
    for (const length of lengths) expect(length / lengths[0]!).toBeCloseTo(1, 4);
  });

  it("corrected CP stays as small with a covariance, and its outputs are nearer", async () => {
    const engine = await testEngine();
    const weight = randomArray(6 * 8 * 9, 2);
    const source = { inputs: 6, outputs: 8, kernel: 3, weight };
    // channels of very different sizes, in pairs that are nearly alike
    const covariance = Float64Array.from({ length: 36 }, (_, e) => {
      const [i, j] = [Math.floor(e / 6), e % 6];
      return i === j ? 4 ** (i - 3) : i + j === 9 ? 0.99 * 2 ** (i + j - 6) : 0;
    });
    const options = { rank: 10, starts: 1, sweeps: 80, correct: 1.05 };
    const plain = await cpConv(engine, source, options);
    const aware = await cpConv(engine, source, { ...options, covariance });
    const bound = await sensitivity(plain, weight);
    expect(await sensitivity(aware, weight)).toBeLessThan(1.001 * bound);
    // without the bound, the refit would have larger terms
    const free = await cpConv(engine, source, { ...options, correct: false, covariance });
    expect(await sensitivity(free, weight)).toBeGreaterThan(1.3 * bound);
    const outputs = async (layer: FactorisedConv): Promise<number> => {
      const kernel = await layer.toDense();
      let error = 0;
      for (let t = 0; t < 8; t++)
        for (let p = 0; p < 9; p++)
          for (let i = 0; i < 6; i++)
            for (let j = 0; j < 6; j++) {
              const off = (s: number) => kernel[(t * 6 + s) * 9 + p]! - weight[(t * 6 + s) * 9 + p]!;
              error += covariance[i * 6 + j]! * off(i) * off(j);
            }
      return Math.sqrt(error);
    };
    expect(await outputs(aware)).toBeLessThan(0.97 * (await outputs(plain)));
  });

  it("of a kernel of border rank 2, plain CP blows up in fine-tuning; the corrected one learns", async () => {
    const engine = await testEngine();
    // a∘a∘b + a∘b∘a + b∘a∘a: two rank-one terms come arbitrarily near, but only with large terms that nearly cancel
    const [a, b, n] = [[0.5, 0.5, 0.5, 0.5], [0.5, -0.5, 0.5, -0.5], 4] as const;
    const weight = Float32Array.from({ length: n ** 3 }, (_, e) => {
      const [i, j, k] = [Math.floor(e / n / n), Math.floor(e / n) % n, e % n] as const;
      return a[i]! * a[j]! * b[k]! + a[i]! * b[j]! * a[k]! + b[i]! * a[j]! * a[k]!;
    });
    const source = { inputs: n, outputs: n, kernel: [n, 1] as const, weight };
    const fit = (correct: false | number) =>
      cpConv(engine, source, { rank: 2, starts: 1, sweeps: 400, solverRidge: 1e-7, correct });
    const [plain, corrected] = [await fit(false), await fit(10)];
    expect(await sensitivity(plain, weight)).toBeGreaterThan(5 * (await sensitivity(corrected, weight)));
    const losses = await Promise.all([plain, corrected].map((layer) => tune(engine, layer, source)));
    expect(losses[0]!.every(Number.isFinite) && losses[0]!.at(-1)! < 10 * losses[0]![0]!).toBe(false);
    expect(losses[1]!.at(-1)!).toBeLessThan(0.6 * losses[1]![0]!);
    expect(losses[1]!.slice(1).every((loss, k) => loss < losses[1]![k]!)).toBe(true);
  });

  const aware: {
    name: string;
    fit: (e: Engine, source: ConvolutionSource, covariance?: Float64Array) => Promise<FactorisedConv>;
  }[] = [
    { name: "Jaderberg 2", fit: (e, source, covariance) => spatialConv(e, source, { rank: 3, covariance }) },
    { name: "Jaderberg 1", fit: (e, source, covariance) => separableBasisConv(e, source, { rank: 2, covariance }) },
    { name: "CP", fit: (e, source, covariance) => cpConv(e, source, { rank: 4, covariance, starts: 1, sweeps: 40 }) },
    {
      name: "Tucker-2",
      fit: (e, source, covariance) => tucker2Conv(e, source, { ranks: [2, 3], covariance, sweeps: 20 }),
    },
    {
      name: "Tucker-1, of the outputs",
      fit: (e, source, covariance) => tucker2Conv(e, source, { ranks: [4, 3], covariance, sweeps: 20 }),
    },
    {
      name: "Tucker-1, of the inputs",
      fit: (e, source, covariance) => tucker2Conv(e, source, { ranks: [2, 6], covariance, sweeps: 20 }),
    },
    {
      name: "BTD",
      fit: (e, source, covariance) => blockTermConv(e, source, { blocks: 2, ranks: [1, 2], covariance, sweeps: 20 }),
    },
  ];
  it.each(aware)("$name: with the inputs' covariance the outputs are nearer than without", async ({ fit }) => {
    const engine = await testEngine();
    const [inputs, outputs, side] = [4, 6, 36];
    const weight = randomArray(outputs * side, 1);
    const source = { inputs, outputs, kernel: 3, weight };
    // patches whose channels share a noise term at every place and differ in size; channel 0 is always 0
    const patches = Array.from({ length: 120 }, (_, n) => {
      const noise = randomArray(side, n + 9);
      return noise.map((value, k) => (k < 9 ? 0 : (value * 0.3 + noise[k % 9]!) * (1 + 3 * (Math.floor(k / 9) % 2))));
    });
    const covariance = new Float64Array(side * side);
    const channels = new Float64Array(inputs * inputs);
    for (const patch of patches)
      for (let i = 0; i < side; i++)
        for (let j = 0; j < side; j++) {
          covariance[i * side + j]! += patch[i]! * patch[j]!;
          if (i % 9 === j % 9) channels[Math.floor(i / 9) * inputs + Math.floor(j / 9)]! += (patch[i]! * patch[j]!) / 9;
        }
    const error = async (layer: FactorisedConv): Promise<number> => {
      const kernel = await layer.toDense();
      let [off, all] = [0, 0];
      for (const patch of patches)
        for (let t = 0; t < outputs; t++) {
          let [a, b] = [0, 0];
          for (let k = 0; k < side; k++) {
            a += weight[t * side + k]! * patch[k]!;
            b += kernel[t * side + k]! * patch[k]!;
          }
          off += (a - b) ** 2;
          all += a * a;
        }
      return Math.sqrt(off / all);
    };
    const plain = await error(await fit(engine, source));
    const byPatches = await error(await fit(engine, source, covariance));
    expect(byPatches).toBeLessThan(0.97 * plain);
    expect(await error(await fit(engine, source, channels))).toBeLessThan(1.5 * plain);
    await expect(fit(engine, source, new Float64Array(7))).rejects.toThrow(/needs 4×4 \(channels\) or 36×36/);
  });
});

describe("tensor ring convolutions", () => {
  const shape = { inputs: 4, outputs: 6, kernel: [3, 2], stride: 2, padding: [1, 0], dilation: [1, 2] } as const;
  const make = () => new TensorRingConv({ ...shape, inputModes: [2, 2], outputModes: [2, 3], ranks: [2, 3, 2, 3, 2] });

  it("convolve with their dense kernel", async () => {
    const engine = await testEngine();
    const layer = make();
    const x = randomArray(2 * 4 * 42, 4);
    using model = await Sequential.create(engine, [layer], { inputShape: [4, 6, 7], seed: 6 });
    using data = engine.tensor([2, 4, 6, 7], x);
    const y = await evaluate(engine, (s) => model.forward(s, data));
    const dense = new Conv2d({ ...shape, weight: await layer.toDense(), bias: await layer.bias!.read() });
    expectClose(y, await outputOf(engine, dense, x, [4, 6, 7]), 1e-5);
    expectClose(y, await outputOf(engine, await layer.toConv2d(), x, [4, 6, 7]), 1e-5);
  });

  it("of small error are the convolution itself", async () => {
    const engine = await testEngine();
    const weight = randomArray(6 * 4 * 6, 1);
    const modes = { inputModes: [2, 2], outputModes: [2, 3] };
    const exact = await tensorRingConv(engine, { ...shape, weight }, { ...modes, relativeError: 1e-6 });
    expectClose(await exact.toDense(), weight, 1e-5);
    const near = await tensorRingConv(engine, { ...shape, weight }, { ...modes, ranks: 4 });
    expect(near.ranks).toEqual([4, 4, 4, 4, 4]);
  });

  it("LeNet-5 of rank 6 has 5,796 weights", () => {
    const layers = [
      new TensorRingConv({
        inputs: 1,
        outputs: 20,
        kernel: 5,
        padding: 2,
        inputModes: [1],
        outputModes: [4, 5],
        ranks: 6,
      }),
      new TensorRingConv({ inputs: 20, outputs: 50, kernel: 5, inputModes: [4, 5], outputModes: [5, 10], ranks: 6 }),
      new TensorRingLinear({ inputModes: [5, 5, 5, 10], outputModes: [5, 8, 8], ranks: 6 }),
      new TensorRingLinear({ inputModes: [5, 8, 8], outputModes: [10], ranks: 6 }),
    ];
    const shapes = [[1, 28, 28], [20, 14, 14], [1250], [320]];
    expect(layers.reduce((total, layer, k) => total + layer.counts(shapes[k]!).weights, 0)).toBe(5796);
  });
});

describe("counts of the literature", () => {
  // LeNet's second convolution: 50×20×5×5 on 12×12, with outputs 8×8
  const shape = { inputs: 20, outputs: 50, kernel: 5 };
  const input = [20, 12, 12];
  const ratios = (layer: Layer): number[] => {
    const [dense, factorised] = [new Conv2d(shape).counts(input), layer.counts(input)];
    return [dense.weights / factorised.weights, dense.multiplications / factorised.multiplications];
  };

  it.each([
    { layer: () => new CpConv({ ...shape, rank: 20 }), weights: 15.6, multiplications: 11.6 },
    { layer: () => new Tucker2Conv({ ...shape, ranks: [8, 12] }), weights: 7.91, multiplications: 7.44 },
    { layer: () => new SpatialConv({ ...shape, rank: 10 }), weights: 7.14, multiplications: 6.25 },
  ])(
    "LeNet's second convolution: ×$weights weights, ×$multiplications multiplications",
    ({ layer, weights, multiplications }) => {
      const [w, m] = ratios(layer());
      expect(Math.abs(w! - weights)).toBeLessThan(0.06);
      expect(Math.abs(m! - multiplications)).toBeLessThan(0.06);
    },
  );

  it("agree with the formulas, stride and padding too", () => {
    const [S, T, D] = [6, 10, 3];
    const options = { inputs: S, outputs: T, kernel: D, stride: 2, padding: 1 };
    const size = [S, 9, 7];
    const [area, vertical, out] = [9 * 7, 5 * 7, 5 * 4];
    const of = (layer: Layer) => {
      const { weights, multiplications } = layer.counts(size);
      return [weights, multiplications];
    };
    expect(of(new SpatialConv({ ...options, rank: 4 }))).toEqual([
      4 * D * (S + T),
      4 * D * S * vertical + 4 * D * T * out,
    ]);
    expect(of(new CpConv({ ...options, rank: 4 }))).toEqual([
      4 * (S + 2 * D + T),
      4 * (S * area + D * vertical + D * out + T * out),
    ]);
    expect(of(new Tucker2Conv({ ...options, ranks: [2, 3] }))).toEqual([
      S * 2 + D * D * 6 + T * 3,
      S * 2 * area + (D * D * 6 + T * 3) * out,
    ]);
    expect(of(new BlockTermConv({ ...options, blocks: 2, ranks: [2, 3] }))).toEqual([
      2 * (S * 2 + D * D * 6 + 3 * T),
      2 * (S * 2 * area + (D * D * 6 + 3 * T) * out),
    ]);
    expect(of(new SeparableBasisConv({ ...options, rank: 2 }))).toEqual([
      S * 2 * (2 * D + T),
      S * 2 * (D * vertical + D * out + T * out),
    ]);
    expect(new SpatialConv({ ...options, rank: 4 }).counts(size).biases).toBe(T);
    // few weights, no fewer multiplications
    const ring = new TensorRingConv({ ...options, inputModes: [2, 3], outputModes: [5, 2], ranks: [2, 3, 1, 4, 2] });
    expect(of(ring)).toEqual([2 * 2 * 3 + 3 * 3 * 1 + 1 * 5 * 4 + 4 * 2 * 2 + 2 * D * D * 2, S * T * D * D * out]);
  });

  it("Tucker-2 of volumes: 1×1×1 at every input, the core and 1×1×1 at every output", () => {
    const options = {
      inputs: 6,
      outputs: 10,
      kernel: [2, 3, 2],
      stride: [1, 2, 1],
      padding: [1, 0, 0],
      dilation: [1, 1, 2],
    } as const;
    const layer = new Tucker2Conv3d({ ...options, ranks: [3, 4] });
    const input = [6, 5, 7, 6];
    expect(layer.outputShape(input)).toEqual([10, 6, 3, 4]);
    expect(layer.counts(input)).toEqual({
      weights: 6 * 3 + 12 * 12 + 4 * 10,
      biases: 10,
      multiplications: 6 * 3 * (5 * 7 * 6) + (12 * 12 + 4 * 10) * (6 * 3 * 4),
    });
  });
});

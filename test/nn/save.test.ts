import { describe, expect, it } from "vitest";
import { FormatError, readSafetensors, writeSafetensors } from "../../src/io/index.js";
import {
  AveragePool2d,
  adam,
  BatchNorm,
  BlockTermConv,
  Chain,
  Conv2d,
  Conv3d,
  CpConv,
  cloneLayer,
  Dropout,
  Flatten,
  Linear,
  loadModel,
  MaxPool2d,
  ReLU,
  SeparableBasisConv,
  Sequential,
  SpatialConv,
  SvdLinear,
  saveModel,
  TensorRingConv,
  TensorRingLinear,
  TensorTrainLinear,
  Tucker2Conv,
  TuckerLinear,
  train,
  tucker2Conv3d,
} from "../../src/nn/index.js";
import { copy } from "../../src/ops/index.js";
import { testEngine } from "../engine.js";

const layers = () => [
  new Flatten(),
  new Chain("factorised", [new Linear(6, 2, { bias: false }), new Linear(2, 5)]),
  new ReLU(),
  new SvdLinear({ inputs: 5, outputs: 6, rank: 2, activation: "relu" }),
  new TensorTrainLinear({ inputModes: [3, 2], outputModes: [1, 5], ranks: 2 }),
  new Dropout(0.25),
  new Linear(5, 3, { bias: false, activation: "none" }),
];
const create = async () => Sequential.create(await testEngine(), layers(), { inputShape: [2, 3], seed: 4 });
const outputs = async (model: Sequential, values: Float32Array): Promise<Float32Array> => {
  const { engine } = model;
  using x = engine.tensor([4, 2, 3], values);
  using out = engine.tensor([4, 3]);
  await engine.run((s) => {
    copy(s, model.forward(s, x), { out });
  });
  return (await out.read()) as Float32Array;
};
const samples = Float32Array.from({ length: 24 }, (_, index) => Math.sin(index));

describe("saved models", () => {
  it("come back as they were, and can be trained further", async () => {
    using model = await create();
    const bytes = await saveModel(model);
    using back = await loadModel(await testEngine(), bytes);
    expect(await outputs(back, samples)).toEqual(await outputs(model, samples));
    expect(back.counts()).toEqual(model.counts());
    const engine = await testEngine();
    using inputs = engine.tensor([4, 2, 3], samples);
    using labels = engine.tensor([4], Uint32Array.of(0, 1, 2, 1), { dtype: "u32" });
    const before = await outputs(back, samples);
    await train(back, { inputs, labels }, { epochs: 3, batchSize: 2, optimiser: adam({ rate: 0.05 }), seed: 1 });
    expect(await outputs(back, samples)).not.toEqual(before);
    expect(await saveModel(model)).toEqual(bytes);
  });

  it("name their parameters by the place of the layer", async () => {
    using model = await create();
    const { tensors } = readSafetensors(await saveModel(model));
    expect([...tensors.keys()].sort()).toEqual([
      "1.0.weight",
      "1.1.bias",
      "1.1.weight",
      "3.0.weight",
      "3.1.bias",
      "3.1.weight",
      "4.bias",
      "4.core0",
      "4.core1",
      "6.weight",
    ]);
  });

  it("of chains within chains come back, up to 16", async () => {
    const engine = await testEngine();
    const deep = (depth: number): Chain =>
      new Chain("chain", [depth === 1 ? new Linear(3, 2, { bias: false }) : deep(depth - 1)]);
    using model = await Sequential.create(engine, [deep(16)], { inputShape: [3], seed: 4 });
    using back = await loadModel(engine, await saveModel(model));
    expect(await saveModel(back)).toEqual(await saveModel(model));
    using deeper = await Sequential.create(engine, [deep(17)], { inputShape: [3], seed: 4 });
    await expect(saveModel(deeper)).rejects.toThrow("chains are nested deeper than 16");
  });

  it("are refused where they are cut short or contradict themselves", async () => {
    using model = await create();
    const bytes = await saveModel(model);
    const { tensors, metadata } = readSafetensors(bytes);
    const description = JSON.parse(metadata.tenfold!);
    const refused = async (file: Uint8Array): Promise<string> => {
      try {
        (await loadModel(await testEngine(), file, "net.safetensors")).destroy();
      } catch (error) {
        expect(error).toBeInstanceOf(FormatError);
        return (error as Error).message;
      }
      return "nothing";
    };
    /** the message about a file whose description is changed */
    const refusedWith = (
      change: (description: { inputShape: unknown; layers: Record<string, unknown>[] }) => void,
    ): Promise<string> => {
      const changed = structuredClone(description);
      change(changed);
      return refused(writeSafetensors(tensors, { tenfold: JSON.stringify(changed) }));
    };
    for (const length of [0, 7, 100, bytes.length - 1])
      expect(await refused(bytes.slice(0, length))).toContain("net.safetensors");
    expect(await refused(writeSafetensors(tensors))).toContain("no layers");
    expect(await refused(writeSafetensors(tensors, { tenfold: "{" }))).toContain("no JSON");
    expect(await refusedWith((s) => (s.inputShape = [0]))).toContain("inputShape is [0]");
    expect(await refusedWith((s) => (s.inputShape = [7]))).toContain("layer 1");
    expect(await refusedWith((s) => (s.layers[0]!.kind = "spline"))).toContain('layer 0: its kind is "spline"');
    expect(await refusedWith((s) => (s.layers[6]!.outputs = 2.5))).toContain("layer 6: (linear) outputs is 2.5");
    expect(await refusedWith((s) => (s.layers[6]!.outputs = 4))).toContain(
      "tensor 6.weight is 3×5, the layers need 4×5",
    );
    expect(await refusedWith((s) => (s.layers[6]!.bias = true))).toContain("no tensor 6.bias");
    expect(await refusedWith((s) => (s.layers[1]!.layers = []))).toContain("1.0.weight belongs to no layer");
    expect(await refusedWith((s) => (s.layers[4]!.ranks = [2, 2]))).toContain("net.safetensors: layer 4");
    expect(await refusedWith((s) => (s.layers[5]!.rate = 1))).toContain("rate is 1");
    // at a depth of 20,000, recursion without a limit would overflow the stack
    const nested = (depth: number, open: string, close: string) =>
      `{"inputShape":[2,3],"layers":[${open.repeat(depth)}${close.repeat(depth)}]}`;
    for (const depth of [18, 20_000]) {
      const text = nested(depth, '{"kind":"chain","name":"a","layers":[', "]}");
      expect(await refused(writeSafetensors(tensors, { tenfold: text }))).toContain("nested deeper than 16");
    }
    for (const [name, problem] of [
      ["inputs", "layer 0: (linear) inputs is nested too deeply"],
      ["kind", "layer 0: its kind is nested too deeply"],
    ]) {
      const list = nested(20_000, "[", "]").replace("[[", `[{"kind":"linear","${name}":[`).replace("]}", "}]}");
      expect(await refused(writeSafetensors(tensors, { tenfold: list }))).toContain(problem);
    }
    const holed = new Map(tensors);
    holed.set("6.weight", { shape: [3, 5], data: new Float32Array(15).fill(Number.NaN) });
    expect(await refused(writeSafetensors(holed, metadata))).toContain("6.weight holds NaN at 0");
  });
});

it("keeps convolutions and pooling", async () => {
  const layers = [
    new Conv2d({
      inputs: 2,
      outputs: 4,
      kernel: [3, 2],
      padding: [1, 0],
      stride: [1, 2],
      groups: 2,
      activation: "relu",
    }),
    new BatchNorm(4, { momentum: 0.2 }),
    new MaxPool2d(2, { stride: 1 }),
    new AveragePool2d([2, 1]),
    new Flatten(),
  ];
  using model = await Sequential.create(await testEngine(), layers, { inputShape: [2, 5, 8], seed: 2 });
  using back = await loadModel(await testEngine(), await saveModel(model));
  expect(await saveModel(back)).toEqual(await saveModel(model));
  expect(back.shapes()).toEqual(model.shapes());
  expect(back.counts()).toEqual(model.counts());
});

it("keeps every factorised layer", async () => {
  const shape = { inputs: 3, outputs: 4, kernel: 3, padding: 1 };
  const layers = [
    new SpatialConv({ ...shape, rank: 2, activation: "relu" }),
    new SeparableBasisConv({ ...shape, inputs: 4, rank: 2, bias: false }),
    new CpConv({ ...shape, inputs: 4, rank: 3, stride: [2, 1] }),
    new Tucker2Conv({ ...shape, inputs: 4, ranks: [2, 3] }),
    new BlockTermConv({ ...shape, inputs: 4, blocks: 2, ranks: [1, 2] }),
    new TensorRingConv({ ...shape, inputs: 4, inputModes: [2, 2], outputModes: [4], ranks: [1, 2, 2, 3] }),
    new Flatten(),
    new TensorRingLinear({ inputModes: [6, 8], outputModes: [2, 3], ranks: 2 }),
    new TuckerLinear({ inputModes: [2, 3], outputModes: [2, 2], ranks: [1, 2, 2, 1] }),
  ];
  const engine = await testEngine();
  using model = await Sequential.create(engine, layers, { inputShape: [3, 6, 4], seed: 2 });
  using back = await loadModel(engine, await saveModel(model));
  expect(await saveModel(back)).toEqual(await saveModel(model));
  expect(back.counts()).toEqual(model.counts());
  using clone = await Sequential.create(engine, await Promise.all(model.layers.map(cloneLayer)), {
    inputShape: [3, 6, 4],
    seed: 9,
  });
  expect(await saveModel(clone)).toEqual(await saveModel(model));
});

it("keeps convolutions of volumes; their Tucker-2 is exact at full ranks, and nearer at larger ranks", async () => {
  const engine = await testEngine();
  const options = { inputs: 4, outputs: 6, kernel: [2, 3, 1], padding: [1, 0, 0], stride: [1, 2, 1] } as const;
  const layer = new Conv3d({ ...options, activation: "relu" });
  const inputShape = [4, 3, 7, 2];
  using dense = await Sequential.create(engine, [layer], { inputShape, seed: 5 });
  const weight = await layer.weight.read();
  const error = (kernel: Float32Array): number => {
    const norm = (values: Float32Array) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
    return norm(weight.map((value, at) => value - kernel[at]!)) / norm(weight);
  };
  const values = Float32Array.from({ length: 3 * 168 }, (_, at) => Math.sin(3 * at));
  using x = engine.tensor([3, ...inputShape], values);
  const run = async (model: Sequential): Promise<Float32Array> => {
    using out = engine.tensor([3, ...model.outputShape]);
    await engine.run((s) => {
      copy(s, model.forward(s, x), { out });
    });
    return (await out.read()) as Float32Array;
  };
  const expected = await run(dense);
  const errors: number[] = [];
  for (const ranks of [
    [4, 6],
    [3, 4],
    [1, 1],
  ] as const) {
    const small = await tucker2Conv3d(engine, layer, { ranks });
    errors.push(error(await small.toDense()));
    using net = await Sequential.create(engine, [small], { inputShape });
    const outputs = await run(net);
    // the chain gives the outputs of a convolution with its dense kernel
    using reconstructed = await Sequential.create(
      engine,
      [new Conv3d({ ...options, activation: "relu", weight: await small.toDense(), bias: await layer.bias!.read() })],
      { inputShape },
    );
    (await run(reconstructed)).forEach((value, at) => {
      expect(Math.abs(value - outputs[at]!)).toBeLessThan(1e-5);
    });
    const { weights } = small.counts(inputShape);
    expect(weights).toBe(4 * ranks[0] + 6 * ranks[0] * ranks[1] + 6 * ranks[1]);
    using back = await loadModel(engine, await saveModel(net));
    expect(await run(back)).toEqual(outputs);
    if (ranks[0] === 4)
      outputs.forEach((value, at) => {
        expect(Math.abs(value - expected[at]!)).toBeLessThan(1e-5);
      });
  }
  expect(errors[0]).toBeLessThan(1e-5);
  expect(errors[1]).toBeLessThan(errors[2]!);
  await expect(tucker2Conv3d(engine, layer, { ranks: [5, 6] })).rejects.toThrow("ranks 5, 6");
});

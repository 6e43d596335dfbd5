/** Layers, fits, optimisers and training refuse unknown options and unfit values, and name them. */
import { describe, expect, it } from "vitest";
import { TenfoldError } from "../../src/gpu/index.js";
import * as nn from "../../src/nn/index.js";
import { testEngine } from "../engine.js";
import { checkGradients } from "./gradients.js";

const engine = await testEngine();
const {
  adam,
  AveragePool2d,
  BatchNorm,
  BlockTermConv,
  Conv2d,
  Conv3d,
  CpConv,
  Dropout,
  Flatten,
  Linear,
  MaxPool2d,
  SeparableBasisConv,
  Sequential,
  SpatialConv,
  SvdLinear,
  sgd,
  TensorRingConv,
  TensorRingLinear,
  TensorTrainLinear,
  train,
  Tucker2Conv,
  Tucker2Conv3d,
  TuckerLinear,
} = nn;

/** The message that a call throws or rejects with. The error must be a TenfoldError. */
async function refusal(call: () => unknown): Promise<string> {
  try {
    await call();
  } catch (error) {
    expect(error).toBeInstanceOf(TenfoldError);
    return (error as Error).message;
  }
  return "nothing was refused";
}

type Options = Record<string, unknown>;
type Maker = (options: Options) => unknown;
// biome-ignore lint/suspicious/noExplicitAny: calls that types forbid
const any = (value: unknown): any => value;

const square = { inputs: 4, outputs: 6, kernel: 3 };
const split = { inputModes: [2, 2], outputModes: [2, 3] };
const dense = new Linear(4, 6, { bias: false, weight: new Float32Array(24).fill(1) });
const convolution = new Conv2d({ ...square, weight: new Float32Array(216).fill(1) });
const volume = new Conv3d({ ...square, weight: new Float32Array(648).fill(1) });

/** Everything that takes options: its name, a call with given options, and valid options. */
const calls: [name: string, make: Maker, valid: Options][] = [
  ["Linear", (options) => new Linear(4, 6, any(options)), { bias: false, activation: "relu", start: "he" }],
  ["LayerNorm", (options) => new nn.LayerNorm(4, any(options)), { epsilon: 1e-3, bias: false }],
  ["Affine", (options) => new nn.Affine(any(options)), { shape: [4, 1], bias: false, fixed: true }],
  ["Softmax", (options) => new nn.Softmax(any(options)), { axis: 1 }],
  ["Slice", (options) => new nn.Slice(any(options)), { axis: 1, start: 0, end: 2 }],
  ["Conv2d", (options) => new Conv2d(any(options)), { ...square, stride: [1, 2], padding: "same", groups: 2 }],
  ["Conv3d", (options) => new Conv3d(any(options)), { ...square, padding: "same", start: { deviation: 1 } }],
  ["MaxPool2d", (options) => new MaxPool2d(2, any(options)), { stride: [1, 2], padding: 1 }],
  ["AveragePool2d", (options) => new AveragePool2d([2, 3], any(options)), { padding: "same" }],
  ["BatchNorm", (options) => new BatchNorm(3, any(options)), { momentum: 1, epsilon: 0 }],
  ["SpatialConv", (options) => new SpatialConv(any(options)), { ...square, rank: 2, padding: "same" }],
  ["SeparableBasisConv", (options) => new SeparableBasisConv(any(options)), { ...square, rank: 2, dilation: 2 }],
  ["CpConv", (options) => new CpConv(any(options)), { ...square, rank: 2, bias: false }],
  ["Tucker2Conv", (options) => new Tucker2Conv(any(options)), { ...square, ranks: [2, 3] }],
  ["BlockTermConv", (options) => new BlockTermConv(any(options)), { ...square, blocks: 2, ranks: [1, 2] }],
  ["TensorRingConv", (options) => new TensorRingConv(any(options)), { ...square, ...split, ranks: 2 }],
  ["Tucker2Conv3d", (options) => new Tucker2Conv3d(any(options)), { ...square, ranks: [2, 3], start: "he" }],
  ["SvdLinear", (options) => new SvdLinear(any(options)), { inputs: 4, outputs: 6, rank: 2 }],
  ["TensorTrainLinear", (options) => new TensorTrainLinear(any(options)), { ...split, ranks: [2], contraction: [2] }],
  ["TensorRingLinear", (options) => new TensorRingLinear(any(options)), { ...split, ranks: 2 }],
  ["TuckerLinear", (options) => new TuckerLinear(any(options)), { ...split, ranks: [1, 2, 2, 3] }],
  ["adam", (options) => adam(any(options)), { rate: 0, beta1: 0.5, weightDecay: 0.1, decoupled: true }],
  ["sgd", (options) => sgd(any(options)), { rate: 0.1, momentum: 0.9, nesterov: true }],
  [
    "Sequential.create",
    async (options) => (await Sequential.create(engine, [new Flatten()], any(options))).destroy(),
    { inputShape: [2, 3], seed: 3 },
  ],
];
/** Fits. They are called with invalid options only, so none of them computes anything. */
const fits: [name: string, make: Maker][] = [
  ["svdLinear", (options) => nn.svdLinear(engine, dense, any(options))],
  ["ttLinear", (options) => nn.ttLinear(engine, dense, any(options))],
  ["tensorRingLinear", (options) => nn.tensorRingLinear(engine, dense, any(options))],
  ["tuckerLinear", (options) => nn.tuckerLinear(engine, dense, any(options))],
  ["spatialConv", (options) => nn.spatialConv(engine, convolution, any(options))],
  ["separableBasisConv", (options) => nn.separableBasisConv(engine, convolution, any(options))],
  ["cpConv", (options) => nn.cpConv(engine, convolution, any(options))],
  ["tucker2Conv", (options) => nn.tucker2Conv(engine, convolution, any(options))],
  ["blockTermConv", (options) => nn.blockTermConv(engine, convolution, any(options))],
  ["tensorRingConv", (options) => nn.tensorRingConv(engine, convolution, any(options))],
  ["tucker2Conv3d", (options) => nn.tucker2Conv3d(engine, volume, any(options))],
];

describe.each(calls)("%s", (name, make, valid) => {
  it("takes valid options", async () => {
    await make(valid);
  });

  it("refuses unknown options and unfit values by name", async () => {
    expect(await refusal(() => make({ ...valid, magic: 1 }))).toContain(`${name}: unknown option "magic"; it has `);
    expect(await refusal(() => make(any(null)))).toContain(`${name}: options are null, needs an object`);
    for (const option of Object.keys(valid))
      expect(await refusal(() => make({ ...valid, [option]: Symbol("x") }))).toMatch(
        new RegExp(`^${name}: ${option} is Symbol\\(x\\), needs `),
      );
  });
});

it.each(fits)("%s refuses options by name", async (name, make) => {
  expect(await refusal(() => make({ magic: 1 }))).toContain(`${name}: unknown option "magic"; it has `);
  expect(await refusal(() => make(any(undefined)))).toContain(`${name}: options are undefined, needs an object`);
  expect(await refusal(() => make({ seed: -1 }))).toContain(`${name}: seed is -1, needs a whole number`);
});

it.each<[call: () => unknown, message: string]>([
  [() => new Linear(Number.NaN, 3), "Linear: inputs is NaN, needs a whole number, 1 or more"],
  [() => new Linear(3, any("4")), 'Linear: outputs is "4", needs a whole number'],
  [
    () => new Linear(3, 4, any({ activation: "swish" })),
    'Linear: activation is "swish", needs one of "none", "relu", "leakyRelu", "sigmoid", "tanh", "silu", "gelu", "geluTanh", "hardSwish"',
  ],
  [() => new Linear(3, 4, { weight: any([1, 2]) }), "Linear: weight is [1, 2], needs a Float32Array of start values"],
  [
    () => new Linear(3, 4, { bias: any(1) }),
    "Linear: bias is 1, needs true, false, or its start values in a Float32Array",
  ],
  [() => new Linear(3, 4, { start: any({ mean: 1 }) }), 'needs "uniform", "he" or { deviation, biasBound }'],
  [() => new Linear(3, 4, { start: any({ biasBound: 1 }) }), 'needs "uniform", "he" or { deviation, biasBound }'],
  [
    () => new Tucker2Conv3d({ ...square, ranks: [2, 3], start: any({ deviation: 1 }) }),
    'Tucker2Conv3d: start is an object (Object), needs one of "uniform", "he"',
  ],
  [() => new nn.Transpose([0, 2]), "Transpose: axes is [0, 2], needs each mode of a sample once, from 0"],
  [() => new nn.Slice({ start: 2, end: 2 }), "Slice 2 to 2 of mode 0: is empty, needs start below end"],
  [
    () => new nn.Affine({ shape: [3], weight: false, bias: false }),
    "Affine: weight and bias are false, needs one of them at least",
  ],
  [() => new nn.Reshape([2, 3]).outputShape([5]), "Reshape to 2×3: samples of shape 5 have 5 elements"],
  [() => new nn.Softmax({ axis: 1 }).outputShape([5]), "Softmax: samples of shape 5 have no mode 1"],
  [() => new nn.LayerNorm(4).outputShape([4, 5]), "LayerNorm 4: samples of shape 4×5, expected …×4"],
  [
    () =>
      new nn.MatMul().outputShape([
        [2, 3],
        [4, 3],
      ]),
    "samples of shapes 2×3 and 4×3, needs …×rows×inner and …×inner",
  ],
  [
    () => new Conv2d(any({ inputs: 1, outputs: 2 })),
    'Conv2d: option "kernel" is missing, needs a whole number, 1 or more',
  ],
  [
    () => new Conv2d({ ...square, padding: any("valid") }),
    'Conv2d: padding is "valid", needs a whole number, 0 or more, or',
  ],
  [() => new Conv2d({ ...square, padding: Number.NaN }), "Conv2d: padding is NaN, needs"],
  [() => new Conv2d({ ...square, padding: any([1, "same"]) }), 'Conv2d: padding is [1, "same"], needs'],
  [
    () => new Conv2d({ ...square, kernel: any([3, 3, 3]) }),
    "Conv2d: kernel is [3, 3, 3], needs a whole number, 1 or more",
  ],
  [() => new Conv2d({ ...square, stride: 0 }), "Conv2d: stride is 0, needs a whole number, 1 or more"],
  [() => new MaxPool2d(any(undefined)), "MaxPool2d: kernel is undefined, needs a whole number, 1 or more"],
  [() => new AveragePool2d(0), "AveragePool2d: kernel is 0, needs a whole number, 1 or more"],
  [() => new MaxPool2d(2, any(2)), "MaxPool2d: options are 2, needs an object; it has stride, padding"],
  [() => new BatchNorm(0), "BatchNorm: channels is 0, needs a whole number, 1 or more"],
  [() => new BatchNorm(3, { momentum: 1.5 }), "BatchNorm: momentum is 1.5, needs a number from 0 to 1"],
  [() => new Dropout(Number.NaN), "Dropout: rate NaN, needs 0 ≤ rate < 1"],
  [
    () => new TensorTrainLinear({ ...split, ranks: 2, contraction: any("best") }),
    'contraction is "best", needs "auto"',
  ],
  [() => new TuckerLinear({ ...split, ranks: any(2) }), "TuckerLinear: ranks is 2, needs a list of whole numbers"],
  [() => adam({ rate: -1 }), "adam: rate is -1, needs a number, 0 or more"],
  [() => adam({ beta2: 1 }), "adam: beta2 is 1, needs a number from 0 to below 1"],
  [
    () => adam(any({ lr: 0.1 })),
    'adam: unknown option "lr"; it has rate, beta1, beta2, epsilon, weightDecay, decoupled',
  ],
  [() => sgd(any({})), 'sgd: option "rate" is missing, needs a number, 0 or more'],
  [() => sgd({ rate: 0.1, nesterov: true }), "sgd: nesterov is true, needs a momentum above 0"],
  [() => Sequential.create(any(undefined), [], any({})), "Sequential.create: engine is undefined, needs an Engine"],
  [
    () => Sequential.create(engine, any(dense), any({})),
    "Sequential.create: layers are an object (Linear), needs a list",
  ],
  [
    () => Sequential.create(engine, [dense, any(Linear)], any({})),
    "layers[1] is a function (Linear), needs a layer; new Linear",
  ],
  [() => Sequential.create(engine, [any(null)], any({})), "Sequential.create: layers[0] is null, needs a layer"],
  [
    () => Sequential.create(engine, [new Flatten()], { inputShape: [2, Number.NaN] }),
    "inputShape is [2, NaN], needs a list",
  ],
  [
    () => nn.svdLinear(any(dense), any(engine), { rank: 2 }),
    "svdLinear: engine is an object (Linear), needs an Engine",
  ],
  [
    () => nn.svdLinear(engine, any(convolution.weight), { rank: 2 }),
    "dense weights: given an object (Parameter), needs a",
  ],
  [
    () => nn.spatialConv(engine, any(dense.weight), { rank: 2 }),
    "convolution weights: given an object (Parameter), needs",
  ],
  [() => nn.saveModel(any([dense])), "saveModel: the model is [an object (Linear)], needs a Sequential"],
  [
    () => nn.loadModel(engine, any("model.safetensors")),
    'loadModel: the second argument is "model.safetensors", needs the bytes of a file as a Uint8Array',
  ],
  [() => nn.evaluate(any(undefined), any({})), "evaluate: the model is undefined, needs a Sequential"],
])("%s", async (call, message) => {
  expect(await refusal(call)).toContain(message);
});

it("training refuses unknown options and unfit values", async () => {
  using model = await Sequential.create(engine, [new Linear(2, 3)], { inputShape: [2] });
  using inputs = engine.tensor([4, 2]);
  using labels = engine.tensor([4], new Uint32Array(4));
  const data = { inputs, labels };
  const valid = { epochs: 1, optimiser: adam() };
  for (const [options, message] of [
    [{ ...valid, epoch: 3 }, 'train: unknown option "epoch"; it has epochs, batchSize, optimiser, loss'],
    [{ ...valid, epochs: Number.NaN }, "train: epochs is NaN, needs a whole number, 0 or more"],
    [{ ...valid, epochs: 1.5 }, "train: epochs is 1.5"],
    [{ ...valid, batchSize: 0 }, "train: batchSize is 0, needs a whole number, 1 or more"],
    [
      { ...valid, loss: "mse" },
      'train: loss is "mse", needs a loss: crossEntropy(), meanSquaredError() or distillation()',
    ],
    [{ ...valid, optimiser: adam }, "train: optimiser is a function (adam), needs an optimiser: adam() or sgd("],
    [{ ...valid, steps: "fast" }, 'train: steps is "fast", needs one of "auto", "layered", "fused"'],
    [{ ...valid, seed: -1 }, "train: seed is -1"],
    [{ ...valid, submitMs: Number.NaN }, "train: submitMs is NaN, needs a number of milliseconds"],
    [{ ...valid, submitWork: 0 }, "train: submitWork is 0, needs a number of multiplications above 0"],
    [{ ...valid, signal: new AbortController() }, "train: signal is an object (AbortController), needs an AbortSignal"],
    [
      { ...valid, validation: [inputs, labels] },
      "train (validation): the dataset is inputs undefined, labels undefined",
    ],
    [{ epochs: 1 }, 'train: option "optimiser" is missing'],
    [undefined, "train: options are undefined, needs an object with epochs, optimiser"],
  ] as [unknown, string][])
    expect(await refusal(() => train(model, data, any(options)))).toContain(message);
  expect(await refusal(() => train(any([]), data, valid))).toContain("train: the model is [], needs a Sequential");
  expect(await refusal(() => train(model, any(inputs), valid))).toContain("needs { inputs, labels }, two Tensors");
  expect(await refusal(() => train(model, any(undefined), valid))).toContain("train: the dataset is undefined, needs");
});

describe('padding "same"', () => {
  it.each([
    ["odd", new Conv2d({ inputs: 2, outputs: 3, kernel: 3, padding: "same" }), [3, 5, 6]],
    [
      "even, strides, dilation",
      new Conv2d({ ...square, inputs: 2, kernel: [2, 3], stride: 2, dilation: [3, 1], padding: "same" }),
      [6, 3, 3],
    ],
    ["pooling", new AveragePool2d([2, 3], { padding: "same" }), [2, 3, 2]],
    [
      "spatial, strides",
      new SpatialConv({ ...square, inputs: 2, rank: 2, kernel: [4, 3], stride: [1, 2], padding: "same" }),
      [6, 5, 3],
    ],
    ["Tucker-2, even", new Tucker2Conv({ ...square, inputs: 2, kernel: 2, ranks: [1, 3], padding: "same" }), [6, 5, 6]],
    [
      "tensor ring",
      new TensorRingConv({
        inputs: 2,
        outputs: 3,
        kernel: 2,
        inputModes: [2],
        outputModes: [3],
        ranks: 2,
        padding: "same",
      }),
      [3, 5, 6],
    ],
  ] as [string, nn.Layer, number[]][])("%s: ⌈extent ÷ stride⌉, with right gradients", async (_, layer, shape) => {
    expect(layer.outputShape([2, 5, 6])).toEqual(shape);
    await checkGradients(engine, layer, [2, 5, 6], { batch: 2 });
  });

  it("of volumes", async () => {
    const layer = new Conv3d({ inputs: 1, outputs: 2, kernel: [2, 3, 2], stride: [1, 2, 1], padding: "same" });
    expect(layer.outputShape([1, 3, 4, 2])).toEqual([2, 3, 2, 2]);
    await checkGradients(engine, layer, [1, 3, 4, 2], { batch: 2 });
  });

  it("is saved, loaded and copied", async () => {
    const layers = [
      new Conv2d({ inputs: 2, outputs: 3, kernel: 2, padding: "same" }),
      new MaxPool2d(2, { padding: "same" }),
      new SpatialConv({ inputs: 3, outputs: 2, kernel: 3, rank: 2, padding: "same" }),
    ];
    using model = await Sequential.create(engine, layers, { inputShape: [2, 5, 5] });
    using loaded = await nn.loadModel(engine, await nn.saveModel(model));
    expect(loaded.shapes()).toEqual([
      [2, 5, 5],
      [3, 5, 5],
      [3, 3, 3],
      [2, 3, 3],
    ]);
    expect((loaded.layers[0] as nn.Conv2d).padding).toBe("same");
    expect((loaded.layers[2] as nn.SpatialConv).shape.padding).toBe("same");
  });
});

describe("shapes are whole numbers", () => {
  it.each<[layers: nn.Layer[], inputShape: number[], message: string]>([
    [
      [new Conv2d({ inputs: 1, outputs: 2, kernel: 5, dilation: 2 })],
      [1, 8, 8],
      "layer 0: Conv2d 1→2, 5×5: samples of shape 1×8×8 with padding 0×0 are smaller than the kernel's reach, 9×9; take a smaller",
    ],
    [[new MaxPool2d(9)], [1, 8, 8], "layer 0: MaxPool2d 9×9: 1×8×8, window 9×9: the window is larger than the plane"],
    [
      [new Conv3d({ inputs: 1, outputs: 2, kernel: 3 })],
      [1, 2, 8, 8],
      "layer 0: Conv3d 1→2, 3×3×3: 1×1×2×8×8 by 2×1×3×3×3",
    ],
  ])("%#", async (layers, inputShape, message) => {
    expect(await refusal(() => Sequential.create(engine, layers, { inputShape }))).toContain(message);
  });

  it("of layers that users write, too", async () => {
    const half: nn.Layer = {
      name: "Half",
      parameters: [],
      outputShape: ([n]) => [n! / 2],
      forward: (_, x) => x,
      backward: (_, dy) => dy,
      counts: () => ({ weights: 0, biases: 0, multiplications: 0 }),
    };
    expect(await refusal(() => Sequential.create(engine, [half, half], { inputShape: [6] }))).toContain(
      "layer 1: Half: samples of shape 3 would become 1.5, every extent must be a positive whole number; change the options",
    );
  });
});

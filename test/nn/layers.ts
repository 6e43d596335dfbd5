/** Every layer, for the tests that all layers pass (layers.test.ts): a new layer is a row here. */
import {
  Activate,
  Affine,
  AveragePool2d,
  BatchNorm,
  BlockTermConv,
  Chain,
  ConcatConstant,
  Conv1d,
  Conv2d,
  Conv3d,
  ConvTranspose2d,
  CpConv,
  Dropout,
  Flatten,
  GlobalAveragePool,
  GroupedConv,
  type Layer,
  LayerNorm,
  Linear,
  MaxPool2d,
  ReLU,
  Reshape,
  Resize,
  Rowwise,
  SeparableBasisConv,
  Slice,
  Softmax,
  SpatialConv,
  SvdLinear,
  TensorRingConv,
  TensorRingLinear,
  TensorTrainLinear,
  Transpose,
  Tucker2Conv,
  Tucker2Conv3d,
  TuckerLinear,
  Upsample2d,
} from "../../src/nn/index.js";

interface Network {
  name: string;
  layers: () => Layer[];
  /** of a sample; the outputs are classes */
  shape: number[];
  /** whether it is trained with a double softmax */
  double?: boolean;
}

/** Small classifiers, which have every plain layer between them. */
export const NETWORKS: readonly Network[] = [
  { name: "linear", layers: () => [new Linear(5, 3)], shape: [5] },
  { name: "linear without bias", layers: () => [new Linear(5, 3, { bias: false })], shape: [5] },
  { name: "relu inside", layers: () => [new Linear(4, 7, { activation: "relu" }), new Linear(7, 3)], shape: [4] },
  {
    name: "a chain",
    layers: () => [new Chain("hidden", [new Linear(4, 6, { activation: "relu" }), new Linear(6, 5)]), new Linear(5, 3)],
    shape: [4],
  },
  { name: "relu apart", layers: () => [new Linear(4, 7), new ReLU(), new Linear(7, 4, { bias: false })], shape: [4] },
  { name: "flatten", layers: () => [new Flatten(), new Linear(6, 3)], shape: [2, 3] },
  {
    name: "dropout",
    layers: () => [new Linear(4, 9, { activation: "relu" }), new Dropout(0.4), new Linear(9, 3)],
    shape: [4],
  },
  {
    name: "convolutions and pooling",
    layers: () => [
      new Conv2d({ inputs: 2, outputs: 4, kernel: 3, padding: 1, activation: "relu" }),
      new MaxPool2d(2),
      new Conv2d({
        inputs: 4,
        outputs: 6,
        kernel: [2, 3],
        stride: [2, 1],
        dilation: [1, 2],
        padding: [1, 2],
        groups: 2,
      }),
      new AveragePool2d(2),
      new Flatten(),
      new Linear(6, 3),
    ],
    shape: [2, 6, 5],
  },
  {
    name: "convolution of volumes",
    layers: () => [
      new Conv3d({ inputs: 2, outputs: 3, kernel: [2, 1, 3], padding: [1, 0, 1], activation: "relu" }),
      new Conv3d({ inputs: 3, outputs: 2, kernel: 2, stride: [2, 1, 2], dilation: [1, 1, 2], bias: false }),
      new Flatten(),
      new Linear(8, 3),
    ],
    shape: [2, 3, 2, 5],
  },
  {
    name: "activations",
    layers: () => [
      new Linear(4, 6, { activation: "gelu" }),
      new Linear(6, 5, { activation: "sigmoid" }),
      new Activate("leakyRelu", { slope: 0.3 }),
      new TensorTrainLinear({ inputModes: [5], outputModes: [4], ranks: 1, activation: "silu" }),
      new TuckerLinear({ inputModes: [2, 2], outputModes: [5], ranks: [2, 2, 3], activation: "geluTanh" }),
      new Activate("hardSwish"),
      new Linear(5, 4, { activation: "tanh" }),
      new Linear(4, 3),
    ],
    shape: [4],
  },
  {
    name: "transposed convolution",
    layers: () => [
      new ConvTranspose2d({
        inputs: 2,
        outputs: 4,
        kernel: [3, 2],
        stride: [2, 1],
        padding: [[1, 0], 1],
        groups: 2,
        outputPadding: [1, 0],
        dilation: [1, 2],
        activation: "silu",
      }),
      new Conv2d({
        inputs: 4,
        outputs: 3,
        kernel: 3,
        stride: 2,
        padding: [
          [0, 1],
          [2, 0],
        ],
        activation: "gelu",
      }),
      new GlobalAveragePool(),
      new Flatten(),
      new Linear(3, 3, { start: { deviation: 2 } }),
    ],
    shape: [2, 3, 4],
  },
  {
    name: "interpolated images, and constants beside them",
    layers: () => [
      new Conv2d({ inputs: 2, outputs: 2, kernel: 2 }),
      new Resize({ from: [2, 3], to: [3, 5] }),
      new ConcatConstant({ shape: [1, 3, 5], values: Float32Array.from({ length: 15 }, (_, at) => Math.sin(at)) }),
      new Resize({ from: [5], to: [3], interpolation: "cubic", coordinates: "alignCorners" }),
      new ConcatConstant({ shape: [3, 3, 2], axis: 2, behind: true, values: new Float32Array(18).fill(0.5) }),
      new ConcatConstant({ shape: [3, 1, 5], axis: 1, values: new Float32Array(15).fill(-0.3), fixed: true }),
      new Flatten(),
      new Linear(60, 3, { start: { deviation: 0.5 } }),
    ],
    shape: [2, 3, 4],
  },
  {
    name: "signals",
    layers: () => [
      new Conv1d({ inputs: 2, outputs: 4, kernel: 3, stride: 2, padding: [2, 1], activation: "hardSwish" }),
      new Conv1d({ inputs: 4, outputs: 6, kernel: 2, dilation: 2, groups: 2, padding: "same", activation: "tanh" }),
      new GlobalAveragePool(),
      new Flatten(),
      new Linear(6, 3, { bias: false }),
    ],
    shape: [2, 9],
  },
  {
    name: "batch normalisation",
    layers: () => [
      new Conv2d({ inputs: 1, outputs: 3, kernel: 2 }),
      new BatchNorm(3),
      new Flatten(),
      new Linear(27, 3),
    ],
    shape: [1, 4, 4],
  },
  {
    name: "tokens",
    layers: () => [
      new Rowwise([new Linear(4, 6, { activation: "gelu" }), new Linear(6, 6)]),
      new Affine({ shape: [5, 6], weight: false, bias: Float32Array.from({ length: 30 }, (_, k) => Math.sin(k)) }),
      new LayerNorm(6),
      new Reshape([5, 2, 3]),
      new Transpose([1, 0, 2]),
      new Affine({ shape: [2, 1, 1], bias: false }),
      new Affine({ shape: [1], weight: Float32Array.of(2), bias: Float32Array.of(-0.5), fixed: true }),
      new Softmax(),
      new Slice({ axis: 1, start: 1, end: 4 }),
      new LayerNorm([3, 3], { bias: false, epsilon: 1e-3 }),
      new Flatten(),
      new Linear(18, 3, { start: { deviation: 1 } }),
    ],
    shape: [5, 4],
  },
  {
    name: "a softmax of channels, and larger pixels",
    layers: () => [
      new Conv2d({ inputs: 2, outputs: 3, kernel: 2 }),
      new Softmax({ axis: 0 }),
      new Upsample2d([2, 3]),
      new Conv2d({ inputs: 3, outputs: 2, kernel: 3, stride: 2 }),
      new Flatten(),
      new Linear(8, 3, { start: { deviation: 1 } }),
    ],
    shape: [2, 3, 4],
  },
  {
    name: "double softmax",
    layers: () => [new Linear(4, 5, { activation: "relu" }), new Linear(5, 3)],
    shape: [4],
    double: true,
  },
];

interface Factorised {
  name: string;
  make: () => Layer & { toDense(): Promise<Float32Array> };
  /** of a sample */
  shape: number[];
  /** how many samples the gradient is taken of, and about how many numbers of each parameter are moved */
  differences?: { batch: number; most: number };
}

const image = { inputs: 2, outputs: 3, kernel: [3, 2], stride: [2, 1], padding: [1, 0], dilation: [1, 2] } as const;
const ofImages = { shape: [2, 6, 5], differences: { batch: 2, most: 3 } };

/** Factorised layers without relu: each output is linear in each of the layer's numbers. */
export const FACTORISED: readonly Factorised[] = [
  {
    name: "svd",
    shape: [12],
    make: () => new SvdLinear({ inputs: 12, outputs: 9, rank: 3 }),
  },
  ...(["modes", "dense", "auto", [1, 2], [2, 1]] as const).flatMap((contraction) => [
    {
      name: `tt ${contraction}`,
      shape: [60],
      make: () =>
        new TensorTrainLinear({
          inputModes: [3, 4, 5],
          outputModes: [2, 3, 4],
          ranks: 3,
          contraction,
        }),
    },
    {
      name: `tt from the right, ${contraction}`,
      shape: [24],
      make: () =>
        new TensorTrainLinear({
          inputModes: [2, 3, 4],
          outputModes: [5, 4, 3],
          ranks: [2, 3],
          contraction,
        }),
    },
  ]),
  {
    name: "tensor ring",
    shape: [12],
    make: () =>
      new TensorRingLinear({
        inputModes: [3, 4],
        outputModes: [2, 5, 2],
        ranks: [2, 3, 2, 3, 2],
      }),
  },
  {
    name: "tensor ring of two cores",
    shape: [7],
    make: () => new TensorRingLinear({ inputModes: [7], outputModes: [6], ranks: [2, 3] }),
  },
  {
    name: "tucker",
    shape: [36],
    make: () =>
      new TuckerLinear({
        inputModes: [4, 3, 3],
        outputModes: [5, 4],
        ranks: [2, 3, 2, 3, 2],
      }),
  },
  {
    name: "tucker of two modes",
    shape: [9],
    make: () => new TuckerLinear({ inputModes: [9], outputModes: [8], ranks: [3, 3] }),
  },
  {
    name: "tucker, core only",
    shape: [6],
    make: () => new TuckerLinear({ inputModes: [6], outputModes: [4], ranks: [6, 4] }),
  },
  {
    name: "tt of one core",
    shape: [6],
    make: () => new TensorTrainLinear({ inputModes: [6], outputModes: [4], ranks: 3, contraction: "dense" }),
  },

  { name: "Jaderberg 2", make: () => new SpatialConv({ ...image, rank: 4 }), ...ofImages },
  { name: "Jaderberg 1", make: () => new SeparableBasisConv({ ...image, rank: 2 }), ...ofImages },
  { name: "CP", make: () => new CpConv({ ...image, rank: 5 }), ...ofImages },
  { name: "Tucker-2", make: () => new Tucker2Conv({ ...image, ranks: [2, 3] }), ...ofImages },
  { name: "BTD", make: () => new BlockTermConv({ ...image, blocks: 2, ranks: [2, 3] }), ...ofImages },
  {
    name: "groups",
    make: () =>
      new GroupedConv("2 groups", 2, [
        new Conv2d({ inputs: 4, outputs: 6, kernel: [3, 1], stride: [2, 1], padding: [1, 0], groups: 2, bias: false }),
        new Conv2d({ inputs: 6, outputs: 4, kernel: [1, 2], groups: 2 }),
      ]),
    shape: [4, 5, 4],
    differences: { batch: 2, most: 3 },
  },
  {
    name: "Tucker-2 of volumes",
    make: () =>
      new Tucker2Conv3d({
        ...{ inputs: 3, outputs: 4, kernel: [2, 3, 2], stride: [1, 2, 1], padding: [1, 0, 1], dilation: [2, 1, 1] },
        ranks: [2, 3],
      }),
    shape: [3, 4, 5, 3],
    differences: { batch: 2, most: 4 },
  },
  {
    name: "tensor ring of images",
    make: () =>
      new TensorRingConv({
        ...{ inputs: 4, outputs: 6, kernel: [3, 2], stride: 2, padding: [1, 0], dilation: [1, 2] },
        ...{ inputModes: [2, 2], outputModes: [2, 3], ranks: [2, 3, 2, 3, 2] },
      }),
    shape: [4, 6, 7],
    differences: { batch: 2, most: 4 },
  },
];

import { describe, expect, it } from "vitest";
import type { Engine, Tensor } from "../../src/gpu/index.js";
import {
  BlockTermConv,
  CpConv,
  type Layer,
  type Parameter,
  SeparableBasisConv,
  SpatialConv,
  TensorRingConv,
  Tucker2Conv,
  Tucker2Conv3d,
} from "../../src/nn/index.js";
import { conv2d, conv3d } from "../../src/ops/index.js";
import { evaluate, expectClose, siblingEngine, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";
import { startLayers } from "./start.js";

type Reconstructed = Layer & { toDense(): Promise<Float32Array> };
type Two = readonly [number, number];
type Three = readonly [number, number, number];
interface Shape<Extents> {
  inputs: number;
  outputs: number;
  kernel: Extents;
  stride: Extents;
  padding: Extents;
  dilation: Extents;
  activation: "none" | "relu";
}

const biasOf = (layer: Layer): Parameter => layer.parameters.at(-1)!;
const product = (values: readonly number[]): number => values.reduce((a, b) => a * b, 1);

/** Shapes with every combination of strides 1 and 2, paddings 0 to 2 and dilations 1 and 2 in every direction. */
function everyPlacement<Extents extends readonly number[]>(kernel: Extents): Shape<Extents>[] {
  let placements: { stride: number[]; padding: number[]; dilation: number[] }[] = [
    { stride: [], padding: [], dilation: [] },
  ];
  for (const _ of kernel)
    placements = placements.flatMap(({ stride, padding, dilation }) =>
      [1, 2].flatMap((s) =>
        [0, 1, 2].flatMap((p) =>
          [1, 2].map((d) => ({ stride: [...stride, s], padding: [...padding, p], dilation: [...dilation, d] })),
        ),
      ),
    );
  return placements.map((placement, index) => ({
    inputs: 3,
    outputs: 4,
    kernel,
    ...(placement as unknown as Record<"stride" | "padding" | "dilation", Extents>),
    activation: index % 3 === 1 ? "relu" : "none",
  }));
}

/** Compares the outputs of layers with convolutions by their dense kernels, all in one schedule. */
async function check<Extents extends readonly number[]>(
  shapes: readonly Shape<Extents>[],
  make: (shape: Shape<Extents>, index: number) => Reconstructed,
  sample: readonly number[],
  otherEngine?: Engine,
): Promise<void> {
  const engine = otherEngine ?? (await testEngine());
  const layers = shapes.map(make);
  const arena = await startLayers(engine, layers, 6);
  using x = engine.tensor([2, 3, ...sample], randomArray(6 * product(sample), 4));
  const kernels: Tensor[] = [];
  for (const [index, layer] of layers.entries())
    kernels.push(engine.tensor([4, 3, ...shapes[index]!.kernel], await layer.toDense()));
  const outputs = await evaluate(engine, (s) =>
    layers.flatMap((layer, index) => {
      const options = { ...shapes[index]!, bias: biasOf(layer).value };
      const dense = (sample.length === 2 ? conv2d : conv3d) as (...all: unknown[]) => Tensor;
      return [layer.forward(s, x, { training: false }), dense(s, x, kernels[index]!, options)];
    }),
  );
  for (let index = 0; index < layers.length; index++) expectClose(outputs[2 * index]!, outputs[2 * index + 1]!, 1e-5);
  for (const kernel of kernels) kernel.destroy();
  arena.destroy();
}

/** `count` of the entries, spread over the list */
const some = <T>(all: readonly T[], count: number): T[] =>
  Array.from({ length: count }, (_, index) => all[(index * 29 + 5) % all.length]!);

const rankOf = (index: number): number => 1 + (index % 5);
const methods: { name: string; count: number; make: (shape: Shape<Two>, index: number) => Reconstructed }[] = [
  { name: "Jaderberg 2", count: 144, make: (shape, index) => new SpatialConv({ ...shape, rank: rankOf(index) }) },
  {
    name: "Jaderberg 1",
    count: 48,
    make: (shape, index) => new SeparableBasisConv({ ...shape, rank: 1 + (index % 3) }),
  },
  { name: "CP", count: 48, make: (shape, index) => new CpConv({ ...shape, rank: rankOf(index) }) },
  {
    name: "Tucker-1",
    count: 48,
    make: (shape, index) =>
      new Tucker2Conv({ ...shape, ranks: index % 2 ? [3, 1 + (index % 3)] : [1 + (index % 3), 4] }),
  },
  {
    name: "BTD",
    count: 48,
    make: (shape, index) =>
      new BlockTermConv({ ...shape, blocks: 1 + (index % 3), ranks: [1 + (index % 2), 1 + (index % 4)] }),
  },
  {
    name: "Tensor ring",
    count: 24,
    make: (shape, index) =>
      new TensorRingConv({ ...shape, inputModes: [3], outputModes: [2, 2], ranks: [rankOf(index), 2, 3, 1] }),
  },
];

describe("a factorised convolution is one with its dense kernel", () => {
  it.each(methods)("$name: for $count strides, paddings and dilations", ({ make, count }) =>
    check(some(everyPlacement<Two>([3, 2]), count), make, [9, 8]),
  );

  it("covers every stride, padding and dilation with the methods of 144", () => {
    const seen = new Set(some(everyPlacement<Two>([3, 2]), 144).map((shape) => JSON.stringify(shape)));
    expect(seen.size).toBe(144);
  });

  // few of the fused ones, because every placement has another tile and compiles another kernel
  it.each([
    ["chain", 24],
    ["fused", 6],
  ] as const)("Tucker-2, %s: for %i strides, paddings and dilations", async (tucker2, count) => {
    const engine = await siblingEngine({ variants: { tucker2 } });
    const make = (shape: Shape<Two>, index: number) =>
      new Tucker2Conv({ ...shape, ranks: [1 + (index % 2), 1 + (index % 3)] });
    await check(some(everyPlacement<Two>([3, 2]), count), make, [9, 8], engine);
    engine.destroy();
  });

  it("Tucker-2 of volumes: for 36 strides, paddings and dilations", () =>
    check(
      some(everyPlacement<Three>([2, 3, 2]), 36),
      (shape, index) => new Tucker2Conv3d({ ...shape, ranks: [1 + (index % 3), 1 + (index % 4)] }),
      [5, 7, 6],
    ));
});

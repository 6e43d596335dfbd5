import { describe, expect, it } from "vitest";
import { FormatError, readSafetensors, writeSafetensors } from "../../src/io/index.js";
import {
  Add,
  type AddPlace,
  adam,
  BatchNorm,
  Concat,
  Conv2d,
  evaluate,
  Flatten,
  LayerNorm,
  Linear,
  loadModel,
  loadNetwork,
  MatMul,
  MaxPool2d,
  Multiply,
  Network,
  type PlaceOptions,
  ReLU,
  Reshape,
  Rowwise,
  Sequential,
  Softmax,
  SvdLinear,
  saveModel,
  Transpose,
  train,
} from "../../src/nn/index.js";
import { copy } from "../../src/ops/index.js";
import { testEngine } from "../engine.js";
import { randomArray } from "../reference.js";
import { checkNetworkGradients } from "./gradients.js";

const conv = (inputs: number, outputs: number, kernel: number, padding = 0) =>
  new Conv2d({ inputs, outputs, kernel, padding });

/** A block whose input is added to its output, with batch normalisation and a projection on the short way. */
const residual = (): PlaceOptions[] => [
  { id: "stem", of: conv(2, 3, 3, 1) },
  { id: "narrow", of: new ReLU() },
  { id: "first", of: conv(3, 4, 3, 1) },
  { id: "norm", of: new BatchNorm(4) },
  new ReLU(),
  { id: "second", of: conv(4, 4, 3, 1) },
  { id: "short", of: conv(3, 4, 1), from: "narrow" },
  { id: "sum", of: new Add(), from: ["short", "second"] },
  new ReLU(),
  { id: "flat", of: new Flatten() },
  { id: "classes", of: new Linear(4 * 4 * 3, 3) },
];

/** Every layer reads all maps before it (Huang, Liu, van der Maaten & Weinberger 2017). */
const dense = (add: AddPlace, input: string): string => {
  const a = add(conv(2, 3, 3, 1), input);
  const b = add(conv(5, 2, 3, 1), add(new Concat(), [input, a]));
  const c = add(conv(7, 3, 1), add(new Concat(), [input, a, b]), "last");
  return add(new Linear(3 * 2 * 2, 3), add(new Flatten(), add(new MaxPool2d(2), c)));
};

/** Values that are read twice by one join, views that share memory, a gate, and layers of several steps. */
const tangled = (add: AddPlace, input: string): string => {
  const flat = add(new Flatten(), input);
  const doubled = add(new Add(), [flat, flat, flat]);
  const thin = add(new SvdLinear({ inputs: 6, outputs: 6, rank: 2 }), flat);
  const product = add(new Multiply(), [doubled, thin]);
  const gate = add(new Linear(6, 6), thin);
  const squared = add(new Multiply(), [gate, gate]);
  return add(new Linear(18, 3), add(new Concat(), [product, squared, add(new Flatten(), thin)]));
};

/** Each map is weighed by a number. */
const weighed = (add: AddPlace, input: string): string => {
  const maps = add(conv(1, 3, 2), input);
  const weights = add(conv(3, 3, 3), maps);
  const tall = add(new Concat({ axis: 1 }), [add(new Multiply(), [maps, weights]), maps]);
  return add(new Linear(54, 3), add(new Flatten(), tall));
};

/** Attention with two heads, and a way around it. */
const attention = (add: AddPlace, input: string): string => {
  const normed = add(new LayerNorm(6), input);
  const heads = (order: number[]): string =>
    add(new Transpose(order), add(new Reshape([4, 2, 3]), add(new Rowwise([new Linear(6, 6)]), normed)));
  const scores = add(new MatMul(), [heads([1, 0, 2]), heads([1, 2, 0])]);
  const mixed = add(new MatMul(), [add(new Softmax(), scores), heads([1, 0, 2])]);
  const merged = add(new Reshape([4, 6]), add(new Transpose([1, 0, 2]), mixed));
  const sum = add(new Add(), [input, add(new Rowwise([new Linear(6, 6)]), merged)]);
  return add(new Linear(24, 3), add(new Flatten(), sum));
};

const GRAPHS = [
  { name: "attention", places: () => attention, shape: [4, 6] },
  { name: "a residual block", places: residual, shape: [2, 4, 3] },
  { name: "a dense block", places: () => dense, shape: [2, 4, 4] },
  { name: "values that are read twice", places: () => tangled, shape: [2, 3] },
  { name: "maps weighed by numbers", places: () => weighed, shape: [1, 4, 4] },
];

async function outputsOf(model: Network, values: Float32Array): Promise<Float32Array> {
  const { engine } = model;
  const count = values.length / model.inputShape.reduce((a, b) => a * b, 1);
  using x = engine.tensor([count, ...model.inputShape], values);
  using out = engine.tensor([count, ...model.outputShape]);
  await engine.run((s) => {
    copy(s, model.forward(s, x), { out });
  });
  return (await out.read()) as Float32Array;
}

const create = async (places: Parameters<typeof Network.create>[1], inputShape: readonly number[], seed = 7) =>
  Network.create(await testEngine(), places, { inputShape, seed });

describe.each(GRAPHS)("$name", ({ places, shape }) => {
  it("has the gradients that finite differences have", async () => {
    using model = await create(places(), shape);
    await checkNetworkGradients(model);
  });

  it("is saved and loaded", async () => {
    using model = await create(places(), shape);
    const bytes = await saveModel(model);
    using back = await loadNetwork(await testEngine(), bytes);
    expect(back.places.map(({ id, of, from }) => [id, of.name, from])).toEqual(
      model.places.map(({ id, of, from }) => [id, of.name, from]),
    );
    expect(back.output).toBe(model.output);
    expect(back.counts()).toEqual(model.counts());
    expect(await saveModel(back)).toEqual(bytes);
    const samples = randomArray(5 * shape.reduce((a, b) => a * b, 1), 4);
    expect(await outputsOf(back, samples)).toEqual(await outputsOf(model, samples));
    await expect(loadModel(await testEngine(), bytes, "graph.safetensors")).rejects.toThrow(/loadNetwork/);
  });
});

describe("networks", () => {
  it("of layers in a row are what Sequential is", async () => {
    const engine = await testEngine();
    const layers = () => [new Linear(4, 7, { activation: "relu" }), new Linear(7, 3)];
    using row = await Sequential.create(engine, layers(), { inputShape: [4], seed: 3 });
    using graph = await Network.create(engine, layers(), { inputShape: [4], seed: 3 });
    const samples = randomArray(20, 1);
    expect(await outputsOf(graph, samples)).toEqual(await outputsOf(row, samples));
    expect(row.places).toEqual([
      { id: "0", of: row.layers[0], from: ["input"] },
      { id: "1", of: row.layers[1], from: ["0"] },
    ]);
    using loaded = await loadNetwork(engine, await saveModel(row));
    expect(loaded).toBeInstanceOf(Sequential);
  });

  it("give the output of any place", async () => {
    const engine = await testEngine();
    const places = [
      { id: "a", of: new Linear(3, 2) },
      { id: "b", of: new ReLU() },
    ] as const;
    using model = await Network.create(engine, places, { inputShape: [3], output: "b" });
    expect(model.output).toBe("b");
    await expect(
      Network.create(engine, [new Linear(3, 2), new ReLU()], { inputShape: [3], output: "0" }),
    ).rejects.toThrow('no place reads "1" (ReLU), and it is not the output; leave it out');
  });

  it("train, and free what they no longer need", async () => {
    const engine = await testEngine();
    // two classes by the sign of a product, which no linear network tells apart
    const values = randomArray(400, 8);
    const classes = Uint32Array.from({ length: 200 }, (_, i) => (values[2 * i]! * values[2 * i + 1]! > 0 ? 1 : 0));
    using inputs = engine.tensor([200, 2], values);
    using labels = engine.tensor([200], classes);
    using model = await create(
      (add, input) => {
        const wide = add(new Linear(2, 16, { activation: "relu" }), input);
        const block = add(new Add(), [wide, add(new Linear(16, 16, { activation: "relu" }), wide)]);
        return add(new Linear(18, 2), add(new Concat(), [block, input]));
      },
      [2],
    );
    const options = { epochs: 40, batchSize: 50, optimiser: adam({ rate: 0.02 }), seed: 1 };
    const { curve } = await train(model, { inputs, labels }, options);
    expect(curve.at(-1)!.accuracy).toBeGreaterThan(0.95);
    expect((await evaluate(model, { inputs, labels })).accuracy).toBeGreaterThan(0.95);
    const error = "train: no fused steps: its layers do not stand in a row";
    await expect(train(model, { inputs, labels }, { ...options, steps: "fused" })).rejects.toThrow(error);
  });

  it("hold few activations at a time outside of training", async () => {
    const engine = await testEngine();
    const long = (add: AddPlace, input: string): string => {
      let x = input;
      for (let block = 0; block < 12; block++) x = add(new Add(), [x, add(new ReLU(), x)]);
      return x;
    };
    using model = await create(long, [64]);
    const s = engine.scheduler();
    using x = engine.tensor([32, 64]);
    const before = engine.memory().live;
    model.forward(s, x);
    using schedule = await s.compile();
    expect(schedule.dispatches).toBe(24);
    expect(engine.memory().live - before).toBeLessThan(6 * x.bytes);
  });
});

describe("networks that do not fit are refused", () => {
  const linear = () => new Linear(3, 3);
  const layer = linear();
  it.each([
    [
      "an unknown place",
      [{ of: linear(), from: "body" }],
      'place "0" reads "body", which is no place before it; there are input',
    ],
    [
      "the same id",
      [
        { id: "a", of: linear() },
        { id: "a", of: linear() },
      ],
      'place "a": there is such a place already',
    ],
    ["input as an id", [{ id: "input", of: linear() }], 'place "input": there is such a place already'],
    [
      "a layer of two",
      [linear(), { of: linear(), from: ["0", "input"] }],
      "reads 2 places, a layer reads one; Add, Multiply or Concat join several",
    ],
    ["no layer", [{ of: 5 }], 'Network.create: place "0" is 5, needs a layer'],
    ["a class", [ReLU], "needs a layer; new ReLU(…) makes one"],
    ["a layer twice", [layer, layer], "Network.create: one Linear 3→3 stands at two places, needs a layer for each"],
    ["nothing to join", [{ of: new Add(), from: [] }], "needs the id of a place, or a list of them"],
    ["one value to add", [{ of: new Add(), from: "input" }], 'Network: place "0": Add: 1 input, needs two or more'],
    [
      "shapes that differ",
      [
        { id: "a", of: new Linear(3, 2) },
        { of: new Add(), from: ["a", "input"] },
      ],
      'place "1": Add: samples of shapes 2 and 3, needs the same shape',
    ],
    [
      "factors that differ",
      [
        { id: "a", of: new Linear(3, 2) },
        { of: new Multiply(), from: ["a", "input"] },
      ],
      "Multiply: samples of shapes 2 and 3, needs the same shape, or 1 in the last modes",
    ],
    [
      "no mode to join along",
      [linear(), { of: new Concat({ axis: 1 }), from: ["0", "input"] }],
      "samples of shapes 3 and 3 have no mode 1",
    ],
    ["an output that is none", [linear()], 'the output is "b", needs a place; there are input, 0', { output: "b" }],
  ])("%s", async (_, places, message, options?: object) => {
    const made = Network.create(await testEngine(), places as PlaceOptions[], { inputShape: [3], ...options });
    await expect(made).rejects.toThrow(message);
  });

  it("in files too", async () => {
    const engine = await testEngine();
    using model = await create([linear(), { of: new Add(), from: ["0", "input"] }], [3]);
    const bytes = await saveModel(model);
    const { tensors, metadata } = readSafetensors(bytes);
    const changed = (change: (contents: { places: Record<string, unknown>[] }) => void): Uint8Array => {
      const contents = JSON.parse(metadata.tenfold!);
      change(contents);
      return writeSafetensors([...tensors], { tenfold: JSON.stringify(contents) });
    };
    const cases: [(contents: { places: Record<string, unknown>[] }) => void, string][] = [
      [({ places }) => (places[1]!.from = ["0", "2"]), 'reads "2", which is no place before it'],
      [({ places }) => (places[1]!.from = "0"), 'place 1: from is "0", needs a list of texts'],
      [({ places }) => (places[1]!.of = { kind: "subtract" }), 'place 1: its kind is "subtract", known are linear'],
      [({ places }) => (places[0]!.id = "a"), "has no tensor a.weight, which the layers need"],
      [({ places }) => places.pop(), 'the output is "1", needs a place'],
      [({ places }) => (places[1] = 7 as never), "place 1: is 7, needs an object"],
    ];
    for (const [change, message] of cases) {
      const loading = loadNetwork(engine, changed(change), "broken.safetensors");
      await expect(loading).rejects.toThrow(FormatError);
      await expect(loading).rejects.toThrow(message);
    }
  });
});

import { describe, expect, it } from "vitest";
import { doubleSoftmax } from "../../src/experiments/doubleSoftmax.js";
import {
  adam,
  Dropout,
  type Epoch,
  evaluate as evaluateModel,
  Flatten,
  type Layer,
  Linear,
  ReLU,
  Sequential,
  sgd,
  type TrainOptions,
  train,
} from "../../src/nn/index.js";
import {
  advanceStep,
  argmaxRows,
  denseScratch,
  dropout,
  gatherBatch,
  softmaxCrossEntropy,
  trainDense,
  trainingState,
} from "../../src/ops/index.js";
import { evaluate, expectClose, plainEngine, siblingEngine, testEngine } from "../engine.js";
import fc from "../property.js";
import * as reference from "../reference/nn.js";
import { randomArray } from "../reference.js";

describe("softmaxCrossEntropy", () => {
  it.each([false, true])("agrees with f64, double softmax %s, and counts", async (double) => {
    const engine = await testEngine();
    for (const [rows, classes] of [
      [1, 2],
      [7, 3],
      [131, 10],
      [257, 11],
    ] as const) {
      const logits = randomArray(rows * classes, rows).map((v) => 6 * v);
      const labels = Uint32Array.from({ length: rows }, (_, i) => (i * 7) % classes);
      using z = engine.tensor([rows, classes], logits);
      using l = engine.tensor([rows], labels);
      using curve = engine.tensor([3, 4]);
      using state = engine.tensor([3], Uint32Array.of(4, 2, 9));
      const gradient = await evaluate(engine, (s) =>
        softmaxCrossEntropy(s, z, l, { curve, column: 2, state }, { double }),
      );
      const expected = reference.crossEntropy(logits, labels, classes, double);
      expectClose(gradient, expected.gradient, 1e-5);
      const totals = await engine.read(curve);
      expect(totals[10]! / expected.loss).toBeCloseTo(1, 5);
      expect(totals[11]).toBe(expected.right);
      expect([...totals].filter((v) => v !== 0).length).toBeLessThanOrEqual(2);
    }
  });

  it("stays finite at extreme logits", async () => {
    const engine = await testEngine();
    using z = engine.tensor([2, 3], [1e4, -1e4, 0, -3e4, 3e4, 3e4]);
    using l = engine.tensor([2], Uint32Array.of(1, 0));
    using curve = engine.tensor([1, 2]);
    using state = engine.tensor([3], Uint32Array.of(0, 0, 0));
    const gradient = await evaluate(engine, (s) => softmaxCrossEntropy(s, z, l, { curve, column: 0, state }));
    expect([...gradient, ...(await engine.read(curve))].every(Number.isFinite)).toBe(true);
    expect([...gradient]).toEqual([0.5, -0.5, 0, -0.5, 0.25, 0.25]);
  });
});

describe("gatherBatch", () => {
  it("permutes: every row once an epoch, another order in every epoch", async () => {
    const engine = await testEngine();
    const [counts, seeds] = [fc.integer({ min: 1, max: 400 }), fc.integer({ min: 0, max: 2 ** 31 })];
    await fc.assert(
      fc.asyncProperty(counts, seeds, fc.constantFrom(1, 2, 8), async (count, seed, columns) => {
        using x = engine.tensor(
          [count, columns],
          Float32Array.from({ length: columns * count }, (_, i) => i),
        );
        using labels = engine.tensor(
          [count],
          Uint32Array.from({ length: count }, (_, i) => i),
        );
        const orders: number[][] = [];
        for (const epoch of [0, 1]) {
          using state = engine.tensor([3], Uint32Array.of(0, epoch, 0));
          const [rows, order] = await evaluate(engine, (s) => {
            const batch = gatherBatch(s, x, labels, { rows: count, seed, state });
            return [batch.inputs, batch.labels];
          });
          expect([...order!].sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i));
          expect([...rows!]).toEqual(
            [...order!].flatMap((row) => Array.from({ length: columns }, (_, k) => columns * row + k)),
          );
          expect([...order!]).toEqual(reference.permutation(count, seed, epoch));
          orders.push([...order!]);
        }
        if (count > 20) expect(orders[0]).not.toEqual(orders[1]);
      }),
      { numRuns: 20 },
    );
  });

  it("visits every row equally often at every place, and forgets the order of the epoch before", () => {
    // the f64 loop is tested here; another test asserts that the kernel gives the same permutations
    for (const count of [5, 12, 37]) {
      const epochs = 400 * count;
      const at = Array.from({ length: count }, () => new Float64Array(count));
      const moved = new Float64Array(count);
      let before: number[] = [];
      for (let epoch = 0; epoch < epochs; epoch++) {
        const order = reference.permutation(count, 7, epoch);
        order.forEach((row, place) => {
          at[place]![row]!++;
        });
        if (epoch) moved[(order.indexOf(before[0]!) - order.indexOf(before[1]!) + count) % count]!++;
        before = order;
      }
      // two χ² tests, with (count − 1)² and count − 2 degrees of freedom; the bounds are 5 standard deviations
      const chi = at.reduce((sum, row) => sum + row.reduce((part, n) => part + (n - 400) ** 2 / 400, 0), 0);
      const free = (count - 1) ** 2;
      expect(chi).toBeLessThan(free + 5 * Math.sqrt(2 * free));
      const expected = (epochs - 1) / (count - 1);
      const apart = moved.slice(1).reduce((sum, n) => sum + (n - expected) ** 2 / expected, 0);
      expect(apart).toBeLessThan(count - 2 + 5 * Math.sqrt(2 * (count - 2)));
    }
  });

  it("takes batches in turn, and the last, smaller one", async () => {
    const engine = await testEngine();
    using x = engine.tensor([7, 1], [0, 1, 2, 3, 4, 5, 6]);
    using labels = engine.tensor([7], Uint32Array.from([0, 1, 2, 3, 4, 5, 6]));
    const seen: number[] = [];
    for (const [step, rows] of [
      [0, 3],
      [1, 3],
      [2, 1],
    ] as const) {
      using state = engine.tensor([3], Uint32Array.of(step, 0, 0));
      seen.push(
        ...(await evaluate(
          engine,
          (s) => gatherBatch(s, x, labels, { rows, stride: 3, shuffle: false, state }).labels,
        )),
      );
    }
    expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6]);
  });
});

describe("dropout", () => {
  it("drops at its rate, keeps the mean, changes with the step and repeats itself", async () => {
    const engine = await testEngine();
    const n = 40_001;
    using x = engine.tensor([n], new Float32Array(n).fill(1));
    const run = async (steps: number) => {
      using state = engine.tensor([3], Uint32Array.of(0, 0, steps));
      return await evaluate(engine, (s) => dropout(s, x, { rate: 0.3, seed: 5, stream: 2, state }));
    };
    const [first, again, other] = [await run(1), await run(1), await run(2)];
    expect(again).toEqual(first);
    expect(other).not.toEqual(first);
    const survivors = [...first].filter((v) => v !== 0);
    expect(survivors.length / n).toBeCloseTo(0.7, 1.7);
    expect(survivors.every((v) => Math.abs(v - 1 / 0.7) < 1e-6)).toBe(true);
  });
});

describe("argmaxRows", () => {
  it("takes the first of the largest", async () => {
    const engine = await testEngine();
    using x = engine.tensor([3, 4], [0, 3, 3, 1, -1, -2, -3, -4, 5, 5, 5, 9]);
    expect([...(await evaluate(engine, (s) => argmaxRows(s, x)))]).toEqual([1, 0, 3]);
  });
});

describe("optimisers", () => {
  it.each([
    {
      name: "SGD",
      make: () => sgd({ rate: 0.1 }),
      reference: reference.sgd({ rate: 0.1, momentum: 0, weightDecay: 0 }),
    },
    {
      name: "SGD with momentum and decay",
      make: () => sgd({ rate: 0.1, momentum: 0.9, weightDecay: 0.01 }),
      reference: reference.sgd({ rate: 0.1, momentum: 0.9, weightDecay: 0.01 }),
    },
    {
      name: "SGD by Nesterov",
      make: () => sgd({ rate: 0.1, momentum: 0.9, nesterov: true }),
      reference: reference.sgd({ rate: 0.1, momentum: 0.9, weightDecay: 0, nesterov: true }),
    },
    {
      name: "Adam",
      make: () => adam({ rate: 0.05 }),
      reference: reference.adam({ rate: 0.05, weightDecay: 0, decoupled: false }),
    },
    {
      name: "Adam with decay",
      make: () => adam({ rate: 0.05, weightDecay: 0.1 }),
      reference: reference.adam({ rate: 0.05, weightDecay: 0.1, decoupled: false }),
    },
    {
      name: "Adam with a rate that rises and falls",
      make: () => adam({ rate: 0.05, warmSteps: 3, decaySteps: 7 }),
      reference: reference.adam({ rate: 0.05, weightDecay: 0, decoupled: false, warmSteps: 3, decaySteps: 7 }),
    },
    {
      name: "AdamW",
      make: () => adam({ rate: 0.05, weightDecay: 0.1, decoupled: true }),
      reference: reference.adam({ rate: 0.05, weightDecay: 0.1, decoupled: true }),
    },
  ])("$name steps as the f64 loop does", async ({ make, reference: expected }) => {
    const engine = await testEngine();
    const n = 133;
    const start = randomArray(n, 4);
    // three elements follow the weights in their buffer, and must stay 7, 8, 9
    using arena = engine.tensor([n + 3], [...start, 7, 8, 9]);
    const weights = arena.rows(0, n);
    using gradient = engine.tensor([n]);
    const optimiser = make();
    const moments = optimiser.start(engine, weights);
    using state = trainingState(engine, optimiser.betas);
    const s = engine.scheduler();
    moments.record(s, weights, gradient, state);
    advanceStep(s, state, { steps: 4, betas: optimiser.betas });
    using schedule = await s.compile();
    const gradients = Array.from({ length: 9 }, (_, step) => randomArray(n, 50 + step));
    for (const g of gradients) {
      engine.write(gradient, g);
      engine.submit(schedule);
    }
    expectClose(await engine.read(weights), expected(start, gradients), 1e-5);
    expect([...(await engine.read(arena))].slice(n)).toEqual([7, 8, 9]);
    expect([...(await engine.read(state))].slice(0, 3)).toEqual([1, 2, 9]);
    moments.destroy();
  });
});

describe("train", () => {
  /** Three Gaussian blobs: a problem that a small net learns. */
  function blobs(count: number, seed: number): { x: Float32Array; labels: Uint32Array } {
    const noise = randomArray(2 * count, seed);
    const labels = Uint32Array.from({ length: count }, (_, i) => (i * 5 + (i >> 2)) % 3);
    const x = Float32Array.from(noise, (v, i) => {
      const angle = (labels[i >> 1]! * 2 * Math.PI) / 3;
      return (i % 2 ? Math.sin(angle) : Math.cos(angle)) + 0.5 * v;
    });
    return { x, labels };
  }
  const layers = () => [new Linear(2, 8, { activation: "relu" }), new Linear(8, 3, { bias: false })];

  it("learns; the same seed gives the same curve, bit for bit; evaluate agrees with it", async () => {
    const engine = await testEngine();
    const [data, heldOut] = [blobs(307, 1), blobs(1100, 2)];
    using inputs = engine.tensor([307, 2], data.x);
    using labels = engine.tensor([307], data.labels);
    using heldInputs = engine.tensor([1100, 2], heldOut.x);
    using heldLabels = engine.tensor([1100], heldOut.labels);
    const validation = { inputs: heldInputs, labels: heldLabels };
    const curves: Epoch[][] = [];
    for (const epochsPerSubmit of [1, 3]) {
      using model = await Sequential.create(engine, layers(), { inputShape: [2], seed: 5 });
      const told: Epoch[] = [];
      const { curve } = await train(
        model,
        { inputs, labels },
        {
          epochs: 8,
          batchSize: 50,
          optimiser: adam({ rate: 0.02 }),
          seed: 3,
          validation,
          epochsPerSubmit,
          onEpoch: (e) => told.push(e),
        },
      );
      expect(told).toEqual(curve);
      expect(curve.map(({ epoch }) => epoch)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
      const { accuracy, loss, confusion, predictions } = await evaluateModel(model, validation);
      expect(accuracy).toBeCloseTo(curve.at(-1)!.validationAccuracy!, 6);
      expect(loss).toBeCloseTo(curve.at(-1)!.validationLoss!, 5);
      expect(accuracy).toBeGreaterThan(0.95);
      expect(confusion.flat().reduce((a, b) => a + b)).toBe(1100);
      expect(confusion.reduce((sum, row, k) => sum + row[k]!, 0) / 1100).toBeCloseTo(accuracy, 6);
      expect(predictions.length).toBe(1100);
      curves.push(curve);
    }
    expect(curves[1]).toEqual(curves[0]);
  });

  it.each(["layered", "fused"] as const)("agrees with training in f64 on the CPU, %s", async (steps) => {
    const engine = await testEngine();
    const data = blobs(60, 4);
    using inputs = engine.tensor([60, 2], data.x);
    using labels = engine.tensor([60], data.labels);
    using model = await Sequential.create(engine, layers(), { inputShape: [2], seed: 1 });
    const start = await engine.read(model.parameters.map(({ value }) => value));
    const { curve } = await train(
      model,
      { inputs, labels },
      { epochs: 3, batchSize: 25, optimiser: sgd({ rate: 0.3, momentum: 0.5 }), shuffle: false, steps },
    );
    const expected = reference.trainMlp(
      data.x,
      data.labels,
      start.map((v) => Float64Array.from(v)),
      { hidden: 8, classes: 3, epochs: 3, batch: 25, rate: 0.3, momentum: 0.5 },
    );
    const end = await engine.read(model.parameters.map(({ value }) => value));
    end.forEach((values, k) => {
      expectClose(values, expected.weights[k]!, 1e-4);
    });
    curve.forEach(({ loss, accuracy }, k) => {
      expect(loss).toBeCloseTo(expected.curve[k]!.loss, 4);
      expect(accuracy).toBeCloseTo(expected.curve[k]!.accuracy, 6);
    });
  });

  const fusible: {
    name: string;
    layers: () => Layer[];
    options?: Partial<TrainOptions>;
    count?: number;
    shape?: number[];
  }[] = [
    { name: "one layer", layers: () => [new Linear(6, 3)] },
    { name: "flattened samples", layers: () => [new Flatten(), new Linear(6, 3)], shape: [2, 3] },
    {
      name: "four layers, odd extents",
      layers: () => [
        new Linear(6, 9, { activation: "relu" }),
        new Linear(9, 5),
        new ReLU(),
        new Linear(5, 7, { bias: false, activation: "relu" }),
        new Linear(7, 11),
      ],
    },
    {
      name: "dropout",
      layers: () => [
        new Linear(6, 7, { activation: "relu" }),
        new Dropout(0.4),
        new Linear(7, 6),
        new ReLU(),
        new Dropout(0.2),
        new Linear(6, 3, { bias: false }),
      ],
    },
    {
      name: "double softmax, SGD with all it has",
      layers: () => [new Linear(6, 5, { activation: "relu" }), new Linear(5, 3)],
      options: {
        loss: doubleSoftmax(),
        optimiser: sgd({ rate: 0.3, momentum: 0.8, weightDecay: 0.01, nesterov: true }),
      },
    },
    {
      name: "AdamW, a layer without activation, in order",
      layers: () => [new Linear(6, 4), new Linear(4, 3)],
      options: { optimiser: adam({ rate: 0.02, weightDecay: 0.1, decoupled: true }), shuffle: false },
    },
    {
      name: "Adam with decay, batches of one",
      layers: () => [new Linear(6, 5, { activation: "relu" }), new Linear(5, 3)],
      options: { optimiser: adam({ rate: 0.02, weightDecay: 0.1 }), batchSize: 1 },
      count: 13,
    },
    {
      name: "inputs split over lanes",
      layers: () => [new Linear(67, 5, { activation: "relu" }), new Linear(5, 3)],
      shape: [67],
    },
    { name: "a single sample", layers: () => [new Linear(6, 5, { activation: "relu" }), new Linear(5, 3)], count: 1 },
    {
      name: "a batch larger than a workgroup and the set",
      layers: () => [new Linear(6, 5, { activation: "relu" }), new Linear(5, 3)],
      options: { batchSize: 1000 },
      count: 331,
    },
  ];
  it.each(fusible)(
    "fused steps are those of single layers, by a subgroup and without: $name",
    async ({ layers, options, count = 83, shape = [6] }) => {
      const width = shape.reduce((a, b) => a * b, 1);
      const results: { curve: Epoch[]; weights: number[] }[] = [];
      for (const [engine, steps] of [
        [await testEngine(), "layered"],
        [await testEngine(), "fused"],
        [await plainEngine(), "fused"],
      ] as const) {
        using inputs = engine.tensor([count, ...shape], randomArray(count * width, 8));
        using labels = engine.tensor(
          [count],
          Uint32Array.from({ length: count }, (_, i) => (i * 7) % 3),
        );
        using model = await Sequential.create(engine, layers(), { inputShape: shape, seed: 5 });
        const { curve } = await train(
          model,
          { inputs, labels },
          { epochs: 2, batchSize: 17, seed: 3, optimiser: adam({ rate: 0.02 }), steps, ...options },
        );
        const values = await engine.read(model.parameters.map(({ value }) => value));
        results.push({ curve, weights: values.flatMap((value) => [...value]) });
      }
      const [layered, ...fused] = results as [(typeof results)[0], ...typeof results];
      for (const { curve, weights } of fused) {
        expectClose(weights, layered.weights, 2e-4);
        curve.forEach(({ loss, accuracy }, epoch) => {
          expect(loss).toBeCloseTo(layered.curve[epoch]!.loss, 4);
          expect(accuracy).toBe(layered.curve[epoch]!.accuracy);
        });
      }
    },
  );

  it.each([
    ["fused", 12, testEngine],
    ["fused", 67, testEngine],
    ["fused", 100, testEngine],
    ["fused", 12, plainEngine],
    ["fused", 67, plainEngine],
    ["fused", 100, plainEngine],
    ["layered", 12, testEngine],
    ["layered", 7, testEngine],
  ] as const)("samples in bytes stand for value / 255: %s, %i inputs, %o", async (steps, width, open) => {
    const engine = await open();
    const bytes = Uint8Array.from({ length: 83 * width }, (_, i) => (i * 7919 + (i % 13) * 31) % 256);
    using asBytes = engine.tensor([83, width], bytes);
    using asNumbers = engine.tensor(
      [83, width],
      Float32Array.from(bytes, (value) => value / 255),
    );
    expect(asBytes.bytes).toBeLessThanOrEqual(asNumbers.bytes / 4 + 3);
    using labels = engine.tensor(
      [83],
      Uint32Array.from({ length: 83 }, (_, i) => (i * 7) % 3),
    );
    const results: { curve: Epoch[]; predictions: Uint32Array; loss: number }[] = [];
    for (const inputs of [asBytes, asNumbers]) {
      const layers = [new Linear(width, 5, { activation: "relu" }), new Linear(5, 3)];
      using model = await Sequential.create(engine, layers, { inputShape: [width], seed: 5 });
      const data = { inputs, labels };
      const { curve } = await train(model, data, {
        epochs: 2,
        batchSize: 17,
        seed: 3,
        optimiser: adam({ rate: 0.02 }),
        steps,
        validation: data,
      });
      results.push({ curve, ...(await evaluateModel(model, data)) });
    }
    const [fromBytes, expected] = results as [(typeof results)[0], (typeof results)[0]];
    expect(fromBytes.predictions).toEqual(expected.predictions);
    expect(fromBytes.loss).toBeCloseTo(expected.loss, 5);
    fromBytes.curve.forEach((epoch, k) => {
      expect(epoch.loss).toBeCloseTo(expected.curve[k]!.loss, 5);
      expect(epoch.accuracy).toBe(expected.curve[k]!.accuracy);
      expect(epoch.validationLoss).toBeCloseTo(expected.curve[k]!.validationLoss!, 5);
    });
  });

  it("a fused epoch is cut into dispatches short enough for drivers, with the same weights", async () => {
    const engine = await testEngine();
    using inputs = engine.tensor([50, 4], randomArray(200, 3));
    using labels = engine.tensor(
      [50],
      Uint32Array.from({ length: 50 }, (_, i) => i % 3),
    );
    const weights: ArrayLike<number>[] = [];
    for (const work of [undefined, 1000]) {
      using model = await Sequential.create(engine, [new Linear(4, 3)], { inputShape: [4], seed: 5 });
      const [layer] = model.layers as [Linear];
      const dense = [
        { inputs: 4, outputs: 3, weight: layer.weight.value, bias: layer.bias!.value, relu: false, dropout: null },
      ];
      using scratch = denseScratch(engine, dense, 8);
      using state = trainingState(engine);
      using curve = engine.tensor([2, 2]);
      const settings = sgd({ rate: 0.1 }).settings!;
      const s = engine.scheduler();
      const tensors = { inputs, labels, weights: model.weights, scratch, state, curve };
      const options = { batchSize: 8, shuffle: true, seed: 1, double: false, optimiser: settings };
      trainDense(s, dense, tensors, work === undefined ? options : { ...options, work });
      // seven steps; 1000 multiplications are enough for three steps a dispatch
      expect(s.dispatches).toBe(work === undefined ? 1 : 3);
      using schedule = await s.compile();
      engine.submit(schedule);
      expect([...(await engine.read(state))].slice(0, 3)).toEqual([0, 1, 7]);
      weights.push(await engine.read(model.weights));
    }
    expect(weights[1]).toEqual(weights[0]);
  });

  it("says why there are no fused steps", async () => {
    const engine = await testEngine();
    using inputs = engine.tensor([4, 3]);
    using labels = engine.tensor([4], new Uint32Array(4));
    for (const layers of [
      [new Dropout(0.1), new Linear(3, 2)],
      [new Linear(3, 2, { activation: "relu" })],
      [new Linear(3, 4), new Dropout(0.1), new Linear(4, 2)],
    ]) {
      using model = await Sequential.create(engine, layers, { inputShape: [3] });
      const options = { epochs: 1, optimiser: sgd({ rate: 0.1 }), steps: "fused" } as const;
      await expect(train(model, { inputs, labels }, options)).rejects.toThrow(/no fused steps: /);
    }
  });

  it("takes one submit and one read an epoch, and leaves no memory", async () => {
    const engine = await siblingEngine();
    const data = blobs(130, 1);
    using inputs = engine.tensor([130, 2], data.x);
    using labels = engine.tensor([130], data.labels);
    using model = await Sequential.create(engine, layers(), { inputShape: [2] });
    const run = (epochs: number) =>
      train(
        model,
        { inputs, labels },
        { epochs, batchSize: 20, optimiser: adam(), validation: { inputs, labels }, epochsPerSubmit: 1 },
      );
    await run(2);
    const { live } = engine.memory();
    const at0 = { ...engine.counters };
    await run(2);
    const at1 = { ...engine.counters };
    await run(12);
    const at2 = { ...engine.counters };
    expect(at2.submits - at1.submits - (at1.submits - at0.submits)).toBe(10);
    expect(at2.readbacks - at1.readbacks - (at1.readbacks - at0.readbacks)).toBe(10);
    expect(engine.memory().live).toBe(live);
    engine.destroy();
  });

  it("cuts long epochs into submits, with the same numbers, and stops in between", async () => {
    const engine = await testEngine();
    using inputs = engine.tensor([230, 6], randomArray(230 * 6, 8));
    using labels = engine.tensor(
      [230],
      Uint32Array.from({ length: 230 }, (_, i) => (i * 7) % 3),
    );
    const layers = () => [new Linear(6, 5, { activation: "relu" }), new Linear(5, 3)];
    // 45 multiplications a sample: 3·45·20 a step
    const options = { epochs: 2, batchSize: 20, optimiser: adam({ rate: 0.02 }), steps: "layered" } as const;
    const curves: Epoch[][] = [];
    for (const submitWork of [2 ** 32, 3 * 45 * 20 * 4, 1]) {
      using model = await Sequential.create(engine, layers(), { inputShape: [6], seed: 5 });
      const told: number[] = [];
      const before = engine.counters.submits;
      const { curve, aborted } = await train(
        model,
        { inputs, labels },
        { ...options, validation: { inputs, labels }, submitWork, onProgress: (epochs) => told.push(epochs) },
      );
      expect(aborted).toBe(false);
      curves.push(curve);
      // an epoch is 11 steps of 20 samples, one of 10, and the validation; its submits are one, or 4 + 4 + 4 steps and the
      // validation, or one for each of the 13
      const submits = { [2 ** 32]: 1, [3 * 45 * 20 * 4]: 4, 1: 13 }[submitWork]!;
      // the first writes take up to four submits more
      expect(engine.counters.submits - before).toBeGreaterThanOrEqual(2 * submits);
      expect(engine.counters.submits - before).toBeLessThanOrEqual(2 * submits + 4);
      expect(told.at(-1)).toBe(2);
      expect(told).toEqual([...told].sort((a, b) => a - b));
    }
    using watched = await Sequential.create(engine, layers(), { inputShape: [6], seed: 5 });
    const states: Float32Array[] = [];
    const afterEpoch = async (epoch: number) => {
      expect(epoch).toBe(states.push(await watched.weights.read()));
    };
    const { curve: told } = await train(
      watched,
      { inputs, labels },
      { ...options, validation: { inputs, labels }, afterEpoch },
    );
    expect(told).toEqual(curves[0]);
    expect(states).toHaveLength(2);
    expect(states[1]).toEqual(await watched.weights.read());
    expect(states[1]).not.toEqual(states[0]);
    expect(curves[1]).toEqual(curves[0]);
    expect(curves[2]).toEqual(curves[0]);
    using model = await Sequential.create(engine, layers(), { inputShape: [6], seed: 5 });
    const abort = new AbortController();
    let last = 0;
    const { curve, aborted } = await train(
      model,
      { inputs, labels },
      {
        ...options,
        epochs: 50,
        submitWork: 1,
        signal: abort.signal,
        onProgress(epochs) {
          last = epochs;
          if (epochs > 1.3) abort.abort();
        },
      },
    );
    expect(aborted).toBe(true);
    expect(curve.length).toBe(1);
    expect(last).toBeLessThan(2);
  });

  it("stops on abort and says what does not fit", async () => {
    const engine = await testEngine();
    const data = blobs(64, 1);
    using inputs = engine.tensor([64, 2], data.x);
    using labels = engine.tensor([64], data.labels);
    using model = await Sequential.create(engine, layers(), { inputShape: [2] });
    const controller = new AbortController();
    const result = await train(
      model,
      { inputs, labels },
      {
        epochs: 10_000,
        optimiser: adam(),
        signal: controller.signal,
        onEpoch: ({ epoch }) => epoch === 5 && controller.abort(),
      },
    );
    expect(result.aborted).toBe(true);
    expect(result.curve.length).toBeLessThan(500);
    using wrong = engine.tensor([64, 3]);
    await expect(train(model, { inputs: wrong, labels }, { epochs: 1, optimiser: adam() })).rejects.toThrow(
      /expected samples of shape 2/,
    );
    await expect(Sequential.create(engine, [new Linear(2, 4), new Linear(5, 3)], { inputShape: [2] })).rejects.toThrow(
      /layer 1: Linear 5→3: samples of shape 4, expected 5/,
    );
  });

  it("evaluates a dataset in parts where its activations do not fit at once", async () => {
    const engine = await testEngine();
    const data = blobs(150, 3);
    using inputs = engine.tensor([150, 2], data.x);
    using labels = engine.tensor([150], data.labels);
    // 64 samples a part
    const layers = [new Linear(2, 65536, { activation: "relu" }), new Linear(65536, 3)];
    using model = await Sequential.create(engine, layers, { inputShape: [2], seed: 2 });
    const { predictions, loss, accuracy } = await evaluateModel(model, { inputs, labels });
    const logits = await evaluate(engine, (s) => model.forward(s, inputs));
    const expected = reference.crossEntropy(logits, data.labels, 3);
    expect(loss).toBeCloseTo(expected.loss / 150, 5);
    expect(accuracy).toBeCloseTo(expected.right / 150, 6);
    expect([...predictions]).toEqual(
      Array.from({ length: 150 }, (_, row) => {
        const values = [...logits.subarray(3 * row, 3 * row + 3)];
        return values.indexOf(Math.max(...values));
      }),
    );
  });

  it("starts as asked: uniform on ±1/√inputs, or He's normal", async () => {
    const engine = await testEngine();
    const [inputs, outputs] = [200, 101];
    const values: Record<string, number[]> = {};
    for (const start of ["uniform", "he"] as const) {
      using model = await Sequential.create(engine, [new Linear(inputs, outputs, { start })], { inputShape: [inputs] });
      const [weight, bias] = model.parameters;
      values[start] = [...(await engine.read(weight!.value))];
      values[`${start} bias`] = [...(await engine.read(bias!.value))];
    }
    const bound = 1 / Math.sqrt(inputs);
    const spread = (of: number[]) => Math.sqrt(of.reduce((sum, v) => sum + v * v, 0) / of.length);
    expect(Math.max(...values.uniform!.map(Math.abs)) / bound).toBeCloseTo(1, 2);
    expect(spread(values.uniform!) / (bound / Math.sqrt(3))).toBeCloseTo(1, 1);
    expect(spread(values["uniform bias"]!)).toBeGreaterThan(bound / 3);
    expect(spread(values.he!) / Math.sqrt(2 / inputs)).toBeCloseTo(1, 1);
    expect(Math.max(...values.he!.map(Math.abs))).toBeGreaterThan(3 * Math.sqrt(2 / inputs));
    expect(values["he bias"]!.every((v) => v === 0)).toBe(true);
  });

  it("counts weights and multiplications", async () => {
    const engine = await testEngine();
    using model = await Sequential.create(
      engine,
      [new Linear(3, 5, { activation: "relu" }), new Linear(5, 3, { bias: false })],
      { inputShape: [3] },
    );
    expect(model.parameterCount).toBe(35);
    expect(model.counts().map(({ multiplications }) => multiplications)).toEqual([15, 15]);
  });
});

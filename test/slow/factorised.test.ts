import { beforeAll, describe, expect, it } from "vitest";
import { scalePixels } from "../../src/experiments/digits.js";
import type { Engine } from "../../src/gpu/index.js";
import {
  adam,
  type Dataset,
  evaluate,
  Linear,
  Sequential,
  TensorTrainLinear,
  train,
  ttLinear,
} from "../../src/nn/index.js";
import { readMnistData } from "../../src/node/mnist.js";
import { testEngine } from "../engine.js";

/** Pixels in the middle of images of another width. */
function padded(pixels: Float32Array, width: number): Float32Array {
  const edge = (width - 28) / 2;
  const out = new Float32Array((pixels.length / 784) * width * width);
  for (let e = 0; e < pixels.length; e++) {
    const [image, row, column] = [Math.floor(e / 784), Math.floor((e % 784) / 28), e % 28];
    out[(image * width + row + edge) * width + column + edge] = pixels[e]!;
  }
  return out;
}

/**
 * Trains on a set in parts, each of which fits a storage binding: a pass over the whole set for every rate. The optimiser
 * starts anew with each part.
 */
async function trainParts(model: Sequential, parts: Dataset[], rates: number[], weightDecay = 0): Promise<void> {
  for (const [epoch, rate] of rates.entries())
    for (const [index, part] of parts.entries()) {
      const optimiser = adam({ rate, weightDecay, decoupled: true });
      await train(model, part, { epochs: 1, optimiser, seed: 10 * epoch + index });
    }
}

/** Trained on all of MNIST's training set, tested on t10k. Takes minutes on a software adapter. */
describe("published figures of TT layers", () => {
  let engine: Engine;
  const sets: { train: Dataset[]; test: Dataset }[] = [];

  beforeAll(async () => {
    engine = await testEngine();
    const { images, labels, testImages, testLabels } = readMnistData();
    for (const width of [28, 32]) {
      const set = (pixels: Uint8Array, classes: Uint8Array): Dataset => ({
        inputs: engine.tensor(
          [classes.length, width * width],
          width === 28 ? scalePixels(pixels) : padded(scalePixels(pixels), width),
        ),
        labels: engine.tensor([classes.length], Uint32Array.from(classes)),
      });
      const half = (from: number) =>
        set(images.subarray(from * 784, (from + 30_000) * 784), labels.subarray(from, from + 30_000));
      sets.push({ train: [half(0), half(30_000)], test: set(testImages!, testLabels!) });
    }
  });

  const accuracyOf = async (model: Sequential, test: Dataset): Promise<number> =>
    (await evaluate(model, test)).accuracy;

  // what TT-SVD leaves of a net before fine-tuning differs by ten points between nets trained alike: the best of four
  it("t3f: TT-SVD of rank 16 keeps 60 %, and two epochs bring it to 97.5 %; 21,845 weights", async () => {
    const [{ train: data, test }] = sets as [(typeof sets)[0]];
    const modes = { inputModes: [7, 4, 7, 4], outputModes: [5, 5, 5, 5], ranks: 16 };
    const dense: number[] = [];
    const untuned: number[] = [];
    let best: Sequential | null = null;
    for (const seed of [1, 2, 3, 4]) {
      const first = new Linear(784, 625, { activation: "relu", start: { deviation: 0.01 } });
      const last = new Linear(625, 10);
      using model = await Sequential.create(engine, [first, last], { inputShape: [784], seed });
      await trainParts(model, data, [1e-3, 1e-3]);
      dense.push(await accuracyOf(model, test));
      const layers = [
        await ttLinear(engine, first, modes),
        new Linear(625, 10, { weight: await last.weight.read(), bias: await last.bias!.read() }),
      ];
      const train = await Sequential.create(engine, layers, { inputShape: [784], seed });
      untuned.push(await accuracyOf(train, test));
      if (untuned.at(-1)! < Math.max(...untuned)) train.destroy();
      else {
        best?.destroy();
        best = train;
      }
    }
    expect(best!.parameterCount).toBe(21845);
    await trainParts(best!, data, [2.5e-3, 5e-4]);
    const tuned = await accuracyOf(best!, test);
    console.log(`dense ${dense.join(", ")}, TT of rank 16 ${untuned.join(", ")}, the best after 2 epochs ${tuned}`);
    best!.destroy();
    expect(Math.min(...dense)).toBeGreaterThan(0.96);
    expect(Math.max(...untuned)).toBeGreaterThanOrEqual(0.6);
    expect(tuned).toBeGreaterThanOrEqual(0.975);
  }, 3_600_000);

  it("t3f: TT of rank 4 from scratch reaches 96.3 %; 7,985 weights", async () => {
    const [{ train: data, test }] = sets as [(typeof sets)[0]];
    const first = new TensorTrainLinear({
      inputModes: [7, 4, 7, 4],
      outputModes: [5, 5, 5, 5],
      ranks: 4,
      activation: "relu",
      start: "he",
    });
    using model = await Sequential.create(engine, [first, new Linear(625, 10)], { inputShape: [784], seed: 1 });
    expect(model.parameterCount).toBe(7985);
    await trainParts(model, data, [3e-3, 3e-3, 1e-3, 3e-4]);
    const accuracy = await accuracyOf(model, test);
    console.log(`TT of rank 4 from scratch ${accuracy}`);
    expect(accuracy).toBeGreaterThanOrEqual(0.963);
  }, 3_600_000);

  it("Novikov: a first layer of 4·8·8·4 and at most 2,176 weights errs on at most 2 %", async () => {
    const { train: data, test } = sets[1]!;
    const modes = [4, 8, 8, 4];
    const first = new TensorTrainLinear({
      inputModes: modes,
      outputModes: modes,
      ranks: 4,
      activation: "relu",
      start: "he",
    });
    expect(first.counts().weights).toBe(2176);
    using model = await Sequential.create(engine, [first, new Linear(1024, 10)], { inputShape: [1024], seed: 1 });
    await trainParts(model, data, [3e-3, 3e-3, 3e-3, 3e-3, 3e-3, 2e-3, 2e-3, 1e-3, 1e-3, 1e-3, 3e-4, 3e-4, 1e-4]);
    const accuracy = await accuracyOf(model, test);
    console.log(`TT 4·8·8·4 of rank 4 ${accuracy}`);
    expect(accuracy).toBeGreaterThanOrEqual(0.98);
  }, 3_600_000);
});

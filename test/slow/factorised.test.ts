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

  // t3f's notebook has 64 % before fine-tuning; nets trained as here had 32 to 56 % of them left
  it("t3f: TT-SVD of rank 16 keeps some of a net, and two epochs bring it to 97.5 %; 21,845 weights", async () => {
    const [{ train: data, test }] = sets as [(typeof sets)[0]];
    const first = new Linear(784, 625, { activation: "relu" });
    const last = new Linear(625, 10);
    using dense = await Sequential.create(engine, [first, last], { inputShape: [784], seed: 1 });
    await trainParts(dense, data, [1e-3, 1e-3]);
    const denseAccuracy = await accuracyOf(dense, test);
    const layers = [
      await ttLinear(engine, first, { inputModes: [7, 4, 7, 4], outputModes: [5, 5, 5, 5], ranks: 16 }),
      new Linear(625, 10, { weight: await last.weight.read(), bias: await last.bias!.read() }),
    ];
    using model = await Sequential.create(engine, layers, { inputShape: [784], seed: 1 });
    expect(model.parameterCount).toBe(21845);
    const untuned = await accuracyOf(model, test);
    await trainParts(model, data, [2.5e-3, 5e-4]);
    const tuned = await accuracyOf(model, test);
    console.log(`dense ${denseAccuracy}, TT of rank 16 ${untuned}, after 2 epochs ${tuned}`);
    expect(denseAccuracy).toBeGreaterThan(0.965);
    expect(untuned).toBeGreaterThanOrEqual(0.3);
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

  it("Novikov: a first layer of 4·8·8·4 and 2,176 weights comes near the published error of 2 %", async () => {
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
    // 2.03 % after these 13 epochs, 2.08 % after 9
    expect(accuracy).toBeGreaterThanOrEqual(0.977);
  }, 3_600_000);
});

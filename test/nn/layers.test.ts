/** What every layer keeps to: gradients, and being saved, loaded and cloned. */
import { describe, expect, it } from "vitest";
import type { Tensor } from "../../src/gpu/index.js";
import * as nn from "../../src/nn/index.js";
import { Chain, cloneLayer, type Layer, loadModel, Sequential, saveModel } from "../../src/nn/index.js";
import { LAYER_KINDS } from "../../src/nn/layerKinds.js";
import { softmaxCrossEntropy } from "../../src/ops/index.js";
import { testEngine } from "../engine.js";
import * as reference from "../reference/nn.js";
import { randomArray } from "../reference.js";
import { checkGradients } from "./gradients.js";
import { FACTORISED, NETWORKS } from "./layers.js";

describe("gradients agree with finite differences", () => {
  it.each(NETWORKS)("$name", async ({ layers, shape, double = false }) => {
    const engine = await testEngine();
    const batch = 11;
    using model = await Sequential.create(engine, layers(), { inputShape: shape, seed: 7 });
    const size = shape.reduce((a, b) => a * b, 1);
    const data = randomArray(batch * size, 2);
    using x = engine.tensor([batch, ...shape], data);
    const classes = model.outputShape[0]!;
    const classOf = Uint32Array.from({ length: batch }, (_, i) => i % classes);
    using labels = engine.tensor([batch], classOf);
    using curve = engine.tensor([1, 2]);
    using state = engine.tensor([3], Uint32Array.of(0, 0, 5));
    const s = engine.scheduler();
    const logits = model.forward(s, x, { training: true, state, seed: 3 });
    const dy = softmaxCrossEntropy(s, logits, labels, { curve, column: 0, state }, { double });
    const dx = model.backward(s, dy, { inputGradient: true })!;
    using schedule = await s.compile();
    engine.submit(schedule);
    const [inputGradient, ...gradients] = await engine.read([dx, ...model.parameters.map(({ gradient }) => gradient)]);
    const again = engine.scheduler();
    const moved = model.forward(again, x, { training: true, state, seed: 3 });
    using forward = await again.compile();
    /** of the batch's mean, in f64 from the logits: their rounding is all that blurs it */
    const lossOf = async (): Promise<number> => {
      engine.write(state, Uint32Array.of(0, 0, 5));
      engine.submit(forward);
      return reference.crossEntropy(await engine.read(moved), classOf, classes, double).loss / batch;
    };
    // so short that hardly one crosses a kink of relu
    const step = 5e-4;
    const check = async (tensor: Tensor, gradient: ArrayLike<number>) => {
      const values = Float32Array.from(await engine.read(tensor));
      const scale = Math.max(...Array.from(gradient, Math.abs));
      for (let i = 0; i < values.length; i += Math.max(1, Math.floor(values.length / 6))) {
        const losses: number[] = [];
        for (const sign of [1, -1]) {
          const changed = Float32Array.from(values);
          changed[i]! += sign * step;
          engine.write(tensor, changed);
          losses.push(await lossOf());
        }
        engine.write(tensor, values);
        const slope = (losses[0]! - losses[1]!) / (2 * step);
        // the largest error here is a third of this; the batch of a normalisation cancels, which blurs most
        expect(Math.abs(slope - gradient[i]!)).toBeLessThan(4e-3 * scale + 5e-5);
      }
    };
    for (const [index, { value }] of model.parameters.entries()) await check(value, gradients[index]!);
    await check(x, inputGradient!);
    expect(Math.max(...gradients.flatMap((g) => [...g].map(Math.abs)))).toBeGreaterThan(double ? 5e-3 : 2e-2);
  });

  it.each(FACTORISED)("$name", async ({ make, shape, differences = {} }) => {
    await checkGradients(await testEngine(), make(), shape, differences);
  });
});

describe("saved, loaded and cloned layers are the same", () => {
  const networks = [
    ...NETWORKS,
    ...FACTORISED.map(({ name, make, shape }) => ({ name, layers: () => [make()], shape })),
  ];

  it.each(networks)("$name", async ({ layers, shape: inputShape }) => {
    const engine = await testEngine();
    using model = await Sequential.create(engine, layers(), { inputShape, seed: 2 });
    const bytes = await saveModel(model);
    using loaded = await loadModel(engine, bytes);
    const classes = (list: readonly Layer[]) => list.map((layer) => layer.constructor);
    expect(classes(loaded.layers)).toEqual(classes(model.layers));
    expect(loaded.shapes()).toEqual(model.shapes());
    expect(loaded.counts()).toEqual(model.counts());
    expect(await saveModel(loaded)).toEqual(bytes);
    const clones = await Promise.all(model.layers.map(cloneLayer));
    using cloned = await Sequential.create(engine, clones, { inputShape, seed: 9 });
    expect(await saveModel(cloned)).toEqual(bytes);
  });

  it("are of every class and kind between them", () => {
    const withInner = (layer: Layer): Layer[] =>
      layer.constructor === Chain ? [layer, ...(layer as Chain).layers.flatMap(withInner)] : [layer];
    const all = networks.flatMap(({ layers }) => layers().flatMap(withInner));
    const classes = Object.values(nn).filter(
      (value) => typeof value === "function" && "outputShape" in (value.prototype ?? {}),
    );
    // a network, and what factorised convolutions share
    const others: unknown[] = [Sequential, nn.FactorisedConv];
    const classesOfRows = new Set<unknown>(all.map((layer) => layer.constructor));
    expect(classes.filter((value) => !others.includes(value) && !classesOfRows.has(value))).toEqual([]);
    expect(LAYER_KINDS.filter(({ is }) => !all.some(is)).map(({ name }) => name)).toEqual([]);
  });
});

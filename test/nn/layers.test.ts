/** What every layer keeps to: gradients, and being saved, loaded and cloned. */
import { describe, expect, it } from "vitest";
import * as nn from "../../src/nn/index.js";
import { Chain, cloneLayer, type Layer, loadModel, Sequential, saveModel } from "../../src/nn/index.js";
import { LAYER_KINDS } from "../../src/nn/layerKinds.js";
import { testEngine } from "../engine.js";
import { checkGradients, checkNetworkGradients } from "./gradients.js";
import { FACTORISED, NETWORKS } from "./layers.js";

describe("gradients agree with finite differences", () => {
  it.each(NETWORKS)("$name", async ({ layers, shape, double = false }) => {
    const engine = await testEngine();
    using model = await Sequential.create(engine, layers(), { inputShape: shape, seed: 7 });
    await checkNetworkGradients(model, { double });
  });

  it.each(FACTORISED)("$name", async ({ make, shape, differences = {} }) => {
    await checkGradients(await testEngine(), make(), shape, differences);
  });

  it("without those of the weights, products for them are not recorded", async () => {
    const engine = await testEngine();
    const { Conv1d, Conv2d, Conv3d, ConvTranspose2d, Linear } = nn;
    const sides = { inputs: 2, outputs: 3 };
    const cases: [Layer, number[]][] = [
      [new Linear(2, 3), [2]],
      [new Conv1d({ ...sides, kernel: 3 }), [2, 9]],
      [new Conv2d({ ...sides, kernel: 3 }), [2, 5, 5]],
      [new Conv3d({ ...sides, kernel: 2 }), [2, 3, 3, 3]],
      [new ConvTranspose2d({ ...sides, kernel: 3 }), [2, 5, 5]],
    ];
    for (const [layer, inputShape] of cases) {
      using model = await Sequential.create(engine, [layer], { inputShape });
      const kernels = async (weightGradients: boolean): Promise<string> => {
        const s = engine.scheduler();
        const y = model.forward(s, engine.tensor([2, ...inputShape]), { training: true });
        model.backward(s, engine.tensor(y.shape), { inputGradient: true, weightGradients });
        using schedule = await s.compile();
        return `${schedule}`;
      };
      const count = (text: string): number => Number(/(\d+) dispatch/.exec(text)![1]);
      // that of the weight, and that of the bias
      expect(count(await kernels(true)) - count(await kernels(false)), layer.name).toBeGreaterThanOrEqual(2);
    }
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
      layer instanceof Chain ? [layer, ...layer.layers.flatMap(withInner)] : [layer];
    const all = networks.flatMap(({ layers }) => layers().flatMap(withInner));
    const classes = Object.values(nn).filter(
      (value) => typeof value === "function" && "outputShape" in (value.prototype ?? {}),
    );
    // networks and joins, which network.test.ts looks at, and what factorised convolutions share
    const others: unknown[] = [Sequential, nn.Network, nn.Add, nn.Concat, nn.MatMul, nn.Multiply, nn.FactorisedConv];
    const classesOfRows = new Set<unknown>(all.map((layer) => layer.constructor));
    expect(classes.filter((value) => !others.includes(value) && !classesOfRows.has(value))).toEqual([]);
    expect(LAYER_KINDS.filter(({ is }) => !all.some(is)).map(({ name }) => name)).toEqual([]);
  });
});

import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { Activations } from "../../src/compress/activations.js";
import * as calibrate from "../../src/compress/calibrate.js";
import { CompressionPlan, compress, METHODS } from "../../src/compress/index.js";
import type { Engine, Tensor } from "../../src/gpu/index.js";
import { BatchNorm, Conv2d, Flatten, Linear, MaxPool2d, type Network, Sequential } from "../../src/nn/index.js";
import { copy } from "../../src/ops/index.js";
import { expectClose, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

let engine: Engine;
let model: Sequential;
let calibration: Tensor;
beforeAll(async () => {
  engine = await testEngine();
  const layers = [
    new Conv2d({ inputs: 2, outputs: 6, kernel: 3, padding: 1, activation: "relu" }),
    new MaxPool2d(2),
    new Conv2d({ inputs: 6, outputs: 8, kernel: 3, activation: "relu" }),
    new Flatten(),
    new Linear(32, 24, { activation: "relu" }),
    new Linear(24, 5),
  ];
  model = await Sequential.create(engine, layers, { inputShape: [2, 8, 8], seed: 3 });
  calibration = engine.tensor([24, 2, 8, 8], randomArray(24 * 128, 4));
});
afterAll(() => {
  model.destroy();
  calibration.destroy();
});

const total = (network: Sequential): number => network.parameterCount;

/** Outputs of a network for samples. */
async function outputsOf(network: Network, samples: Tensor): Promise<Float32Array> {
  using out = engine.tensor([samples.shape[0]!, ...network.shapes()[network.graph.output]!]);
  await engine.run((s) => void copy(s, network.graph.forward(s, samples, { training: false }), { out }));
  return await out.read();
}

/** ‖y − ŷ‖ ÷ ‖y‖ of the outputs of `model` and of another network. */
async function networkError(other: Sequential): Promise<number> {
  const [y, z] = [await outputsOf(model, calibration), await outputsOf(other, calibration)];
  const norm = (values: Iterable<number>) => Math.sqrt([...values].reduce((sum, value) => sum + value * value, 0));
  return norm(y.map((value, index) => value - z[index]!)) / norm(y);
}

describe("compress", () => {
  it.each(METHODS.map(({ name }) => name))(
    "%s: losses are measured, targets met, the model left as it is",
    async (method) => {
      const before = await Promise.all(model.parameters.map((parameter) => parameter.read()));
      const plan = await CompressionPlan.create(model, { method, calibration, shares: [0.2, 1], seed: 1 });
      expect(plan.layers.map(({ candidates }) => candidates.length > 1)).toEqual(
        model.layers.map((layer) => METHODS.find(({ name }) => name === method)!.of(layer) !== null),
      );
      for (const { candidates } of plan.layers)
        for (const { loss, outputError } of candidates) {
          expect(loss).toBeGreaterThanOrEqual(0);
          expect(outputError).toBeLessThan(1.1);
        }
      const { model: small, layers, reached } = await plan.select({ cost: "weights", ratio: 1.4 }, { force: true });
      expect(reached).toBe(true);
      expect(total(small)).toBeLessThanOrEqual(total(model) / 1.4);
      expect(layers.reduce((sum, { weights }) => sum + weights[1], 0)).toBe(total(small));
      // replacing one layer changes the outputs by the loss that the plan measured
      const replaced = plan.layers.find(({ candidates }) => candidates.length > 1)!;
      const candidate = replaced.candidates[1]!;
      const { model: one } = await plan.select({ ranks: { [replaced.index]: candidate.ranks } }, { force: true });
      expect((await networkError(one)) / Math.sqrt(candidate.loss)).toBeCloseTo(1, 2);
      for (const network of [small, one]) network.destroy();
      expect(await Promise.all(model.parameters.map((parameter) => parameter.read()))).toEqual(before);
    },
  );

  it("takes from another method's plan what both have in common, and gives the same candidates", async () => {
    const options = { calibration, shares: [0.2, 0.6], seed: 1 };
    const cp = await CompressionPlan.create(model, { ...options, method: "cp" });
    const moments = vi.spyOn(calibrate, "secondMoments");
    const alone = vi.spyOn(Activations.prototype, "networkError");
    const numbers = (plan: CompressionPlan) =>
      plan.layers.map(({ candidates }) => candidates.map(({ layer, ...rest }) => [layer?.name, rest]));
    try {
      for (const method of ["cp-corrected", "tucker2"]) {
        const anew = await CompressionPlan.create(model, { ...options, method });
        const [fits] = [alone.mock.calls.length, moments.mockClear(), alone.mockClear()];
        const taken = await CompressionPlan.create(model, { ...options, method, from: cp });
        expect(numbers(taken)).toEqual(numbers(anew));
        // two dense layers, each with two ranks
        expect([method, moments.mock.calls.length, fits - alone.mock.calls.length]).toEqual([method, 0, 4]);
        alone.mockClear();
      }
    } finally {
      vi.restoreAllMocks();
    }
    for (const [more, what] of [
      [{ seed: 2 }, "seed"],
      [{ whiten: false }, "whiten"],
    ] as const)
      await expect(CompressionPlan.create(model, { ...options, ...more, method: "svd", from: cp })).rejects.toThrow(
        `the plan to begin with has another ${what}`,
      );
  });

  it("weighs errors by the inputs", async () => {
    // inputs in few dimensions, so that a layer of low rank that is fitted to them loses nothing
    const narrow = Float32Array.from(
      { length: 40 * 32 },
      (_, index) => Math.sin(Math.floor(index / 32)) * Math.cos(index % 32),
    );
    using x = engine.tensor([40, 32], narrow);
    using net = await Sequential.create(engine, [new Linear(32, 24), new Linear(24, 5)], { inputShape: [32], seed: 8 });
    const errors: number[] = [];
    for (const whiten of [true, false]) {
      const plan = await CompressionPlan.create(net, { method: "svd", calibration: x, shares: [0.1], whiten });
      errors.push(plan.layers[0]!.candidates[1]!.outputError);
    }
    expect(errors[0]).toBeLessThan(1e-3);
    expect(errors[1]).toBeGreaterThan(0.1);
  });

  it("takes the ranks of an energy, and ranks of the caller", async () => {
    const plan = await CompressionPlan.create(model, { method: "svd", calibration });
    const tight = await plan.select({ energy: 0.999 }, { timeBatches: [] });
    const loose = await plan.select({ energy: 0.5 }, { timeBatches: [] });
    expect(total(loose.model)).toBeLessThan(total(tight.model));
    for (const { outputError } of tight.layers) expect(outputError ** 2).toBeLessThanOrEqual(0.001);
    for (const { model: network } of [tight, loose]) network.destroy();
    const byRanks = await compress(model, {
      method: "svd",
      calibration,
      choice: { ranks: { 4: [3] } },
      timeBatches: [],
    });
    expect(byRanks.layers.map(({ ranks }) => ranks)).toEqual([[], [], [], [], [3], []]);
    expect(byRanks.layers.every(({ times }) => times === undefined)).toBe(true);
    const reached = [tight, loose, byRanks].map((result) => result.reached);
    expect(reached).toEqual([true, true, true]);
    byRanks.model.destroy();
  });

  it("leaves alone what would grow, and says so", async () => {
    const { layers, model: same } = await compress(model, {
      method: "svd",
      calibration,
      choice: { ranks: { 4: [24] } },
    });
    expect(layers[4]!.staysBecause).toBe("it would grow");
    expect(layers[0]!.staysBecause).toBe("svd is for dense layers and 1×1 kernels");
    expect(total(same)).toBe(total(model));
    expect(await networkError(same)).toBe(0);
    same.destroy();
  });

  it("reports the ranks that layers took, not those asked for", async () => {
    const options = { calibration, force: true, whiten: false, timeBatches: [] };
    for (const [method, index, asked, taken, weights] of [
      // a 3×3 convolution 6→8 has channel ranks of at most 6 and 8
      ["tucker2", 2, [20, 40], [6, 8], 8 * 6 * 9],
      ["tucker2", 2, [1, 40], [1, 8], 1 * 6 + 8 * 9],
      // two blocks, each of whose ranks is limited by the other rank
      ["btd", 2, [1, 40], [1, 8], 2 * (6 + 8 * 9 + 8 * 8)],
      ["jaderberg1", 2, [2], [2], null],
      ["jaderberg2", 2, [5], [5], 5 * 6 * 3 + 8 * 5 * 3],
      ["cp", 2, [7], [7], 7 * (6 + 3 + 3 + 8)],
      ["svd", 4, [4], [4], 4 * (32 + 24)],
      // 32→24 as a train of two cores, 4·4 and 8·6
      ["tt", 4, [40], [16], 16 * 16 + 16 * 48],
      ["tt", 4, [9], [9], 9 * 16 + 9 * 48],
      ["ring", 4, [2], [2], 4 * (4 + 8 + 4 + 6)],
      ["ring", 4, [2, 3, 2, 3], [2, 3, 2, 3], 6 * (4 + 8 + 4 + 6)],
    ] as [string, number, number[], number[], number | null][]) {
      const { layers, model: network } = await compress(model, {
        ...options,
        method,
        choice: { ranks: { [index]: asked } },
      });
      const { ranks, staysBecause, weights: counted } = layers[index]!;
      expect(`${method} ${asked} took ${ranks} ${staysBecause}`).toBe(`${method} ${asked} took ${taken} `);
      const biases = model.layers[index]!.parameters[1]!.shape[0]!;
      if (weights !== null) expect(counted[1] - biases).toBe(weights);
      network.destroy();
    }
  });

  it("decomposes 1×1 convolutions by the SVD, and says why a layer is left alone", async () => {
    const layers = [
      new Conv2d({ inputs: 6, outputs: 8, kernel: 1, stride: [1, 2], activation: "relu" }),
      new Conv2d({ inputs: 8, outputs: 4, kernel: 3, groups: 2 }),
      new BatchNorm(4),
      new Flatten(),
      new Linear(64, 3),
    ];
    using net = await Sequential.create(engine, layers, { inputShape: [6, 6, 12], seed: 4 });
    using samples = engine.tensor([8, 6, 6, 12], randomArray(8 * 432, 5));
    const reasons = async (method: string) => {
      const plan = await CompressionPlan.create(net, { method, calibration: samples, shares: [] });
      const { layers: report, model: network } = await plan.select({ ranks: {} }, { timeBatches: [] });
      network.destroy();
      return report.map(({ staysBecause }) => staysBecause);
    };
    const NORM = "only layers of Linear and Conv2d are decomposed";
    const rest = [NORM, "it has no weights", "no ranks were asked for"];
    const DENSE = "is for dense layers";
    expect(await reasons("tucker2")).toEqual(["no ranks were asked for", "no ranks were asked for", ...rest]);
    expect(await reasons("svd")).toEqual(["no ranks were asked for", `svd ${DENSE} and 1×1 kernels`, ...rest]);
    expect(await reasons("tt")).toEqual([`tt ${DENSE}`, `tt ${DENSE}`, ...rest]);
    const plan = await CompressionPlan.create(net, { method: "cp", calibration: samples, shares: [0.5, 1] });
    await expect(plan.select({ ranks: { 2: [2] } })).rejects.toThrow(`cp leaves layer 2 (BatchNorm 4) alone: ${NORM}`);
    const [, half, full] = plan.layers[0]!.candidates;
    expect([half!.ranks, full!.ranks, half!.weights]).toEqual([[3], [6], 3 * (6 + 8) + 8]);
    expect(half!.outputError).toBeGreaterThan(0.01);
    expect(full!.outputError).toBeLessThan(1e-5);
    const { model: network } = await plan.select({ ranks: { 0: [6] } }, { force: true });
    expectClose(await outputsOf(network, samples), await outputsOf(net, samples), 1e-4);
    network.destroy();
  });

  it("refuses options and choices by name", async () => {
    const valid = { method: "svd", calibration };
    const plan = await CompressionPlan.create(model, { ...valid, shares: [0.2] });
    // biome-ignore lint/suspicious/noExplicitAny: calls that types forbid
    const any = (value: unknown): any => value;
    for (const [call, message] of [
      [
        () => compress(any(undefined), { ...valid, choice: "evbmf" }),
        "compress: the model is undefined, needs a Sequential",
      ],
      [
        () => compress(model, any({ ...valid, ratio: 2 })),
        'compress: unknown option "ratio"; it has method, calibration',
      ],
      [() => compress(model, any(valid)), 'compress: option "choice" is missing, needs "evbmf", { energy }'],
      [() => compress(model, { ...valid, choice: any("best") }), 'compress: the choice is "best", needs "evbmf"'],
      [() => compress(model, { ...valid, choice: any({}) }), "compress: the choice has nothing, needs"],
      [() => compress(model, { ...valid, choice: any({ rank: 3 }) }), "compress: the choice has rank, needs"],
      [
        () => compress(model, { ...valid, choice: "evbmf", whiten: any(1) }),
        "compress: whiten is 1, needs true or false",
      ],
      [() => CompressionPlan.create(model, any({ ...valid, choice: "evbmf" })), 'compress: unknown option "choice"'],
      [
        () => CompressionPlan.create(model, any({ method: "svd" })),
        'compress: option "calibration" is missing, needs a',
      ],
      [() => CompressionPlan.create(model, { ...valid, shares: any(0.5) }), "compress: shares is 0.5, needs a list"],
      [
        () => CompressionPlan.create(model, { ...valid, method: any(3) }),
        "compress: method is 3, needs the name of one of",
      ],
      [
        () => CompressionPlan.create(model, { ...valid, timeBatch: 0 }),
        "compress: timeBatch is 0, needs a whole number",
      ],
      [() => plan.select(any(undefined)), "compress: the choice is undefined, needs"],
      [() => plan.select(any({ energy: 0.9, ratio: 2 })), 'compress: choice: unknown option "ratio"; it has energy'],
      [
        () => plan.select({ ranks: any([[3]]) }),
        "compress: choice: ranks is [[3]], needs ranks by the places of layers",
      ],
      [() => plan.select({ ranks: { 4: any(3) } }), "compress: ranks of layer 4 are 3, needs a list of them"],
      [() => plan.select({ cost: any("size"), ratio: 2 }), 'compress: choice: cost is "size", needs one of "weights"'],
      [
        () => plan.select({ cost: "weights", ratio: Number.NaN }),
        "compress: choice: ratio is NaN, needs a number, 1 or",
      ],
      [() => plan.select(any({ cost: "weights" })), 'compress: choice: option "ratio" is missing'],
      [() => plan.select({ energy: 0.9 }, any({ forced: true })), 'compress: select: unknown option "forced"; it has'],
      [
        () => plan.select({ energy: 0.9 }, { timeBatches: [0] }),
        "compress: select: timeBatches is [0], needs a list of",
      ],
    ] as [() => Promise<unknown>, string][])
      await expect(call()).rejects.toThrow(message);
  });

  it("says what is wrong", async () => {
    await expect(CompressionPlan.create(model, { method: "magic", calibration })).rejects.toThrow(
      "no method magic; there are svd",
    );
    using wrong = engine.tensor([3, 2, 8, 9]);
    await expect(CompressionPlan.create(model, { method: "svd", calibration: wrong })).rejects.toThrow(
      "expected samples of shape 2×8×8",
    );
    using odd = engine.tensor([3, 2, 8, 8], randomArray(3 * 128, 4).fill(Number.NaN, 140, 141));
    await expect(CompressionPlan.create(model, { method: "svd", calibration: odd })).rejects.toThrow(
      "compress: calibration has 1 entry that is not finite, NaN at [1, 0, 1, 4]; remove or replace it",
    );
    using large = engine.tensor([1, 2, 8, 8], new Float32Array(128).fill(3e38));
    await expect(CompressionPlan.create(model, { method: "svd", calibration: large })).rejects.toThrow(
      /compress: what the network gives for calibration has \d+ entr.* not finite, the first (NaN|infinity) at \[0, \d\]/,
    );
    const plan = await CompressionPlan.create(model, { method: "svd", calibration, shares: [0.2] });
    await expect(plan.select({ ranks: { 0: [1] } })).rejects.toThrow("svd leaves layer 0");
    const unreachable = await plan.select({ cost: "weights", ratio: 1000 });
    expect(unreachable.reached).toBe(false);
    unreachable.model.destroy();
    const abort = new AbortController();
    abort.abort();
    const aborted = CompressionPlan.create(model, { method: "svd", calibration, signal: abort.signal });
    await expect(aborted).rejects.toBe(abort.signal.reason);
  });

  it("frees what it took", async () => {
    {
      using activations = await Activations.of(model, calibration);
      await activations.networkError(4, model.layers[4]!);
    }
    const before = engine.memory().live;
    const { model: network } = await compress(model, {
      method: "svd",
      calibration,
      shares: [0.2],
      choice: { cost: "weights", ratio: 1.2 },
    });
    network.destroy();
    expect(engine.memory().live).toBe(before);
  });
});

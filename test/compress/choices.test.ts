/** Results of a plan's choices: ranks that EVBMF finds, decompositions that are slower, targets of time, unfit choices. */
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import {
  CompressionPlan,
  compress,
  evbmfRank,
  METHODS,
  type Method,
  type Timer,
  timeForward,
} from "../../src/compress/index.js";
import type { Engine, Schedule, Tensor } from "../../src/gpu/index.js";
import { singularValues } from "../../src/nn/factorised/hostMatrices.js";
import { Conv2d, Flatten, Linear, Sequential, svdLinear, ttLinear } from "../../src/nn/index.js";
import { testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

let engine: Engine;
beforeAll(async () => {
  engine = await testEngine();
});

/** Gives the times of an imagined adapter, which takes 0.2 ms for a dispatch and 1 ms for a million multiplications. */
const counting: Timer = async (engine, passes) =>
  passes.map(({ layers, shape }) => {
    using x = engine.tensor(shape);
    const s = engine.scheduler("counted");
    let y = x;
    let multiplications = 0;
    for (const layer of layers) {
      multiplications += y.shape[0]! * layer.counts(y.shape.slice(1)).multiplications;
      y = layer.forward(s, y, { training: false });
    }
    const { dispatches } = s;
    s.destroy();
    return 0.2 * dispatches + multiplications / 1e6;
  });

/** A rows×columns matrix of this rank with entries of about 1, plus noise of about `noise`. */
function planted(rows: number, columns: number, rank: number, noise: number, seed: number): Float32Array {
  const [left, right, noises] = [rows * rank, rank * columns, rows * columns].map((n, at) => randomArray(n, seed + at));
  return noises!.map((value, index) => {
    const [i, j] = [Math.floor(index / columns), index % columns];
    let sum = noise * value;
    for (let r = 0; r < rank; r++) sum += left![i * rank + r]! * right![r * columns + j]!;
    return sum;
  });
}

describe("EVBMF's ranks", () => {
  /** a convolution 12→10 with channel ranks 2 and 3, a dense layer of rank 3, a dense layer of noise; the first two have noise added */
  let model: Sequential;
  let calibration: Tensor;
  beforeAll(async () => {
    const [inputs, outputs, core, noise] = [24, 30, 54, 1080].map((n, at) => randomArray(n, 30 + at));
    const kernel = noise!.map((value, index) => {
      const [o, c, k] = [Math.floor(index / 108), Math.floor(index / 9) % 12, index % 9];
      let sum = 0.02 * value;
      for (let p = 0; p < 2; p++)
        for (let q = 0; q < 3; q++) sum += inputs![c * 2 + p]! * outputs![o * 3 + q]! * core![(p * 3 + q) * 9 + k]!;
      return sum;
    });
    const layers = [
      new Conv2d({ inputs: 12, outputs: 10, kernel: 3, weight: kernel, activation: "relu" }),
      new Flatten(),
      new Linear(40, 60, { weight: planted(60, 40, 3, 0.02, 40), activation: "relu" }),
      new Linear(60, 30, { weight: randomArray(1800, 50) }),
    ];
    model = await Sequential.create(engine, layers, { inputShape: [12, 4, 4], seed: 2 });
    calibration = engine.tensor([16, 12, 4, 4], randomArray(16 * 192, 3));
  });
  afterAll(() => {
    model.destroy();
    calibration.destroy();
  });

  const NOISE = "EVBMF finds nothing but noise in it";

  it("are the planted ranks, and a layer of noise stays", async () => {
    const options = { method: "tucker2", calibration, timeBatches: [] };
    const { layers, model: small, reached } = await compress(model, { ...options, choice: "evbmf" });
    expect(layers.map(({ ranks }) => ranks)).toEqual([[2, 3], [], [3], []]);
    expect(layers.map(({ staysBecause }) => staysBecause)).toEqual(["", "it has no weights", "", NOISE]);
    expect(reached).toBe(true);
    // the ranks leave out the noise only
    for (const { outputError } of layers) expect(outputError).toBeLessThan(0.03);
    small.destroy();
  });

  it("are found for a plan that was made without them, where the method has them", async () => {
    const plan = await CompressionPlan.create(model, { method: "jaderberg2", calibration, shares: [] });
    for (let again = 0; again < 2; again++) {
      const { layers, model: small } = await plan.select("evbmf", { timeBatches: [] });
      expect(layers.map(({ ranks }) => ranks)).toEqual([[], [], [3], []]);
      expect(layers[0]!.staysBecause).toBe("jaderberg2 has no EVBMF ranks");
      expect(layers[3]!.staysBecause).toBe(NOISE);
      small.destroy();
    }
    expect(plan.layers.every(({ candidates }) => candidates.length === 1)).toBe(true);
  });

  it("stand on singular values in f64, repeated ones and zeros too", () => {
    const values = [1e4, 7, 7, 7, 1, 1e-2, 0, 0];
    /** The entries of an orthogonal n×n matrix, a reflection. */
    const reflection = (n: number, seed: number) => {
      const v = randomArray(n, seed);
      const squares = v.reduce((sum, value) => sum + value * value, 0);
      return (i: number, j: number) => (i === j ? 1 : 0) - (2 * v[i]! * v[j]!) / squares;
    };
    for (const [rows, columns] of [
      [8, 8],
      [8, 21],
      [21, 8],
    ] as const) {
      const [u, v] = [reflection(rows, 1), reflection(columns, 2)];
      const a = Float64Array.from({ length: rows * columns }, (_, e) =>
        values.reduce((sum, value, k) => sum + value * u(Math.floor(e / columns), k) * v(e % columns, k), 0),
      );
      const computed = singularValues(a, rows, columns);
      expect(computed.length).toBe(8);
      // values below 1e-8 of the largest are rounding errors
      computed.forEach((value, k) => void expect(Math.abs(value - values[k]!)).toBeLessThan(value > 1 ? 1e-7 : 1e-3));
    }
    expect([...singularValues(Float64Array.of(0, 0, 0, 0), 2, 2)]).toEqual([0, 0]);
    expect([...singularValues(Float64Array.of(-3), 1, 1)]).toEqual([3]);
  });

  it("are found for matrices that are too large for the SVD on the GPU", async () => {
    expect(await evbmfRank(engine, planted(1026, 1030, 4, 0.3, 60), 1026, 1030)).toBe(4);
  }, 60_000);
});

describe("layers whose decomposition is slower", () => {
  /** decomposes the first dense layer into a train of six tiny cores, with a dispatch or more for each, and others by SVD */
  const slowAtFirst: Method = {
    name: "slow at first",
    title: "",
    saves: "weights",
    of(layer) {
      if (!(layer instanceof Linear)) return null;
      if (layer.outputs > 64)
        return { full: [16], fit: ({ engine: e }, [rank]) => svdLinear(e, layer, { rank: rank! }) };
      const modes = { inputModes: new Array<number>(6).fill(2), outputModes: new Array<number>(6).fill(2) };
      return {
        full: [1],
        fit: ({ engine: e }, [ranks]) => ttLinear(e, layer, { ...modes, ranks: ranks!, contraction: "modes" }),
      };
    },
  };
  /** a Kronecker product of six 2×2 matrices, so that a train of rank 1 loses nothing and every search takes it first */
  const weight = (() => {
    const factors = randomArray(24, 70);
    return Float32Array.from({ length: 64 * 64 }, (_, index) => {
      const [o, i] = [index >> 6, index & 63];
      let value = 1;
      for (let k = 0; k < 6; k++) value *= 2 * factors[k * 4 + ((o >> k) & 1) * 2 + ((i >> k) & 1)]!;
      return value;
    });
  })();
  let model: Sequential;
  let calibration: Tensor;
  let plan: CompressionPlan;
  beforeAll(async () => {
    const layers = [new Linear(64, 64, { weight }), new Linear(64, 4096)];
    model = await Sequential.create(engine, layers, { inputShape: [64], seed: 2 });
    calibration = engine.tensor([16, 64], randomArray(16 * 64, 3));
    plan = await CompressionPlan.create(model, {
      method: slowAtFirst,
      calibration,
      shares: [1 / 16, 0.25, 1],
      timer: counting,
    });
  });
  afterAll(() => {
    model.destroy();
    calibration.destroy();
  });
  const BATCH = { timeBatches: [16] };

  it("stay, and other layers are decomposed further for the target", async () => {
    const target = { cost: "weights", ratio: 1.01 } as const;
    const taken = await plan.select(target, { timeBatches: [] });
    expect(taken.layers.map(({ staysBecause }) => staysBecause)).toEqual([
      "",
      "other layers save more for what they lose",
    ]);
    const { layers, model: small, reached } = await plan.select(target, BATCH);
    const [first, second] = layers;
    // 0.2 + 16·64² ÷ 1e6 ms as it was
    expect(first!.staysBecause).toMatch(/^slower here: .* ms instead of 0\.27$/);
    expect(first!.ranks).toEqual([]);
    expect(first!.weights[1]).toBe(first!.weights[0]);
    const [{ batch, before, after }] = first!.times as [{ batch: number; before: number; after: number }];
    expect(batch).toBe(16);
    expect(before).toBeCloseTo(0.2 + (16 * 64 * 64) / 1e6, 9);
    // six dispatches at least
    expect(after).toBeGreaterThan(1.2);
    const back = small.layers[0]!;
    expect(back).toBeInstanceOf(Linear);
    expect(await (back as Linear).weight.read()).toEqual(weight);
    expect(second!.staysBecause).toBe("");
    expect(second!.times![0]!.before).toBeCloseTo(0.2 + (16 * 64 * 4096) / 1e6, 9);
    expect(second!.times![0]!.after).toBeLessThan(second!.times![0]!.before);
    expect(reached).toBe(true);
    expect(small.parameterCount).toBeLessThanOrEqual(model.parameterCount / 1.01);
    for (const network of [taken.model, small]) network.destroy();
  });

  it("leave a target unreached that needs them", async () => {
    const target = { cost: "weights", ratio: 25 } as const;
    const forced = await plan.select(target, { force: true });
    expect(forced.reached).toBe(true);
    expect(forced.model.parameterCount).toBeLessThanOrEqual(model.parameterCount / 25);
    expect(forced.layers.every(({ times }) => times === undefined)).toBe(true);
    const { layers, model: small, reached } = await plan.select(target, BATCH);
    expect(reached).toBe(false);
    expect(layers[0]!.staysBecause).toMatch(/^slower here/);
    expect(small.parameterCount).toBeGreaterThan(model.parameterCount / 25);
    for (const network of [forced.model, small]) network.destroy();
  });

  it("stay also where the caller names the ranks, but only where times are asked for", async () => {
    const options = { method: slowAtFirst, calibration, choice: { ranks: { 0: [1] } }, timer: counting };
    const timed = await compress(model, { ...options, timeBatches: [1] });
    expect(timed.layers[0]!.staysBecause).toMatch(/^slower here/);
    expect(timed.layers[0]!.times!.map(({ batch }) => batch)).toEqual([1]);
    expect(timed.layers[1]!.staysBecause).toBe("no ranks were asked for");
    expect(timed.reached).toBe(true);
    const untimed = await compress(model, options);
    expect(untimed.layers[0]).toMatchObject({ staysBecause: "", ranks: [1] });
    expect(untimed.layers.every(({ times }) => times === undefined)).toBe(true);
    for (const { model: small } of [timed, untimed]) small.destroy();
  });
});

describe("targets of time", () => {
  it("make a network that is as much faster", async () => {
    const batch = 128;
    const layers = [new Linear(96, 96, { activation: "relu" })];
    using model = await Sequential.create(engine, layers, { inputShape: [96], seed: 5 });
    using calibration = engine.tensor([8, 96], randomArray(8 * 96, 6));
    const {
      layers: report,
      model: small,
      reached,
    } = await compress(model, {
      method: "svd",
      calibration,
      whiten: false,
      shares: [0.02, 0.08],
      timeBatch: batch,
      timer: counting,
      // both ranks reach it by far, and rank 8 loses less
      choice: { cost: "time", ratio: 1.5 },
    });
    using _small = small;
    expect(reached).toBe(true);
    expect(report[0]!.staysBecause).toBe("");
    expect(report[0]!.ranks).toEqual([8]);
    // the batch size is the plan's
    expect(report[0]!.times!.map(({ batch: size }) => size)).toEqual([batch]);
    const { before, after } = report[0]!.times![0]!;
    expect(before).toBeCloseTo(0.2 + (batch * 96 * 96) / 1e6, 9);
    expect(after).toBeLessThan(before / 1.5);
    const counted = await counting(engine, [{ layers: small.layers, shape: [batch, 96] }]);
    expect(counted).toEqual([after]);
  });
});

describe("timeForward", () => {
  it("divides each turn's time by the passes in it, and scales by paired ratios", async () => {
    const layers = [new Linear(6, 4), new Linear(4, 3)];
    using _model = await Sequential.create(engine, layers, { inputShape: [6], seed: 1 });
    const { live } = engine.memory();
    // a clock that dispatches move on, by half a millisecond each
    let now = 0;
    const clock = vi.spyOn(performance, "now").mockImplementation(() => now);
    const submit = engine.submit.bind(engine);
    const turns: number[] = [];
    const submitted = vi.spyOn(engine, "submit").mockImplementation((schedule, times = 1) => {
      turns.push(times);
      now += 0.5 * (schedule as Schedule).dispatches * times;
      submit(schedule as Schedule, times);
    });
    try {
      const passes = [layers, [layers[0]!]].map((some) => ({ layers: some, shape: [5, 6] }));
      expect(await timeForward(engine, passes, { rounds: 3, sampleMs: 10 })).toEqual([1, 0.5]);
      // once to warm up, three times to see how long it takes, then rounds of sampleMs at least
      expect(turns).toEqual([1, 3, 1, 3, 10, 20, 10, 20, 10, 20]);
    } finally {
      clock.mockRestore();
      submitted.mockRestore();
    }
    expect(engine.memory().live).toBe(live);
    await expect(timeForward(engine, [], { rounds: 0 })).rejects.toThrow("timeForward: rounds is 0, needs");
  });
});

describe("a choice that does not fit the network", () => {
  it("is refused by name", async () => {
    const layers = [new Conv2d({ inputs: 2, outputs: 4, kernel: 3 }), new Flatten(), new Linear(16, 3)];
    using model = await Sequential.create(engine, layers, { inputShape: [2, 4, 4], seed: 1 });
    using calibration = engine.tensor([6, 2, 4, 4], randomArray(6 * 32, 2));
    const plan = await CompressionPlan.create(model, { method: "tucker2", calibration, shares: [0.5] });
    const ranks = (byPlace: Record<number, number[]>) => plan.select({ ranks: byPlace });
    await expect(ranks({ 40: [3] })).rejects.toThrow("ranks of layer 40, the network has layers 0 to 2");
    await expect(ranks({ 1: [3] })).rejects.toThrow("tucker2 leaves layer 1 (");
    await expect(ranks({ 0: [3] })).rejects.toThrow("ranks 3 of layer 0 (");
    await expect(ranks({ 0: [3] })).rejects.toThrow("tucker2 needs 2 positive whole numbers");
    await expect(ranks({ 2: [] })).rejects.toThrow("tucker2 needs one positive whole number");
    for (const rank of [0, -1, 1.5, Number.NaN]) await expect(ranks({ 2: [rank] })).rejects.toThrow(`ranks ${rank} of`);
    await expect(ranks({ 2: [4] })).rejects.toThrow("rank 4 of");
    for (const energy of [95, 0, -1, Number.NaN])
      await expect(plan.select({ energy })).rejects.toThrow(
        `an energy of ${energy}, needs a share above 0 and up to 1`,
      );
    await expect(plan.select({ cost: "time", ratio: 2 })).rejects.toThrow("needs a plan that was made with timeBatch");
    for (const share of [0, 1.5])
      await expect(CompressionPlan.create(model, { method: "svd", calibration, shares: [share] })).rejects.toThrow(
        `a share of ${share}`,
      );
  });
});

describe("the methods", () => {
  it("have one block for one channel", async () => {
    using model = await Sequential.create(engine, [new Conv2d({ inputs: 1, outputs: 6, kernel: 3 })], {
      inputShape: [1, 5, 5],
      seed: 1,
    });
    const btd = METHODS.find(({ name }) => name === "btd")!.of(model.layers[0]!)!;
    expect(btd.full).toEqual([1, 6]);
    const layer = await btd.fit({ engine, covariance: null, seed: 1 }, [1, 2]);
    expect(layer.name).toContain("1 of 1, 2");
  });

  it("take a dense layer beyond the SVD on the GPU", () => {
    const decomposer = METHODS[0]!.of(new Linear(2048, 2048))!;
    // a subspace iteration takes an SVD of 1024 columns, eight more than the rank
    expect(decomposer.full).toEqual([1016]);
    expect(METHODS[0]!.of(new Linear(1024, 2048))!.full).toEqual([1024]);
  });
});

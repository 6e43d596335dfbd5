import { describe, expect, it } from "vitest";
import {
  blockTermNotes,
  type CompareOptions,
  type CompareProgress,
  type CompareRow,
  type Comparison,
  compareMethods,
  UnfinishedError,
} from "../../src/experiments/compare.js";
import { type Digits, PIXELS } from "../../src/experiments/digits.js";
import { evaluate, loadModel } from "../../src/nn/index.js";
import { readEmbeddedDigits } from "../../src/node/mnist.js";
import { testEngine } from "../engine.js";

/** A few real digits, others to test on. */
function someDigits(count: number, held: number): Digits {
  const { images, labels, source } = readEmbeddedDigits();
  return {
    images: images.subarray(0, count * PIXELS),
    labels: labels.subarray(0, count),
    testImages: images.subarray(9000 * PIXELS, (9000 + held) * PIXELS),
    testLabels: labels.subarray(9000, 9000 + held),
    source,
  };
}

/** as little of all as shows how it works */
const SMALL: CompareOptions = { calibration: 32, shares: [0.3], rounds: 1, seeds: 1, trainEpochs: 2, epochs: 1 };

describe("the comparison of methods", () => {
  it("trains, decomposes convolutions by ratio and by EVBMF, and compares loadings", async () => {
    const engine = await testEngine();
    const source = someDigits(300, 100);
    const told: CompareProgress[] = [];
    const { live } = engine.memory();
    const found = await compareMethods(engine, source, {
      ...SMALL,
      methods: ["tucker2"],
      ratios: [1.5, 1000],
      epochs: 2,
      onProgress: (progress) => told.push(progress),
    });
    expect(engine.memory().live).toBe(live);
    expect(found.rows.map(({ method, target, reached }) => `${method} ${target} ${reached}`)).toEqual([
      "original  true",
      "tucker2 ×1.5 multiplications true",
      "tucker2 ×1000 multiplications false",
      "tucker2 EVBMF true",
      "loadings  true",
    ]);
    expect(found).toMatchObject({
      network: "LeNet 1-6-16-400-120-84-10",
      images: { train: 300, test: 100 },
      notes: [],
    });
    expect(found.stopped).toBeUndefined();
    expect(found.rows[1]!.convolutions).not.toBeNull();
    const [original, ...others] = found.rows as [CompareRow, ...CompareRow[]];
    expect(original.curve.map(({ epoch, validationAccuracy }) => [epoch, validationAccuracy! > 0])).toEqual([
      [1, true],
      [2, true],
    ]);
    expect(original.before).toBeCloseTo(original.curve[1]!.validationAccuracy!, 6);
    for (const row of others.slice(0, 3)) {
      const { layers, convolutions, curve, after } = row;
      const total = (key: "weights" | "multiplications") => layers.reduce((sum, layer) => sum + layer[key][1], 0);
      expect([row.weights, row.multiplications]).toEqual([total("weights"), total("multiplications")]);
      expect(row.multiplicationsRatio).toBeCloseTo(416_520 / row.multiplications, 9);
      const own = layers.filter(({ name }) => name.startsWith("Conv2d"));
      expect(own).toHaveLength(2);
      const squares = own.map(({ outputError }) => outputError ** 2);
      // EVBMF may take the kernels of a network that has hardly learnt for noise
      expect(convolutions === null).toBe(own.every(({ kept }) => kept));
      if (convolutions) {
        expect(convolutions.outputError).toBeCloseTo(Math.sqrt((squares[0]! + squares[1]!) / 2), 9);
        expect(convolutions.outputError).toBeGreaterThan(0);
        expect(convolutions.multiplications).toBe(own.reduce((sum, layer) => sum + layer.multiplications[1], 0));
      }
      expect(curve).toHaveLength(2);
      expect(after.values).toEqual([after.mean]);
      expect(curve[1]!.validationAccuracy).toBeCloseTo(after.mean, 6);
    }
    // the network that is handed back is the one that was decomposed
    using model = await loadModel(engine, found.model);
    using inputs = engine.tensor([100, 1, 28, 28], source.testImages!);
    using labels = engine.tensor([100], Uint32Array.from(source.testLabels!), { dtype: "u32" });
    expect((await evaluate(model, { inputs, labels })).accuracy).toBeCloseTo(original.after.mean, 6);
    // how far it is never falls, and the training counts
    const shares = told.map(({ done }) => done);
    for (const [at, share] of shares.slice(1).entries()) expect(share).toBeGreaterThanOrEqual(shares[at]! - 1e-9);
    expect(shares.at(-1)).toBe(1);
    expect(told[0]!.stage).toBe("training LeNet 1-6-16-400-120-84-10");
    expect(new Set(told.map(({ stage }) => stage)).size).toBe(6);
  }, 600_000);

  it("keeps finished rows where it is aborted, and where it fails", async () => {
    const engine = await testEngine();
    const { live } = engine.memory();
    const source = someDigits(100, 100);
    const start = (options: CompareOptions) =>
      compareMethods(engine, source, { ...SMALL, methods: ["svd"], ratios: [2, 4], ...options }).catch(
        (error: unknown) => error as UnfinishedError,
      ) as Promise<UnfinishedError>;
    const rowsOf = ({ rows }: Comparison) => rows.map(({ method, target }) => `${method} ${target}`);

    const controller = new AbortController();
    const { signal } = controller;
    const aborted = await start({
      signal,
      onProgress({ stage }) {
        if (stage.includes("svd ×4")) controller.abort();
      },
    });
    expect(aborted).toBeInstanceOf(UnfinishedError);
    const { finished, cause } = aborted;
    expect(rowsOf(finished)).toEqual(["original ", "svd ×2 weights"]);
    expect(finished.stopped).toBe("stopped after 2 of 4 rows");
    expect(cause).toBe(signal.reason);

    // the trained network is not lost either
    const failed = await start({
      model: { bytes: finished.model, name: "the one of before" },
      onProgress() {
        throw new Error("the disk is full");
      },
    });
    expect(rowsOf(failed.finished)).toEqual(["original "]);
    expect(failed.finished.rows[0]!.before).toBeCloseTo(finished.rows[0]!.before!, 6);
    expect(failed.message).toBe("compareMethods: failed after 1 of 4 rows: the disk is full");

    // nothing is finished while the network is trained
    const early = await start({
      onProgress() {
        throw new Error("too early");
      },
    });
    expect([early instanceof UnfinishedError, early.message]).toEqual([false, "too early"]);
    await engine.idle();
    expect(engine.memory().live).toBe(live);
  }, 600_000);
});

describe("what is said of block terms", () => {
  const row = (method: string, target: string, multiplications: number, outputError: number, reached = true) =>
    ({ method, target, reached, outputError: 0.5, convolutions: { multiplications, outputError } }) as CompareRow;
  const [btd, cp, tucker] = [row("btd", "×4", 1000, 0.2), row("cp", "×4", 1090, 0.1), row("tucker2", "×4", 930, 0.3)];

  it("holds their convolutions against those with as many multiplications", () => {
    expect(blockTermNotes([btd, cp, tucker])).toEqual([
      "block terms err more in the convolutions' outputs than a row with as many multiplications in the convolutions (within 10 %): btd ×4 0.200, cp ×4 0.100",
    ]);
    expect(blockTermNotes([btd, row("cp", "×4", 1000, 0.2), tucker])).toEqual([
      "block terms err no more in the convolutions' outputs than CP and Tucker-2 with as many multiplications in the convolutions (within 10 %); pairs of rows: 2",
    ]);
  });

  it("compares nothing that is not alike", () => {
    const nothing =
      "block terms: there is no row of CP or Tucker-2 with as many multiplications in the convolutions (within 10 %)";
    // too many, too few, a target that was missed, no convolution replaced
    const others = [row("cp", "×4", 1120, 0.1), row("cp", "×8", 890, 0.1), row("tucker2", "×8", 1000, 0.1, false)];
    const untouched = { ...row("tucker2", "×2", 1000, 0.1), convolutions: null };
    expect(blockTermNotes([btd, ...others, untouched])).toEqual([nothing]);
    expect(blockTermNotes([{ ...btd, reached: false }, cp, tucker])).toEqual([nothing]);
  });

  it("says nothing where a method is missing", () => {
    expect(blockTermNotes([btd, cp])).toEqual([]);
    expect(blockTermNotes([cp, tucker])).toEqual([]);
  });
});

import { describe, expect, it } from "vitest";
import {
  blockTermNotes,
  type CompareOptions,
  type CompareProgress,
  type CompareRow,
  type Comparison,
  compareMethods,
  type LossCurve,
  UnfinishedError,
} from "../../src/experiments/compare.js";
import { type Digits, PIXELS } from "../../src/experiments/digits.js";
import { evaluate, loadModel } from "../../src/nn/index.js";
import { readEmbeddedDigits } from "../../src/node/mnist.js";
import { testEngine } from "../engine.js";

/** The first `count` embedded digits, and `tests` others to test on. */
function someDigits(count: number, tests: number): Digits {
  const { images, labels, source } = readEmbeddedDigits();
  return {
    images: images.subarray(0, count * PIXELS),
    labels: labels.subarray(0, count),
    testImages: images.subarray(9000 * PIXELS, (9000 + tests) * PIXELS),
    testLabels: labels.subarray(9000, 9000 + tests),
    source,
  };
}

/** Options for the shortest comparison that still trains, decomposes and fine-tunes. */
const SMALL: CompareOptions = { calibration: 32, shares: [0.3], rounds: 1, seeds: 1, trainEpochs: 2, epochs: 1 };

describe("the comparison of methods", () => {
  it("trains, decomposes convolutions by ratio and by EVBMF, and compares loadings", async () => {
    const engine = await testEngine();
    const source = someDigits(300, 100);
    const reports: CompareProgress[] = [];
    const { live } = engine.memory();
    const comparison = await compareMethods(engine, source, {
      ...SMALL,
      methods: ["tucker2"],
      ratios: [1.5, 1000],
      epochs: 2,
      onProgress: (progress) => reports.push(progress),
    });
    expect(engine.memory().live).toBe(live);
    expect(comparison.rows.map(({ method, target, reached }) => `${method} ${target} ${reached}`)).toEqual([
      "original  true",
      "tucker2 ×1.5 multiplications true",
      "tucker2 ×1000 multiplications false",
      "tucker2 EVBMF true",
      "loadings  true",
    ]);
    expect(comparison).toMatchObject({
      network: "LeNet 1-6-16-400-120-84-10",
      images: { train: 300, test: 100 },
      notes: [],
    });
    expect(comparison.stopped).toBeUndefined();
    // curves of both convolutions, at fewer multiplications than the original's, with falling errors
    expect(comparison.curves.map(({ method, layer }) => `${method} ${layer}`)).toEqual([
      "tucker2 Conv2d 1→6, 5×5",
      "tucker2 Conv2d 6→16, 5×5",
    ]);
    for (const { points } of comparison.curves)
      for (const [at, { multiplications, outputError }] of points.entries()) {
        expect(multiplications).toBeGreaterThan(points[at - 1]?.multiplications ?? 0);
        expect(outputError).toBeGreaterThan(0);
      }
    const [original, ...others] = comparison.rows as [CompareRow, ...CompareRow[]];
    expect(original.curve.map(({ epoch, validationAccuracy }) => [epoch, validationAccuracy! > 0])).toEqual([
      [1, true],
      [2, true],
    ]);
    expect(original.before).toBeCloseTo(original.curve[1]!.validationAccuracy!, 6);
    for (const row of others.slice(0, 3)) {
      const { layers, curve, after } = row;
      const total = (key: "weights" | "multiplications") => layers.reduce((sum, layer) => sum + layer[key][1], 0);
      expect([row.weights, row.multiplications]).toEqual([total("weights"), total("multiplications")]);
      expect(row.multiplicationsRatio).toBeCloseTo(416_520 / row.multiplications, 9);
      const convolutions = layers.filter(({ name }) => name.startsWith("Conv2d"));
      expect(convolutions).toHaveLength(2);
      expect(curve).toHaveLength(2);
      expect(after.values).toEqual([after.mean]);
      expect(curve[1]!.validationAccuracy).toBeCloseTo(after.mean, 6);
    }
    // `model` is the original network
    using model = await loadModel(engine, comparison.model);
    using inputs = engine.tensor([100, 1, 28, 28], source.testImages!);
    using labels = engine.tensor([100], Uint32Array.from(source.testLabels!), { dtype: "u32" });
    expect((await evaluate(model, { inputs, labels })).accuracy).toBeCloseTo(original.after.mean, 6);
    // the reported share of the work never falls, and includes the training
    const shares = reports.map(({ done }) => done);
    for (const [at, share] of shares.slice(1).entries()) expect(share).toBeGreaterThanOrEqual(shares[at]! - 1e-9);
    expect(shares.at(-1)).toBe(1);
    expect(reports[0]!.stage).toBe("training LeNet 1-6-16-400-120-84-10");
    expect(new Set(reports.map(({ stage }) => stage)).size).toBe(6);
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

    // the unfinished comparison holds the trained network, which a second one can start from
    const failed = await start({
      model: { bytes: finished.model, name: "the one of before" },
      onProgress() {
        throw new Error("the disk is full");
      },
    });
    expect(rowsOf(failed.finished)).toEqual(["original "]);
    expect(failed.finished.rows[0]!.before).toBeCloseTo(finished.rows[0]!.before!, 6);
    expect(failed.message).toBe("compareMethods: failed after 1 of 4 rows: the disk is full");

    // a failure during the training leaves no finished row
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
  const curve = (method: string, ...points: [multiplications: number, outputError: number][]): LossCurve => ({
    method,
    layer: "Conv2d 6→16",
    points: points.map(([multiplications, outputError]) => ({ ranks: [1], multiplications, outputError })),
  });
  const tucker = curve("tucker2", [1000, 0.4], [4000, 0.1]);

  it("is held against the others at equal multiplications, between their ranks", () => {
    // at 2000 multiplications, halfway on a logarithmic axis, Tucker-2's error is 0.2
    const notes = blockTermNotes([
      curve("btd", [2000, 0.3], [4000, 0.11]),
      curve("cp", [2000, 0.3], [5000, 0.2]),
      tucker,
    ]);
    expect(notes).toEqual([
      "block terms of Conv2d 6→16 err no more in their outputs than cp (at 2 equal counts of multiplications)",
      "block terms of Conv2d 6→16 err more in their outputs than tucker2 at 2 of 2 equal counts of multiplications, most at 2,000: 0.300 against 0.200",
    ]);
  });

  it("compares nothing beyond the ranks that were tried, and nothing where a method is missing", () => {
    const btd = curve("btd", [500, 0.9], [9000, 0.01]);
    expect(blockTermNotes([btd, curve("cp", [500, 0.8]), tucker])).toEqual([
      "block terms of Conv2d 6→16 err more in their outputs than cp at 1 of 1 equal counts of multiplications, most at 500: 0.900 against 0.800",
      "block terms of Conv2d 6→16: tucker2 was tried with no ranks of as many multiplications",
    ]);
    expect(blockTermNotes([btd, tucker])).toEqual([]);
  });
});

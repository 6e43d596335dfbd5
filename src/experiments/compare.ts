import { type CompressedLayer, CompressionPlan, METHODS, timeForward } from "../compress/index.js";
import { tuckerHOOI } from "../decompositions/index.js";
import type { Engine, Tensor } from "../gpu/index.js";
import {
  adam,
  type Dataset,
  type Epoch,
  evaluate,
  type Layer,
  LENET_SHAPE,
  Linear,
  lenet,
  loadModel,
  Sequential,
  saveModel,
  type TrainOptions,
  train,
} from "../nn/index.js";
import { copy, unpackBytes } from "../ops/index.js";
import { ALL_DIGITS, type Digits, PIXELS, selectDigits, splitDigits } from "./digits.js";

export interface CompareProgress {
  stage: string;
  /** share of all work, 0 to 1, roughly */
  done: number;
  detail: string;
}

export interface CompareOptions {
  /** names of METHODS; all by default */
  methods?: readonly string[];
  /** how many times fewer weights (of methods for dense layers) or multiplications (of those for convolutions); 2, 4 and 8 by default */
  ratios?: readonly number[];
  /** a row with the ranks of EVBMF too, where a method can */
  evbmf?: boolean;
  /** fine-tuning runs of every row, 3 by default */
  seeds?: number;
  /** of the network that is decomposed; 6 by default */
  trainEpochs?: number;
  /** of fine-tuning, 2 by default */
  epochs?: number;
  /** images to train on at most, all by default */
  images?: number;
  /** images by which errors are weighed and losses measured, 256 by default */
  calibration?: number;
  shares?: readonly number[];
  /** turns of every timing, 31 by default */
  rounds?: number;
  seed?: number;
  /** a trained network to decompose instead of training one, as `saveModel` writes it */
  model?: Uint8Array;
  onProgress?: (progress: CompareProgress) => void;
  signal?: AbortSignal | undefined;
}

/** Mean and standard deviation over seeds. */
export interface Spread {
  mean: number;
  deviation: number;
  values: number[];
}

export interface CompareRow {
  method: string;
  title: string;
  /** `×4 weights`, `EVBMF`, or empty for the network as it is */
  target: string;
  /** false where the method cannot get so small; then the smallest it can */
  reached: boolean;
  weights: number;
  multiplications: number;
  /** times fewer than the original has */
  weightsRatio: number;
  multiplicationsRatio: number;
  dispatches: number;
  /** ‖W − Ŵ‖ ÷ ‖W‖ and ‖y − ŷ‖ ÷ ‖y‖ of all replaced layers together (root mean square) */
  weightError: number;
  outputError: number;
  /** held-out accuracy before fine-tuning */
  before: number;
  /** and after it */
  after: Spread;
  epochs: number;
  /** median milliseconds of a forward pass, and that of the original measured in turn with it, by batch size */
  time: { batch: number; ms: number; original: number }[];
  layers: CompressedLayer[];
  /** of the first seed */
  curve: Epoch[];
}

export interface Comparison {
  adapter: string;
  data: string;
  images: { train: number; test: number };
  network: string;
  /** the network as it is comes first */
  rows: CompareRow[];
  seconds: number;
  /** the trained network */
  model: Uint8Array;
}

const BATCHES = [1, 100];
const BATCH = 100;

/** A LeNet's samples: one grey image each, in bytes. The tensors are the caller's to destroy. */
export const uploadDigits = (engine: Engine, images: Uint8Array, labels: ArrayLike<number>): Dataset => ({
  inputs: engine.tensor([labels.length, ...LENET_SHAPE], images),
  labels: engine.tensor([labels.length], Uint32Array.from(labels), { dtype: "u32" }),
});

function datasets(engine: Engine, source: Digits, most: number) {
  const { images, labels } = selectDigits(source.images, source.labels, ALL_DIGITS);
  const part = (start: number, stop: number): Dataset =>
    uploadDigits(engine, images.subarray(start * PIXELS, stop * PIXELS), labels.subarray(start, stop));
  // t10k where there is one; else the last fifth, as in the study
  if (source.testImages && source.testLabels)
    return {
      train: part(0, Math.min(most, labels.length)),
      test: uploadDigits(engine, source.testImages, source.testLabels),
    };
  const split = splitDigits(labels.length);
  return { train: part(0, Math.min(most, split.train[1])), test: part(...split.test) };
}

/** Images from `start` on as numbers. */
const unpackRows = (engine: Engine, images: Tensor, start: number, out: Tensor): Promise<void> =>
  engine.run((s) => {
    unpackBytes(s, images.rows(start, start + out.shape[0]!), { out });
  }, "images");

const spread = (values: number[]): Spread => {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : 0, values };
};

const rootMeanSquare = (values: readonly number[]): number =>
  values.length ? Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length) : 0;

/** of a compressed network's fine-tuning */
export const TUNING_RATE = 1e-3;

/**
 * Adam, then a tenth of its rate for the last third: what a constant rate keeps moving settles. Throws where it is aborted;
 * the network keeps what it has learnt.
 */
export async function fit(
  model: Sequential,
  dataset: Dataset,
  options: {
    epochs: number;
    rate: number;
    seed: number;
    onEpoch?: (epoch: Epoch) => void;
  } & Pick<TrainOptions, "signal" | "validation" | "submitWork" | "onProgress">,
): Promise<Epoch[]> {
  const { epochs, rate, seed, signal, onEpoch, onProgress, ...others } = options;
  const last = Math.floor(epochs / 3);
  const curve: Epoch[] = [];
  for (const [count, at] of [
    [epochs - last, rate],
    [last, rate / 10],
  ] as const) {
    if (!count) continue;
    const before = curve.length;
    await train(model, dataset, {
      epochs: count,
      batchSize: BATCH,
      optimiser: adam({ rate: at }),
      seed: seed + curve.length,
      signal,
      ...others,
      onProgress: (done) => onProgress?.(before + done),
      onEpoch(epoch) {
        curve.push({ ...epoch, epoch: curve.length + 1 });
        onEpoch?.(curve.at(-1)!);
      },
    });
    signal?.throwIfAborted();
  }
  return curve;
}

/** Dispatches of one forward pass. */
async function dispatchesOf(model: Sequential, batch: number): Promise<number> {
  const { engine } = model;
  using x = engine.tensor([batch, ...model.inputShape]);
  const s = engine.scheduler("count");
  try {
    model.forward(s, x);
    using schedule = await s.compile();
    const before = engine.counters.dispatches;
    engine.submit(schedule);
    return engine.counters.dispatches - before;
  } finally {
    s.destroy();
  }
}

/**
 * Trains a LeNet on digits, decomposes it with every method of the thesis' chapter on previous work, fine-tunes each, and
 * measures all on one adapter: weights, multiplications, errors, accuracy before and after, time. The thesis' first method
 * is there too: a dense network of the same size on Tucker loadings of the images.
 */
export async function compareMethods(
  engine: Engine,
  source: Digits,
  options: CompareOptions = {},
): Promise<Comparison> {
  const { ratios = [2, 4, 8], evbmf = true, seeds = 3, trainEpochs = 6, epochs = 2, seed = 1 } = options;
  const { images = Number.POSITIVE_INFINITY, calibration = 256, rounds = 31, shares, signal, onProgress } = options;
  const methods = METHODS.filter(({ name }) => !options.methods || options.methods.includes(name));
  const started = performance.now();
  const { train: training, test } = datasets(engine, source, images);
  const owned: { destroy(): void }[] = [training.inputs, training.labels, test.inputs, test.labels];
  try {
    const count = training.inputs.shape[0]!;
    // in epochs of the original network, which the others resemble; a plan costs about two small ones
    const step = count / 1000;
    const rowsOf = methods.map(({ name }) => ratios.length + (evbmf && name === "tucker2" ? 1 : 0));
    const work = {
      train: trainEpochs * step,
      plan: 1,
      row: epochs * seeds * step + 0.3,
      loadings: epochs * seeds * step,
    };
    const total =
      work.train + methods.length * work.plan + rowsOf.reduce((a, b) => a + b, 0) * work.row + work.loadings;
    let done = 0;
    const tell = (stage: string, detail: string, share = 0): void =>
      onProgress?.({ stage, done: Math.min(1, (done + share) / total), detail });

    const original = options.model
      ? await loadModel(engine, options.model, "the network to decompose")
      : await Sequential.create(engine, lenet(), { inputShape: LENET_SHAPE, seed });
    owned.push(original);
    const rows: CompareRow[] = [];
    const curve = options.model
      ? []
      : await fit(original, training, {
          epochs: trainEpochs,
          rate: 2e-3,
          seed,
          signal,
          onEpoch: ({ epoch, accuracy }) =>
            tell(
              "training LeNet",
              `epoch ${epoch} of ${trainEpochs}, accuracy ${(100 * accuracy).toFixed(1)} %`,
              epoch * step,
            ),
        });
    done += work.train;
    const { accuracy } = await evaluate(original, test);
    const [times, dispatches] = [await timesOf(engine, [original], rounds), await dispatchesOf(original, 1)];
    const size = sizesOf(original);
    rows.push({
      method: "original",
      title: "LeNet as it is",
      target: "",
      reached: true,
      ...size,
      weightsRatio: 1,
      multiplicationsRatio: 1,
      dispatches,
      weightError: 0,
      outputError: 0,
      before: accuracy,
      after: spread([accuracy]),
      epochs: 0,
      time: BATCHES.map((batch, at) => ({ batch, ms: times[at]![0]!, original: times[at]![0]! })),
      layers: [],
      curve,
    });

    const samples = engine.tensor([Math.min(calibration, count), ...LENET_SHAPE]);
    owned.push(samples);
    await unpackRows(engine, training.inputs, 0, samples);
    for (const method of methods) {
      const plan = await CompressionPlan.create(original, {
        method,
        calibration: samples,
        evbmf: evbmf && method.name === "tucker2",
        seed,
        signal,
        ...(shares && { shares }),
        onProgress: (at, all, what) => tell(`${method.name}: decomposing`, what, (work.plan * at) / all),
      });
      done += work.plan;
      const choices = [
        ...ratios.map((ratio) => ({
          target: `×${ratio} ${method.saves}`,
          choice: { cost: method.saves, ratio } as const,
        })),
        ...(evbmf && method.name === "tucker2" ? [{ target: "EVBMF", choice: "evbmf" as const }] : []),
      ];
      for (const { target, choice } of choices) {
        const accuracies: number[] = [];
        let row: CompareRow | null = null;
        for (let run = 0; run < seeds; run++) {
          signal?.throwIfAborted();
          const { model, layers, reached } = await plan.select(choice, {
            force: true,
            timeBatches: run === 0 ? BATCHES : [],
          });
          try {
            if (!row) {
              const found = await timesOf(engine, [original, model], rounds);
              const replaced = layers.filter(({ kept }) => !kept);
              const own = sizesOf(model);
              row = {
                method: method.name,
                title: method.title,
                target,
                reached,
                ...own,
                weightsRatio: size.weights / own.weights,
                multiplicationsRatio: size.multiplications / own.multiplications,
                dispatches: await dispatchesOf(model, 1),
                weightError: rootMeanSquare(replaced.map((layer) => layer.weightError)),
                outputError: rootMeanSquare(replaced.map((layer) => layer.outputError)),
                before: (await evaluate(model, test)).accuracy,
                after: spread([0]),
                epochs,
                time: BATCHES.map((batch, at) => ({ batch, ms: found[at]![1]!, original: found[at]![0]! })),
                layers,
                curve: [],
              };
            }
            const tuned = await fit(model, training, {
              epochs,
              rate: TUNING_RATE,
              seed: seed + 100 * run,
              signal,
              onEpoch: ({ epoch, accuracy: found }) =>
                tell(
                  `${method.name} ${target}: fine-tuning`,
                  `seed ${run + 1} of ${seeds}, epoch ${epoch} of ${epochs}, accuracy ${(100 * found).toFixed(1)} %`,
                  (run * epochs + epoch) * step,
                ),
            });
            if (run === 0) row.curve = tuned;
            accuracies.push((await evaluate(model, test)).accuracy);
          } finally {
            model.destroy();
          }
        }
        done += work.row;
        rows.push({ ...row!, after: spread(accuracies) });
      }
    }
    rows.push(
      await onLoadings(engine, training, test, size, {
        epochs: epochs + trainEpochs,
        seeds,
        seed,
        rounds,
        signal,
        tell: (detail) => tell("loadings as inputs", detail),
      }),
    );
    return {
      adapter: engine.adapterName,
      data: source.source,
      images: { train: count, test: test.labels.size },
      network: "LeNet 1-6-16-400-120-84-10",
      rows,
      seconds: (performance.now() - started) / 1000,
      model: await saveModel(original),
    };
  } finally {
    for (const item of owned) item.destroy();
  }
}

/**
 * Where block terms err more in their outputs than CP or Tucker-2 at the same target; empty where they do not.
 */
export function blockTermsBehind(rows: readonly CompareRow[]): { target: string; method: string }[] {
  return rows
    .filter(({ method }) => method === "btd")
    .flatMap((btd) =>
      rows
        .filter(({ method, target }) => ["cp", "tucker2"].includes(method) && target === btd.target)
        .filter(({ outputError }) => outputError < btd.outputError)
        .map(({ method, target }) => ({ target, method })),
    );
}

const sizesOf = (model: Sequential): { weights: number; multiplications: number } => ({
  weights: model.parameterCount,
  multiplications: model.counts().reduce((sum, { multiplications }) => sum + multiplications, 0),
});

/** Milliseconds of forward passes, by batch size and network; networks take turns. */
async function timesOf(engine: Engine, models: readonly Sequential[], rounds: number): Promise<number[][]> {
  const found: number[][] = [];
  for (const batch of BATCHES)
    found.push(
      await timeForward(
        engine,
        models.map(({ layers, inputShape }) => ({ layers, shape: [batch, ...inputShape] })),
        { rounds },
      ),
    );
  return found;
}

/** images that are projected at once; views of bytes begin at multiples of 256 */
const CHUNK = 8192;
/** columns of the loadings that the thesis' first method has here */
const LOADINGS = 60;

/**
 * The thesis' first method with the budget of the network: Tucker loadings of the images as inputs of a dense network with
 * one hidden layer, as wide as the weights allow. The projection onto the components is part of its multiplications.
 */
async function onLoadings(
  engine: Engine,
  training: Dataset,
  test: Dataset,
  budget: { weights: number; multiplications: number },
  options: {
    epochs: number;
    seeds: number;
    seed: number;
    rounds: number;
    signal?: AbortSignal | undefined;
    tell: (detail: string) => void;
  },
): Promise<CompareRow> {
  const { epochs, seeds, seed, rounds, signal, tell } = options;
  const count = training.labels.size;
  const rank = Math.min(LOADINGS, count);
  // the components come from as many images as one tensor of numbers holds (42,799 at WebGPU's default limit)
  const binds = Math.floor(engine.device.limits.maxStorageBufferBindingSize / (4 * PIXELS));
  using images = engine.tensor([Math.min(count, binds), 28, 28]);
  await unpackRows(engine, training.inputs.reshape([count, 28, 28]), 0, images);
  const { tensor, relativeError } = await tuckerHOOI(engine, images, {
    ranks: [rank, 28, 28],
    sweeps: 3,
    tolerance: 1e-4,
  });
  const owned: { destroy(): void }[] = [tensor];
  const own = <T extends { destroy(): void }>(item: T): T => {
    owned.push(item);
    return item;
  };
  try {
    // loadings of norm 1 a column are tiny: standardised by the components' second moment they suit a network
    const project = async (x: Tensor): Promise<Tensor> => {
      const samples = x.shape[0]!;
      using loadings = engine.tensor([samples, rank]);
      for (let start = 0; start < samples; start += CHUNK) {
        const stop = Math.min(start + CHUNK, samples);
        await engine.run((s) => {
          const part = unpackBytes(s, x.rows(start, stop)).reshape([stop - start, 28, 28]);
          copy(s, tensor.project(s, part), { out: loadings.rows(start, stop) });
        }, "loadings");
      }
      const values = (await loadings.read()) as Float32Array;
      return own(
        engine.tensor(
          [samples, rank],
          values.map((value) => value * Math.sqrt(images.shape[0]!)),
        ),
      );
    };
    const inputs = await project(training.inputs);
    const testInputs = await project(test.inputs);
    const hidden = Math.floor((budget.weights - 10) / (rank + 11));
    const accuracies: number[] = [];
    let row: CompareRow | null = null;
    for (let run = 0; run < seeds; run++) {
      const layers: Layer[] = [new Linear(rank, hidden, { activation: "relu", start: "he" }), new Linear(hidden, 10)];
      const model = await Sequential.create(engine, layers, { inputShape: [rank], seed: seed + 100 * run });
      try {
        const curve = await fit(
          model,
          { inputs, labels: training.labels },
          {
            epochs,
            rate: 2e-3,
            seed: seed + 100 * run,
            signal,
            onEpoch: ({ epoch, accuracy }) =>
              tell(
                `seed ${run + 1} of ${seeds}, epoch ${epoch} of ${epochs}, accuracy ${(100 * accuracy).toFixed(1)} %`,
              ),
          },
        );
        accuracies.push((await evaluate(model, { inputs: testInputs, labels: test.labels })).accuracy);
        if (row) continue;
        // a deployed one has the projection as its first layer
        const projection = await Sequential.create(engine, [new Linear(PIXELS, rank, { bias: false })], {
          inputShape: [PIXELS],
        });
        try {
          const times: number[] = [];
          for (const batch of BATCHES)
            times.push(
              (
                await timeForward(engine, [{ layers: [...projection.layers, ...layers], shape: [batch, PIXELS] }], {
                  rounds,
                })
              )[0]!,
            );
          const weights = model.parameterCount;
          const multiplications = PIXELS * rank + sizesOf(model).multiplications;
          row = {
            method: "loadings",
            title: `Tucker loadings as inputs (Rasmussen 2020), ${rank}-${hidden}-10`,
            target: "",
            reached: true,
            weights,
            multiplications,
            weightsRatio: budget.weights / weights,
            multiplicationsRatio: budget.multiplications / multiplications,
            dispatches: layers.length + 1,
            weightError: 0,
            outputError: relativeError,
            before: Number.NaN,
            after: spread([0]),
            epochs,
            time: BATCHES.map((batch, at) => ({ batch, ms: times[at]!, original: Number.NaN })),
            layers: [],
            curve,
          };
        } finally {
          projection.destroy();
        }
      } finally {
        model.destroy();
      }
    }
    return { ...row!, after: spread(accuracies) };
  } finally {
    for (const item of owned) item.destroy();
  }
}

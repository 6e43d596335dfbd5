import { type CompressedLayer, CompressionPlan, METHODS, type Method, timeForward } from "../compress/index.js";
import { tuckerHOOI } from "../decompositions/index.js";
import { type Engine, formatShape, TenfoldError, type Tensor } from "../gpu/index.js";
import { FormatError } from "../io/index.js";
import {
  adam,
  Conv2d,
  cloneLayer,
  type Dataset,
  type Epoch,
  evaluate,
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
  /** `fine-tuning tucker2 ×4 multiplications` */
  stage: string;
  /** share of all work that is done, 0 to 1, estimated */
  done: number;
  detail: string;
}

export interface CompareOptions {
  /** names of METHODS; all by default */
  methods?: readonly string[];
  /**
   * a row for each: times fewer weights for methods of dense layers, times fewer multiplications for methods of convolutions;
   * 2, 4 and 8 by default
   */
  ratios?: readonly number[];
  /** adds a row with the ranks of EVBMF to Tucker-2; true by default */
  evbmf?: boolean;
  /** fine-tuning runs of every row, 3 by default */
  seeds?: number;
  /** epochs of the network that is decomposed, 6 by default */
  trainEpochs?: number;
  /** epochs of fine-tuning, 2 by default */
  epochs?: number;
  /** the most images to train on, all by default */
  images?: number;
  /** images by which errors are weighed and losses measured, 256 by default */
  calibration?: number;
  /** ranks to try, as shares of the full ranks; those of `CompressionPlan.create` by default */
  shares?: readonly number[];
  /** turns of every timing, 31 by default */
  rounds?: number;
  /** of start values, fits and shuffling; 1 by default */
  seed?: number;
  /** a trained network of 1×28×28 images and ten classes to decompose instead of training one, as `saveModel` writes it */
  model?: { bytes: Uint8Array /** for messages */; name: string };
  onProgress?: (progress: CompareProgress) => void;
  signal?: AbortSignal | undefined;
}

/** Accuracies over seeds, with mean and standard deviation. */
export interface Spread {
  mean: number;
  deviation: number;
  values: number[];
}

export interface CompareRow {
  method: string;
  title: string;
  /** `×4 weights`, `EVBMF`, or empty for the original network */
  target: string;
  /** false where the method cannot reach the target; the row then shows the smallest network that it can make */
  reached: boolean;
  /** stored numbers */
  weights: number;
  /** of a forward pass of one sample */
  multiplications: number;
  /** the original's weights ÷ the row's */
  weightsRatio: number;
  /** the original's multiplications ÷ the row's */
  multiplicationsRatio: number;
  /** of a forward pass */
  dispatches: number;
  /** root mean square over the replaced layers of ‖W − Ŵ‖ ÷ ‖W‖; 0 where none was replaced */
  weightError: number;
  /** root mean square over the replaced layers of ‖y − ŷ‖ ÷ ‖y‖; 0 where none was replaced */
  outputError: number;
  /** held-out accuracy before fine-tuning; null for a network that is not a decomposition of the original */
  before: number | null;
  /** held-out accuracies after fine-tuning */
  after: Spread;
  /** epochs of fine-tuning, or of training for a network that is not fine-tuned */
  epochs: number;
  /** median milliseconds of a forward pass, and of the original's passes measured in turn with them, by batch size */
  time: { batch: number; ms: number; original: number }[];
  layers: CompressedLayer[];
  /** epochs of the first seed, with held-out accuracies where there are several */
  curve: Epoch[];
}

/** The error of a convolution's outputs by one method against its multiplications, in ascending order of multiplications. */
export interface LossCurve {
  method: string;
  /** `Conv2d 6→16` */
  layer: string;
  points: { ranks: readonly number[]; multiplications: number; outputError: number }[];
}

export interface Comparison {
  adapter: string;
  data: string;
  images: { train: number; test: number };
  /** the original's name and widths: `LeNet 1-6-16-400-120-84-10` */
  network: string;
  /** the original network's row comes first */
  rows: CompareRow[];
  /** one for every convolution and every method that decomposes it, at all ranks that were tried */
  curves: LossCurve[];
  /** sentences that compare the curves (blockTermNotes) */
  notes: string[];
  /** why rows are missing, if the comparison ended early */
  stopped?: string;
  seconds: number;
  /** the original network, as `saveModel` writes it */
  model: Uint8Array;
}

/** The comparison ended early, by an abort or by the error in `cause`. `finished` holds the rows until then. */
export class UnfinishedError extends TenfoldError {
  override name = "UnfinishedError";
  override readonly code = "UNFINISHED";
  constructor(
    readonly finished: Comparison,
    cause: unknown,
  ) {
    super(`compareMethods: ${finished.stopped}`, { cause });
  }
}

const BATCHES = [1, 100] as const;
const BATCH = 100;

/** Uploads images as samples of a LeNet: N×1×28×28 bytes, and N labels. The caller destroys the tensors. */
export const uploadDigits = (engine: Engine, images: Uint8Array, labels: ArrayLike<number>): Dataset => ({
  inputs: engine.tensor([labels.length, ...LENET_SHAPE], images),
  labels: engine.tensor([labels.length], Uint32Array.from(labels), { dtype: "u32" }),
});

function datasets(engine: Engine, source: Digits, most: number) {
  const { images, labels } = selectDigits(source.images, source.labels, ALL_DIGITS);
  const part = (start: number, stop: number): Dataset =>
    uploadDigits(engine, images.subarray(start * PIXELS, stop * PIXELS), labels.subarray(start, stop));
  // tests on t10k where the data set has it, otherwise on the last fifth, as the MNIST study does
  if (source.testImages && source.testLabels)
    return {
      train: part(0, Math.min(most, labels.length)),
      test: uploadDigits(engine, source.testImages, source.testLabels),
    };
  const split = splitDigits(labels.length);
  return { train: part(0, Math.min(most, split.train[1])), test: part(...split.test) };
}

/** Unpacks the images from `start` on, as many as `out` has, from bytes to numbers from 0 to 1. */
const unpackRows = (engine: Engine, images: Dataset["inputs"], start: number, out: Tensor): Promise<void> =>
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

/** Adam's rate for the fine-tuning of a compressed network. */
export const TUNING_RATE = 1e-3;

/**
 * Trains with Adam, at a tenth of the rate in the last third of the epochs, because the accuracy fluctuates at a constant rate.
 *
 * @throws the signal's reason where it is aborted; the network keeps what it has learnt
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

/** The number of dispatches in a forward pass. */
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

/** The network's widths where they change, with its name: `LeNet 1-6-16-400-120-84-10`. */
function layoutOf(model: Sequential): string {
  const widths = model.shapes().map(([width]) => width);
  const layout = widths.filter((width, at) => width !== widths[at - 1]).join("-");
  const names = (layers: Sequential["layers"]): string => layers.map(({ name }) => name).join();
  return names(model.layers) === names(lenet()) ? `LeNet ${layout}` : layout;
}

async function loadOriginal(engine: Engine, { bytes, name }: NonNullable<CompareOptions["model"]>) {
  const model = await loadModel(engine, bytes, name);
  const [input, output] = [formatShape(model.inputShape), formatShape(model.outputShape)];
  if (input === formatShape(LENET_SHAPE) && output === String(ALL_DIGITS.length)) return model;
  model.destroy();
  throw new FormatError(
    name,
    `takes samples of ${input} to ${output} numbers, the comparison needs ${formatShape(LENET_SHAPE)} to ${ALL_DIGITS.length} classes`,
  );
}

/**
 * Estimated work of the comparison's parts, for the progress bar. The unit is an epoch of a LeNet on a thousand images, half a
 * second on lavapipe.
 */
const WORK = { plan: 20, row: 10, loadings: 2 };

/** Reports the progress of the entire comparison. */
class Teller {
  #done = 0;
  constructor(
    private readonly total: number,
    /** work of an epoch of the original network */
    readonly epoch: number,
    private readonly onProgress: CompareOptions["onProgress"],
  ) {}

  /** Counts so much work as done. */
  finish(work: number): void {
    this.#done += work;
  }

  /** Reports a stage, with `work` done of the part that is not finished. */
  tell(stage: string, detail: string, work = 0): void {
    // rounded, so that the sum of all parts is 1 exactly
    const done = Math.round((1e9 * (this.#done + work)) / this.total) / 1e9;
    this.onProgress?.({ stage, done: Math.min(1, done), detail });
  }

  /** Callbacks for `fit` that report its progress. */
  follow(stage: string, { run = 0, runs = 1, epochs = 1, epoch: cost = this.epoch }) {
    const seed = runs > 1 ? `seed ${run + 1} of ${runs}, ` : "";
    let detail = `${seed}epoch 1 of ${epochs}`;
    return {
      onEpoch: ({ epoch, accuracy }: Epoch) => {
        detail = `${seed}epoch ${epoch} of ${epochs}, accuracy ${(100 * accuracy).toFixed(1)} %`;
      },
      onProgress: (done: number) => this.tell(stage, detail, (run * epochs + done) * cost),
    };
  }
}

/**
 * Trains a LeNet on digits, decomposes it by every method of the thesis' chapter on previous work, fine-tunes the results, and
 * measures all networks on one adapter: weights, multiplications, errors, accuracy before and after fine-tuning, time. The last
 * row is the thesis' first method: a dense network of the same size on Tucker loadings of the images.
 *
 * @throws UnfinishedError where it is aborted or fails after the first row, with the rows until then; before the first row, the
 * error itself
 * @throws FormatError where `model` is not a network from 1×28×28 images to ten classes
 */
export async function compareMethods(
  engine: Engine,
  source: Digits,
  options: CompareOptions = {},
): Promise<Comparison> {
  const { ratios = [2, 4, 8], evbmf = true, seeds = 3, trainEpochs = 6, epochs = 2, seed = 1 } = options;
  const { images = Number.POSITIVE_INFINITY, calibration = 256, rounds = 31, shares, signal } = options;
  const methods = METHODS.filter(({ name }) => !options.methods || options.methods.includes(name)).map((method) => {
    const withEvbmf = evbmf && method.name === "tucker2";
    return { method, evbmf: withEvbmf, count: ratios.length + (withEvbmf ? 1 : 0) };
  });
  const started = performance.now();
  const { train: training, test } = datasets(engine, source, images);
  const items: { destroy(): void }[] = [training.inputs, training.labels, test.inputs, test.labels];
  try {
    const count = training.inputs.shape[0]!;
    const epoch = count / 1000;
    const rowWork = epochs * seeds * epoch + WORK.row;
    const compared = methods.reduce((sum, { count }) => sum + count, 0);
    const trainWork = options.model ? 0 : trainEpochs * epoch;
    const loadingsWork = WORK.loadings + (epochs + trainEpochs) * seeds * epoch * LOADINGS_EPOCH;
    const total = trainWork + methods.length * WORK.plan + compared * rowWork + loadingsWork;
    const teller = new Teller(total, epoch, options.onProgress);

    const original = options.model
      ? await loadOriginal(engine, options.model)
      : await Sequential.create(engine, lenet(), { inputShape: LENET_SHAPE, seed });
    items.push(original);
    const network = layoutOf(original);
    const curve = options.model
      ? []
      : await fit(original, training, {
          epochs: trainEpochs,
          rate: 2e-3,
          seed,
          signal,
          ...(trainEpochs > 1 && { validation: test }),
          ...teller.follow(`training ${network}`, { epochs: trainEpochs }),
        });
    teller.finish(trainWork);
    const model = options.model?.bytes ?? (await saveModel(original));

    const rows: CompareRow[] = [];
    const curves: LossCurve[] = [];
    const finished = (stopped?: string): Comparison => ({
      adapter: engine.adapterName,
      data: source.source,
      images: { train: count, test: test.labels.size },
      network,
      rows,
      curves,
      notes: blockTermNotes(curves),
      ...(stopped && { stopped }),
      seconds: (performance.now() - started) / 1000,
      model,
    });
    try {
      rows.push(await originalRow(original, test, { rounds, epochs: curve.length, curve }));
      const samples = engine.tensor([Math.min(calibration, count), ...LENET_SHAPE]);
      items.push(samples);
      await unpackRows(engine, training.inputs, 0, samples);
      let plan: CompressionPlan | undefined;
      for (const { method, evbmf } of methods) {
        plan = await CompressionPlan.create(original, {
          from: plan,
          method,
          calibration: samples,
          evbmf,
          seed,
          signal,
          ...(shares && { shares }),
          onProgress: (at, all, what) => teller.tell(`decomposing by ${method.name}`, what, (WORK.plan * at) / all),
        });
        teller.finish(WORK.plan);
        curves.push(...curvesOf(plan));
        const choices = [
          ...ratios.map((ratio) => ({
            target: `×${ratio} ${method.saves}`,
            choice: { cost: method.saves, ratio } as const,
          })),
          ...(evbmf ? [{ target: "EVBMF", choice: "evbmf" as const }] : []),
        ];
        for (const { target, choice } of choices) {
          rows.push(
            await decomposedRow(plan, { method, target, choice }, training, test, {
              ...{ original: rows[0]!, epochs, seeds, seed, rounds, signal, teller },
            }),
          );
          teller.finish(rowWork);
        }
      }
      rows.push(
        await onLoadings(original, training, test, {
          ...{ original: rows[0]!, epochs: epochs + trainEpochs, seeds, seed, rounds, signal, teller },
        }),
      );
    } catch (error) {
      if (!rows.length) throw error;
      const after = `after ${rows.length} of ${compared + 2} rows`;
      const stopped = signal?.aborted ? `stopped ${after}` : `failed ${after}: ${(error as Error).message}`;
      throw new UnfinishedError(finished(stopped), error);
    }
    return finished();
  } finally {
    for (const item of items) item.destroy();
  }
}

/** What every row is made with. */
interface RowOptions {
  original: CompareRow;
  epochs: number;
  seeds: number;
  seed: number;
  rounds: number;
  signal?: AbortSignal | undefined;
  teller: Teller;
}

async function originalRow(
  model: Sequential,
  test: Dataset,
  { rounds, epochs, curve }: { rounds: number; epochs: number; curve: Epoch[] },
): Promise<CompareRow> {
  const { accuracy } = await evaluate(model, test);
  const times = await timesOf([model], rounds);
  return {
    method: "original",
    title: "the network as it is",
    target: "",
    reached: true,
    ...sizesOf(model),
    weightsRatio: 1,
    multiplicationsRatio: 1,
    dispatches: await dispatchesOf(model, 1),
    weightError: 0,
    outputError: 0,
    before: accuracy,
    after: spread([accuracy]),
    epochs,
    time: BATCHES.map((batch, at) => ({ batch, ms: times[at]![0]!, original: times[at]![0]! })),
    layers: [],
    curve,
  };
}

/** The sizes and times of a network, compared with the original and its row `before`. */
async function figuresOf(model: Sequential, original: Sequential, before: CompareRow, rounds: number) {
  const sizes = sizesOf(model);
  const times = await timesOf([original, model], rounds);
  return {
    ...sizes,
    weightsRatio: before.weights / sizes.weights,
    multiplicationsRatio: before.multiplications / sizes.multiplications,
    dispatches: await dispatchesOf(model, 1),
    time: BATCHES.map((batch, at) => ({ batch, ms: times[at]![1]!, original: times[at]![0]! })),
  };
}

async function decomposedRow(
  plan: CompressionPlan,
  { method, target, choice }: { method: Method; target: string; choice: Parameters<CompressionPlan["select"]>[0] },
  training: Dataset,
  test: Dataset,
  { original, epochs, seeds, seed, rounds, signal, teller }: RowOptions,
): Promise<CompareRow> {
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
        const replaced = layers.filter(({ staysBecause }) => !staysBecause);
        row = {
          method: method.name,
          title: method.title,
          target,
          reached,
          ...(await figuresOf(model, plan.model, original, rounds)),
          weightError: rootMeanSquare(replaced.map((layer) => layer.weightError)),
          outputError: rootMeanSquare(replaced.map((layer) => layer.outputError)),
          before: (await evaluate(model, test)).accuracy,
          after: spread([0]),
          epochs,
          layers,
          curve: [],
        };
      }
      const tuned = await fit(model, training, {
        epochs,
        rate: TUNING_RATE,
        seed: seed + 100 * run,
        signal,
        // after a single epoch the evaluation below measures the same
        ...(run === 0 && epochs > 1 && { validation: test }),
        ...teller.follow(`fine-tuning ${method.name} ${target}`, { run, runs: seeds, epochs }),
      });
      if (run === 0) row.curve = tuned;
      accuracies.push((await evaluate(model, test)).accuracy);
    } finally {
      model.destroy();
    }
  }
  return { ...row!, after: spread(accuracies) };
}

function curvesOf({ model, method, layers }: CompressionPlan): LossCurve[] {
  return layers
    .filter(({ index, candidates }) => model.layers[index] instanceof Conv2d && candidates.length > 1)
    .map(({ name, candidates }) => ({
      method: method.name,
      layer: name,
      points: candidates
        .filter(({ layer, multiplications }) => layer && multiplications < candidates[0]!.multiplications)
        .map(({ ranks, multiplications, outputError }) => ({ ranks, multiplications, outputError }))
        .sort((a, b) => a.multiplications - b.multiplications || a.outputError - b.outputError)
        // EVBMF's ranks may be among those that were tried already
        .filter(({ multiplications }, at, all) => multiplications !== all[at - 1]?.multiplications),
    }));
}

/**
 * A curve's error at a number of multiplications, interpolated between two ranks on logarithmic axes; null outside of the ranks
 * that were tried.
 */
function errorAt({ points }: LossCurve, multiplications: number): number | null {
  const next = points.findIndex((point) => point.multiplications >= multiplications);
  if (next < 0) return null;
  const [a, b] = [points[next - 1], points[next]!];
  if (b.multiplications === multiplications) return b.outputError;
  if (!a) return null;
  const share = Math.log(multiplications / a.multiplications) / Math.log(b.multiplications / a.multiplications);
  return a.outputError ** (1 - share) * b.outputError ** share;
}

/**
 * Sentences that compare the error of block terms in a convolution's outputs with that of CP and of Tucker-2 at equal
 * multiplications: at how many counts it is larger, and where most. None unless all three methods were tried.
 */
export function blockTermNotes(curves: readonly LossCurve[]): string[] {
  const of = (wanted: string, layer?: string): LossCurve[] =>
    curves.filter((curve) => curve.method === wanted && (layer === undefined || curve.layer === layer));
  if (!["btd", "cp", "tucker2"].every((method) => of(method).length)) return [];
  return of("btd").flatMap(({ layer, points }) =>
    [...of("cp", layer), ...of("tucker2", layer)].map((other) => {
      const pairs = points.flatMap(({ multiplications, outputError }) => {
        const otherError = errorAt(other, multiplications);
        return otherError === null ? [] : [{ multiplications, outputError, otherError }];
      });
      const behind = pairs.filter(({ outputError, otherError }) => outputError > otherError);
      const title = `block terms of ${layer}`;
      if (!pairs.length) return `${title}: ${other.method} was tried with no ranks of as many multiplications`;
      const count = `${behind.length} of ${pairs.length} equal counts of multiplications`;
      if (!behind.length)
        return `${title} err no more in their outputs than ${other.method} (at ${pairs.length} equal counts of multiplications)`;
      const worst = behind.reduce((a, b) => (b.outputError / b.otherError > a.outputError / a.otherError ? b : a));
      return `${title} err more in their outputs than ${other.method} at ${count}, most at ${Math.round(worst.multiplications).toLocaleString("en-US")}: ${worst.outputError.toFixed(3)} against ${worst.otherError.toFixed(3)}`;
    }),
  );
}

const sizesOf = (model: Sequential): { weights: number; multiplications: number } => ({
  weights: model.parameterCount,
  multiplications: model.counts().reduce((sum, { multiplications }) => sum + multiplications, 0),
});

/** Milliseconds of forward passes, by batch size and network. The networks are timed in turn. */
async function timesOf(models: readonly Sequential[], rounds: number): Promise<number[][]> {
  const times: number[][] = [];
  for (const batch of BATCHES)
    times.push(
      await timeForward(
        models[0]!.engine,
        models.map(({ layers, inputShape }) => ({ layers, shape: [batch, ...inputShape] })),
        { rounds },
      ),
    );
  return times;
}

/** Images that are projected at once. Views of a tensor must begin at a multiple of 256 bytes, and so does every chunk. */
const CHUNK = 8192;
/** The most loadings of an image. */
const MOST_LOADINGS = 100;
/** Time of an epoch on loadings, as a share of an epoch of a LeNet. */
const LOADINGS_EPOCH = 0.1;

/**
 * The thesis' first method with as many weights as the original: Tucker loadings of the images as inputs of a dense network with
 * one hidden layer. The projection of images to loadings takes at most half of the weights, the layers the rest.
 */
async function onLoadings(
  original: Sequential,
  training: Dataset,
  test: Dataset,
  { original: before, epochs, seeds, seed, rounds, signal, teller }: RowOptions,
): Promise<CompareRow> {
  const { engine } = original;
  const count = training.labels.size;
  const rank = Math.max(1, Math.min(Math.floor(before.weights / (2 * PIXELS)), MOST_LOADINGS, count));
  const classes = ALL_DIGITS.length;
  const hidden = Math.max(1, Math.floor((before.weights - PIXELS * rank - classes) / (rank + 1 + classes)));
  const stage = "Tucker loadings as inputs";
  teller.tell(stage, "decomposing the images");
  // the components are computed from as many images as fit into one f32 tensor (42,799 at WebGPU's default limit of 128 MiB)
  const binds = Math.floor(engine.device.limits.maxStorageBufferBindingSize / (4 * PIXELS));
  using images = engine.tensor([Math.min(count, binds), 28, 28]);
  await unpackRows(engine, training.inputs.reshape([count, 28, 28]), 0, images);
  const decomposition = await tuckerHOOI(engine, images, { ranks: [rank, 28, 28], sweeps: 3, tolerance: 1e-4, signal });
  using tensor = decomposition.tensor;
  signal?.throwIfAborted();
  teller.finish(WORK.loadings);

  // the projection is linear, so the loadings of the images with a single pixel are its matrix: the network's first layer
  const identity = new Float32Array(PIXELS * PIXELS);
  for (let pixel = 0; pixel < PIXELS; pixel++) identity[pixel * (PIXELS + 1)] = 1;
  using pixels = engine.tensor([PIXELS, 28, 28], identity);
  using loadings = engine.tensor([PIXELS, rank]);
  await engine.run((s) => {
    copy(s, tensor.project(s, pixels), { out: loadings });
  }, "projection");
  const matrix = await loadings.read();
  // a column of loadings has norm 1, which makes single loadings tiny; times √images their mean square is 1, which suits a network
  const scale = Math.sqrt(images.shape[0]!);
  const weight = Float32Array.from(matrix, (_, at) => {
    return scale * matrix[(at % PIXELS) * rank + Math.floor(at / PIXELS)]!;
  });
  using projection = await Sequential.create(engine, [new Linear(PIXELS, rank, { bias: false, weight })], {
    inputShape: [PIXELS],
  });
  using inputs = engine.tensor([count, rank]);
  const flat = training.inputs.reshape([count, PIXELS]);
  for (let start = 0; start < count; start += CHUNK) {
    const stop = Math.min(start + CHUNK, count);
    await engine.run((s) => {
      copy(s, projection.forward(s, unpackBytes(s, flat.rows(start, stop))), { out: inputs.rows(start, stop) });
    }, "loadings");
  }

  const accuracies: number[] = [];
  let row: CompareRow | null = null;
  for (let run = 0; run < seeds; run++) {
    signal?.throwIfAborted();
    const layers = [new Linear(rank, hidden, { activation: "relu", start: "he" }), new Linear(hidden, classes)];
    using model = await Sequential.create(engine, layers, { inputShape: [rank], seed: seed + 100 * run });
    const curve = await fit(
      model,
      { inputs, labels: training.labels },
      {
        ...{ epochs, rate: 2e-3, seed: seed + 100 * run, signal },
        ...teller.follow(stage, { run, runs: seeds, epochs, epoch: teller.epoch * LOADINGS_EPOCH }),
      },
    );
    // accuracy and figures are those of the network on pixels, projection included
    const allLayers = await Promise.all([...projection.layers, ...layers].map(cloneLayer));
    using deployed = await Sequential.create(engine, allLayers, { inputShape: [PIXELS] });
    const heldOut = { inputs: test.inputs.reshape([test.labels.size, PIXELS]), labels: test.labels };
    accuracies.push((await evaluate(deployed, heldOut)).accuracy);
    row ??= {
      method: "loadings",
      title: `Tucker loadings as inputs (Rasmussen 2020), ${PIXELS}-${rank}-${hidden}-${classes}, images off by ${decomposition.relativeError.toFixed(2)}`,
      target: "",
      ...(await figuresOf(deployed, original, before, rounds)),
      reached: deployed.parameterCount <= before.weights,
      weightError: 0,
      outputError: 0,
      before: null,
      after: spread([0]),
      epochs,
      layers: [],
      curve,
    };
  }
  return { ...row!, after: spread(accuracies) };
}

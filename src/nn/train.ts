import {
  checkOption,
  checkOptions,
  type Engine,
  formatShape,
  instanceOf,
  type OptionRule,
  type OptionRules,
  oneOf,
  optionRules,
  required,
  type Schedule,
  type Scheduler,
  ShapeError,
  shown,
  TenfoldError,
  Tensor,
} from "../gpu/index.js";
import {
  type AdamSettings,
  advanceStep,
  argmaxRows,
  type DenseLayer,
  denseScratch,
  gatherBatch,
  isSmall,
  type SgdSettings,
  softmaxCrossEntropy,
  trainDense,
  trainingState,
  unpackBytes,
} from "../ops/index.js";
import { releaseTemporaries } from "./chain.js";
import { denseLayers } from "./denseLayers.js";
import type { Optimiser } from "./optimisers.js";
import { Sequential } from "./sequential.js";

/** Samples (N×…) with a class each ([N], u32), on the GPU. */
export interface Dataset {
  /** f32; or u8, whose values stand for value / 255: images in a quarter of the memory, unpacked batch by batch */
  inputs: Tensor;
  labels: Tensor;
}

export interface Epoch {
  /** from 1 */
  epoch: number;
  /** mean over the epoch's batches, as the weights were at each */
  loss: number;
  accuracy: number;
  validationLoss?: number;
  validationAccuracy?: number;
}

export interface TrainOptions {
  epochs: number;
  batchSize?: number;
  optimiser: Optimiser;
  /** `doubleSoftmax` feeds the softmax's output into cross-entropy once more: the thesis' recipe, kept to show it fail */
  loss?: "crossEntropy" | "doubleSoftmax";
  /** of shuffling and dropout; the start values are the network's */
  seed?: number;
  /** another order in every epoch; true by default */
  shuffle?: boolean;
  /** looked at after every epoch */
  validation?: Dataset | undefined;
  onEpoch?: (epoch: Epoch) => void;
  /** told after every submit how many epochs are done, parts of long ones too */
  onProgress?: (epochs: number) => void;
  /** stops after the submits in flight, within a long epoch too; what was trained so far stays */
  signal?: AbortSignal | undefined;
  /** epochs in one submit; by default as many as take `submitMs` */
  epochsPerSubmit?: number;
  /** milliseconds that a submit of several epochs takes at least, and about twice at most; 100 by default, less for pages that draw */
  submitMs?: number;
  /**
   * multiplications of one submit, at most; a longer epoch is several submits, between which it can be stopped. 2³² by default:
   * a second or a few on a software adapter, milliseconds on a GPU. Drivers end what takes long, and pages that draw want less
   */
  submitWork?: number;
  /**
   * `layered` records a dispatch or more an op; `fused` lets one workgroup do whole steps, many a dispatch, for networks of
   * Linear, ReLU and Dropout. `auto` takes the second for small ones. The two round differently.
   */
  steps?: "auto" | "layered" | "fused";
}

export interface Training {
  curve: Epoch[];
  aborted: boolean;
}

/** columns of the curve in GPU memory: loss and right answers, in training and in validation */
const COLUMNS = 4;
/** elements of the widest activation that an evaluation makes room for */
const CHUNK = 2 ** 22;
const SUBMIT_MS = 100;
const SUBMIT_WORK = 2 ** 32;

/** @internal */
export const modelRule: OptionRule = instanceOf(
  Sequential,
  "a Sequential: await Sequential.create(engine, layers, { inputShape })",
);

const isAbove = (least: number) => (value: unknown) => typeof value === "number" && value > least;

const trainRules: OptionRules<TrainOptions> = {
  epochs: required(optionRules.count),
  batchSize: optionRules.positive,
  optimiser: required({
    needs: "an optimiser, as adam() or sgd({ rate }) give one",
    is: (value) => typeof value === "object" && value !== null && typeof (value as Optimiser).start === "function",
  }),
  loss: oneOf("crossEntropy", "doubleSoftmax"),
  seed: optionRules.count,
  shuffle: optionRules.flag,
  // looked into by assertDataset
  validation: { needs: "a dataset { inputs, labels }", is: (value) => typeof value === "object" && value !== null },
  onEpoch: optionRules.callback,
  onProgress: optionRules.callback,
  signal: optionRules.signal,
  epochsPerSubmit: optionRules.positive,
  submitMs: { needs: "a number of milliseconds, 0 or more", is: (value) => value === 0 || isAbove(0)(value) },
  submitWork: { needs: "a number of multiplications above 0", is: isAbove(0) },
  steps: oneOf("auto", "layered", "fused"),
};

function assertDataset(name: string, model: Sequential, dataset: Dataset): void {
  const { inputs, labels } = dataset ?? {};
  if (!(inputs instanceof Tensor && labels instanceof Tensor)) {
    const given =
      dataset && typeof dataset === "object" ? `inputs ${shown(inputs)}, labels ${shown(labels)}` : shown(dataset);
    throw new TenfoldError(`${name}: the dataset is ${given}, needs { inputs, labels }, two Tensors`);
  }
  if (formatShape(inputs.shape.slice(1)) !== formatShape(model.inputShape))
    throw new ShapeError(`${name}: ${inputs}, expected samples of shape ${formatShape(model.inputShape)}`);
  if (inputs.dtype !== "f32" && inputs.dtype !== "u8")
    throw new ShapeError(`${name}: ${inputs} of ${inputs.dtype}, needs f32, or u8 for value / 255`);
  if (labels.dtype !== "u32" || labels.size !== inputs.shape[0])
    throw new ShapeError(`${name}: labels ${labels} (${labels.dtype}), needs ${inputs.shape[0]} of u32`);
}

/**
 * Trains a network on a dataset that stays on the GPU. A step is recorded once and replayed; it finds its minibatch by a
 * permutation computed on the GPU, and its number in GPU memory. An epoch is one submit, unless it is a long one, and nothing is
 * read back but the curve, of short epochs one late. The same seeds give the same curve on the same adapter.
 */
export async function train(model: Sequential, dataset: Dataset, options: TrainOptions): Promise<Training> {
  checkOption("train", "the model", model, modelRule);
  checkOptions("train", options, trainRules);
  const { epochs, batchSize = 100, optimiser, seed = 0, validation, onEpoch, signal } = options;
  assertDataset("train", model, dataset);
  if (validation) assertDataset("train (validation)", model, validation);
  const curve: Epoch[] = [];
  if (epochs === 0) return { curve, aborted: false };
  const { engine } = model;
  const count = dataset.inputs.shape[0]!;
  const batch = Math.min(batchSize, count);
  const full = Math.floor(count / batch);
  const tail = count % batch;
  const shuffle = options.shuffle ?? true;
  const double = options.loss === "doubleSoftmax";
  const fused = fusedSteps(model, options);
  const owned: { destroy(): void }[] = [];
  const own = <T extends { destroy(): void }>(item: T): T => {
    owned.push(item);
    return item;
  };
  try {
    const state = own(trainingState(engine, optimiser.betas));
    const gpuCurve = own(engine.tensor([epochs + 1, COLUMNS], null, { label: "curve" }));
    const plan: Replays[] = [];
    const sampleWork = model.counts().reduce((sum, { multiplications }) => sum + multiplications, 0);
    const compile = async (
      label: string,
      times: number,
      work: number,
      record: (s: Scheduler) => void,
    ): Promise<void> => {
      const s = engine.scheduler(label);
      try {
        record(s);
        plan.push({ schedule: own(await s.compile()), times, work });
      } finally {
        s.destroy();
      }
    };
    if (fused) {
      const scratch = own(denseScratch(engine, fused.layers, batch));
      const inputs = dataset.inputs.reshape([count, -1]);
      const tensors = { inputs, labels: dataset.labels, weights: model.weights, scratch, state, curve: gpuCurve };
      await compile("training epoch", 1, 3 * count * sampleWork, (s) =>
        trainDense(s, fused.layers, tensors, { batchSize: batch, shuffle, seed, double, optimiser: fused.settings }),
      );
    } else {
      const optimiserState = own(optimiser.start(engine, model.weights));
      const step = (rows: number) => (s: Scheduler) => {
        const { inputs, labels } = gatherBatch(s, dataset.inputs, dataset.labels, {
          rows,
          stride: batch,
          shuffle,
          seed,
          state,
        });
        const logits = model.forward(s, inputs, { training: true, state, seed });
        const gradient = softmaxCrossEntropy(s, logits, labels, { curve: gpuCurve, column: 0, state }, { double });
        model.backward(s, gradient);
        optimiserState.record(s, model.weights, model.gradients, state);
        advanceStep(s, state, { steps: full + (tail ? 1 : 0), betas: optimiser.betas });
      };
      await compile("training step", full, 3 * batch * sampleWork, step(batch));
      if (tail) await compile("last training step", 1, 3 * tail * sampleWork, step(tail));
    }
    if (validation) {
      // after the last step the epoch has been counted up already: its row is the next one
      const evaluate = (s: Scheduler): void => {
        for (const part of chunks(model, validation)) {
          const inputs = numbersOf(s, part.inputs);
          const logits = model.forward(s, inputs);
          const gradient = softmaxCrossEntropy(
            s,
            logits,
            part.labels,
            { curve: gpuCurve, column: 2, state },
            { double },
          );
          releaseTemporaries(s, [inputs, logits, gradient]);
        }
      };
      await compile("validation", 1, validation.inputs.shape[0]! * sampleWork, evaluate);
    }
    const validationCount = validation?.inputs.shape[0] ?? 0;
    const take = (values: Float32Array, upTo: number): void => {
      for (let epoch = curve.length; epoch < upTo; epoch++) {
        const row = values.subarray(epoch * COLUMNS, (epoch + 2) * COLUMNS);
        const entry: Epoch = { epoch: epoch + 1, loss: row[0]! / count, accuracy: row[1]! / count };
        if (validation) {
          entry.validationLoss = row[COLUMNS + 2]! / validationCount;
          entry.validationAccuracy = row[COLUMNS + 3]! / validationCount;
        }
        curve.push(entry);
        onEpoch?.(entry);
      }
    };
    await replayEpochs(engine, plan, gpuCurve, take, options);
    return { curve, aborted: curve.length < epochs && !!signal?.aborted };
  } finally {
    for (const item of owned.reverse()) item.destroy();
  }
}

/** What fused steps need, where they are wanted and can be had. */
function fusedSteps(
  { engine, layers }: Sequential,
  { steps = "auto", batchSize = 100, optimiser: { name, settings } }: TrainOptions,
): { layers: DenseLayer[]; settings: SgdSettings | AdamSettings } | null {
  if (steps === "layered") return null;
  const dense = denseLayers(layers);
  if (settings && typeof dense !== "string")
    return steps === "fused" || isSmall(engine, dense, batchSize) ? { layers: dense, settings } : null;
  if (steps === "fused")
    throw new ShapeError(`train: no fused steps: ${typeof dense === "string" ? dense : `${name} tells no settings`}`);
  return null;
}

/** A schedule, how often an epoch replays it, and the multiplications of one replay. */
interface Replays {
  schedule: Schedule;
  times: number;
  work: number;
}

/** An epoch cut into submits. */
function submitsOf(plan: readonly Replays[], most: number): Replays[][] {
  const submits: Replays[][] = [[]];
  let room = most;
  for (const { schedule, times, work } of plan)
    for (let left = times; left > 0; ) {
      const fits = Math.max(0, Math.min(left, Math.floor(room / Math.max(work, 1))));
      // what is too large for any submit gets one of its own
      const taken = fits || (room === most ? 1 : 0);
      if (taken) submits.at(-1)!.push({ schedule, times: taken, work });
      left -= taken;
      room -= taken * work;
      if (left > 0) {
        submits.push([]);
        room = most;
      }
    }
  return submits.filter((submit) => submit.length > 0);
}

const replaysOf = (submit: readonly Replays[]) => submit.map(({ schedule, times }) => [schedule, times] as const);

/**
 * Submits epochs, one read of the curve behind; or long ones in several submits each. How many follows from their time and
 * work; the numbers do not.
 */
async function replayEpochs(
  engine: Engine,
  plan: readonly Replays[],
  curve: Tensor,
  take: (values: Float32Array, epochs: number) => void,
  { epochs, signal, epochsPerSubmit, submitMs = SUBMIT_MS, submitWork = SUBMIT_WORK, onProgress }: TrainOptions,
): Promise<void> {
  const submits = submitsOf(plan, submitWork);
  const read = (): Promise<Float32Array> => engine.read(curve) as Promise<Float32Array>;
  if (submits.length > 1) {
    for (let epoch = 0; epoch < epochs && !signal?.aborted; epoch++) {
      if (!(await submitInTurn(engine, submits, signal, (share) => onProgress?.(epoch + share)))) return;
      // the wait is nothing to an epoch so long
      take(await read(), epoch + 1);
      onProgress?.(epoch + 1);
    }
    return;
  }
  let submitted = 0;
  let atOnce = epochsPerSubmit ?? 1;
  let late: { upTo: number; values: Promise<Float32Array> } | null = null;
  let before = performance.now();
  while (submitted < epochs && !signal?.aborted) {
    const now = Math.min(atOnce, epochs - submitted);
    engine.submit(replaysOf(plan), now);
    submitted += now;
    const values = read();
    values.catch(() => {}); // awaited a submit later
    const previous = late;
    late = { upTo: submitted, values };
    if (!previous) continue;
    take(await previous.values, previous.upTo);
    onProgress?.(previous.upTo);
    const elapsed = performance.now() - before;
    before = performance.now();
    if (epochsPerSubmit === undefined && elapsed < submitMs) atOnce = Math.min(2 * atOnce, 64);
  }
  if (!late) return;
  take(await late.values, late.upTo);
  onProgress?.(late.upTo);
}

/** One epoch in several submits, of which two are in flight. False where it was stopped in between. */
async function submitInTurn(
  engine: Engine,
  submits: readonly Replays[][],
  signal: AbortSignal | undefined,
  tell: (share: number) => void,
): Promise<boolean> {
  let flight: Promise<void> | null = null;
  for (const [index, submit] of submits.entries()) {
    engine.submit(replaysOf(submit));
    const done = engine.idle();
    done.catch(() => {}); // awaited a submit later
    await flight;
    flight = done;
    tell(index / submits.length);
    if (signal?.aborted && index < submits.length - 1) {
      await flight;
      return false;
    }
  }
  return true;
}

/** A part of a dataset's inputs in f32. */
const numbersOf = (s: Scheduler, inputs: Tensor): Tensor => (inputs.dtype === "u8" ? unpackBytes(s, inputs) : inputs);

/** A dataset in parts that views can begin at. */
function chunks(model: Sequential, { inputs, labels }: Dataset): Dataset[] {
  const count = inputs.shape[0]!;
  // views begin at multiples of 256 bytes
  const least = inputs.dtype === "u8" ? 256 : 64;
  const size = Math.max(least, Math.floor(CHUNK / model.widest / least) * least);
  return Array.from({ length: Math.ceil(count / size) }, (_, part) => {
    const [start, stop] = [part * size, Math.min(count, (part + 1) * size)];
    return { inputs: inputs.rows(start, stop), labels: labels.rows(start, stop) };
  });
}

export interface Evaluation {
  /** mean cross-entropy */
  loss: number;
  accuracy: number;
  /** the class that each sample was given */
  predictions: Uint32Array;
  /** confusion[true class][predicted class], counts */
  confusion: number[][];
}

/** Classes, loss and confusion of a network on a dataset, in one submit and one round trip. */
export async function evaluate(model: Sequential, dataset: Dataset): Promise<Evaluation> {
  checkOption("evaluate", "the model", model, modelRule);
  assertDataset("evaluate", model, dataset);
  const { engine } = model;
  const count = dataset.inputs.shape[0]!;
  const classes = model.outputShape[0]!;
  using curve = engine.tensor([1, 2], null, { label: "evaluation" });
  using state = engine.tensor([3], Uint32Array.of(0, 0, 0), { label: "evaluation state" });
  const s = engine.scheduler("evaluate");
  const predictions: Tensor[] = [];
  for (const part of chunks(model, dataset)) {
    const inputs = numbersOf(s, part.inputs);
    const logits = model.forward(s, inputs);
    const gradient = softmaxCrossEntropy(s, logits, part.labels, { curve, column: 0, state });
    predictions.push(argmaxRows(s, logits));
    releaseTemporaries(s, [inputs, logits, gradient]);
  }
  using schedule = await s.compile();
  engine.submit(schedule);
  const [totals, labels, ...parts] = await engine.read([curve, dataset.labels, ...predictions]);
  const predicted = new Uint32Array(count);
  let at = 0;
  for (const part of parts) {
    predicted.set(part, at);
    at += part.length;
  }
  const confusion = Array.from({ length: classes }, () => new Array<number>(classes).fill(0));
  predicted.forEach((prediction, index) => {
    confusion[labels![index]!]![prediction]!++;
  });
  return { loss: totals![0]! / count, accuracy: totals![1]! / count, predictions: predicted, confusion };
}

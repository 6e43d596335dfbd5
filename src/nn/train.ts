import {
  checkOption,
  checkOptions,
  type DType,
  type Engine,
  formatShape,
  holds,
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
  paste,
  type SgdSettings,
  softmaxCrossEntropy,
  trainDense,
  trainingState,
  unpackBytes,
} from "../ops/index.js";
import { denseLayers } from "./denseLayers.js";
import { releaseTemporaries } from "./graph.js";
import { crossEntropy, type Loss } from "./loss.js";
import { Network } from "./network.js";
import type { Optimiser } from "./optimisers.js";

/** Samples with their classes, on the GPU. */
export interface Dataset<D extends "f32" | "u8" = "f32" | "u8"> {
  /**
   * N×sample shape: f32, or u8 where a value v stands for v / 255. u8 takes a quarter of the memory, and is unpacked one batch
   * at a time
   */
  inputs: Tensor<D>;
  /** the class of every sample, [N], u32 */
  labels: Tensor<"u32">;
}

/** Samples with the values that outputs shall have, on the GPU, for losses that need `targets`. */
export interface TargetDataset<D extends "f32" | "u8" = "f32" | "u8"> {
  /** as in {@link Dataset} */
  inputs: Tensor<D>;
  /** N×the shape of the network's outputs, f32 */
  targets: Tensor;
}

export interface Epoch {
  /** number of the epoch, from 1 */
  epoch: number;
  /** mean loss of the training samples, each with the weights before its batch's step */
  loss: number;
  /** share of right answers on the training samples, from 0 to 1, with the same weights as the loss; NaN where the loss has none */
  accuracy: number;
  /** mean loss of the validation samples after the epoch */
  validationLoss?: number;
  /** share of right answers on the validation samples after the epoch, from 0 to 1 */
  validationAccuracy?: number;
}

export interface TrainOptions {
  epochs: number;
  /** samples of a step, 100 by default; the last step of an epoch takes what is left */
  batchSize?: number;
  optimiser: Optimiser;
  /** `crossEntropy()` by default; `meanSquaredError()` and `distillation()` take a {@link TargetDataset} */
  loss?: Loss;
  /** seed of the order of the samples and of dropout, 0 by default; the start values come from the network's seed */
  seed?: number;
  /** whether the samples have another order in every epoch; true by default */
  shuffle?: boolean;
  /** samples on which loss and accuracy are measured after every epoch */
  validation?: Dataset | TargetDataset | undefined;
  /** called for every epoch once its figures are read back */
  onEpoch?: (epoch: Epoch) => void;
  /** called with the number of epochs done; within an epoch of several submits with fractions of it */
  onProgress?: (epochs: number) => void;
  /**
   * Awaited after every epoch, before the next one begins: the weights may be read meanwhile. Epochs are then not submitted together.
   */
  afterEpoch?: (epoch: number) => Promise<void>;
  /** stops training after the submits in flight, within a long epoch too; the weights keep what they have learnt */
  signal?: AbortSignal | undefined;
  /** epochs in one submit; by default the number doubles until a submit takes `submitMs` */
  epochsPerSubmit?: number;
  /** milliseconds: a submit that took less is followed by one of twice as many epochs. 100 by default; pages that draw want less */
  submitMs?: number;
  /**
   * most multiplications of one submit. A longer epoch is cut into several submits, between which training can be stopped.
   * 2³² by default: a few seconds on a software adapter, milliseconds on a GPU. Drivers end a submit that takes too long, and
   * pages that draw want shorter ones
   */
  submitWork?: number;
  /**
   * `layered` records at least one dispatch for every operation. `fused` lets one workgroup do many steps in one dispatch, for
   * networks of Linear, ReLU and Dropout. `auto` (the default) takes `fused` for small networks. The two round differently
   */
  steps?: "auto" | "layered" | "fused";
}

export interface Training {
  /** the figures of every finished epoch */
  curve: Epoch[];
  /** whether `signal` stopped the training before its last epoch */
  aborted: boolean;
}

/** columns of the curve in GPU memory: training loss, right answers in training, validation loss, right answers in validation */
const COLUMNS = 4;
/** most elements of an activation in an evaluation: 16 MiB */
const CHUNK = 2 ** 22;
/** defaults of `submitMs` and `submitWork` */
const SUBMIT_MS = 100;
const SUBMIT_WORK = 2 ** 32;

/** @internal */
export const modelRule: OptionRule = instanceOf(
  Network,
  "a Sequential or Network: await Sequential.create(engine, layers, { inputShape })",
);

const isAbove = (least: number) => (value: unknown) => typeof value === "number" && value > least;

const trainRules: OptionRules<TrainOptions> = {
  epochs: required(optionRules.count),
  batchSize: optionRules.positive,
  optimiser: required({
    needs: "an optimiser: adam() or sgd({ rate })",
    is: (value) => typeof value === "object" && value !== null && typeof (value as Optimiser).start === "function",
  }),
  loss: {
    needs: "a loss: crossEntropy(), meanSquaredError() or distillation()",
    is: (value) => typeof value === "object" && value !== null && typeof (value as Loss).record === "function",
  },
  seed: optionRules.count,
  shuffle: optionRules.flag,
  // assertDataset checks the tensors in it
  validation: {
    needs: "a dataset { inputs, labels } or { inputs, targets }",
    is: (value) => typeof value === "object" && value !== null,
  },
  onEpoch: optionRules.callback,
  onProgress: optionRules.callback,
  afterEpoch: optionRules.callback,
  signal: optionRules.signal,
  epochsPerSubmit: optionRules.positive,
  submitMs: { needs: "a number of milliseconds, 0 or more", is: (value) => value === 0 || isAbove(0)(value) },
  submitWork: { needs: "a number of multiplications above 0", is: isAbove(0) },
  steps: oneOf("auto", "layered", "fused"),
};

function assertDataset(
  name: string,
  model: Network,
  dataset: Dataset | TargetDataset,
  needs: Loss["needs"] = "labels",
): void {
  const inputs = dataset?.inputs;
  const answers = (dataset as unknown as Record<string, unknown> | undefined)?.[needs];
  if (!(inputs instanceof Tensor && answers instanceof Tensor)) {
    const passed =
      dataset && typeof dataset === "object" ? `inputs ${shown(inputs)}, ${needs} ${shown(answers)}` : shown(dataset);
    throw new TenfoldError(`${name}: the dataset is ${passed}, needs { inputs, ${needs} }, two Tensors`);
  }
  if (formatShape(inputs.shape.slice(1)) !== formatShape(model.inputShape))
    throw new ShapeError(`${name}: ${inputs}, expected samples of shape ${formatShape(model.inputShape)}`);
  const [kind, labelKind]: DType[] = [inputs.dtype, answers.dtype];
  if (kind !== "f32" && kind !== "u8")
    throw new ShapeError(`${name}: ${inputs} of ${kind}, needs f32, or u8 where v stands for v / 255`);
  if (needs === "targets") {
    const shape = formatShape([inputs.shape[0]!, ...model.outputShape]);
    if (labelKind !== "f32" || formatShape(answers.shape) !== shape)
      throw new ShapeError(`${name}: targets ${answers} (${labelKind}), needs ${shape} of f32`);
  } else if (labelKind !== "u32" || answers.size !== inputs.shape[0])
    throw new ShapeError(`${name}: labels ${answers} (${labelKind}), needs ${inputs.shape[0]} of u32`);
}

/**
 * Trains a network on a dataset that stays on the GPU. A step is recorded once and replayed: its number lies in GPU memory, and
 * a permutation computed on the GPU gives its minibatch. An epoch of at most `submitWork` multiplications is one submit. Only
 * the curve is read back; it is read while the next submit runs. The same seeds give the same curve on the same adapter.
 *
 * @throws TenfoldError where an option is unfit, ShapeError where the dataset does not fit the network
 */
export async function train(
  model: Network,
  dataset: Dataset | TargetDataset,
  options: TrainOptions,
): Promise<Training> {
  checkOption("train", "the model", model, modelRule);
  checkOptions("train", options, trainRules);
  const { epochs, batchSize = 100, optimiser, seed = 0, validation, onEpoch, signal } = options;
  const loss = options.loss ?? crossEntropy();
  assertDataset("train", model, dataset, loss.needs);
  if (validation) assertDataset("train (validation)", model, validation, loss.needs);
  const curve: Epoch[] = [];
  if (epochs === 0) return { curve, aborted: false };
  const { engine } = model;
  const count = dataset.inputs.shape[0]!;
  const batch = Math.min(batchSize, count);
  const full = Math.floor(count / batch);
  const tail = count % batch;
  const shuffle = options.shuffle ?? true;
  const fused = fusedSteps(model, options, loss);
  const resources: { destroy(): void }[] = [];
  const freedAtEnd = <T extends { destroy(): void }>(item: T): T => {
    resources.push(item);
    return item;
  };
  try {
    const state = freedAtEnd(trainingState(engine, optimiser.betas));
    const gpuCurve = freedAtEnd(engine.tensor([epochs + 1, COLUMNS], null, { label: "curve" }));
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
        plan.push({ schedule: freedAtEnd(await s.compile()), times, work });
      } finally {
        s.destroy();
      }
    };
    if (fused) {
      const scratch = freedAtEnd(denseScratch(engine, fused.layers, batch));
      const inputs = dataset.inputs.reshape([count, -1]);
      const tensors = {
        inputs,
        labels: (dataset as Dataset).labels,
        weights: model.weights,
        scratch,
        state,
        curve: gpuCurve,
      };
      await compile("training epoch", 1, 3 * count * sampleWork, (s) =>
        trainDense(s, fused.layers, tensors, {
          ...{ batchSize: batch, shuffle, seed, optimiser: fused.settings },
          double: loss.fused === "double",
        }),
      );
    } else {
      const optimiserState = freedAtEnd(optimiser.start(engine, model.weights));
      const labels =
        "labels" in dataset
          ? dataset.labels
          : freedAtEnd(engine.tensor([count], null, { dtype: "u32", label: "no labels" }));
      const step = (rows: number) => (s: Scheduler) => {
        const places = { rows, stride: batch, shuffle, seed, state };
        const samples = gatherBatch(s, dataset.inputs, labels, places);
        // the same places of the targets, as rows of inputs
        const targets = "targets" in dataset ? gatherBatch(s, dataset.targets, labels, places) : null;
        const outputs = model.forward(s, samples.inputs, { training: true, state, seed });
        const answers = loss.needs === "targets" ? targets!.inputs : samples.labels;
        const gradient = loss.record(s, outputs, answers, { curve: gpuCurve, column: 0, state });
        model.backward(s, gradient);
        optimiserState.record(s, model.weights, model.gradients, state);
        advanceStep(s, state, { steps: full + (tail ? 1 : 0), betas: optimiser.betas });
      };
      await compile("training step", full, 3 * batch * sampleWork, step(batch));
      if (tail) await compile("last training step", 1, 3 * tail * sampleWork, step(tail));
    }
    if (validation) {
      // the epoch's last step has advanced the epoch in `state`, so validation of epoch e writes to row e + 1
      const evaluate = (s: Scheduler): void => {
        for (const part of chunks(model, validation)) {
          const inputs = numbersOf(s, part.inputs);
          const outputs = model.forward(s, inputs);
          const gradient = loss.record(s, outputs, part.answers, { curve: gpuCurve, column: 2, state });
          releaseTemporaries(s, [inputs, outputs, gradient]);
        }
      };
      await compile("validation", 1, validation.inputs.shape[0]! * sampleWork, evaluate);
    }
    const validationCount = validation?.inputs.shape[0] ?? 0;
    const take = (values: Float32Array, upTo: number): void => {
      for (let epoch = curve.length; epoch < upTo; epoch++) {
        const row = values.subarray(epoch * COLUMNS, (epoch + 2) * COLUMNS);
        const share = (right: number, of: number): number => (loss.hasAccuracy ? right / of : Number.NaN);
        const entry: Epoch = { epoch: epoch + 1, loss: row[0]! / count, accuracy: share(row[1]!, count) };
        if (validation) {
          entry.validationLoss = row[COLUMNS + 2]! / validationCount;
          entry.validationAccuracy = share(row[COLUMNS + 3]!, validationCount);
        }
        curve.push(entry);
        onEpoch?.(entry);
      }
    };
    await replayEpochs(engine, plan, gpuCurve, take, options);
    return { curve, aborted: curve.length < epochs && !!signal?.aborted };
  } finally {
    for (const item of resources.reverse()) item.destroy();
  }
}

/**
 * What fused steps need; null where the network is trained layer by layer.
 *
 * @throws ShapeError where the options ask for fused steps and network or optimiser allow none
 */
function fusedSteps(
  { engine, layers, graph }: Network,
  { steps = "auto", batchSize = 100, optimiser: { name, settings } }: TrainOptions,
  loss: Loss,
): { layers: DenseLayer[]; settings: SgdSettings | AdamSettings } | null {
  if (steps === "layered") return null;
  const reason = loss.fused ? "" : `the loss ${loss.name} has no kernel for them`;
  const dense = reason || (graph.isRow ? denseLayers(layers) : "its layers do not stand in a row");
  if (settings && typeof dense !== "string")
    return steps === "fused" || isSmall(engine, dense, batchSize) ? { layers: dense, settings } : null;
  if (steps === "fused")
    throw new ShapeError(
      `train: no fused steps: ${typeof dense === "string" ? dense : `the optimiser ${name} has no settings for the kernel`}`,
    );
  return null;
}

/** Replays of one schedule. */
interface Replays {
  schedule: Schedule;
  /** number of replays */
  times: number;
  /** multiplications of one replay */
  work: number;
}

/** Cuts an epoch into submits of at most `most` multiplications. */
function submitsOf(plan: readonly Replays[], most: number): Replays[][] {
  const submits: Replays[][] = [[]];
  let room = most;
  for (const { schedule, times, work } of plan)
    for (let left = times; left > 0; ) {
      const fits = Math.max(0, Math.min(left, Math.floor(room / Math.max(work, 1))));
      // a replay of more than `most` multiplications is a submit by itself
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
 * Submits all epochs and hands `take` the rows of the curve as they are read. Short epochs: several in a submit, and the curve
 * of one submit is read while the next one runs. Long epochs: several submits each. The numbers are the same either way.
 */
async function replayEpochs(
  engine: Engine,
  plan: readonly Replays[],
  curve: Tensor,
  take: (values: Float32Array, epochs: number) => void,
  {
    epochs,
    signal,
    epochsPerSubmit,
    submitMs = SUBMIT_MS,
    submitWork = SUBMIT_WORK,
    onProgress,
    afterEpoch,
  }: TrainOptions,
): Promise<void> {
  const submits = submitsOf(plan, submitWork);
  const read = (): Promise<Float32Array> => engine.read(curve) as Promise<Float32Array>;
  if (submits.length > 1 || afterEpoch) {
    for (let epoch = 0; epoch < epochs && !signal?.aborted; epoch++) {
      if (!(await submitInTurn(engine, submits, signal, (share) => onProgress?.(epoch + share)))) return;
      // an epoch of several submits takes so long that waiting for this read does not matter
      take(await read(), epoch + 1);
      onProgress?.(epoch + 1);
      await afterEpoch?.(epoch + 1);
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
    values.catch(() => {}); // an error surfaces where `late.values` is awaited, after the next submit
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

/** Submits one epoch in several submits, of which two are in flight at a time. Returns false where `signal` stopped it. */
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
    done.catch(() => {}); // an error surfaces where `flight` is awaited, after the next submit
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

/** Inputs as f32: bytes are unpacked to value / 255. */
const numbersOf = (s: Scheduler, inputs: Dataset["inputs"]): Tensor =>
  holds(inputs, "f32") ? inputs : unpackBytes(s, inputs);

/** Cuts a dataset into parts whose activations have at most {@link CHUNK} elements, but of `alignment` samples at least. */
function chunks(
  model: Network,
  dataset: Dataset | TargetDataset,
): { inputs: Dataset["inputs"]; answers: Tensor | Tensor<"u32"> }[] {
  const { inputs } = dataset;
  const answers = "labels" in dataset ? dataset.labels : dataset.targets;
  const count = inputs.shape[0]!;
  // a part's tensors are views, and views begin at multiples of 256 bytes
  const alignment = inputs.dtype === "u8" ? 256 : 64;
  const size = Math.max(alignment, Math.floor(CHUNK / model.widest / alignment) * alignment);
  return Array.from({ length: Math.ceil(count / size) }, (_, part) => {
    const [start, stop] = [part * size, Math.min(count, (part + 1) * size)];
    return { inputs: inputs.rows(start, stop), answers: answers.rows(start, stop) };
  });
}

export interface Evaluation {
  /** mean cross-entropy */
  loss: number;
  /** share of right answers, from 0 to 1 */
  accuracy: number;
  /** the class that the network predicts for each sample */
  predictions: Uint32Array;
  /** number of samples at confusion[true class][predicted class] */
  confusion: number[][];
}

/**
 * Predictions, loss and confusion of a network on a dataset, with one submit and one read.
 *
 * @throws ShapeError where the dataset does not fit the network
 */
export async function evaluate(model: Network, dataset: Dataset): Promise<Evaluation> {
  checkOption("evaluate", "the model", model, modelRule);
  assertDataset("evaluate", model, dataset);
  const { engine } = model;
  const count = dataset.inputs.shape[0]!;
  const classes = model.outputShape[0]!;
  using curve = engine.tensor([1, 2], null, { label: "evaluation" });
  using state = engine.tensor([3], Uint32Array.of(0, 0, 0), { label: "evaluation state" });
  const s = engine.scheduler("evaluate");
  const predictions: Tensor<"u32">[] = [];
  for (const part of chunks(model, dataset)) {
    const inputs = numbersOf(s, part.inputs);
    const logits = model.forward(s, inputs);
    const labels = part.answers as Tensor<"u32">;
    const gradient = softmaxCrossEntropy(s, logits, labels, { curve, column: 0, state });
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

/**
 * The outputs of a network for samples, N×output shape, in batches: what `distillation` and `meanSquaredError` take as targets.
 * The caller destroys the tensor.
 *
 * @param inputs N×sample shape: f32, or u8 where a value v stands for v / 255
 * @throws ShapeError where the samples do not fit the network
 */
export async function predict(model: Network, inputs: Tensor<"f32" | "u8">): Promise<Tensor> {
  checkOption("predict", "the model", model, modelRule);
  const { engine } = model;
  const count = inputs.shape[0]!;
  const labels = engine.tensor([count], null, { dtype: "u32", label: "no labels" });
  const out = engine.tensor([count, ...model.outputShape], null, { label: "outputs" });
  try {
    assertDataset("predict", model, { inputs, labels });
    const s = engine.scheduler("predict");
    let at = 0;
    for (const part of chunks(model, { inputs, labels })) {
      const values = numbersOf(s, part.inputs);
      const outputs = model.forward(s, values);
      // parts begin where a view may begin only if their outputs do, so rows are pasted
      paste(s, outputs.reshape([outputs.shape[0]!, -1]), out.reshape([count, -1]), [at, 0]);
      at += outputs.shape[0]!;
      releaseTemporaries(s, [values, outputs]);
    }
    using schedule = await s.compile();
    engine.submit(schedule);
    return out;
  } catch (error) {
    out.destroy();
    throw error;
  } finally {
    labels.destroy();
  }
}

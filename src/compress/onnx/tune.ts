/** Tuning a compressed network without labels: it learns the original's values on calibration samples. */
import { sizeOf, TenfoldError, type Tensor } from "../../gpu/index.js";
import { adam, meanSquaredError, train } from "../../nn/index.js";
import { GraphFacts } from "../../onnx/graph.js";
import type { OnnxModel } from "../../onnx/index.js";
import { concatenated } from "../../onnx/tensors.js";
import { findStretches, type Stretch, StretchNetwork, type TuningBoundary } from "./networkOf.js";
import type { Agreement, OutputJudge } from "./outputs.js";
import { ARRAYS, alike, randomNumbers } from "./samples.js";
import { floatsOfArray, type OnnxFeeds } from "./session.js";
import { type Learnt, mostSamples, SampleSource, type SourceOptions, scalesOf } from "./stretchSamples.js";

/** What tuning a part of the network brought. */
export interface TunedStretch {
  /** the value that the part begins with, and the one that it ends with */
  from: string;
  to: string;
  /** values inside it that it learnt beside `to`: the last ones of those that layers with weights read, as many as there is memory for */
  features: string[];
  /** how many of its layers have weights, and the entries of these with the biases */
  layers: number;
  weights: number;
  /** how many samples, of the most frequent shape, it learnt from, blends of them not counted; 0 where one alone takes more memory than there is */
  samples: number;
  /** the steps that were done, and the step whose weights were kept; 0 where none were */
  steps: number;
  best: number;
  /** of the network's outputs on held-back samples */
  error: { before: number; after: number };
}

/** What tuning brought. */
export interface Tuning {
  /** parts of the network whose every node has a layer, from input to output */
  stretches: TunedStretch[];
  /** nodes without a layer, which end those parts */
  boundaries: TuningBoundary[];
  /** why there is no part to tune; null where there is one */
  reason: string | null;
  /** whether `signal` ended it before its last step */
  stopped: boolean;
}

/** `original` gives the targets, and `model` learns. */
export interface TuneOptions extends SourceOptions {
  /** runs of the samples to learn from */
  runs: readonly OnnxFeeds[];
  /** judges by samples that are held back */
  judge: OutputJudge;
  /** what it says of `model` */
  held: Agreement;
  /** of each part of the network */
  steps: number;
  fixedInputs: boolean;
  seed: number;
  /** ends tuning; the best weights until then are given */
  signal?: AbortSignal | undefined;
  /** called with the part of the work that is done */
  onProgress(done: number, doing: string): void;
}

/** samples of a step */
const BATCH = 32;
/** steps between looks at the held-back samples, about */
const LOOK = 100;
/**
 * Adam's largest rate, and the part of the steps in which it is reached. At 5e-3 the ResNet of the tests forgets at first what it does not
 * find again; after 1e-3 it is less far than after 2e-3.
 */
const [RATE, WARM] = [2e-3, 0.1];
/** Gradients of means over many targets are small. */
const EPSILON = 1e-10;

/** Tunes the parts of a model that are networks of our layers, from input to output. Each is kept as held-back samples like it best. */
export async function tuneModel(options: TuneOptions): Promise<{ model: OnnxModel; held: Agreement; tuning: Tuning }> {
  const { original, fixedInputs, signal, onProgress } = options;
  const runs = alike(options.runs);
  const shapes = Object.fromEntries(Object.entries(runs[0]!).map(([name, { shape }]) => [name, shape]));
  const { names } = new GraphFacts(original);
  const values = { ends: names, original: names };
  const find = () => findStretches(model, shapes, values, fixedInputs);
  let { model, held } = options;
  const { stretches, boundaries } = find();
  const tuned: TunedStretch[] = [];
  for (const at of stretches.keys()) {
    if (signal?.aborted) break;
    const progress = (done: number, doing: string): void => onProgress((at + done) / stretches.length, doing);
    // tuning a part gives another model, with tensors of its own
    const done = await tuneStretch(find().stretches[at]!, { ...options, runs, model, held, onProgress: progress });
    ({ model, held } = done);
    tuned.push(done.told);
  }
  const reasons = [...new Set(boundaries.map(({ op, reason }) => `${op}: ${reason}`))].slice(0, 4).join("; ");
  const reason = `no part of the model with weights is a network of layers that can be tuned${reasons && ` (${reasons})`}`;
  const stopped = signal?.aborted ?? false;
  return { model, held, tuning: { stretches: tuned, boundaries, reason: stretches.length ? null : reason, stopped } };
}

async function tuneStretch(
  stretch: Stretch,
  options: TuneOptions,
): Promise<{ model: OnnxModel; held: Agreement; told: TunedStretch }> {
  const { engine, judge, runs, seed, signal, onProgress } = options;
  const doing = `tuning ${stretch.from} to ${stretch.to}`;
  onProgress(0, doing);
  const tensors: Tensor[] = [];
  const features = featuresOf(stretch, options);
  const names = features.map(({ name }) => name);
  const learner = await StretchNetwork.of(engine, options.model, stretch, names);
  const { network } = learner;
  const end = features.reduce((left, { size }) => left - size, sizeOf(network.outputShape));
  const learnt = [...features, { name: stretch.to, size: end }];
  let source: SampleSource | null = null;
  try {
    // an activation is one binding, and all of them are there at a time, with their gradients
    const activations = network.shapes().reduce((sum, shape) => sum + sizeOf(shape), 0);
    const { maxStorageBufferBindingSize } = engine.device.limits;
    const room = Math.min(maxStorageBufferBindingSize / network.widest, options.memory / (2 * activations));
    const fitting = Math.floor(room / 4);
    const layers = stretch.layers.filter(({ places }) => places.length).length;
    const told: TunedStretch = {
      ...{ from: stretch.from, to: stretch.to, features: names, layers, weights: stretch.entries },
      ...{ samples: 0, steps: 0, best: 0 },
      error: { before: options.held.error, after: options.held.error },
    };
    if (fitting < 1) return { model: options.model, held: options.held, told };
    source = await SampleSource.open(stretch, learnt, options);
    const samples = await source.read(runs);
    const { count } = samples;
    if (!count) throw new TenfoldError(`compressOnnx: no sample of ${stretch.from} has the shape that was inferred`);
    const blends = isBlendable(runs);
    const rows = blends ? 2 * count : count;
    const inputs = engine.tensor([rows, ...stretch.sample], null, { label: "inputs to tune with" });
    tensors.push(inputs);
    const targets = engine.tensor([rows, ...network.outputShape], null, { label: "targets" });
    tensors.push(targets);
    const scales = features.length ? scalesOf(samples, learnt) : [1];
    learner.weigh(scales);
    /** The samples, and behind them new blends of them. */
    const fill = async (turn: number): Promise<void> => {
      if (!blends && turn) return;
      const more = blends ? [await source!.read(blended(runs, seed + turn))] : [];
      inputs.write(concatenated([samples, ...more].map((one) => one.inputs)));
      targets.write(scaled(concatenated([samples, ...more].map((one) => one.targets)), learnt, scales));
    };
    const batchSize = Math.min(BATCH, rows, fitting);
    const stepsAnEpoch = Math.ceil(rows / batchSize);
    const epochs = Math.max(1, Math.round(options.steps / stepsAnEpoch));
    const looks = Math.min(epochs, Math.ceil(options.steps / LOOK));
    told.samples = count;
    let { model, held } = options;
    let looked = 0;
    const look = async (epoch: number): Promise<void> => {
      told.steps = epoch * stepsAnEpoch;
      const turn = Math.floor((epoch * looks) / epochs);
      if (turn === looked && !signal?.aborted) return;
      looked = turn;
      const next = await learner.written();
      const now = await judge.of(next);
      if (now.error < held.error) {
        [model, held] = [next, now];
        told.best = told.steps;
        told.error.after = now.error;
      }
      if (epoch < epochs && !signal?.aborted) await fill(turn);
    };
    await fill(0);
    const steps = epochs * stepsAnEpoch;
    await train(
      network,
      { inputs, targets },
      {
        ...{ epochs, batchSize, seed, afterEpoch: look, loss: meanSquaredError() },
        optimiser: adam({ rate: RATE, epsilon: EPSILON, warmSteps: Math.ceil(WARM * steps), decaySteps: steps }),
        onProgress: (done) => onProgress(done / epochs, doing),
        ...(signal && { signal }),
      },
    );
    return { model, held, told };
  } finally {
    for (const tensor of tensors) tensor.destroy();
    learner.destroy();
    await source?.release();
  }
}

/** The last features of a stretch: as many as leave room for all samples. */
function featuresOf({ sample, features }: Stretch, options: TuneOptions): Learnt[] {
  const count = options.runs.reduce((sum, feeds) => sum + (Object.values(feeds)[0]?.shape[0] ?? 1), 0);
  const taken: Learnt[] = [];
  let height = 0;
  for (const feature of features) {
    height += feature.size;
    if (mostSamples(options, sizeOf(sample), height) < count) break;
    taken.push(feature);
  }
  return taken;
}

/** Targets times the scales of their values; overwritten. */
function scaled(targets: Float32Array, learnt: readonly Learnt[], scales: readonly number[]): Float32Array {
  for (let i = 0; i < targets.length; )
    for (const [at, { size }] of learnt.entries()) for (const end = i + size; i < end; i++) targets[i]! *= scales[at]!;
  return targets;
}

/** Whether something between two samples is a sample: inputs are floats, and a run's first extent counts samples. */
const isBlendable = (runs: readonly OnnxFeeds[]): boolean =>
  runs.every((feeds) => Object.values(feeds).every(({ dtype, shape }) => dtype === "float32" && shape.length > 0));

/**
 * Blends of samples of one shape: each with a part, at most half, of another one. The original says what they shall give, so
 * that a network that learns them beside the samples knows more of what lies between these (Zhang, Cisse, Dauphin & Lopez-Paz 2018).
 */
function blended(runs: readonly OnnxFeeds[], seed: number): OnnxFeeds[] {
  const random = randomNumbers(seed);
  const rowsOf = (feeds: OnnxFeeds): number => Object.values(feeds)[0]!.shape[0]!;
  return runs.map((feeds) => {
    const rows = rowsOf(feeds);
    const draws = Array.from({ length: rows }, () => {
      const other = runs[Math.floor(random() * runs.length)]!;
      return { other, row: Math.floor(random() * rowsOf(other)), share: 0.5 * random() };
    });
    const blend = ([name, { dtype, shape, data }]: [string, OnnxFeeds[string]]) => {
      const values = Float32Array.from(floatsOfArray({ dtype, shape, data }));
      const size = values.length / rows;
      for (const [at, { other, row, share }] of draws.entries()) {
        const from = floatsOfArray(other[name]!);
        for (let i = 0; i < size; i++)
          values[at * size + i]! += share * (from[row * size + i]! - values[at * size + i]!);
      }
      return [name, { dtype, shape, data: ARRAYS[dtype]!(values) }] as const;
    };
    return Object.fromEntries(Object.entries(feeds).map(blend));
  });
}

/** Tuning a compressed network without labels: it learns the original's values on calibration samples. */
import { type Engine, sizeOf, TenfoldError, type Tensor } from "../../gpu/index.js";
import { adam, meanSquaredError, train } from "../../nn/index.js";
import { GraphFacts } from "../../onnx/graph.js";
import type { OnnxModel } from "../../onnx/index.js";
import { concatenated } from "../../onnx/tensors.js";
import { findStretches, type Stretch, StretchNetwork, type TuningBoundary } from "./networkOf.js";
import type { Agreement, OutputJudge } from "./outputs.js";
import { ARRAYS, alike, randomNumbers } from "./samples.js";
import { floatsOfArray, type OnnxFeeds, type OnnxSessions, Part } from "./session.js";

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

export interface TuneOptions {
  engine: Engine;
  sessions: OnnxSessions;
  /** gives the targets */
  original: OnnxModel;
  /** learns */
  model: OnnxModel;
  /** runs of the samples to learn from */
  runs: readonly OnnxFeeds[];
  /** judges by samples that are held back */
  judge: OutputJudge;
  /** what it says of `model` */
  held: Agreement;
  /** of each part of the network */
  steps: number;
  fixedInputs: boolean;
  /** bytes that inputs and targets may take on the host, and on the GPU */
  memory: number;
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
/** the features' part of the loss */
const FEATURES = 0.5;

/** Tunes the parts of a model that are networks of our layers, from input to output. Each is kept as held-back samples like it best. */
export async function tuneModel(options: TuneOptions): Promise<{ model: OnnxModel; held: Agreement; tuning: Tuning }> {
  const { original, fixedInputs, signal, onProgress } = options;
  const runs = alike(options.runs);
  const shapes = Object.fromEntries(Object.entries(runs[0]!).map(([name, { shape }]) => [name, shape]));
  const { names } = new GraphFacts(original);
  const find = () => findStretches(model, shapes, names, fixedInputs);
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

interface Samples {
  inputs: Float32Array;
  /** of each sample: the features, and the stretch's end behind them */
  targets: Float32Array;
  count: number;
}

/** A value that is learnt, and its entries in one sample. */
interface Learnt {
  name: string;
  size: number;
}

/** Samples that memory allows, where so many numbers of each are read, and so many learnt. */
function mostSamples({ engine, memory }: TuneOptions, width: number, height: number): number {
  // half of the room is for blends
  const binding = engine.device.limits.maxStorageBufferBindingSize / (8 * Math.max(width, height));
  return Math.floor(Math.min(binding, memory / (8 * (width + height))));
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

/** Scales by which the loss is of squared differences as shares of variances. Features have the same part of it each. */
function scalesOf({ targets, count }: Samples, learnt: readonly Learnt[]): number[] {
  const total = targets.length / count;
  let first = 0;
  return learnt.map(({ size }, at) => {
    let [sum, squares] = [0, 0];
    for (let row = 0; row < count; row++)
      for (let i = row * total + first; i < row * total + first + size; i++) {
        sum += targets[i]!;
        squares += targets[i]! ** 2;
      }
    first += size;
    const entries = count * size;
    const variance = Math.max(squares / entries - (sum / entries) ** 2, (1e-12 * squares) / entries, 1e-30);
    const share = at === learnt.length - 1 ? 1 - FEATURES : FEATURES / (learnt.length - 1);
    return Math.sqrt((share * total) / (size * variance));
  });
}

/** Targets times the scales of their values; overwritten. */
function scaled(targets: Float32Array, learnt: readonly Learnt[], scales: readonly number[]): Float32Array {
  for (let i = 0; i < targets.length; )
    for (const [at, { size }] of learnt.entries()) for (const end = i + size; i < end; i++) targets[i]! *= scales[at]!;
  return targets;
}

/** What a stretch reads in the model that learns, and what it shall give: what the original has there. */
class SampleSource {
  private constructor(
    private readonly stretch: Stretch,
    private readonly learnt: readonly Learnt[],
    private readonly before: Part,
    private readonly after: Part,
    /** the most samples that memory allows */
    private readonly most: number,
  ) {}

  /** @param learnt in the order of a sample's targets */
  static async open(stretch: Stretch, learnt: readonly Learnt[], options: TuneOptions): Promise<SampleSource> {
    const { sessions, original, model } = options;
    const height = learnt.reduce((sum, { size }) => sum + size, 0);
    const most = Math.max(1, mostSamples(options, sizeOf(stretch.sample), height));
    const { dataType } = stretch.layers.flatMap(({ places }) => places)[0]!.tensor;
    const before = await Part.open(sessions, model, [{ name: stretch.from, dataType }]);
    try {
      const values = learnt.map(({ name }) => ({ name, dataType }));
      const after = await Part.open(sessions, original, values);
      return new SampleSource(stretch, learnt, before, after, most);
    } catch (error) {
      await before.release();
      throw error;
    }
  }

  /** Those of the samples whose values have the shapes of the stretch, as many as memory allows. */
  async read(runs: readonly OnnxFeeds[]): Promise<Samples> {
    const { learnt, most } = this;
    const { from, sample } = this.stretch;
    const inputs: Float32Array[] = [];
    const targets: Float32Array[] = [];
    let count = 0;
    for (const feeds of runs) {
      if (count >= most) break;
      const x = (await this.before.run(feeds))[from]!;
      const values = await this.after.run(feeds);
      const all = x.shape[0]!;
      const fits = ({ name, size }: Learnt): boolean =>
        values[name]!.shape[0] === all && sizeOf(values[name]!.shape) === all * size;
      if (`${x.shape.slice(1)}` !== `${sample}` || !learnt.every(fits)) continue;
      const rows = Math.min(all, most - count);
      inputs.push(Float32Array.from(floatsOfArray(x).subarray(0, rows * sizeOf(sample))));
      const floats = learnt.map(({ name }) => floatsOfArray(values[name]!));
      for (let row = 0; row < rows; row++)
        for (const [at, { size }] of learnt.entries())
          targets.push(Float32Array.from(floats[at]!.subarray(row * size, (row + 1) * size)));
      count += rows;
    }
    return { inputs: concatenated(inputs), targets: concatenated(targets), count };
  }

  async release(): Promise<void> {
    await this.before.release();
    await this.after.release();
  }
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

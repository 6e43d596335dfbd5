/**
 * How much errors of a layer's outputs count for the network's outputs. A small error d of them changes the network's outputs y by J·d, and over
 * random signs u the mean of (uᵀJ·d)² is |J·d|² = dᵀ·Jᵀ·J·d. So the mean of g·gᵀ over places, samples and signs, with g = Jᵀu from one backward pass,
 * is the layer's block of the Gauss-Newton matrix, channels × channels (Schraudolph 2002; the G of Martens & Grosse 2015). Fits of low rank
 * with least dᵀ·G·d keep what the network makes use of.
 */
import { type Engine, type Scheduler, sizeOf, type Tensor } from "../../gpu/index.js";
import type { Layer } from "../../nn/index.js";
import { GraphFacts } from "../../onnx/graph.js";
import type { OnnxModel, OnnxSite } from "../../onnx/index.js";
import { accumulate, fill, unfoldedProduct } from "../../ops/index.js";
import { findStretches, type Stretch, StretchNetwork } from "./networkOf.js";
import { judgedOf, rowsOf } from "./outputs.js";
import { alike, randomNumbers } from "./samples.js";
import type { OnnxFeeds, OnnxSessions } from "./session.js";
import { besideEachOther, SampleSource, scalesOf } from "./stretchSamples.js";

export interface GaussNewtonOptions {
  engine: Engine;
  sessions: OnnxSessions;
  model: OnnxModel;
  sites: readonly OnnxSite[];
  /** of which as many of the most frequent shapes are taken as the work allows, spread over the list */
  samples: readonly OnnxFeeds[];
  /** of one run; null where they are unknown */
  multiplications: number | null;
  fixedInputs: boolean;
  seed: number;
  signal?: AbortSignal | undefined;
  /** called with the part of the work that is done */
  onProgress(done: number): void;
}

/**
 * At most so many samples are passed, and at least so many if there are; between these as many as WORK multiplications allow. A sample takes twice the
 * multiplications of a run: the pass forward, and the one back.
 */
const [MOST_SAMPLES, LEAST_SAMPLES, WORK] = [256, 32, 2e10];
/** Samples of one pass. */
const BATCH = 16;
/** Bytes that all samples' inputs and outputs may take: a number of its own, so that files do not depend on how much memory a user allows. */
const MEMORY = 3e8;
/** Bytes of one sample's activations and their gradients beyond which a part of a network is left out. */
const MOST_BYTES = 1.5e9;
/** Outputs of a layer beyond which their matrix is not made. */
const MOST_OUTPUTS = 2048;
/** What is added to the diagonal, as a share of its mean: what a linear view does not see, and what few gradients do not show. */
const FLOOR = 0.05;

/**
 * The matrices of those layers that lie in a part of the network which ends with an output, and each node of which has a layer of `src/nn`;
 * each outputs × outputs, with a diagonal whose mean is 1 before the floor. Others count all of their outputs alike.
 */
export async function gaussNewtonOf(options: GaussNewtonOptions): Promise<Map<string, Float64Array>> {
  const { model, fixedInputs } = options;
  const out = new Map<string, Float64Array>();
  const samples = alike(options.samples);
  const [first] = samples as [OnnxFeeds];
  const shapes = Object.fromEntries(Object.entries(first).map(([name, { shape }]) => [name, shape]));
  const ends = new Set(judgedOf(model).map(({ name }) => name));
  const { names } = new GraphFacts(model);
  for (const stretch of findStretches(model, shapes, { ends, original: names }, fixedInputs).stretches)
    for (const [id, matrix] of await matricesOf(stretch, { ...options, samples })) out.set(id, matrix);
  return out;
}

/** Samples spread evenly over the list. */
function someOf({ samples, multiplications }: GaussNewtonOptions): OnnxFeeds[] {
  const allowed = Math.floor(WORK / (2 * (multiplications ?? WORK)));
  const count = Math.min(samples.length, MOST_SAMPLES, Math.max(LEAST_SAMPLES, allowed));
  return Array.from({ length: count }, (_, at) => samples[Math.floor(((at + 0.5) * samples.length) / count)]!);
}

/** Hands gradients on, and adds up what they say. */
class Observer implements Layer {
  readonly name = "observer";
  readonly parameters = [];
  vectors = 0;

  /** @param isLast whether channels are the last axis; else they are the first one of a sample */
  constructor(
    readonly sum: Tensor,
    private readonly isLast: boolean,
  ) {}

  outputShape(input: readonly number[]): number[] {
    return [...input];
  }

  forward(_: Scheduler, x: Tensor): Tensor {
    return x;
  }

  backward(s: Scheduler, dy: Tensor): Tensor {
    const [channels] = this.sum.shape as [number];
    this.vectors += dy.size / channels;
    const shape = this.isLast || dy.order === 2 ? [-1, channels] : [dy.shape[0]!, channels, -1];
    const view = dy.reshape(shape);
    const product = unfoldedProduct(s, view, view, 1);
    accumulate(s, product, this.sum);
    s.release(product);
    return dy;
  }

  counts() {
    return { weights: 0, biases: 0, multiplications: 0 };
  }
}

async function matricesOf(stretch: Stretch, options: GaussNewtonOptions): Promise<Map<string, Float64Array>> {
  const { engine, sessions, model, sites, seed, signal, onProgress } = options;
  const samples = someOf(options);
  const out = new Map<string, Float64Array>();
  const { maxStorageBufferBindingSize } = engine.device.limits;
  if (4 * stretch.entries > maxStorageBufferBindingSize) return out;
  const unitOf = (output: string) =>
    stretch.layers.find(
      ({ nodes, output: made }) => made !== stretch.to && nodes.some((n) => n.output.includes(output)),
    );
  const wanted = sites.filter(({ shape, outputs }) => shape[0]! <= MOST_OUTPUTS && outputs.every(unitOf));
  if (!wanted.length) return out;
  const observed: { site: OnnxSite; at: number; observer: Observer }[] = [];
  const observers = new Map<string, Observer>();
  const judged = judgedOf(model).find(({ name }) => name === stretch.to)!;
  let learner: StretchNetwork | null = null;
  let source: SampleSource | null = null;
  try {
    for (const site of wanted)
      for (const [at, output] of site.outputs.entries()) {
        const channels = site.parts[at]!;
        const sum = engine.tensor([channels, channels], null, { label: "gradients of outputs" });
        const observer = new Observer(sum, site.op === "MatMul" || site.op === "Gemm");
        observed.push({ site, at, observer });
        observers.set(unitOf(output)!.output, observer);
      }
    // as in tuning, the values that the last layer with weights reads count as much as the outputs
    const features = stretch.features.slice(0, 1);
    const passed = [...features, { name: stretch.to, size: sizeOf(stretch.end) }];
    const names = features.map(({ name }) => name);
    learner = await StretchNetwork.of(engine, model, stretch, names, observers);
    const { network } = learner;
    const activations = network.shapes().reduce((sum, shape) => sum + sizeOf(shape), 0);
    const widest = Math.max(network.widest, sizeOf(stretch.sample));
    const most = Math.floor(Math.min(maxStorageBufferBindingSize / (4 * widest), MOST_BYTES / (8 * activations)));
    if (most < 1) return out;
    source = await SampleSource.open(stretch, passed, { engine, sessions, memory: MEMORY, original: model, model });
    const read = await source.read(samples);
    if (!read.count) return out;
    if (features.length) learner.weigh(scalesOf(read, passed));
    await engine.run((s) => {
      for (const { sum } of observers.values()) fill(s, sum, 0);
    });
    const random = randomNumbers(seed);
    const entries = sizeOf(stretch.sample);
    const batch = Math.min(BATCH, most);
    for (let first = 0; first < read.count; first += batch) {
      signal?.throwIfAborted();
      onProgress(first / read.count);
      const rows = Math.min(batch, read.count - first);
      const values = read.inputs.subarray(first * entries, (first + rows) * entries);
      using inputs = engine.tensor([rows, ...stretch.sample], values);
      const parts = passed.map(({ size }) =>
        Float32Array.from({ length: rows * size }, () => (random() < 0.5 ? -1 : 1)),
      );
      const classes = judged.shiftless ? rowsOf(judged, [rows, ...stretch.end]) : null;
      if (classes) centre(parts.at(-1)!, classes);
      using probe = engine.tensor([rows, ...network.outputShape], besideEachOther(parts, rows));
      await engine.run((s) => {
        network.forward(s, inputs, { training: true });
        network.backward(s, probe, { weightGradients: false });
      }, "gradients of outputs");
      await engine.idle();
    }
    for (const { site, at, observer } of observed) {
      const size = site.shape[0]!;
      const matrix = out.get(site.id) ?? new Float64Array(size * size);
      const first = site.parts.slice(0, at).reduce((a, b) => a + b, 0);
      const channels = site.parts[at]!;
      const sums = await observer.sum.read();
      for (let i = 0; i < channels; i++)
        for (let j = 0; j < channels; j++)
          matrix[(first + i) * size + first + j] = (sums[i * channels + j]! + sums[j * channels + i]!) / 2;
      out.set(site.id, matrix);
    }
    for (const [id, matrix] of out) {
      const { site, observer } = observed.find((one) => one.site.id === id)!;
      if (!lifted(matrix, site.shape[0]!, observer.vectors)) out.delete(id);
    }
    return out;
  } finally {
    await source?.release();
    learner?.destroy();
    for (const { sum } of observers.values()) sum.destroy();
  }
}

/** Scales a sum of so many gᵀ·g to a diagonal of mean 1, and adds the floor; false where nothing counts, or gradients are not finite. */
function lifted(matrix: Float64Array, size: number, vectors: number): boolean {
  let trace = 0;
  for (let i = 0; i < size; i++) trace += matrix[i * (size + 1)]!;
  if (!(trace > 0) || !matrix.every(Number.isFinite)) return false;
  for (let i = 0; i < matrix.length; i++) matrix[i]! *= size / trace;
  const floor = FLOOR + size / (2 * vectors);
  for (let i = 0; i < size; i++) matrix[i * (size + 1)]! += floor;
  return true;
}

/** Takes the mean over the classes from each row. */
function centre(values: Float32Array, { classes, inner }: { classes: number; inner: number }): void {
  for (let row = 0; row < values.length / classes; row++) {
    const from = Math.floor(row / inner) * classes * inner + (row % inner);
    const end = from + classes * inner;
    let sum = 0;
    for (let i = from; i < end; i += inner) sum += values[i]!;
    for (let i = from; i < end; i += inner) values[i]! -= sum / classes;
  }
}

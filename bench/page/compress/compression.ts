/** A trained LeNet, compressed and fine-tuned, by the library's public names. */
import { fit, TUNING_RATE, uploadDigits } from "../../../src/experiments/compare.js";
import { PIXELS, splitDigits } from "../../../src/experiments/digits.js";
import lenetFile from "../../../src/experiments/models/lenet.safetensors?url";
import {
  type Compressed,
  type CompressedLayer,
  CompressionPlan,
  type Dataset,
  type Engine,
  type Epoch,
  evaluate,
  loadModel,
  type Sequential,
  saveModel,
  type Target,
  type Tensor,
  timeForward,
  unpackBytes,
} from "../../../src/index.js";
import type { DigitSet } from "../digits.js";

/** seed of fits and of shuffling; `tenfold compare` has the same */
const SEED = 1;
/** images by which errors are weighed and losses measured; `tenfold compare` takes as many */
const CALIBRATION = 256;
/** batch of the forward passes that are timed */
export const TIMED_BATCH = 100;

/** multiplications of one submit while tuning: about four steps of a LeNet, between which the page draws and Stop is heard */
const SUBMIT_WORK = 2 ** 29;

/** Figures of a network. */
export interface Figures {
  weights: number;
  multiplications: number;
  accuracy: number;
  /** the digit that every held-out image is taken for */
  predictions: ArrayLike<number>;
  /** of a forward pass of TIMED_BATCH images; null before it is measured */
  ms: number | null;
}

export type Cost = "weights" | "multiplications";

/** Everything that is shown of a compressed network. */
export interface Shown {
  method: string;
  cost: Cost;
  ratio: number;
  layers: CompressedLayer[];
  reached: boolean;
  before: Figures;
  after: Figures;
  /** accuracy of the compressed network before fine-tuning; null until it is fine-tuned */
  untuned: number | null;
}

export interface TuneSettings {
  epochs: number;
  /** how many of the training images */
  images: number;
}

let loading: Promise<Uint8Array> | null = null;

/** The trained network's file, 248 kB, fetched once. */
export function loadLenet(): Promise<Uint8Array> {
  loading ??= fetch(lenetFile).then(async (response) => {
    if (!response.ok) throw new Error(`The trained LeNet did not load: ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
  });
  // after a failure the next call tries again
  loading.catch(() => (loading = null));
  return loading;
}

/** The network, the digits and what was made of them, on the GPU until destroyed. */
export class Compression {
  /** by method; a plan holds no GPU memory, but builds networks from the original */
  readonly plans = new Map<string, CompressionPlan>();
  compressed: Compressed | null = null;
  after: Figures | null = null;
  /** epochs that the compressed network was tuned for */
  tuned = 0;

  private constructor(
    readonly engine: Engine,
    readonly original: Sequential,
    public before: Figures,
    private readonly data: { train: Dataset; validation: Dataset; test: Dataset },
    private readonly calibration: Tensor,
  ) {}

  static async open(engine: Engine, file: Uint8Array, { images, labels }: DigitSet): Promise<Compression> {
    const opened: { destroy(): void }[] = [];
    try {
      const original = await loadModel(engine, file, "the trained LeNet");
      opened.push(original);
      const split = splitDigits(labels.length);
      const part = ([start, stop]: [number, number]): Dataset => {
        const set = uploadDigits(engine, images.subarray(start * PIXELS, stop * PIXELS), labels.subarray(start, stop));
        opened.push(set.inputs, set.labels);
        return set;
      };
      const data = { train: part(split.train), validation: part(split.validation), test: part(split.test) };
      const calibration = engine.tensor([CALIBRATION, ...original.inputShape], null, { label: "calibration" });
      opened.push(calibration);
      const samples = data.train.inputs.rows(0, CALIBRATION);
      await engine.run((s) => void unpackBytes(s, samples, { out: calibration }), "calibration");
      return new Compression(engine, original, await figuresOf(original, data.test), data, calibration);
    } catch (error) {
      for (const item of opened) item.destroy();
      throw error;
    }
  }

  /** The plan of a method; it is made once. */
  async plan(
    method: string,
    onProgress: (done: number, total: number, what: string) => void,
    signal: AbortSignal,
  ): Promise<CompressionPlan> {
    let plan = this.plans.get(method);
    if (!plan) {
      const { calibration, plans } = this;
      // dense layers are the same by most methods
      const [from] = plans.values();
      plan = await CompressionPlan.create(this.original, { method, calibration, from, seed: SEED, onProgress, signal });
      this.plans.set(method, plan);
    }
    return plan;
  }

  /** Builds the network that a plan has for a target, classifies the digits with it, and destroys the network before it. */
  async select(plan: CompressionPlan, target: Target): Promise<void> {
    const compressed = await plan.select(target, { timeBatches: [] });
    try {
      const after = await figuresOf(compressed.model, this.data.test);
      this.#forget();
      this.compressed = compressed;
      this.after = after;
    } catch (error) {
      compressed.model.destroy();
      throw error;
    }
  }

  /** Times both networks, in turn. */
  async time(): Promise<void> {
    const { original, compressed, before, after, engine } = this;
    const shape = [TIMED_BATCH, ...original.inputShape];
    const passes = [original, compressed!.model].map(({ layers }) => ({ layers, shape }));
    const [beforeMs, afterMs] = (await timeForward(engine, passes, { rounds: 5 })) as [number, number];
    this.before = { ...before, ms: beforeMs };
    this.after = { ...after!, ms: afterMs };
  }

  /** Goes on training the compressed network. Stopping is no error: the network keeps what it has learnt. */
  async tune(
    { epochs, images }: TuneSettings,
    { onEpoch, onProgress }: { onEpoch: (epoch: Epoch) => void; onProgress: (epochs: number) => void },
    signal: AbortSignal,
  ): Promise<void> {
    const { compressed, data, after, tuned } = this;
    const { inputs, labels } = data.train;
    const most = Math.min(images, labels.size);
    try {
      await fit(
        compressed!.model,
        { inputs: inputs.rows(0, most), labels: labels.rows(0, most) },
        {
          epochs,
          rate: TUNING_RATE,
          // a second run shuffles otherwise than the first
          seed: SEED + tuned,
          validation: data.validation,
          signal,
          submitWork: SUBMIT_WORK,
          onProgress,
          onEpoch: (epoch) => {
            this.tuned = tuned + epoch.epoch;
            onEpoch({ ...epoch, epoch: this.tuned });
          },
        },
      );
    } catch (error) {
      if (!signal.aborted || error !== signal.reason) throw error;
    }
    this.after = { ...(await figuresOf(compressed!.model, data.test)), ms: after!.ms };
  }

  /** The compressed network as a `.safetensors` file. */
  file(): Promise<Uint8Array> {
    return saveModel(this.compressed!.model);
  }

  #forget(): void {
    this.compressed?.model.destroy();
    this.compressed = null;
    this.after = null;
    this.tuned = 0;
  }

  destroy(): void {
    this.#forget();
    this.plans.clear();
    const { train, validation, test } = this.data;
    const tensors = [train, validation, test].flatMap(({ inputs, labels }) => [inputs, labels]);
    for (const item of [this.original, this.calibration, ...tensors]) item.destroy();
  }
}

async function figuresOf(model: Sequential, test: Dataset): Promise<Figures> {
  const { accuracy, predictions } = await evaluate(model, test);
  const multiplications = model.counts().reduce((sum, layer) => sum + layer.multiplications, 0);
  return { weights: model.parameterCount, multiplications, accuracy, predictions, ms: null };
}

/** Two networks on the same images, one on loadings and one on pixels, by the library's public names. */
import { PIXELS, splitDigits } from "../../../src/experiments/digits.js";
import { doubleSoftmax } from "../../../src/experiments/doubleSoftmax.js";
import {
  adam,
  add,
  type Dataset,
  Dropout,
  divide,
  type Engine,
  type Epoch,
  evaluate,
  type Layer,
  Linear,
  type Loss,
  map,
  matmul,
  mean,
  type Optimiser,
  type Schedule,
  Sequential,
  sgd,
  subtract,
  sumOfSquares,
  type Tensor,
  train,
  tuckerHOOI,
} from "../../../src/index.js";
import { type DigitSet, uploadImages } from "../digits.js";

/** `fixed` standardises, shuffles and uses Adam; `slides` is the thesis' recipe (Rasmussen 2020, week 5). */
export type RecipeName = "fixed" | "slides";

export interface TrainSettings {
  digits: readonly number[];
  rank: number;
  /** hidden neurons of the network on loadings and of the one on pixels */
  hidden: number;
  fullHidden: number;
  centred: boolean;
  recipe: RecipeName;
  /** null: as many as the recipe takes */
  epochs: number | null;
  seed: number;
}

interface Recipe {
  epochs: number;
  optimiser: Optimiser;
  /** optimiser of the last third of the epochs */
  finish?: Optimiser;
  loss?: Loss;
  shuffle?: boolean;
  dropout?: number;
  /** networks that begin to learn; the best after a few epochs goes on, since half the starts of a 784-3-3 network never learn */
  starts: number;
}

export type NetworkName = "loadings" | "pixels";
const BATCH = 100;
const SIDE = 28;
export const STARTS = 6;
export const TRIAL_EPOCHS = 3;

export function recipeOf(name: RecipeName, network: NetworkName, epochs: number | null, images: number): Recipe {
  if (name === "slides")
    return network === "pixels"
      ? {
          epochs: epochs ?? 300,
          optimiser: sgd({ rate: 0.01, momentum: 0.5 }),
          loss: doubleSoftmax(),
          shuffle: false,
          dropout: 0.4,
          starts: 1,
        }
      : { epochs: epochs ?? 1000, optimiser: sgd({ rate: 0.2 }), loss: doubleSoftmax(), shuffle: false, starts: 1 };
  const rate = network === "pixels" ? 0.003 : 0.01;
  const steps = Math.ceil(images / BATCH);
  return {
    epochs: epochs ?? Math.max(45, Math.ceil(2500 / steps)),
    optimiser: adam({ rate }),
    finish: adam({ rate: rate / 5 }),
    starts: STARTS,
  };
}

export interface TrainedNetwork {
  name: NetworkName;
  layout: string;
  parameters: number;
  /** for one image, the projection included */
  multiplications: number;
  seconds: number;
  curve: Epoch[];
  testAccuracy: number;
  confusion: number[][];
}

export interface Progress {
  onStage(words: string): void;
  /** Told the curve of the network that is being trained, up to now. */
  onCurve(network: NetworkName, curve: readonly Epoch[], done: number): void;
  onNetwork(network: TrainedNetwork): void;
}

/** What the networks say of one image. */
export interface Answer {
  reconstruction: Float32Array;
  /** probabilities by class */
  loadings: number[];
  pixels: number[];
}

/** Data, decomposition and networks on the GPU until destroyed. */
export class Trained {
  readonly networks = new Map<NetworkName, TrainedNetwork>();
  relativeError = Number.NaN;
  images = { train: 0, validation: 0, test: 0 };
  readonly #held: { destroy(): void }[] = [];
  readonly #models = new Map<NetworkName, Sequential>();
  #pad: { schedule: Schedule; input: Tensor; outputs: Tensor[] } | null = null;

  constructor(
    readonly engine: Engine,
    readonly settings: TrainSettings,
  ) {}

  /** Destroys this with everything else. */
  #hold<T extends { destroy(): void }>(item: T): T {
    this.#held.push(item);
    return item;
  }

  /** Decomposes the training images, then trains on their loadings and on their pixels. */
  async run(set: DigitSet, progress: Progress, signal: AbortSignal): Promise<void> {
    const { engine, settings } = this;
    const { digits } = settings;
    const { onStage, onNetwork } = progress;
    onStage("Uploading…");
    const parts: Record<string, { images: Tensor; labels: Tensor<"u32"> }> = {};
    for (const [name, [start, stop]] of Object.entries(splitDigits(set.labels.length)) as [
      keyof typeof this.images,
      [number, number],
    ][]) {
      this.images[name] = stop - start;
      const classes = Uint32Array.from(set.labels.subarray(start, stop), (digit) => digits.indexOf(digit));
      parts[name] = {
        images: this.#hold(await uploadImages(engine, set.images.subarray(start * PIXELS, stop * PIXELS), signal)),
        labels: this.#hold(engine.tensor([stop - start], classes, { label: "labels" })),
      };
    }
    onStage("Decomposing…");
    const started = performance.now();
    const basis = await this.#decompose(parts.train!.images, onStage, signal);
    const loadings: Record<string, Dataset> = {};
    for (const [name, { images, labels }] of Object.entries(parts))
      loadings[name] = { inputs: await this.#loadingsOf(basis, images), labels };
    const decomposing = (performance.now() - started) / 1000;
    const pixels: Record<string, Dataset> = Object.fromEntries(
      Object.entries(parts).map(([name, { images, labels }]) => [
        name,
        { inputs: images.reshape([-1, PIXELS]), labels },
      ]),
    );
    // one network after the other, so that the times of both are of a GPU that does nothing else
    for (const [name, data, before] of [
      ["loadings", loadings, decomposing],
      ["pixels", pixels, 0],
    ] as const) {
      const network = await this.#train(name, data, progress, signal);
      network.seconds += before;
      this.networks.set(name, network);
      onNetwork(network);
      if (signal.aborted) return;
    }
    await this.#recordPad(basis);
  }

  async #decompose(x: Tensor, onStage: (words: string) => void, signal: AbortSignal): Promise<Basis> {
    const { engine } = this;
    const { rank, centred, seed, recipe } = this.settings;
    const allocate = (shape: number[], label: string): Tensor => this.#hold(engine.tensor(shape, null, { label }));
    const average = centred ? allocate([1, SIDE, SIDE], "mean image") : null;
    if (average) await engine.run((s) => void mean(s, x, { axis: 0, out: average.reshape([SIDE, SIDE]) }));
    const source = await this.#centre(x, average);
    try {
      const { tensor, relativeError } = await tuckerHOOI(engine, source, {
        ranks: [rank, SIDE, SIDE],
        tolerance: 1e-5,
        sweeps: 60,
        // leaves the GPU to the page in between
        sweepsPerSubmit: 1,
        seed,
        signal,
        onIteration: (at) => onStage(`Decomposing: sweep ${at.sweep}, error ${at.relativeError.toFixed(4)}`),
      });
      this.#hold(tensor);
      this.relativeError = relativeError;
      signal.throwIfAborted();
      const projection = allocate([PIXELS, rank], "projection");
      const components = allocate([rank, PIXELS], "components");
      const offset = allocate([1, rank], "loading means");
      const scale = allocate([1, rank], "loading deviations");
      scale.write(new Float32Array(rank).fill(1));
      // the loadings of the unit images are the projection's matrix
      const unit = new Float32Array(PIXELS * PIXELS);
      for (let i = 0; i < PIXELS; i++) unit[i * (PIXELS + 1)] = 1;
      using units = engine.tensor([PIXELS, SIDE, SIDE], unit, { label: "unit images" });
      await engine.run((s) => {
        map(s, tensor.project(s, units), "identity", { out: projection });
        map(s, tensor.basis(s, 0).reshape([rank, PIXELS]), "identity", { out: components });
        // the slides feed loadings of about 0.01 as they are
        if (recipe === "slides") return;
        const raw = tensor.factors[0]!;
        mean(s, raw, { axis: 0, out: offset.reshape([rank]) });
        const squares = sumOfSquares(s, subtract(s, raw, offset), { axis: 0 });
        map(s, map(s, squares, "identity", { alpha: 1 / raw.shape[0]! }), "sqrt", { out: scale.reshape([rank]) });
      }, "projection");
      return { average, projection, components, offset, scale };
    } finally {
      if (source !== x) source.destroy();
    }
  }

  /** Images less the mean, or the images themselves where there is none. */
  async #centre(x: Tensor, average: Tensor | null): Promise<Tensor> {
    if (!average) return x;
    const out = this.engine.tensor(x.shape, null, { label: "centred images" });
    await this.engine.run((s) => void subtract(s, x, average, { out }));
    return out;
  }

  /** Standardised loadings of images. */
  async #loadingsOf(basis: Basis, images: Tensor): Promise<Tensor> {
    const { engine } = this;
    const centred = await this.#centre(images, basis.average);
    const out = this.#hold(engine.tensor([images.shape[0]!, this.settings.rank], null, { label: "loadings" }));
    await engine.run((s) => {
      const raw = matmul(s, centred.reshape([-1, PIXELS]), basis.projection);
      divide(s, subtract(s, raw, basis.offset), basis.scale, { out });
    }, "loadings");
    if (centred !== images) centred.destroy();
    return out;
  }

  async #train(
    name: NetworkName,
    data: Record<string, Dataset>,
    { onStage, onCurve }: Progress,
    signal: AbortSignal,
  ): Promise<TrainedNetwork> {
    const { engine, settings } = this;
    const { seed } = settings;
    const inputs = data.train!.inputs.shape[1]!;
    const hidden = name === "pixels" ? settings.fullHidden : settings.hidden;
    const classes = settings.digits.length;
    const recipe = recipeOf(settings.recipe, name, settings.epochs, data.train!.labels.size);
    const { epochs, starts } = recipe;
    const trials = starts > 1 ? Math.min(TRIAL_EPOCHS, epochs) : 0;
    const work = starts * trials + epochs - trials;
    let spent = 0;
    let curve: Epoch[] = [];
    const run = async (model: Sequential, count: number, optimiser: Optimiser, before: readonly Epoch[]) => {
      const part: Epoch[] = [...before];
      await train(model, data.train!, {
        optimiser,
        epochs: count,
        batchSize: BATCH,
        seed: seed + spent,
        ...(recipe.loss ? { loss: recipe.loss } : {}),
        shuffle: recipe.shuffle ?? true,
        validation: data.validation,
        signal,
        // between two submits the page draws
        submitMs: 30,
        onEpoch: (epoch) => {
          part.push({ ...epoch, epoch: epoch.epoch + before.length });
          onCurve(name, part, (spent + part.length - before.length) / work);
        },
      });
      spent += count;
      return part;
    };
    const started = performance.now();
    let model: Sequential | null = null;
    for (let start = 0; start < starts && !(model && signal.aborted); start++) {
      if (starts > 1) onStage(`On ${name}: start ${start + 1} of ${starts}`);
      const layers = layersOf(inputs, hidden, classes, recipe.dropout);
      const other = await Sequential.create(engine, layers, { inputShape: [inputs], seed: 100 * seed + start });
      const trial = trials ? await run(other, trials, recipe.optimiser, []) : [];
      const loss = (epochs: readonly Epoch[]): number => epochs.at(-1)?.loss ?? Number.POSITIVE_INFINITY;
      if (model && loss(curve) <= loss(trial)) other.destroy();
      else {
        model?.destroy();
        [model, curve] = [other, trial];
      }
    }
    const best = this.#hold(model!);
    this.#models.set(name, best);
    onStage(`On ${name}: ${epochs} epochs`);
    const last = recipe.finish ? Math.floor((epochs - trials) / 3) : 0;
    curve = await run(best, epochs - trials - last, recipe.optimiser, curve);
    if (last) curve = await run(best, last, recipe.finish!, curve);
    const seconds = (performance.now() - started) / 1000;
    const { accuracy, confusion } = await evaluate(best, data.test!);
    const projection = name === "loadings" ? PIXELS * inputs : 0;
    return {
      name,
      layout: `${inputs}-${hidden}-${classes}`,
      parameters: best.parameterCount,
      multiplications: projection + best.counts().reduce((sum, layer) => sum + layer.multiplications, 0),
      seconds,
      curve,
      testAccuracy: accuracy,
      confusion,
    };
  }

  /** Records what is done with a drawing: loadings, reconstruction, both answers. Every stroke replays the schedule. */
  async #recordPad({ average, projection, components, offset, scale }: Basis): Promise<void> {
    const { engine } = this;
    const input = this.#hold(engine.tensor([1, PIXELS], null, { label: "drawing" }));
    const s = engine.scheduler("drawing");
    try {
      const flat = average?.reshape([1, PIXELS]);
      const raw = matmul(s, flat ? subtract(s, input, flat) : input, projection);
      const product = matmul(s, raw, components);
      const reconstruction = flat ? add(s, product, flat) : product;
      const standard = divide(s, subtract(s, raw, offset), scale);
      const answers = [standard, input].map((x, index) =>
        this.#models.get(index ? "pixels" : "loadings")!.forward(s, x),
      );
      this.#pad = { schedule: this.#hold(await s.compile()), input, outputs: [reconstruction, ...answers] };
    } finally {
      s.destroy();
    }
  }

  /** Reconstructs an image (784 numbers, pixels / 255) and asks both networks; null before they are trained. */
  async answer(image: Float32Array): Promise<Answer | null> {
    if (!this.#pad) return null;
    const { schedule, input, outputs } = this.#pad;
    input.write(image);
    this.engine.submit(schedule);
    const [reconstruction, loadings, pixels] = (await this.engine.read(outputs)) as Float32Array[];
    return { reconstruction: reconstruction!, loadings: softmax(loadings!), pixels: softmax(pixels!) };
  }

  destroy(): void {
    this.#pad = null;
    for (const item of this.#held.splice(0).reverse()) item.destroy();
  }
}

interface Basis {
  average: Tensor | null;
  /** 784×r */
  projection: Tensor;
  /** r×784 */
  components: Tensor;
  /** standardised loadings are (loadings − offset) ÷ scale; [1, r] each */
  offset: Tensor;
  scale: Tensor;
}

/** inputs → hidden with bias and relu → classes without bias. */
const layersOf = (inputs: number, hidden: number, classes: number, dropout = 0): Layer[] => [
  new Linear(inputs, hidden, { activation: "relu" }),
  ...(dropout ? [new Dropout(dropout)] : []),
  new Linear(hidden, classes, { bias: false }),
];

function softmax(logits: Float32Array): number[] {
  const most = Math.max(...logits);
  const powers = Array.from(logits, (value) => Math.exp(value - most));
  const total = powers.reduce((a, b) => a + b, 0);
  return powers.map((value) => value / total);
}

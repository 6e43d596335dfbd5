import { tuckerHOOI } from "../decompositions/index.js";
import type { Engine, Tensor } from "../gpu/index.js";
import {
  adam,
  type Dataset,
  Dropout,
  type Epoch,
  evaluate,
  type Layer,
  Linear,
  type Loss,
  type Optimiser,
  Sequential,
  sgd,
  train,
} from "../nn/index.js";
import { divide, map, matmul, mean, slice, squaredDistance, subtract, sumOfSquares } from "../ops/index.js";
import type { TuckerTensor } from "../tensors/index.js";
import { ALL_DIGITS, type Digits, PIXELS, scalePixels, selectDigits, splitDigits } from "./digits.js";
import { doubleSoftmax } from "./doubleSoftmax.js";
import { percent, secondsSince } from "./figures.js";
import {
  pack,
  type ReportCase,
  type ReportNetwork,
  type ReportSweep,
  type SeedRuns,
  type SweepPoint,
} from "./results.js";

/** A case of the study: the digits, and the sizes of the two networks that are compared. */
export interface StudyCase {
  digits: readonly number[];
  /** loadings of an image */
  rank: number;
  /** hidden neurons of the network on pixels */
  fullHidden: number;
  /** hidden neurons of the network on loadings */
  hidden: number;
}

/** The cases of the thesis' three tables (Rasmussen 2020, week 5). */
export const THESIS_CASES: readonly StudyCase[] = [
  { digits: [3, 4, 7], rank: 3, fullHidden: 3, hidden: 5 },
  { digits: [3, 4, 9], rank: 3, fullHidden: 3, hidden: 5 },
  { digits: ALL_DIGITS, rank: 15, fullHidden: 10, hidden: 15 },
];

export interface Progress {
  /** `digits 3,4,7: training on loadings` */
  stage: string;
  /** share of this stage that is done, 0 to 1 */
  done: number;
  /** `epoch 12 of 45, accuracy 87.9 %` */
  detail: string;
}

export interface StudyOptions {
  cases?: readonly StudyCase[];
  /** `slides` also trains as the thesis did, over several seeds, beside the default recipe */
  recipe?: "default" | "slides";
  /** epochs of the default recipe; by default 45, or as many as make 2500 steps if that is more */
  epochs?: number;
  /** of start values, shuffling and the decomposition; 1 by default */
  seed?: number;
  /** number of seeds of the slides' recipe, 5 by default */
  seeds?: number;
  /** only the first so many images are looked at; 40,000 by default, as in the thesis */
  first?: number;
  onProgress?: (progress: Progress) => void;
  signal?: AbortSignal;
}

const HEIGHT = 28;
const BATCH = 100;
/** images in the report's grids */
const GRID = 100;
/** dots in the report's scatter of loadings */
const DOTS = 500;
/**
 * Start values that are tried. About half of the starts of a 784-3-3 network without biases at its output never learn the third
 * class, with any recipe, so the best of several starts is taken.
 */
const STARTS = 6;
/** Epochs of a start before the starts' losses are compared. */
const TRIAL_EPOCHS = 3;
/** Epochs of the slides' recipe for the networks on pixels and on loadings. */
const SLIDE_EPOCHS = { full: 300, decomposed: 1000 };
/** A run whose accuracy exceeds the largest class' share by less than this has learnt nothing. */
const CHANCE_MARGIN = 0.02;

/** The images of one part of the split on the GPU, N×28×28 in pixels / 255, and their labels. */
interface Part {
  images: Tensor;
  labels: Tensor<"u32">;
  count: number;
}

/** A Tucker decomposition of the training images, and the loadings of all parts. */
interface Features {
  tucker: TuckerTensor;
  relativeError: number;
  /** the mean image, 1×28×28, if it was subtracted from all images */
  centre: Tensor | null;
  /** the standardised loadings, by the part's name */
  parts: Record<string, Dataset<"f32">>;
  /** mean and standard deviation of the training images' loadings, 1×r */
  means: Tensor;
  deviations: Tensor;
  seconds: number;
}

/** Destroys tensors, networks and decompositions at the end of a case. */
class Scope {
  readonly #items: { destroy(): void }[] = [];
  /** Registers an item for destruction, and returns it. */
  add<T extends { destroy(): void }>(item: T): T {
    this.#items.push(item);
    return item;
  }
  [Symbol.dispose](): void {
    for (const item of this.#items.reverse()) item.destroy();
  }
}

/** Epochs of the default recipe: at least 45, and at least 2500 steps. */
const defaultEpochs = (images: number): number => Math.max(45, Math.ceil(2500 / Math.ceil(images / BATCH)));
const nameOf = (digits: readonly number[]): string =>
  digits.length === 10 ? "all digits" : `digits ${digits.join(",")}`;

/** Stored numbers as the thesis' slides count them: n + n·h + h·k, with one bias an input and no other biases. */
export const slideParameters = (inputs: number, hidden: number, classes: number): number =>
  inputs + inputs * hidden + hidden * classes;

/** The thesis' network: inputs → hidden with bias and relu → classes without bias. */
const layersOf = (inputs: number, hidden: number, classes: number, dropout = 0): Layer[] => [
  new Linear(inputs, hidden, { activation: "relu" }),
  ...(dropout ? [new Dropout(dropout)] : []),
  new Linear(hidden, classes, { bias: false }),
];

function loadPart(engine: Engine, scope: Scope, images: Uint8Array, labels: Uint8Array, label: string): Part {
  const count = labels.length;
  return {
    images: scope.add(engine.tensor([count, HEIGHT, HEIGHT], scalePixels(images), { label: `${label} images` })),
    labels: scope.add(engine.tensor([count], Uint32Array.from(labels), { label: `${label} labels` })),
    count,
  };
}

/** Decomposes the training images, projects the others, and standardises all loadings by the training set's statistics. */
async function decompose(
  engine: Engine,
  scope: Scope,
  parts: Record<string, Part>,
  rank: number,
  {
    centred,
    seed,
    tell,
    signal,
  }: { centred: boolean; seed: number; tell: (done: number, detail: string) => void; signal?: AbortSignal },
): Promise<Features> {
  const started = performance.now();
  const training = parts.train!;
  const centre = centred ? scope.add(engine.tensor([1, HEIGHT, HEIGHT], null, { label: "mean image" })) : null;
  if (centre)
    await engine.run((s) => void mean(s, training.images, { axis: 0, out: centre.reshape([HEIGHT, HEIGHT]) }));
  const centredImages = async (part: Part): Promise<Tensor> => {
    if (!centre) return part.images;
    const out = engine.tensor(part.images.shape, null, { label: "centred images" });
    await engine.run((s) => void subtract(s, part.images, centre, { out }));
    return out;
  };
  const source = await centredImages(training);
  const sweeps = 60;
  const result = await tuckerHOOI(engine, source, {
    ranks: [rank, HEIGHT, HEIGHT],
    tolerance: 1e-5,
    sweeps,
    seed,
    signal,
    onIteration: ({ sweep, relativeError }) =>
      tell(sweep / sweeps, `sweep ${sweep}, error ${relativeError.toFixed(4)}`),
  });
  const tucker = scope.add(result.tensor);
  const means = scope.add(engine.tensor([1, rank], null, { label: "loading means" }));
  const deviations = scope.add(engine.tensor([1, rank], null, { label: "loading deviations" }));
  const datasets: Record<string, Dataset<"f32">> = {};
  for (const [name, part] of Object.entries(parts)) {
    const images = name === "train" ? source : await centredImages(part);
    const loadings = scope.add(engine.tensor([part.count, rank], null, { label: `${name} loadings` }));
    await engine.run((s) => {
      const raw = name === "train" ? tucker.factors[0]! : tucker.project(s, images);
      if (name === "train") {
        mean(s, raw, { axis: 0, out: means.reshape([rank]) });
        const offsets = subtract(s, raw, means);
        const squares = sumOfSquares(s, offsets, { axis: 0 });
        const variance = map(s, squares, "identity", { alpha: 1 / part.count });
        map(s, variance, "sqrt", { out: deviations.reshape([rank]) });
        s.release(offsets, squares, variance);
      }
      const offsets = subtract(s, raw, means);
      divide(s, offsets, deviations, { out: loadings });
      s.release(offsets);
    }, `loadings of ${name}`);
    if (images !== part.images) images.destroy();
    datasets[name] = { inputs: loadings, labels: part.labels };
  }
  return {
    tucker,
    relativeError: result.relativeError,
    centre,
    parts: datasets,
    means,
    deviations,
    seconds: secondsSince(started),
  };
}

interface Trained {
  network: ReportNetwork;
  model: Sequential;
  seconds: number;
}

/** How a network is trained. */
interface Recipe {
  epochs: number;
  optimiser: Optimiser;
  loss?: Loss;
  shuffle?: boolean;
  dropout?: number;
  /** optimiser of the last third of the epochs, at a lower rate, because the accuracy fluctuates at a constant rate */
  finish?: Optimiser;
  /** so many starts are trained for TRIAL_EPOCHS; the one with the lowest training loss is trained further */
  starts?: number;
}

/** Adam from the best of several starts, with a fifth of the rate in the last third of the epochs. */
const standardRecipe = (epochs: number, rate: number): Recipe => ({
  epochs,
  optimiser: adam({ rate }),
  finish: adam({ rate: rate / 5 }),
  starts: STARTS,
});

async function trainNetwork(
  engine: Engine,
  parts: Record<string, Dataset<"f32">>,
  {
    hidden,
    classes,
    seed,
    recipe,
    tell,
    signal,
  }: {
    hidden: number;
    classes: number;
    seed: number;
    recipe: Recipe;
    tell: (done: number, detail: string) => void;
    signal?: AbortSignal;
  },
): Promise<Trained> {
  const started = performance.now();
  const inputs = parts.train!.inputs.shape[1]!;
  const { starts = 1, epochs } = recipe;
  const report = (done: number, { validationAccuracy }: Epoch, what: string): void =>
    tell(done, `${what}, accuracy ${percent(validationAccuracy ?? 0)}`);
  const work = starts > 1 ? starts * TRIAL_EPOCHS + epochs - TRIAL_EPOCHS : epochs;
  const run = (
    model: Sequential,
    count: number,
    before: number,
    what: (epoch: number) => string,
    optimiser = recipe.optimiser,
  ) =>
    train(model, parts.train!, {
      loss: recipe.loss,
      shuffle: recipe.shuffle,
      optimiser,
      epochs: count,
      batchSize: BATCH,
      seed: seed + before,
      validation: parts.validation,
      signal,
      onEpoch: (epoch) => report((before + epoch.epoch) / work, epoch, what(epoch.epoch)),
    });
  let best: { model: Sequential; curve: Epoch[] } | null = null;
  const trials = starts > 1 ? Math.min(TRIAL_EPOCHS, epochs) : 0;
  for (let start = 0; start < starts && !(best && signal?.aborted); start++) {
    const layers = layersOf(inputs, hidden, classes, recipe.dropout);
    const model = await Sequential.create(engine, layers, { inputShape: [inputs], seed: 100 * seed + start });
    const { curve } = await run(model, trials, start * TRIAL_EPOCHS, () => `start ${start + 1} of ${starts}`);
    const loss = (one: Epoch[]): number => one.at(-1)?.loss ?? Number.POSITIVE_INFINITY;
    if (best && loss(best.curve) <= loss(curve)) model.destroy();
    else {
      best?.model.destroy();
      best = { model, curve };
    }
  }
  const { model, curve: trial } = best!;
  const curve = [...trial];
  const last = recipe.finish ? Math.floor((epochs - trials) / 3) : 0;
  for (const [count, optimiser] of [
    [epochs - trials - last, recipe.optimiser],
    [last, recipe.finish],
  ] as const) {
    const done = curve.length;
    const what = (epoch: number): string => `epoch ${done + epoch} of ${epochs}`;
    const part = await run(model, count, work - epochs + done, what, optimiser);
    curve.push(...part.curve.map((point) => ({ ...point, epoch: point.epoch + done })));
  }
  const spent = secondsSince(started);
  const test = await evaluate(model, parts.test!);
  const network: ReportNetwork = {
    layout: `${inputs}-${hidden}-${classes}`,
    inputs,
    hidden,
    parameters: model.parameterCount,
    slideParameters: slideParameters(inputs, hidden, classes),
    multiplications: model.counts().reduce((sum, { multiplications }) => sum + multiplications, 0),
    testAccuracy: test.accuracy,
    curve: curve.map(({ epoch, accuracy, validationAccuracy }) => ({
      epoch,
      train: accuracy,
      validation: validationAccuracy ?? 0,
    })),
    confusion: test.confusion,
  };
  if (parts.t10k) network.t10kAccuracy = (await evaluate(model, parts.t10k)).accuracy;
  return { network, model, seconds: spent };
}

/**
 * Folds projection, standardisation and first layer into one layer from 784 pixels to h neurons, and compares the result with the
 * network on loadings over the test images. Loadings are linear in the pixels, so the network on loadings is a network on pixels
 * whose first matrix has rank r.
 *
 * @returns the share of test images with the same prediction, and the largest difference of logits
 */
async function foldAndCompare(
  engine: Engine,
  features: Features,
  trained: Trained,
  test: Part,
): Promise<{ agreement: number; largestDifference: number }> {
  const { hidden, inputs: rank } = trained.network;
  const [weight, bias, last] = trained.model.parameters.map(({ value }) => value) as [Tensor, Tensor, Tensor];
  // the loadings of the unit images are the projection's matrix, 784×r
  const unit = Float32Array.from({ length: PIXELS * PIXELS }, (_, i) => (i % (PIXELS + 1) === 0 ? 1 : 0));
  using units = engine.tensor([PIXELS, HEIGHT, HEIGHT], unit, { label: "unit images" });
  using projection = engine.tensor([PIXELS, rank], null, { label: "projection" });
  await engine.run((s) => {
    const loadings = features.tucker.project(s, units);
    map(s, loadings, "identity", { out: projection });
  });
  const [p, means, deviations, w, b, lastValues] = await engine.read([
    projection,
    features.means,
    features.deviations,
    weight,
    bias,
    last,
  ]);
  const centre = features.centre ? await engine.read(features.centre) : null;
  const folded = new Float32Array(hidden * PIXELS);
  const foldedBias = new Float32Array(hidden);
  for (let h = 0; h < hidden; h++) {
    let shift = b![h]!;
    for (let r = 0; r < rank; r++) shift -= (w![h * rank + r]! * means![r]!) / deviations![r]!;
    for (let k = 0; k < PIXELS; k++) {
      let sum = 0;
      for (let r = 0; r < rank; r++) sum += (p![k * rank + r]! * w![h * rank + r]!) / deviations![r]!;
      folded[h * PIXELS + k] = sum;
      if (centre) shift -= sum * centre[k]!;
    }
    foldedBias[h] = shift;
  }
  const classes = trained.model.outputShape[0]!;
  using fused = await Sequential.create(engine, layersOf(PIXELS, hidden, classes), { inputShape: [PIXELS] });
  [folded, foldedBias, lastValues!].forEach((values, index) => {
    fused.parameters[index]!.value.write(values);
  });
  const s = engine.scheduler("fused against two steps");
  const viaLoadings = trained.model.forward(s, features.parts.test!.inputs);
  const direct = fused.forward(s, test.images.reshape([test.count, PIXELS]));
  using schedule = await s.compile();
  engine.submit(schedule);
  const [a, c] = await engine.read([viaLoadings, direct]);
  let same = 0;
  let largestDifference = 0;
  for (let row = 0; row < test.count; row++) {
    const argmax = (values: Float32Array): number => {
      const slice = values.subarray(row * classes, (row + 1) * classes);
      return slice.indexOf(Math.max(...slice));
    };
    if (argmax(a!) === argmax(c!)) same++;
  }
  a!.forEach((value, index) => {
    largestDifference = Math.max(largestDifference, Math.abs(value - c![index]!));
  });
  return { agreement: same / test.count, largestDifference };
}

/** ‖X − X̂‖ / ‖X‖ for images X and their projection X̂ onto a decomposition's basis. */
async function projectionError(engine: Engine, tucker: TuckerTensor, images: Tensor): Promise<number> {
  using values = engine.tensor([128], null, { label: "projection error" });
  await engine.run((s) => {
    const basis = tucker.basis(s, 0).reshape([tucker.ranks[0]!, PIXELS]);
    const approximation = matmul(s, tucker.project(s, images), basis);
    squaredDistance(s, images.reshape(approximation.shape), approximation, { out: values.rows(0, 1) });
    sumOfSquares(s, images, { out: values.rows(64, 65) });
  });
  const result = await engine.read(values);
  return Math.sqrt(result[0]! / result[64]!);
}

/** Loads the parts of one case onto the GPU: the thesis' split of the chosen digits, and t10k where the data set has it. */
function loadParts(
  engine: Engine,
  scope: Scope,
  source: Digits,
  digits: readonly number[],
  first: number,
): { parts: Record<string, Part>; images: Uint8Array; labels: Uint8Array } {
  const chosen = selectDigits(source.images, source.labels, digits, { first });
  const split = splitDigits(chosen.labels.length);
  const parts: Record<string, Part> = {};
  for (const [name, [start, stop]] of Object.entries(split) as [string, [number, number]][]) {
    const images = chosen.images.subarray(start * PIXELS, stop * PIXELS);
    parts[name] = loadPart(engine, scope, images, chosen.labels.subarray(start, stop), name);
  }
  if (source.testImages && source.testLabels) {
    const t10k = selectDigits(source.testImages, source.testLabels, digits);
    parts.t10k = loadPart(engine, scope, t10k.images, t10k.labels, "t10k");
  }
  return { parts, images: chosen.images, labels: chosen.labels };
}

const pixelsOf = (parts: Record<string, Part>): Record<string, Dataset<"f32">> =>
  Object.fromEntries(
    Object.entries(parts).map(([name, { images, labels, count }]) => [
      name,
      { inputs: images.reshape([count, PIXELS]), labels },
    ]),
  );

/**
 * Runs one case of the study: it decomposes the images with and without centring, trains networks on loadings, on centred
 * loadings and on pixels, and compares them (Rasmussen 2020).
 */
export async function runCase(
  engine: Engine,
  source: Digits,
  spec: StudyCase,
  options: StudyOptions = {},
): Promise<ReportCase> {
  const { recipe = "default", seed = 1, seeds = 5, first = 40_000, onProgress, signal } = options;
  const { digits, rank, fullHidden, hidden } = spec;
  const classes = digits.length;
  const stage = (what: string) => (done: number, detail: string) =>
    onProgress?.({ stage: `${nameOf(digits)}: ${what}`, done: Math.min(done, 1), detail });
  using scope = new Scope();
  const { parts, images, labels } = loadParts(engine, scope, source, digits, first);
  const epochs = options.epochs ?? defaultEpochs(parts.train!.count);
  const shared = { seed, ...(signal ? { signal } : {}) };
  const features = await decompose(engine, scope, parts, rank, {
    ...shared,
    centred: false,
    tell: stage("decomposing"),
  });
  const centredFeatures = await decompose(engine, scope, parts, rank, {
    ...shared,
    centred: true,
    tell: stage("decomposing, centred"),
  });
  const standard = standardRecipe(epochs, 0.01);
  const onLoadings = { ...shared, hidden, classes, recipe: standard };
  const full = await trainNetwork(engine, pixelsOf(parts), {
    ...shared,
    hidden: fullHidden,
    classes,
    recipe: standardRecipe(epochs, 0.003),
    tell: stage("training on pixels"),
  });
  scope.add(full.model);
  const decomposed = await trainNetwork(engine, features.parts, { ...onLoadings, tell: stage("training on loadings") });
  scope.add(decomposed.model);
  const centred = await trainNetwork(engine, centredFeatures.parts, {
    ...onLoadings,
    tell: stage("training on centred loadings"),
  });
  scope.add(centred.model);
  const fused = await foldAndCompare(engine, features, decomposed, parts.test!);
  const figures = await figuresOf(engine, features, parts.train!, images, labels);
  const result: ReportCase = {
    digits: [...digits],
    rank,
    decompositionError: features.relativeError,
    images: { train: parts.train!.count, validation: parts.validation!.count, test: parts.test!.count },
    full: full.network,
    decomposed: decomposed.network,
    centred: centred.network,
    fused,
    seconds: { decompose: features.seconds, trainFull: full.seconds, trainDecomposed: decomposed.seconds },
    ...figures,
  };
  if (parts.t10k) result.t10kDecompositionError = await projectionError(engine, features.tucker, parts.t10k.images);
  if (recipe === "slides")
    result.slides = await runSlides(engine, scope, parts, features, spec, { seeds, seed, stage, signal });
  return result;
}

/** The images and loadings that the report draws. */
async function figuresOf(engine: Engine, features: Features, training: Part, images: Uint8Array, labels: Uint8Array) {
  const count = training.count;
  const shown = Math.min(GRID, count);
  const { tucker } = features;
  const rank = tucker.ranks[0]!;
  const loadingsTensor = tucker.factors[0]!;
  using reconstructions = engine.tensor([shown, PIXELS], null, { label: "reconstructions" });
  using components = engine.tensor([rank, PIXELS], null, { label: "components" });
  await engine.run((s) => {
    const basis = tucker.basis(s, 0);
    const some = slice(s, loadingsTensor, [0, 0], [shown, rank]);
    matmul(s, some, basis.reshape([rank, PIXELS]), { out: reconstructions });
    map(s, basis.reshape([rank, PIXELS]), "identity", { out: components });
  });
  const [approximations, basis, loadings] = await engine.read([reconstructions, components, loadingsTensor]);
  const dots = Math.min(DOTS, count);
  const chosen = Array.from({ length: dots }, (_, i) => Math.floor((i * count) / dots));
  const dotLoadings = new Float32Array(dots * rank);
  const dotImages = new Uint8Array(dots * PIXELS);
  chosen.forEach((index, at) => {
    dotLoadings.set(loadings!.subarray(index * rank, (index + 1) * rank), at * rank);
    dotImages.set(images.subarray(index * PIXELS, (index + 1) * PIXELS), at * PIXELS);
  });
  return {
    originals: pack(images.slice(0, shown * PIXELS), [shown, PIXELS]),
    reconstructions: pack(approximations!, [shown, PIXELS]),
    originalLabels: [...labels.subarray(0, shown)],
    components: pack(basis!, [rank, PIXELS]),
    loadings: pack(dotLoadings, [dots, rank]),
    loadingLabels: chosen.map((index) => labels[index]!),
    loadingImages: pack(dotImages, [dots, PIXELS]),
  };
}

/** Trains as the thesis did: a softmax layer in front of the cross-entropy with its softmax, SGD, no shuffling, raw loadings. */
async function runSlides(
  engine: Engine,
  scope: Scope,
  parts: Record<string, Part>,
  features: Features,
  { digits, fullHidden, hidden }: StudyCase,
  {
    seeds,
    seed,
    stage,
    signal,
  }: {
    seeds: number;
    seed: number;
    stage: (what: string) => (done: number, detail: string) => void;
    signal: AbortSignal | undefined;
  },
): Promise<{ full: SeedRuns; decomposed: SeedRuns }> {
  const raw: Record<string, Dataset<"f32">> = {};
  const rank = features.tucker.ranks[0]!;
  for (const [name, { images, labels, count }] of Object.entries(parts)) {
    if (name === "train") raw[name] = { inputs: features.tucker.factors[0]!, labels };
    else {
      const loadings = scope.add(engine.tensor([count, rank], null, { label: `${name} raw loadings` }));
      await engine.run((s) => {
        const projected = features.tucker.project(s, images);
        map(s, projected, "identity", { out: loadings });
      });
      raw[name] = { inputs: loadings, labels };
    }
  }
  const shared = { loss: doubleSoftmax(), shuffle: false } as const;
  const recipes: [string, Record<string, Dataset<"f32">>, number, Recipe][] = [
    [
      "full",
      pixelsOf(parts),
      fullHidden,
      { ...shared, epochs: SLIDE_EPOCHS.full, optimiser: sgd({ rate: 0.01, momentum: 0.5 }), dropout: 0.4 },
    ],
    ["decomposed", raw, hidden, { ...shared, epochs: SLIDE_EPOCHS.decomposed, optimiser: sgd({ rate: 0.2 }) }],
  ];
  const runs: Record<string, SeedRuns> = {};
  for (const [name, datasets, width, recipe] of recipes) {
    const accuracies: number[] = [];
    let failures = 0;
    for (let run = 0; run < seeds && !signal?.aborted; run++) {
      const tell = stage(`the slides' recipe, ${name}, seed ${run + 1} of ${seeds}`);
      const { model, network } = await trainNetwork(engine, datasets, {
        hidden: width,
        classes: digits.length,
        seed: seed + run,
        recipe,
        tell: (done, detail) => tell((run + done) / seeds, detail),
        ...(signal ? { signal } : {}),
      });
      model.destroy();
      accuracies.push(network.testAccuracy);
      const total = network.confusion.flat().reduce((a, b) => a + b, 0);
      const commonest = Math.max(...network.confusion.map((row) => row.reduce((a, b) => a + b, 0))) / total;
      if (network.testAccuracy < commonest + CHANCE_MARGIN) failures++;
    }
    runs[name] = { accuracies, failures };
  }
  return { full: runs.full!, decomposed: runs.decomposed! };
}

export interface SweepOptions extends Omit<StudyOptions, "cases" | "recipe" | "seeds"> {
  digits?: readonly number[];
  ranks?: readonly number[];
  hidden?: number;
}

/** Ranks of `tenfold mnist sweep`. */
export const SWEEP_RANKS: readonly number[] = [2, 5, 7, 10, 15, 20, 25, 30, 50, 100];

/**
 * Accuracy and multiplications against rank. One decomposition of the largest rank serves all ranks: only one mode is reduced, so
 * the best loadings of rank r are its first r columns.
 */
export async function runSweep(engine: Engine, source: Digits, options: SweepOptions = {}): Promise<ReportSweep> {
  const {
    digits = ALL_DIGITS,
    ranks = SWEEP_RANKS,
    hidden = 20,
    seed = 1,
    first = 40_000,
    onProgress,
    signal,
  } = options;
  const classes = digits.length;
  const stage = (what: string) => (done: number, detail: string) =>
    onProgress?.({ stage: `rank sweep: ${what}`, done: Math.min(done, 1), detail });
  using scope = new Scope();
  const { parts } = loadParts(engine, scope, source, digits, first);
  const epochs = options.epochs ?? defaultEpochs(parts.train!.count);
  const shared = { seed, ...(signal ? { signal } : {}) };
  const largest = Math.max(...ranks);
  const features = await decompose(engine, scope, parts, largest, {
    ...shared,
    centred: false,
    tell: stage("decomposing"),
  });
  const core = await engine.read(features.tucker.core);
  const energies = Array.from({ length: largest }, (_, r) =>
    core.subarray(r * PIXELS, (r + 1) * PIXELS).reduce((sum, v) => sum + v * v, 0),
  );
  const modelEnergy = energies.reduce((a, b) => a + b, 0);
  const total = modelEnergy / (1 - features.relativeError ** 2);
  const recipe = { ...standardRecipe(epochs, 0.01), starts: 1 };
  const points: SweepPoint[] = [];
  for (const [index, rank] of [...ranks].sort((a, b) => a - b).entries()) {
    if (signal?.aborted) break;
    using local = new Scope();
    const datasets: Record<string, Dataset<"f32">> = {};
    for (const [name, { inputs, labels }] of Object.entries(features.parts)) {
      const narrow = local.add(engine.tensor([inputs.shape[0]!, rank], null, { label: `${name} loadings` }));
      await engine.run((s) => void slice(s, inputs, [0, 0], [inputs.shape[0]!, rank], { out: narrow }));
      datasets[name] = { inputs: narrow, labels };
    }
    const tell = stage(`rank ${rank}`);
    const { network, model } = await trainNetwork(engine, datasets, {
      ...shared,
      hidden,
      classes,
      recipe,
      tell: (done, detail) => tell((index + done) / ranks.length, detail),
    });
    model.destroy();
    const lost = total - energies.slice(0, rank).reduce((a, b) => a + b, 0);
    points.push({
      rank,
      accuracy: network.testAccuracy,
      decompositionError: Math.sqrt(Math.max(0, lost) / total),
      parameters: network.parameters,
      multiplications: PIXELS * rank + network.multiplications,
    });
  }
  const full = await trainNetwork(engine, pixelsOf(parts), {
    ...shared,
    hidden,
    classes,
    recipe: { ...standardRecipe(epochs, 0.003), starts: 1 },
    tell: stage("training on pixels"),
  });
  full.model.destroy();
  const { testAccuracy, multiplications, parameters } = full.network;
  return { digits: [...digits], hidden, points, full: { accuracy: testAccuracy, multiplications, parameters } };
}

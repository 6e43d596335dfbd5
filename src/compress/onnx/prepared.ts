/**
 * A model as requests find it: read and folded, with its samples, and with what is known of its layers. All of that serves every budget,
 * so that of a second one only those fits are new whose ranks are.
 */
import { type Engine, TenfoldError } from "../../gpu/index.js";
import { FormatError } from "../../io/index.js";
import { inlineExternal } from "../../onnx/cut.js";
import {
  activationRanges,
  foldOnnx,
  type KnownShapes,
  type LeftAlone,
  type OnnxReplacement,
  type OnnxSite,
  onnxSites,
  type QuantisableOp,
  quantiseOnnx,
  type ReadOnnxOptions,
  readOnnx,
  replaceSites,
  writeOnnx,
} from "../../onnx/index.js";
import type { OnnxModel } from "../../onnx/model.js";
import { externalSize } from "../../onnx/tensors.js";
import type { Cost } from "../select.js";
import { type FitCandidate, firstRidge, hasFew, LayerFits, RIDGE } from "./fits.js";
import { gaussNewtonOf } from "./gaussNewton.js";
import { type Fits, fitsOf } from "./groups.js";
import { collectMoments, type Moments, type Relays, typeOf, widthOf } from "./moments.js";
import { type Agreement, OutputJudge } from "./outputs.js";
import type { Choice, Plan } from "./plan.js";
import { Products } from "./products.js";
import { Recent } from "./recent.js";
import { Relay } from "./relay.js";
import {
  areAlike,
  batches,
  batchGroups,
  checkSamples,
  hashOf,
  joined,
  type SplitSamples,
  splitSamples,
  takesBatches,
} from "./samples.js";
import { type OnnxFeeds, type OnnxSession, type OnnxSessions, Part } from "./session.js";
import { LayerTimes, timesInTurns } from "./times.js";
import { canNarrow, isNarrow, narrowed, wideOf } from "./wide.js";

/** What is the same for all budgets. */
export interface OnnxCompressionOptions {
  engine: Engine;
  /** Makes sessions of a runtime, by `runtimeSessions`; needed with `calibration`. */
  session?: OnnxSessions;
  /**
   * Samples, one run each, by `samplesOf` or as a program makes them. They must hold every kind of input that the model will meet:
   * what they lack is lost, and nothing in them shows it. Without samples, layers are fitted by their weights alone.
   */
  calibration?: readonly OnnxFeeds[];
  /** Samples for the last word; a fifth of `calibration` by default, which is then not calibrated with. */
  verification?: readonly OnnxFeeds[];
  /** shapes of inputs that the model leaves open, where there are no samples */
  shapes?: KnownShapes;
  /** as in `onnxSites` */
  smallest?: number;
  fixedInputs?: boolean;
  /** how weights in files beside the model are read */
  external?: NonNullable<ReadOnnxOptions["external"]>;
  /** the file's name, for messages */
  file?: string;
  /** the most patches of a layer that its moments are taken of, 32000 by default; less where a layer has few inputs */
  patches?: number;
  /** ranks are multiples of this, 8 by default; of layers with fewer than 64 channels of half of it, below 16 of 1 */
  multiple?: number;
  /** bytes that moments and fits may take on the host at a time, 1.5 GB by default */
  memory?: number;
  /** of the order of samples and of the places of patches, 0 by default */
  seed?: number;
  /** What an earlier call with the same model, samples and options told by `onPlan`: what it holds is not found anew. */
  plan?: OnnxPlan;
  /** called as the plan grows, with something that JSON can hold */
  onPlan?: (plan: OnnxPlan) => void;
}

/** What was found of a model so far, to go on from: candidates of layers, and which of them held-back samples chose. */
export interface OnnxPlan {
  version: 3;
  /** of the model, the samples and the options that candidates depend on */
  fingerprint: string;
  layers: {
    id: string;
    /** with times, where a budget of time was asked for */
    candidates: readonly FitCandidate[];
    weight: number;
    /** vectors of inputs that its moments are of; null without samples */
    patches: number | null;
    time?: number;
  }[];
  /** milliseconds of a run, where time was the cost */
  timeTotal: number;
  /** of each number that a cost was divided by: the layers' candidates, and what held-back samples said */
  chosen: {
    cost: Cost;
    ratio: number;
    layers: { id: string; candidate: FitCandidate }[];
    held: Agreement | null;
    steps: { name: string; error: number; kept: boolean }[];
    /** other choices that held-back samples liked nearly as well */
    rivals?: { name: string; layers: { id: string; candidate: FitCandidate }[]; held: Agreement }[];
  }[];
}

export function isPlan(value: unknown): boolean {
  const { version, fingerprint, layers, chosen } = (value ?? {}) as Partial<OnnxPlan>;
  return version === 3 && typeof fingerprint === "string" && Array.isArray(layers) && Array.isArray(chosen);
}

/** The request under way. */
export interface Watch {
  signal: AbortSignal | undefined;
  /** tells how much of a stretch of the work is done */
  progress(from: number, to: number, doing: string): (part: number) => void;
}

const PATCHES = 32_000;
export const MULTIPLE = 8;
export const MEMORY = 1.5e9;
/** for each entry of a covariance while it is summed: the sum in f64, and a part in f32 */
const SUM_BYTES = 12;
/** models with fits that are kept */
const MOST_WRITTEN = 3;
/** the part of the memory that values before a layer may take, of one network */
const RELAY_SHARE = 16;
/** inputs × taps beyond which a layer's covariance does not fit into a binding of 128 MiB; dense layers are fitted by their outputs then */
export const MOST_INPUTS = 5600;
/** milliseconds of a turn, at least: short runs differ much from each other */
const TURN = 10;
/** what becomes int8 */
export const QUANTISED: readonly QuantisableOp[] = ["Conv", "Gemm", "MatMul"];
/** samples below which a warning is given; patches for each input of a layer below which one is */
const [FEW_SAMPLES, FEW_PATCHES] = [32, 5];
const [BATCH, SENSITIVITY_SAMPLES] = [8, 12];
/** Parts of the samples that are held back in turn from refits of layers with few patches. */
const PARTS = 3;

/** The layers' fits with what else was found, for any number of requests, one after the other. */
export class PreparedModel {
  watch: Watch = { signal: undefined, progress: () => () => {} };
  readonly products: Products;
  /** the model, folded */
  model!: OnnxModel;
  /** bytes of the model, with those of other files */
  size = 0;
  folded: readonly string[] = [];
  sites: readonly OnnxSite[] = [];
  leftAlone: readonly LeftAlone[] = [];
  /** those that are not the model's own: of its inputs, or of what layers read and make */
  shapes: ReadonlyMap<string, readonly number[]> = new Map();
  totals: { weights: number; multiplications: number | null } = { weights: 0, multiplications: null };
  split: SplitSamples = { fit: [], choose: [], verify: [] };
  plan: OnnxPlan = { version: 3, fingerprint: "", layers: [], timeTotal: 0, chosen: [] };
  private isReady = false;
  private batch = 1;
  private layerTimes: LayerTimes | null = null;
  private metrics: Map<string, Float64Array> | null = null;
  private int8: ({ bytes: Uint8Array } & Agreement) | null | undefined;
  private readonly recent: Recent;
  private readonly judges = new Map<keyof SplitSamples, OutputJudge>();
  /** what held-back samples said of a model, by the fits in it */
  private readonly held = new Map<string, Agreement>();
  /** fits by number: the same text has the same one */
  private readonly numbers = new Map<string, number>();
  private readonly numberOf = new WeakMap<OnnxReplacement, number>();
  /** models with fits, the last one first: fits in order ask for each several times */
  private readonly lastWritten: { key: string; model: OnnxModel }[] = [];

  constructor(
    readonly bytes: Uint8Array,
    readonly options: OnnxCompressionOptions,
  ) {
    this.products = new Products(options.engine, options.session ?? null);
    this.recent = new Recent(options.memory ?? MEMORY);
  }

  get replacing() {
    return { fixedInputs: this.options.fixedInputs ?? false, join: true };
  }
  get sessions(): OnnxSessions {
    return this.options.session!;
  }
  get calibrated(): boolean {
    return !!this.options.calibration?.length;
  }
  get memory(): number {
    return this.options.memory ?? MEMORY;
  }
  get multiple(): number {
    return this.options.multiple ?? MULTIPLE;
  }

  /** Reads and folds the model, splits the samples, and finds shapes and sites: once. */
  async prepare(): Promise<void> {
    if (this.isReady) return;
    const { options } = this;
    const {
      external,
      file = "model.onnx",
      fixedInputs = false,
      smallest,
      calibration = [],
      verification = [],
    } = options;
    const tell = this.watch.progress(0, 0.02, "reading");
    tell(0);
    const read = readOnnx(this.bytes, { file, ...(external && { external }) });
    this.size = this.bytes.length + externalSize(read);
    const { model, folded } = await foldOnnx(await inlineExternal(read), { fixedInputs });
    this.model = model;
    let shapes = options.shapes;
    if (calibration.length) {
      checkSamples(model, [...calibration, ...verification]);
      this.split = splitSamples(calibration, verification, options.seed ?? 0);
      this.batch = await this.batchSize();
      shapes = await this.measuredShapes();
    }
    const list =
      shapes instanceof Map ? [...shapes] : Object.entries((shapes ?? {}) as Record<string, readonly number[]>);
    this.shapes = new Map(list);
    const { sites, leftAlone, totals } = onnxSites(model, {
      fixedInputs,
      ...(shapes && { shapes }),
      ...(smallest !== undefined && { smallest }),
    });
    const why = sites.map(reasonToLeave);
    const left = sites.flatMap(({ name, op, counts }, at) =>
      why[at] ? [{ name, op, ...counts, reason: why[at] }] : [],
    );
    const taken = sites.filter((_, at) => !why[at]);
    for (const { name, weights } of taken) {
      const wrong = (await weights()).find((weight) => !Number.isFinite(weight));
      if (wrong !== undefined) throw new FormatError(file, `layer ${name} has a weight that is ${wrong}`);
    }
    const fitted: OnnxSite[] = [];
    for (const site of taken) fitted.push(widthOf(site) > MOST_INPUTS ? await narrowed(this.products, site) : site);
    this.sites = fitted;
    this.leftAlone = [...leftAlone, ...left];
    this.folded = folded;
    this.totals = totals;
    this.begin();
    tell(1);
    this.isReady = true;
  }

  /** How many patches a layer's moments are of; null where that is not known yet, and without samples. */
  patchesOf({ id }: OnnxSite): number | null {
    return this.plan.layers.find((layer) => layer.id === id)?.patches ?? null;
  }

  /** In how many parts the moments of a layer's refits are kept, so that each can be held back: several where there are few patches, else 1. */
  partsOf(site: OnnxSite): number {
    const patches = this.patchesOf(site);
    return patches !== null && hasFew(site, patches) && this.split.fit.length >= 2 * PARTS ? PARTS : 1;
  }

  /** What users should know of the samples. */
  warnings(): string[] {
    const { length } = this.options.calibration ?? [];
    if (!length)
      return [
        "no calibration samples: layers are fitted by their weights alone, which loses much more, and nothing was verified",
      ];
    const out: string[] = [];
    if (length < FEW_SAMPLES)
      out.push(
        `${length} sample${length === 1 ? " is" : "s are"} few: ${FEW_SAMPLES} or more are wanted, of every kind of input`,
      );
    if (areAlike(this.options.calibration!))
      out.push("all samples are the same: what other inputs need is lost, and nothing here shows it");
    const few = this.sites.flatMap((site) => {
      const count = this.patchesOf(site);
      const width = widthOf(wideOf(site));
      return count !== null && count < FEW_PATCHES * width ? [`${site.name} (${count} for ${width} inputs)`] : [];
    });
    if (few.length)
      out.push(
        `few patches for their inputs, so fits may not hold on other samples: ${few.slice(0, 5).join(", ")}${few.length > 5 ? ` and ${few.length - 5} more` : ""}`,
      );
    return out;
  }

  /** How many samples a run takes: some models with an open batch fail on more than one. */
  private async batchSize(): Promise<number> {
    const { model } = this;
    if (!takesBatches(model) || this.split.fit.length < 2) return 1;
    const values = model.outputs.map(({ name }) => ({ name, dataType: 1 }));
    const [pair] = batches(this.split.fit.slice(0, 2), 2);
    const part = await Part.open(this.sessions, model, values);
    try {
      const results = await part.run(pair!);
      const count = Object.values(pair!)[0]!.shape[0]!;
      return values.every(({ name }) => results[name]!.shape[0] === count) ? BATCH : 1;
    } catch {
      return 1;
    } finally {
      await part.release();
    }
  }

  /** Shapes of what layers read and make, as the first sample has them. */
  private async measuredShapes(): Promise<Record<string, readonly number[]>> {
    const { model, split } = this;
    const { sites } = onnxSites(model, { smallest: 0, ...this.replacing });
    const values = sites.flatMap((site) =>
      [site.input, ...site.outputs].map((name) => ({ name, dataType: typeOf(site) })),
    );
    const part = await Part.open(this.sessions, model, values);
    try {
      const results = await part.run(split.fit[0]!);
      const shapes: Record<string, readonly number[]> = {};
      for (const [name, { shape }] of Object.entries(results)) shapes[name] = shape;
      for (const [name, { shape }] of Object.entries(split.fit[0]!)) shapes[name] = shape;
      return shapes;
    } finally {
      await part.release();
    }
  }

  runs(samples: readonly OnnxFeeds[]): OnnxFeeds[] {
    return batches(samples, this.batch);
  }

  /** Compares with the original on samples for one purpose. */
  async judge(purpose: keyof SplitSamples): Promise<OutputJudge> {
    let judge = this.judges.get(purpose);
    if (!judge) {
      const samples = this.split[purpose];
      const every = purpose === "fit" ? Math.ceil(samples.length / SENSITIVITY_SAMPLES) : 1;
      const taken = samples.filter((_, at) => at % every === 0);
      const groups = batchGroups(taken, this.batch);
      const counts = groups.map(({ length }) => length);
      judge = await OutputJudge.of(this.sessions, this.model, groups.map(joined), counts);
      this.judges.set(purpose, judge);
    }
    return judge;
  }

  /** Where samples of the last word stand in the user's list, in the order in which they are compared. */
  verifiedPlaces(): number[] {
    const { calibration = [], verification = [] } = this.options;
    const list = verification.length ? verification : calibration;
    return batchGroups(this.split.verify, this.batch)
      .flat()
      .map((feeds) => list.indexOf(feeds));
  }

  /** The model with these fits. */
  written(fits: ReadonlyMap<string, OnnxReplacement>): OnnxModel {
    if (!fits.size) return this.model;
    const make = (): OnnxModel => replaceSites(this.model, [...fits.values()], this.replacing);
    if (![...fits.values()].every((fit) => this.numberOf.has(fit))) return make();
    const key = this.keyOf(fits.values());
    const known = this.lastWritten.find((one) => one.key === key);
    if (known) return known.model;
    const model = make();
    this.lastWritten.unshift({ key, model });
    this.lastWritten.length = Math.min(this.lastWritten.length, MOST_WRITTEN);
    return model;
  }

  /** Runs for fits in order, from the layer on whose turn it is. */
  async relays(): Promise<Relays & { held: Relay }> {
    const memory = this.memory / RELAY_SHARE;
    const relay = (): Relay => new Relay(this.sessions, this.runs(this.split.fit), memory);
    return { original: relay(), current: relay(), held: (await this.judge("choose")).relay(memory) };
  }

  /** What held-back samples say of the model with these fits. */
  async heldBack(fits: ReadonlyMap<string, OnnxReplacement>, relay?: Relay): Promise<Agreement> {
    const key = this.keyOf(fits.values());
    let agreement = this.held.get(key);
    if (!agreement) {
      agreement = await (await this.judge("choose")).of(this.written(fits), relay);
      this.held.set(key, agreement);
    }
    return agreement;
  }

  // ---- fits

  /** Marks fits by what they follow from, which is a text. */
  mark(fit: OnnxReplacement, from: string): OnnxReplacement {
    if (!this.numbers.has(from)) this.numbers.set(from, this.numbers.size);
    this.numberOf.set(fit, this.numbers.get(from)!);
    return fit;
  }

  /** The same text for the same fits. */
  keyOf(fits: Iterable<OnnxReplacement>): string {
    return Array.from(fits, (fit) => this.numberOf.get(fit)!).join();
  }

  /** The fit of a layer to the original network. */
  async fitOf(site: OnnxSite, { scheme, ranks }: FitCandidate): Promise<OnnxReplacement> {
    const key = `${site.id} ${scheme} ${ranks.join()}`;
    const [fit] = await this.factors(key, async () => [await (await this.fitsOf(site)).fit(scheme, ranks)]);
    return this.mark(fit!, key);
  }

  /** Fits by what they follow from, made where they are not kept. */
  async factors(key: string, make: () => Promise<OnnxReplacement[]>): Promise<OnnxReplacement[]> {
    let fits = this.recent.get<OnnxReplacement[]>("factors", key);
    if (!fits) {
      fits = await make();
      const bytes = fits.flatMap(({ factors }) => factors).reduce((sum, { data }) => sum + 4 * data.length, 0);
      this.recent.put("factors", key, fits, bytes);
    }
    return fits;
  }

  async fitsOfPlan(plan: Plan): Promise<Map<string, OnnxReplacement>> {
    const fits = new Map<string, OnnxReplacement>();
    for (const site of this.sites) {
      const candidate = plan.get(site.id);
      if (candidate) fits.set(site.id, await this.fitOf(site, candidate));
    }
    return fits;
  }

  /** All fits of a layer to the original network. */
  private async fitsOf(site: OnnxSite, onRun?: (part: number) => void): Promise<Fits> {
    const { recent, products, multiple } = this;
    const known = recent.get<Fits>("layer", site.id);
    if (known) return known;
    const moments = this.calibrated ? await this.momentsOf(site, onRun) : null;
    // before they are made, as they take their memory at once
    this.recent.makeRoom(LayerFits.bytesOf(site));
    const ridge = moments ? firstRidge(site, moments.count) : RIDGE;
    const metric = await this.metricOf(site);
    const fits = await fitsOf(products, site, moments, { ridge, multiple, refit: false, metric });
    recent.put("layer", site.id, fits, LayerFits.bytesOf(site));
    return fits;
  }

  /** How much errors of a layer's outputs count; undefined where all of them count alike. */
  async metricOf({ id }: OnnxSite): Promise<Float64Array | undefined> {
    if (!this.calibrated) return undefined;
    if (!this.metrics) {
      const { model, sites, sessions, totals, split } = this;
      const { engine, fixedInputs = false, seed = 0 } = this.options;
      const tell = this.watch.progress(0.02, 0.05, "gradients of the outputs");
      this.metrics = await gaussNewtonOf({
        ...{ engine, sessions, model, sites, fixedInputs, seed, signal: this.watch.signal },
        ...{ samples: split.fit, multiplications: totals.multiplications, onProgress: tell },
      });
    }
    return this.metrics.get(id);
  }

  /** Drops what can be computed again, so that the refits of layers have room. */
  makeRoom(sites: readonly OnnxSite[]): void {
    const bytes = sites.reduce((sum, site) => sum + this.refitBytes(site), 0);
    // where they need all of the memory, fits stay: they are small, and dear to find again
    this.recent.makeRoom(Math.min(bytes, 0.95 * this.memory));
  }

  /** Bytes that the refits of a layer take. */
  refitBytes(site: OnnxSite): number {
    const parts = this.partsOf(site);
    return LayerFits.bytesOf(site, parts > 1 ? parts : 0);
  }

  /** The moments of a layer's inputs; those of the layers behind it are collected with them, as far as memory allows. */
  async momentsOf(site: OnnxSite, onRun?: (part: number) => void): Promise<Moments> {
    const { recent, sites, memory } = this;
    type Stored = Omit<Moments, "covariance" | "cross"> & { covariance: Float32Array };
    let stored = recent.get<Stored>("moments", site.id);
    if (!stored) {
      const group: OnnxSite[] = [];
      let summed = 0;
      for (const one of sites.slice(sites.indexOf(site))) {
        if (recent.get("moments", one.id)) continue;
        summed += SUM_BYTES * one.groups * widthOf(one) ** 2;
        if (group.length && summed > memory) break;
        group.push(one);
      }
      const all = [...(await this.collect(group, {}, onRun))];
      // the wanted ones last, so that the others make room for them
      for (const [id, moments] of all.reverse()) {
        const narrow: Stored = { ...moments, covariance: Float32Array.from(moments.covariance) };
        if (id === site.id) stored = narrow;
        recent.put("moments", id, narrow, narrow.covariance.byteLength);
      }
    }
    const { count, meanX, meanZ, covariance } = stored!;
    const wide = Float64Array.from(covariance);
    return { count, meanX, meanZ, covariance: wide, cross: wide };
  }

  async collect(
    sites: readonly OnnxSite[],
    { original = this.model, current, relays }: { original?: OnnxModel; current?: OnnxModel; relays?: Relays } = {},
    onRun?: (part: number) => void,
  ): Promise<Map<string, Moments>> {
    const { patches = PATCHES, seed = 0 } = this.options;
    const { products, sessions, split, batch } = this;
    const partsOf = (site: OnnxSite): number => (current ? this.partsOf(site) : 1);
    const groups = batchGroups(split.fit, batch);
    const [runs, counts] = [groups.map(joined), groups.map(({ length }) => length)];
    return await collectMoments({
      ...{ products, sessions, original, current, relays, sites, runs, counts, partsOf, patches, seed },
      signal: this.watch.signal,
      onRun: onRun && ((done) => onRun(done / runs.length)),
    });
  }

  // ---- candidates

  /** What every layer can become by a cost, and how much its error counts. */
  async choices(cost: Cost): Promise<Choice[]> {
    const { sites, plan, watch } = this;
    const choices: Choice[] = [];
    if (sites[0]) await this.metricOf(sites[0]);
    const relay = this.calibrated ? (await this.judge("fit")).relay(this.memory / RELAY_SHARE) : undefined;
    for (const [at, site] of sites.entries()) {
      relay?.settle(
        () => this.model,
        sites.slice(at).map(({ input }) => input),
      );
      const share = 0.55 / sites.length;
      const from = 0.05 + at * share;
      let layer = plan.layers.find(({ id }) => id === site.id);
      if (!layer) {
        const fits = await this.fitsOf(site, watch.progress(from, from + share, `moments of ${site.name}`));
        watch.progress(from, from + share, site.name)(0.5);
        const candidates = await fits.candidates();
        const probe = this.calibrated ? nearest(candidates, site, 0.7) : null;
        let weight = 1;
        if (probe) {
          const fit = await this.fitOf(site, probe);
          const { error } = await (await this.judge("fit")).of(this.written(new Map([[site.id, fit]])), relay);
          weight = error ** 2 / Math.max(probe.error - (await fits.ridgePart(probe)), 1e-9);
        }
        layer = { id: site.id, candidates, weight, patches: fits.patches };
        plan.layers.push(layer);
        this.tellPlan();
      }
      if (cost === "time" && layer.time === undefined) {
        watch.progress(from, from + share, `time of ${site.name}`)(0.8);
        this.layerTimes ??= new LayerTimes(this.sessions, this.model, this.replacing);
        const { original, candidates } = await this.layerTimes.of(site, layer.candidates);
        const timed = new Map(candidates.map((one) => [keyOfCandidate(one), one]));
        layer.time = original;
        layer.candidates = layer.candidates.map((one) => timed.get(keyOfCandidate(one)) ?? one);
        this.tellPlan();
      }
      const { candidates, weight, time } = layer;
      // only some of the candidates are timed
      const taken = cost === "time" ? candidates.filter((one) => one.time !== undefined) : candidates;
      choices.push({ site, candidates: taken, weight, ...(time !== undefined && { time }) });
    }
    if (cost === "time") plan.timeTotal ||= (await this.times([]))[0]!;
    return choices;
  }

  /** Takes up the plan of an earlier call, if it was of the same model, samples and options. */
  private begin(): void {
    const { options, bytes } = this;
    if (!options.plan && !options.onPlan) return;
    const { multiple, split, sites } = this;
    const { patches = PATCHES, seed = 0, smallest = null, fixedInputs = false } = options;
    let hash = hashOf(bytes);
    for (const samples of [split.fit, split.choose, split.verify])
      for (const feeds of samples)
        for (const [name, { data, shape }] of Object.entries(feeds)) {
          hash = hashOf(`${name} ${shape}`, hash);
          hash = hashOf(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), hash);
        }
    const shapes = sites.map(({ id, shape }) => `${id} ${shape}`).join(";");
    const settings = [multiple, patches, seed, smallest, fixedInputs, shapes].join();
    const fingerprint = `${hash.toString(16)}-${hashOf(settings).toString(16)}`;
    if (options.plan && options.plan.fingerprint !== fingerprint)
      throw new TenfoldError(
        "compressOnnx: plan is of another model, of other samples or of other options; without it, everything is found anew",
        { code: "OPTION" },
      );
    this.plan = { ...structuredClone(options.plan ?? this.plan), fingerprint };
  }

  tellPlan(): void {
    this.options.onPlan?.(structuredClone(this.plan));
  }

  /** Milliseconds of a run of the original, then of other models. */
  async times(models: readonly Uint8Array[]): Promise<number[]> {
    const sessions: OnnxSession[] = [];
    try {
      for (const bytes of [writeOnnx(this.model), ...models]) sessions.push(await this.sessions(bytes));
      return await timesInTurns(sessions, this.split.verify[0]!, { rounds: 5, least: TURN });
    } finally {
      for (const session of sessions) await session.release();
    }
  }

  // ---- int8

  /** Ranges of what layers of a model read and make, on the samples of the fits. */
  ranges(model: OnnxModel): ReturnType<typeof activationRanges> {
    const { fixedInputs = false } = this.options;
    const { signal } = this.watch;
    return activationRanges(model, {
      ...{ session: this.sessions, feeds: this.runs(this.split.fit), fixedInputs, operators: QUANTISED },
      ...(signal && { signal }),
    });
  }

  /** The original with its weights to the nearest level of int8, and convolutions in integers; null where nothing of it can be int8. */
  async int8Alone(): Promise<({ bytes: Uint8Array } & Agreement) | null> {
    if (this.int8 !== undefined) return this.int8;
    const { model } = this;
    const { fixedInputs = false } = this.options;
    const ranges = await this.ranges(model);
    const write = (weightsOnly: string[]) =>
      quantiseOnnx(model, { ranges, fixedInputs, operators: QUANTISED, weightsOnly });
    const { quantised } = await write([]);
    this.int8 = null;
    if (quantised.length) {
      const small = await write(quantised.flatMap(({ op, name }) => (op === "Conv" ? [] : name)));
      const agreement = await (await this.judge("verify")).of(small.model);
      this.int8 = { bytes: writeOnnx(small.model), ...agreement };
    }
    return this.int8;
  }

  /** Closes the sessions that products opened. */
  async release(): Promise<void> {
    for (const site of this.sites) if (isNarrow(site)) await site.basis.release();
    await this.products.release();
  }
}

const keyOfCandidate = ({ scheme, ranks }: FitCandidate): string => `${scheme} ${ranks.join()}`;

/** Why a layer that could be factorised is not. */
function reasonToLeave(site: OnnxSite): string | null {
  if (site.groups > 1 && site.kind === "transposedConvolution")
    return "transposed convolutions in groups are not compressed";
  if (widthOf(site) > MOST_INPUTS && !canNarrow(site, MOST_INPUTS))
    return `too many inputs for a covariance: ${widthOf(site)}, at most ${MOST_INPUTS}`;
  return Math.min(site.shape[0]! / site.groups, site.shape[1]!) < 2 ? "too few channels" : null;
}

/** The candidate whose cost is nearest to a share of the layer's. */
function nearest(candidates: readonly FitCandidate[], { counts }: OnnxSite, share: number): FitCandidate | null {
  const shareOf = ({ weights, multiplications }: FitCandidate): number =>
    multiplications === null ? weights / counts.weights : multiplications / counts.multiplications!;
  return candidates.reduce<FitCandidate | null>(
    (best, one) => (!best || Math.abs(shareOf(one) - share) < Math.abs(shareOf(best) - share) ? one : best),
    null,
  );
}

import {
  checkOptions,
  Engine,
  instanceOf,
  type OptionRules,
  optionRules,
  required,
  TenfoldError,
} from "../../gpu/index.js";
import { inlineExternal } from "../../onnx/cut.js";
import {
  activationRanges,
  foldOnnx,
  type KnownShapes,
  type LeftAlone,
  type OnnxReplacement,
  type OnnxSite,
  onnxSites,
  type QuantisedOnnx,
  type QuantiseOnnxOptions,
  quantiseOnnx,
  type ReadOnnxOptions,
  readOnnx,
  replaceSites,
  writeOnnx,
} from "../../onnx/index.js";
import { OnnxModel } from "../../onnx/model.js";
import { copyOf, makeEntry } from "../../onnx/proto.js";
import type { Cost } from "../select.js";
import { type FitCandidate, type FittedScheme, LayerFits } from "./fits.js";
import { type Fits, fitsOf } from "./groups.js";
import { collectMoments, type Moments, typeOf, widthOf } from "./moments.js";
import { type Agreement, OutputJudge } from "./outputs.js";
import { type Choice, leastCost, makePlan, type Plan, type PlanRule, planCost, priceOf } from "./plan.js";
import { Products } from "./products.js";
import { Rounder } from "./rounding.js";
import { batches, checkSamples, hashOf, type SplitSamples, splitSamples, takesBatches } from "./samples.js";
import { type OnnxArray, type OnnxFeeds, type OnnxSessions, Part } from "./session.js";
import { LayerTimes } from "./times.js";
import { type Tuning, tuneModel } from "./tune.js";

/** What the compressed model shall be: one of these. */
export interface OnnxTarget {
  /** divides the multiplications of a run by this */
  multiplications?: number;
  /** divides the entries of all weights by this */
  weights?: number;
  /** divides the time in the runtime by this; needs calibration samples */
  time?: number;
  /** the smallest model whose outputs differ by at most this share of their spread; needs calibration samples */
  error?: number;
}

export interface CompressOnnxOptions {
  engine: Engine;
  /** one of `target`, `maxLoss` and `int8` is needed */
  target?: OnnxTarget;
  /**
   * Quantises convolutions and products of matrices to int8 after that, by `quantiseOnnx` with ranges of least error; alone, nothing else
   * is done. Weights are rounded for the least error of the layers' outputs. Where held-back samples say so, products and the first and
   * the last convolution have int8 weights alone and compute in float. Needs calibration samples.
   */
  int8?: boolean;
  /**
   * The most that may be lost on samples that calibration did not see: of the metric of `evaluate`; else the part of the
   * classifications that change, for a model that classifies; else the relative error of the outputs. With a target a model that
   * loses more is not given; without one the smallest model within it is.
   */
  maxLoss?: number;
  /** Makes sessions of a runtime, by `runtimeSessions`; needed with `calibration`. */
  session?: OnnxSessions;
  /**
   * Samples, one run each, by `samplesOf` or as a program makes them. They must hold every kind of input that the model will meet:
   * what they lack is lost, and nothing in them shows it. Without samples, layers are fitted by their weights alone.
   */
  calibration?: readonly OnnxFeeds[];
  /** Samples for the last word; a fifth of `calibration` by default, which is then not calibrated with. */
  verification?: readonly OnnxFeeds[];
  /** A metric of the user's, called with the original and with the compressed model: larger is better. */
  evaluate?: (run: (feeds: OnnxFeeds) => Promise<Record<string, OnnxArray>>) => number | Promise<number>;
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
  /** whether layers are fitted again, in order, to what compressed layers before them give; true by default, needs samples */
  refit?: boolean;
  /**
   * Steps of tuning after that, without labels: where every node of the network, or of a part of it, has a layer, it learns the original's
   * values there on the calibration samples and on blends of them. The weights are kept that held-back samples like best, so that nothing is
   * lost by it; `signal` ends tuning, and the best weights until then are kept. None by default; hundreds are needed, and samples.
   */
  tune?: number;
  /** bytes that moments and fits may take on the host at a time, 1.5 GB by default */
  memory?: number;
  /** of the order of samples and of the places of patches, 0 by default */
  seed?: number;
  /** Also says what each step brings, from fits of the weights alone on, in `ablation`; needs samples and a target of size or time. */
  ablation?: boolean;
  /** Also tells of these divisors of the cost what they would give, in `curve`; each 1 or more. Needs samples. */
  curve?: readonly number[];
  /** What an earlier call with the same model, samples and options told by `onPlan`: what it holds is not found anew. */
  plan?: OnnxPlan;
  /** called as the plan grows, with something that JSON can hold */
  onPlan?: (plan: OnnxPlan) => void;
  /** called with the part of the work that is done, 0 to 1, and a few words */
  onProgress?: (done: number, doing: string) => void;
  signal?: AbortSignal;
}

const rules: OptionRules<CompressOnnxOptions> = {
  engine: required(instanceOf(Engine, "an Engine, as openEngine() gives it")),
  target: { needs: "an object with one of multiplications, weights, time, error", is: (value) => !!targetOf(value) },
  int8: optionRules.flag,
  maxLoss: optionRules.atLeastZero,
  session: optionRules.callback,
  calibration: { needs: "a list of samples, as samplesOf gives them", is: Array.isArray },
  verification: { needs: "a list of samples, as samplesOf gives them", is: Array.isArray },
  evaluate: optionRules.callback,
  shapes: { needs: "shapes by name", is: (value) => typeof value === "object" && !!value },
  smallest: optionRules.share,
  fixedInputs: optionRules.flag,
  external: optionRules.callback,
  file: optionRules.text,
  patches: optionRules.positive,
  multiple: optionRules.positive,
  refit: optionRules.flag,
  tune: optionRules.count,
  memory: optionRules.aboveZero,
  seed: optionRules.seed,
  ablation: optionRules.flag,
  curve: {
    needs: "a list of numbers of 1 or more",
    is: (value) => Array.isArray(value) && value.every((one) => typeof one === "number" && one >= 1 && one < 1e6),
  },
  plan: { needs: "a plan, as onPlan tells it", is: isPlan },
  onPlan: optionRules.callback,
  onProgress: optionRules.callback,
  signal: optionRules.signal,
};

/** The kind of a target and its number; null where it is none. */
function targetOf(value: unknown): { kind: Cost | "error"; value: number } | null {
  if (typeof value !== "object" || value === null) return null;
  const entries = Object.entries(value).filter(([, one]) => one !== undefined);
  if (entries.length !== 1) return null;
  const [kind, number] = entries[0] as [Cost | "error", number];
  if (!["multiplications", "weights", "time", "error"].includes(kind)) return null;
  if (typeof number !== "number" || !Number.isFinite(number)) return null;
  return (kind === "error" ? number > 0 : number >= 1) ? { kind, value: number } : null;
}

/** What was found of a model so far, to go on from: candidates of layers, and which of them held-back samples chose. */
export interface OnnxPlan {
  version: 1;
  /** of the model, the samples and the options that candidates depend on */
  fingerprint: string;
  layers: { id: string; candidates: readonly FitCandidate[]; weight: number; time?: number }[];
  /** milliseconds of a run, where time is the cost */
  timeTotal: number;
  /** of each number that the cost was divided by: the layers' candidates, and what held-back samples said */
  chosen: {
    ratio: number;
    layers: { id: string; candidate: FitCandidate }[];
    held: Agreement | null;
    steps: CompressedOnnx["steps"];
    /** other choices that held-back samples liked nearly as well */
    rivals?: { name: string; layers: { id: string; candidate: FitCandidate }[]; held: Agreement }[];
  }[];
}

function isPlan(value: unknown): boolean {
  const { version, fingerprint, layers, chosen } = (value ?? {}) as Partial<OnnxPlan>;
  return version === 1 && typeof fingerprint === "string" && Array.isArray(layers) && Array.isArray(chosen);
}

/** What a budget would give, before layers are fitted again in order. */
export interface CurvePoint extends Agreement {
  /** what the cost was divided by */
  ratio: number;
  /** shares of the original's; null where they are unknown */
  weights: number;
  multiplications: number | null;
  time: number | null;
  /** of the file */
  bytes: number;
}

/** What is known of a network with some of the steps. */
export interface AblationStep extends Agreement {
  name: string;
}

/** What became of a layer. */
export interface CompressedLayer {
  id: string;
  name: string;
  op: OnnxSite["op"];
  shape: readonly number[];
  /** null for a layer that stays */
  scheme: FittedScheme | null;
  ranks: readonly number[];
  weights: { before: number; after: number };
  multiplications: { before: number | null; after: number | null };
  /** ‖y − ŷ‖ ÷ ‖y − mean y‖ of the layer's outputs alone, as calibration expects it; of its weights where there are no samples */
  error: number;
  /** whether the fit to what compressed layers before give was taken */
  refitted: boolean;
}

export interface CompressedOnnx {
  /** the file; null where none is given, and `reason` says why */
  bytes: Uint8Array | null;
  reason: string | null;
  layers: CompressedLayer[];
  leftAlone: LeftAlone[];
  /** what was folded before */
  folded: string[];
  /** the layers in int8, and those that stay in float; null where int8 was not asked for, or is not given */
  int8: Pick<QuantisedOnnx, "quantised" | "inFloat" | "raised"> | null;
  weights: { before: number; after: number };
  multiplications: { before: number | null; after: number | null };
  /** milliseconds of a run in the runtime, the median of pairs on one sample; null without a runtime */
  time: { before: number; after: number } | null;
  /** what tuning brought; null without `tune` */
  tuning: Tuning | null;
  /** how many samples were used for what */
  samples: { fit: number; choose: number; verify: number };
  /** what was tried, with the relative error of the outputs on samples that fits did not see */
  steps: { name: string; error: number; kept: boolean }[];
  /** of the file as it is written, on samples that nothing before has seen; null without samples */
  verified: (Agreement & { metric: { before: number; after: number } | null; loss: number }) | null;
  /** with `curve`, the budgets that there are candidates for */
  curve: CurvePoint[] | null;
  /** With `ablation`: the same file after each further step, on the samples of `verified`. The first three have the same ranks. */
  ablation: AblationStep[] | null;
  warnings: string[];
}

/** ridge of the first fits, as a share of the mean variance */
const RIDGE = 1e-3;
/** those of fits in order, of which the second is tried where the first does worse */
const REFIT_RIDGES = [1e-2, 1e-1] as const;
/** how much larger the error may be after a group of layers, for the next one to go on from there */
const MARGIN = 1.02;
const PATCHES = 32_000;
const MULTIPLE = 8;
const MEMORY = 1.5e9;
/** for each entry of a covariance while it is summed: the sum in f64, and a part in f32 */
const SUM_BYTES = 12;
/** inputs × taps beyond which a layer's covariance does not fit into a binding of 128 MiB */
const MOST_INPUTS = 5600;
/** samples below which a warning is given; patches for each input of a layer below which one is */
const [FEW_SAMPLES, FEW_PATCHES] = [32, 5];
const [BATCH, SENSITIVITY_SAMPLES] = [8, 12];
/**
 * Layers that are fitted in order in one pass over the samples, as far as memory allows. Those behind the first see what it gave before
 * its new fit: PP-OCRv6's recogniser ÷ 1.28 reads 93.2 % of
 * Chinese characters with five together, 95.3 % with three, 95.5 % with two.
 */
const TOGETHER = 2;
/** what is tried where no size is asked for */
const RATIOS = [1.06, 1.12, 1.18, 1.25, 1.35, 1.45, 1.6, 1.8, 2, 2.25, 2.5, 3, 3.5, 4, 5, 6, 8];

/**
 * Compresses a trained network: convolutions and products become chains of smaller ones, and the file has the same inputs and outputs.
 * Moments of each layer's inputs are summed on the GPU; fits have the least error of the layers' *outputs*; ranks of all layers follow
 * from a budget by Lagrangian relaxation, with the effect on the network's outputs measured; layers are then fitted again in order.
 * Each step is kept only where samples that fits did not see prefer it. What is written are Conv, MatMul, Gemm and Add, so the file
 * runs in every runtime. The largest gain is where convolutions are large; compact networks of 1×1 convolutions have little to give.
 *
 * @throws FormatError where the bytes are no ONNX model; TenfoldError where options do not fit, or the runtime fails
 */
export async function compressOnnx(bytes: Uint8Array, options: CompressOnnxOptions): Promise<CompressedOnnx> {
  checkOptions("compressOnnx", options, rules);
  const { calibration = [], session, target, maxLoss, evaluate } = options;
  const fail = (problem: string): never => {
    throw new TenfoldError(`compressOnnx: ${problem}`, { code: "OPTION" });
  };
  if (!target && maxLoss === undefined && !options.int8)
    fail("needs a target, as in { multiplications: 2 }, or maxLoss, or int8");
  if (calibration.length && !session) fail("calibration needs session, as runtimeSessions(ort) gives it");
  const aim = target ? targetOf(target)! : null;
  if (!calibration.length && options.int8) fail("int8 needs calibration samples");
  if (options.tune && !calibration.length) fail("tune needs calibration samples");
  if (options.tune && !target && maxLoss === undefined) fail("tune needs a target or maxLoss: int8 alone is not tuned");
  if (options.ablation && !(calibration.length && aim && aim.kind !== "error"))
    fail("ablation needs calibration samples, and a target of multiplications, weights or time");
  if (options.curve && !calibration.length) fail("curve needs calibration samples");
  if (!calibration.length && (maxLoss !== undefined || aim?.kind === "time" || aim?.kind === "error" || evaluate))
    fail(
      `${aim?.kind === "time" ? "a target of time" : aim?.kind === "error" ? "a target of error" : maxLoss !== undefined ? "maxLoss" : "evaluate"} needs calibration samples`,
    );
  return await new Compression(bytes, options).run();
}

/** A plan with its fits, and what held-back samples say of it. */
interface Attempt {
  plan: Plan;
  fits: Map<string, OnnxReplacement>;
  refitted: Set<string>;
  held: Agreement | null;
  /** the model of these fits with tuned weights */
  tuned?: OnnxModel;
  /** other plans, which may be better once their layers are fitted in order */
  rivals?: readonly (Attempt & { name: string })[];
}

class Compression {
  private readonly steps: CompressedOnnx["steps"] = [];
  private readonly warnings: string[] = [];
  private model!: OnnxModel;
  private folded: string[] = [];
  private sites: OnnxSite[] = [];
  private leftAlone: LeftAlone[] = [];
  private totals!: { weights: number; multiplications: number | null };
  private split: SplitSamples = { fit: [], choose: [], verify: [] };
  private batch = 1;
  private choices: Choice[] = [];
  private judge: OutputJudge | null = null;
  private timeTotal = 0;
  private int8: QuantisedOnnx | null = null;
  private tuning: Tuning | null = null;
  private readonly products: Products;
  private ablation: AblationStep[] | null = null;
  private curve: CurvePoint[] | null = null;
  private plan: OnnxPlan = { version: 1, fingerprint: "", layers: [], timeTotal: 0, chosen: [] };
  private readonly fitted = new Map<string, OnnxReplacement>();
  /** moments of layers in the original network, the first collected first */
  private readonly stored = new Map<string, Omit<Moments, "covariance" | "cross"> & { covariance: Float32Array }>();
  /** fits of layers with their moments, the last used last */
  private readonly layerFits = new Map<string, Fits>();

  constructor(
    private readonly bytes: Uint8Array,
    private readonly options: CompressOnnxOptions,
  ) {
    this.products = new Products(options.engine, options.session ?? null);
  }

  private get replacing() {
    return { fixedInputs: this.options.fixedInputs ?? false, join: true };
  }
  private get sessions(): OnnxSessions {
    return this.options.session!;
  }
  /** Who stops tuning gets the best weights until then: what follows is not stopped. */
  private get signal(): AbortSignal | undefined {
    return this.tuning?.stopped ? undefined : this.options.signal;
  }
  private get calibrated(): boolean {
    return !!this.options.calibration?.length;
  }
  private get cost(): Cost {
    const aim = targetOf(this.options.target);
    if (aim && aim.kind !== "error") return aim.kind;
    return this.totals.multiplications === null ? "weights" : "multiplications";
  }

  private progress(from: number, to: number, doing: string): (part: number) => void {
    return (part) => {
      this.signal?.throwIfAborted();
      this.options.onProgress?.(from + (to - from) * Math.min(1, part), doing);
    };
  }

  async run(): Promise<CompressedOnnx> {
    try {
      return await this.compress();
    } finally {
      await this.products.release();
    }
  }

  private async compress(): Promise<CompressedOnnx> {
    await this.prepare();
    const { int8, target: wanted, maxLoss: most } = this.options;
    if (int8 && !wanted && most === undefined) {
      this.judge = await OutputJudge.of(this.sessions, this.model, this.runs(this.split.choose));
      return await this.finish({ plan: new Map(), fits: new Map(), refitted: new Set(), held: null }, null);
    }
    if (!this.sites.length) return this.result(null, this.nothingHere());
    await this.enumerate();
    if (this.options.curve) await this.drawCurve(this.options.curve);
    const { target, maxLoss } = this.options;
    const aim = target ? targetOf(target)! : null;
    if (aim && aim.kind !== "error") {
      const attempt = await this.attempt(aim.value, 0.6, 0.75);
      if (typeof attempt === "string") return this.result(null, attempt);
      if (!attempt.plan.size) return this.result(null, "the target asks for no smaller model than this one");
      const steps = this.options.ablation ? await this.withoutSteps(aim.value) : null;
      const refitted = await this.refit(attempt, 0.75, this.options.tune ? 0.8 : 0.95);
      const final = await this.tune(refitted);
      if (steps) {
        steps.push(["ranks chosen by held-back samples", attempt.fits], ["refitted in order", refitted.fits]);
        const judge = await OutputJudge.of(this.sessions, this.model, this.runs(this.split.verify));
        this.ablation = [];
        for (const [name, fits] of steps) this.ablation.push({ name, ...(await judge.of(this.written(fits))) });
        if (final.tuned) this.ablation.push({ name: "tuned", ...(await judge.of(final.tuned)) });
      }
      return await this.finish(final, maxLoss === undefined ? null : maxLoss);
    }
    return await this.search(aim ? { kind: "error", most: aim.value } : { kind: "loss", most: maxLoss! });
  }

  /** Reads and folds the model, splits the samples, and finds shapes and sites. */
  private async prepare(): Promise<void> {
    const { options } = this;
    const {
      external,
      file = "model.onnx",
      fixedInputs = false,
      smallest,
      calibration = [],
      verification = [],
    } = options;
    const tell = this.progress(0, 0.02, "reading");
    tell(0);
    const read = readOnnx(this.bytes, { file, ...(external && { external }) });
    const { model, folded } = await foldOnnx(await inlineExternal(read), { fixedInputs });
    this.model = model;
    this.folded = folded;
    let shapes = options.shapes;
    if (calibration.length) {
      checkSamples(model, [...calibration, ...verification]);
      this.split = splitSamples(calibration, verification, options.seed ?? 0);
      this.batch = await this.batchSize();
      shapes = await this.measuredShapes();
      const { length } = calibration;
      if (length < FEW_SAMPLES)
        this.warnings.push(
          `${length} sample${length === 1 ? " is" : "s are"} few: ${FEW_SAMPLES} or more are wanted, of every kind of input`,
        );
    } else
      this.warnings.push(
        "no calibration samples: layers are fitted by their weights alone, which loses much more, and nothing was verified",
      );
    const sites = onnxSites(model, {
      fixedInputs,
      ...(shapes && { shapes }),
      ...(smallest !== undefined && { smallest }),
    });
    this.totals = sites.totals;
    this.leftAlone = [...sites.leftAlone];
    for (const site of sites.sites) {
      const reason =
        site.groups > 1 && site.kind === "transposedConvolution"
          ? "transposed convolutions in groups are not compressed"
          : widthOf(site) > MOST_INPUTS
            ? `too many inputs for a covariance: ${widthOf(site)}, at most ${MOST_INPUTS}`
            : Math.min(site.shape[0]! / site.groups, site.shape[1]!) < 2
              ? "too few channels"
              : null;
      if (!reason) this.sites.push(site);
      else {
        const { name, op, counts } = site;
        this.leftAlone.push({ name, op, ...counts, reason });
      }
    }
    const aim = targetOf(options.target);
    if (aim?.kind === "multiplications" && this.totals.multiplications === null)
      throw new TenfoldError(
        `compressOnnx: the multiplications of ${file} are unknown, because shapes are; give shapes of the inputs, or calibration samples`,
        { code: "OPTION" },
      );
    tell(1);
  }

  private nothingHere(): string {
    const reasons = new Map<string, number>();
    for (const { reason, weights } of this.leftAlone) reasons.set(reason, (reasons.get(reason) ?? 0) + weights);
    const [most] = [...reasons].sort((a, b) => b[1] - a[1]);
    return `nothing in this model can be factorised${most ? `; most weights are left alone because: ${most[0]}` : ""}`;
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

  private runs(samples: readonly OnnxFeeds[]): OnnxFeeds[] {
    return batches(samples, this.batch);
  }

  /** The fits of a layer. */
  private async fitsOf(site: OnnxSite, onRun?: (part: number) => void): Promise<Fits> {
    const { layerFits, options, products } = this;
    let fits = layerFits.get(site.id);
    layerFits.delete(site.id);
    if (!fits) {
      const { multiple = MULTIPLE, memory = MEMORY } = options;
      let held = [...layerFits.values()].reduce((sum, one) => sum + LayerFits.bytesOf(one.site), 0);
      for (const [id, { site: old }] of [...layerFits]) {
        if (held + LayerFits.bytesOf(site) <= memory) break;
        layerFits.delete(id);
        held -= LayerFits.bytesOf(old);
      }
      const moments = this.calibrated ? await this.momentsOf(site, onRun) : null;
      fits = await fitsOf(products, site, moments, { ridge: RIDGE, multiple, refit: false });
    }
    layerFits.set(site.id, fits);
    return fits;
  }

  /** The moments of a layer's inputs; those of the layers behind it are collected with them, as far as memory allows. */
  private async momentsOf(site: OnnxSite, onRun?: (part: number) => void): Promise<Moments> {
    const { stored, sites, options } = this;
    const { memory = MEMORY } = options;
    if (!stored.has(site.id)) {
      let bytes = [...stored.values()].reduce((sum, { covariance }) => sum + covariance.byteLength, 0);
      const group: OnnxSite[] = [];
      let summed = 0;
      for (const one of sites.slice(sites.indexOf(site))) {
        if (stored.has(one.id)) continue;
        summed += SUM_BYTES * one.groups * widthOf(one) ** 2;
        if (group.length && summed > memory) break;
        group.push(one);
      }
      for (const [id, moments] of await this.collect(group, {}, onRun)) {
        const covariance = Float32Array.from(moments.covariance);
        stored.set(id, { ...moments, covariance });
        bytes += covariance.byteLength;
      }
      for (const [id, { covariance }] of [...stored]) {
        if (bytes <= memory) break;
        if (id === site.id) continue;
        stored.delete(id);
        bytes -= covariance.byteLength;
      }
    }
    const { count, meanX, meanZ, covariance } = stored.get(site.id)!;
    const wide = Float64Array.from(covariance);
    return { count, meanX, meanZ, covariance: wide, cross: wide };
  }

  private async collect(
    sites: readonly OnnxSite[],
    { original = this.model, current }: { original?: OnnxModel; current?: OnnxModel } = {},
    onRun?: (part: number) => void,
  ): Promise<Map<string, Moments>> {
    const { patches = PATCHES, seed = 0 } = this.options;
    const { products, sessions, signal } = this;
    const runs = this.runs(this.split.fit);
    return await collectMoments({
      ...{ products, sessions, original, current, sites, runs, patches, seed, signal },
      onRun: onRun && ((done) => onRun(done / runs.length)),
    });
  }

  /** What every layer can become, and how much its error counts. */
  private async enumerate(): Promise<void> {
    const { sites, split } = this;
    const measured = this.calibrated
      ? await OutputJudge.of(this.sessions, this.model, this.runs(split.fit.slice(0, SENSITIVITY_SAMPLES)))
      : null;
    const times = this.cost === "time" ? new LayerTimes(this.sessions, this.model, this.replacing) : null;
    const few: string[] = [];
    this.begin();
    for (const [at, site] of sites.entries()) {
      const share = 0.58 / sites.length;
      const from = 0.02 + at * share;
      const before = this.plan.layers.find(({ id }) => id === site.id);
      if (before) {
        const { candidates, weight, time } = before;
        this.choices.push({ site, candidates, weight, ...(time !== undefined && { time }) });
        continue;
      }
      const fits = await this.fitsOf(site, this.progress(from, from + share, `moments of ${site.name}`));
      this.progress(from, from + share, site.name)(0.5);
      if (fits.patches !== null && fits.patches < FEW_PATCHES * widthOf(site))
        few.push(`${site.name} (${fits.patches} for ${widthOf(site)} inputs)`);
      let candidates = await fits.candidates();
      let time: number | undefined;
      if (times) ({ original: time, candidates } = await times.of(site, candidates));
      let weight = 1;
      const probe = nearest(candidates, site, 0.7);
      if (measured && probe) {
        const fit = await this.fitOf(site, probe);
        const { error } = await measured.of(replaceSites(this.model, [fit], this.replacing));
        weight = error ** 2 / Math.max(probe.error, 1e-9);
      }
      const choice = { candidates, weight, ...(time !== undefined && { time }) };
      this.choices.push({ site, ...choice });
      this.plan.layers.push({ id: site.id, ...choice });
      this.tellPlan();
    }
    if (few.length)
      this.warnings.push(
        `few patches for their inputs, so fits may not hold on other samples: ${few.slice(0, 5).join(", ")}${few.length > 5 ? ` and ${few.length - 5} more` : ""}`,
      );
    if (!this.calibrated) return;
    this.judge = await OutputJudge.of(this.sessions, this.model, this.runs(split.choose));
    if (times) this.timeTotal = this.plan.timeTotal || (await this.pairedTimes(null)).before;
    this.plan.timeTotal = this.timeTotal;
  }

  /** Takes up the plan of an earlier call, if it was of the same model, samples and options. */
  private begin(): void {
    const { options, bytes } = this;
    if (!options.plan && !options.onPlan) return;
    const { multiple = MULTIPLE, patches = PATCHES, seed = 0, smallest = null, fixedInputs = false } = options;
    let hash = hashOf(bytes);
    for (const samples of [this.split.fit, this.split.choose, this.split.verify])
      for (const feeds of samples)
        for (const [name, { data, shape }] of Object.entries(feeds)) {
          hash = hashOf(`${name} ${shape}`, hash);
          hash = hashOf(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), hash);
        }
    const shapes = this.sites.map(({ id, shape }) => `${id} ${shape}`).join(";");
    const settings = [this.cost, multiple, patches, seed, smallest, fixedInputs, shapes].join();
    const fingerprint = `${hash.toString(16)}-${hashOf(settings).toString(16)}`;
    if (options.plan && options.plan.fingerprint !== fingerprint)
      throw new TenfoldError(
        "compressOnnx: plan is of another model, of other samples or of other options; without it, everything is found anew",
        { code: "OPTION" },
      );
    this.plan = { ...structuredClone(options.plan ?? this.plan), fingerprint };
  }

  private tellPlan(): void {
    this.options.onPlan?.(structuredClone(this.plan));
  }

  private async fitOf(site: OnnxSite, { scheme, ranks }: FitCandidate): Promise<OnnxReplacement> {
    const key = `${site.id} ${scheme} ${ranks.join()}`;
    let fit = this.fitted.get(key);
    if (!fit) {
      fit = await (await this.fitsOf(site)).fit(scheme, ranks);
      this.fitted.set(key, fit);
    }
    return fit;
  }

  /** The cost that the layers may have together, for the model's cost divided by a number. */
  private budget(ratio: number): number {
    const { cost, choices, totals } = this;
    const layers = choices.reduce((sum, choice) => sum + priceOf(choice, null, cost), 0);
    const total =
      cost === "weights"
        ? totals.weights
        : cost === "time"
          ? Math.max(this.timeTotal, layers)
          : totals.multiplications!;
    return total / ratio - (total - layers);
  }

  /** The largest ratio that there are candidates for. */
  private mostRatio(): number {
    const { cost, choices, totals } = this;
    const layers = choices.reduce((sum, choice) => sum + priceOf(choice, null, cost), 0);
    const total =
      cost === "weights"
        ? totals.weights
        : cost === "time"
          ? Math.max(this.timeTotal, layers)
          : totals.multiplications!;
    return total / (total - layers + leastCost(choices, cost));
  }

  /** The plan that held-back samples like best, of several rules; a reason where no plan is that small. */
  private async attempt(ratio: number, from: number, to: number): Promise<Attempt | string> {
    const { choices, cost } = this;
    const spared = this.outputSites();
    const kinds = this.calibrated ? (["measured", "lagrangian", "uniform"] as const) : (["lagrangian"] as const);
    const rulesTried = (this.calibrated ? [new Set<string>(), spared] : [new Set<string>()]).flatMap((set) =>
      kinds.map(
        (kind): PlanRule => ({ kind, spared: set, name: `${KINDS[kind]}${set.size ? ", last layer left alone" : ""}` }),
      ),
    );
    const before = this.plan.chosen.find((one) => one.ratio === ratio);
    if (before) {
      const again = async ({ layers, held }: Pick<typeof before, "layers" | "held">): Promise<Attempt> => {
        const plan = new Map(layers.map(({ id, candidate }) => [id, candidate]));
        return { plan, fits: await this.fitsOfPlan(plan), refitted: new Set(), held };
      };
      this.steps.push(...before.steps);
      const rivals: (Attempt & { name: string })[] = [];
      for (const rival of before.rivals ?? []) rivals.push({ ...(await again(rival)), name: rival.name });
      return { ...(await again(before)), rivals };
    }
    const plans = new Map<string, { name: string; plan: Plan }>();
    for (const { name, plan } of rulesTried.map((rule) => ({
      name: rule.name,
      plan: makePlan(choices, rule, cost, this.budget(ratio)),
    }))) {
      if (!plan || planCost(choices, plan, cost) > this.budget(ratio) * (1 + 1e-9)) continue;
      const key = JSON.stringify([...plan].map(([id, { scheme, ranks }]) => [id, scheme, ranks]));
      if (!plans.has(key)) plans.set(key, { name, plan });
    }
    const words = `trying ÷${+ratio.toPrecision(3)}`;
    const middle = from + 0.7 * (to - from);
    // a layer's fits for all plans one after the other, because the matrices that they come from are large
    for (const [at, { site }] of choices.entries()) {
      const tell = this.progress(from, middle, words);
      tell(at / choices.length);
      for (const { plan } of plans.values()) {
        const candidate = plan.get(site.id);
        if (candidate) await this.fitOf(site, candidate);
      }
    }
    const attempts: (Attempt & { name: string })[] = [];
    let best: Attempt | null = null;
    const steps: CompressedOnnx["steps"] = [];
    for (const [at, { name, plan }] of [...plans.values()].entries()) {
      this.progress(middle, to, words)(at / plans.size);
      const fits = await this.fitsOfPlan(plan);
      const held = this.judge && (await this.judge.of(this.written(fits)));
      const better: boolean = !best || (!!held && held.error < best.held!.error);
      if (held) steps.push({ name: `÷${+ratio.toPrecision(3)}: ${name}`, error: held.error, kept: better });
      attempts.push({ name, plan, fits, refitted: new Set(), held });
      if (better) best = attempts.at(-1)!;
    }
    this.steps.push(...steps);
    if (best) {
      const { held } = best;
      const rivals =
        held && held.error > POOR
          ? attempts.filter((one) => one !== best && one.held!.error <= RIVAL * held.error)
          : [];
      const layersOf = ({ plan }: Attempt) => [...plan].map(([id, candidate]) => ({ id, candidate }));
      this.plan.chosen.push({
        ...{ ratio, layers: layersOf(best), held, steps },
        ...(rivals.length && {
          rivals: rivals.map((one) => ({ name: one.name, layers: layersOf(one), held: one.held! })),
        }),
      });
      this.tellPlan();
      return { ...best, rivals };
    }
    return `no choice of ranks divides the ${WORDS[cost]} by ${ratio}: at most by ${(0.995 * this.mostRatio()).toPrecision(3)}`;
  }

  private async fitsOfPlan(plan: Plan): Promise<Map<string, OnnxReplacement>> {
    const fits = new Map<string, OnnxReplacement>();
    for (const { site } of this.choices) {
      const candidate = plan.get(site.id);
      if (candidate) fits.set(site.id, await this.fitOf(site, candidate));
    }
    return fits;
  }

  /** What budgets would give. */
  private async drawCurve(ratios: readonly number[]): Promise<void> {
    const { totals, steps } = this;
    this.curve = [];
    for (const ratio of [...ratios].sort((a, b) => a - b)) {
      const attempt = await this.attempt(ratio, 0.6, 0.6);
      if (typeof attempt === "string" || !attempt.plan.size || !attempt.held) continue;
      const bytes = writeOnnx(this.written(attempt.fits));
      const { before, after } = await this.pairedTimes(bytes);
      const left = this.result(attempt, null);
      const share = ({ before, after }: { before: number | null; after: number | null }): number | null =>
        before === null || after === null ? null : after / before;
      this.curve.push({
        ...{ ratio, ...attempt.held, time: after / before, bytes: bytes.length },
        ...{ weights: share(left.weights)!, multiplications: totals.multiplications && share(left.multiplications) },
      });
    }
    // the file's own attempt tells its steps again
    steps.length = 0;
  }

  /** What the first steps give, by the same share for every layer. */
  private async withoutSteps(ratio: number): Promise<[name: string, fits: Map<string, OnnxReplacement>][]> {
    const { choices, cost, products, options } = this;
    const rule: PlanRule = { kind: "uniform", spared: new Set(), name: KINDS.uniform };
    const plan = makePlan(choices, rule, cost, this.budget(ratio)) ?? new Map<string, FitCandidate>();
    const [weights, means, moments] = [1, 2, 3].map(() => new Map<string, OnnxReplacement>()) as [
      Map<string, OnnxReplacement>,
      Map<string, OnnxReplacement>,
      Map<string, OnnxReplacement>,
    ];
    for (const { site } of choices) {
      const candidate = plan.get(site.id);
      if (!candidate) continue;
      moments.set(site.id, await this.fitOf(site, candidate));
      const fits = await fitsOf(products, site, await this.momentsOf(site), {
        ...{ ridge: RIDGE, multiple: options.multiple ?? MULTIPLE, refit: false, meansAlone: true },
      });
      const fit = await fits.fit(candidate.scheme, candidate.ranks);
      means.set(site.id, fit);
      weights.set(site.id, { site: fit.site, scheme: fit.scheme, factors: fit.factors });
    }
    return [
      ["weights alone, the same share for every layer", weights],
      ["means kept by the biases", means],
      ["whitened by the covariance", moments],
    ];
  }

  private written(fits: ReadonlyMap<string, OnnxReplacement>): OnnxModel {
    return fits.size ? replaceSites(this.model, [...fits.values()], this.replacing) : this.model;
  }

  /** Sites with no other site behind them: a small error of theirs is the network's. */
  private outputSites(): Set<string> {
    const ids = new Map(this.sites.flatMap(({ id, outputs }) => outputs.map((name) => [name, id] as const)));
    const followed = new Set<string>();
    const last = new Set<string>();
    const { node } = this.model.graph;
    for (let at = node.length - 1; at >= 0; at--) {
      const { input, output } = node[at]!;
      const behind = output.some((name) => followed.has(name));
      const made = output.map((name) => ids.get(name)).filter((id) => id !== undefined);
      if (!behind) for (const id of made) last.add(id);
      if (behind || made.length) for (const name of input) followed.add(name);
    }
    return last.size < this.sites.length ? last : new Set();
  }

  /**
   * Fits layers again from input to output: targets from the original network, inputs from the one that is fitted again so far. Of each
   * group of layers the first of these goes on that held-back samples find no worse than the best network so far, by a small margin:
   * new fits, new fits that are drawn more to the original weights, and the fits as they were with new biases; else the best of them.
   * The margin is there because a fit that repairs what layers before it lost may look worse until layers behind it have followed. The
   * best of the networks on the way is given. Where much is lost even so, other plans are refitted, too, because errors of plans that lose
   * much say little of what refits will bring.
   */
  private async refit(attempt: Attempt, from: number, to: number): Promise<Attempt> {
    const { rivals = [] } = attempt;
    const part = (to - from) / (1 + rivals.length);
    let best = await this.refitInOrder(attempt, from, from + part);
    if (!this.judge || this.options.refit === false || best.held!.error <= POOR) return best;
    for (const [at, rival] of rivals.entries()) {
      const before = this.steps.length;
      const next = await this.refitInOrder(rival, from + (at + 1) * part, from + (at + 2) * part);
      // of another plan only the end is told
      this.steps.length = before;
      const { error } = next.held!;
      const better = error < best.held!.error;
      this.steps.push({ name: `refit of ${rival.name}`, error, kept: better });
      if (better) best = next;
    }
    return best;
  }

  private async refitInOrder(attempt: Attempt, from: number, to: number): Promise<Attempt> {
    const { options, products, judge } = this;
    if (!judge || options.refit === false || !attempt.held) return attempt;
    const { multiple = MULTIPLE, memory = MEMORY } = options;
    // what is here holds memory that the next ones need
    this.layerFits.clear();
    this.stored.clear();
    const order = this.sites.filter(({ id }) => attempt.plan.has(id));
    let now = attempt;
    let best = attempt;
    for (let at = 0; at < order.length; ) {
      const group = [order[at]!];
      let bytes = LayerFits.bytesOf(order[at]!);
      while (group.length < TOGETHER && order[at + group.length]) {
        const next = order[at + group.length]!;
        bytes += LayerFits.bytesOf(next);
        if (bytes > memory) break;
        group.push(next);
      }
      const tell = this.progress(
        from + ((to - from) * at) / order.length,
        from + ((to - from) * (at + group.length)) / order.length,
        `refitting ${group[0]!.name}`,
      );
      tell(0);
      const moments = await this.collect(group, { current: this.written(now.fits) }, tell);
      const layers: Fits[] = [];
      for (const site of group) {
        const more = { ridge: REFIT_RIDGES[0], multiple, refit: true };
        layers.push(await fitsOf(products, site, moments.get(site.id)!, more));
      }
      let next: Attempt | null = null;
      for (const ridge of [...REFIT_RIDGES, null]) {
        const fits = new Map(now.fits);
        const refitted = new Set(now.refitted);
        for (const layer of layers) {
          const { site, patches } = layer;
          const { scheme, ranks } = attempt.plan.get(site.id)!;
          // with fewer patches than inputs a fit is exact on them and wrong elsewhere
          const again = ridge !== null && patches! >= widthOf(site);
          if (again) layer.draw(ridge);
          fits.set(site.id, again ? await layer.fit(scheme, ranks) : layer.rebiased(fits.get(site.id)!));
          if (again) refitted.add(site.id);
        }
        const held = await judge.of(this.written(fits));
        if (!next || held.error < next.held!.error) next = { plan: attempt.plan, fits, refitted, held };
        if (held.error <= MARGIN * best.held!.error) break;
      }
      now = next!;
      const { error } = now.held!;
      const better = error < best.held!.error;
      if (better) best = now;
      this.steps.push({ name: `refit ${group.map(({ name }) => name).join(", ")}`, error, kept: better });
      at += group.length;
    }
    return best;
  }

  /** The attempt with weights that have learnt from the original, where held-back samples prefer them. */
  private async tune(attempt: Attempt): Promise<Attempt> {
    const { options, judge } = this;
    const { tune: steps, engine, fixedInputs = false, memory = MEMORY, seed = 0, signal } = options;
    if (!steps || !judge || !attempt.held) return attempt;
    const { model, held, tuning } = await tuneModel({
      ...{ engine, sessions: this.sessions, original: this.model, model: this.written(attempt.fits) },
      ...{ runs: this.runs(this.split.fit), judge, held: attempt.held, steps, fixedInputs, memory, seed, signal },
      onProgress: (done, doing) => options.onProgress?.(0.8 + 0.15 * done, doing),
    });
    this.tuning = tuning;
    for (const { from, to, best, error } of tuning.stretches)
      this.steps.push({ name: `tuned: ${from} to ${to}`, error: error.after, kept: best > 0 });
    if (tuning.reason) this.warnings.push(`nothing was tuned: ${tuning.reason}`);
    return { ...attempt, held, tuned: model };
  }

  /** The smallest model within a bound. */
  private async search(bound: { kind: "error" | "loss"; most: number }): Promise<CompressedOnnx> {
    const lossOf = (held: Agreement): number => (bound.kind === "error" ? held.error : this.lossOf(held));
    const ratios = RATIOS.filter((ratio) => ratio <= this.mostRatio());
    const attempts = new Map<number, Attempt | string>();
    const at = async (index: number): Promise<Attempt | null> => {
      if (!attempts.has(index)) attempts.set(index, await this.attempt(ratios[index]!, 0.6, 0.75));
      const attempt = attempts.get(index)!;
      return typeof attempt === "string" ? null : attempt;
    };
    const passes = (attempt: Attempt | null): boolean => !!attempt && lossOf(attempt.held!) <= bound.most;
    // refits and tuning only gain, so the search is without them, and one more step is tried with them
    let [low, high] = [-1, ratios.length];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (passes(await at(middle))) low = middle;
      else high = middle;
    }
    const words = bound.kind === "error" ? `an error of ${bound.most}` : `a loss of ${bound.most}`;
    for (let index = Math.min(low + 1, ratios.length - 1); index >= 0 && index >= low - 3; index--) {
      const attempt = await at(index);
      if (!attempt?.plan.size) continue;
      const final = await this.tune(await this.refit(attempt, 0.75, this.options.tune ? 0.8 : 0.95));
      if (!passes(final)) continue;
      const done = await this.finish(final, bound.kind === "loss" ? bound.most : null);
      if (done.bytes && (bound.kind === "loss" || done.verified!.error <= bound.most)) return done;
    }
    const first = ratios.length ? attempts.get(0) : null;
    const held = first && typeof first !== "string" ? first.held : null;
    return this.result(
      null,
      `no smaller model keeps ${words}${held ? `: divided by ${ratios[0]}, it already is ${lossOf(held).toPrecision(2)}` : ""}. ${ADVICE}`,
    );
  }

  private lossOf({ agreement, error }: Agreement): number {
    return agreement === null ? error : 1 - agreement;
  }

  /** Writes the model, and looks at the file on samples that nothing has seen. */
  private async finish(attempt: Attempt, maxLoss: number | null): Promise<CompressedOnnx> {
    const { options, split } = this;
    const float = attempt.tuned ?? this.written(attempt.fits);
    const quantised = options.int8 ? await this.quantise(float) : null;
    if (quantised && !quantised.quantised.length && !attempt.plan.size)
      return this.result(null, "it has no convolution or product of float32 with constant weights, which int8 needs");
    const tell = this.progress(0.97, 1, "verifying");
    tell(0);
    const bytes = writeOnnx(this.noted(quantised?.model ?? float, attempt));
    let verified: CompressedOnnx["verified"] = null;
    let time: CompressedOnnx["time"] = null;
    if (this.calibrated) {
      const small = readOnnx(bytes, { file: options.file ?? "model.onnx" });
      const judge = await OutputJudge.of(this.sessions, this.model, this.runs(split.verify));
      const seen = await judge.of(small);
      tell(0.4);
      const metric = await this.metric(bytes);
      verified = { ...seen, metric, loss: metric ? metric.before - metric.after : this.lossOf(seen) };
      time = await this.pairedTimes(bytes);
    }
    tell(1);
    if (verified && maxLoss !== null && !(verified.loss <= maxLoss)) {
      const what = verified.metric
        ? "of the metric"
        : verified.agreement === null
          ? "relative error of the outputs"
          : "of the classifications";
      return this.result(
        attempt,
        `it loses ${verified.loss.toPrecision(2)} ${what}, more than ${maxLoss}. ${ADVICE}`,
        null,
        verified,
        time,
      );
    }
    if (verified && (verified.error > POOR || (verified.agreement ?? 1) < 1 - POOR / 3))
      this.warnings.push(`the outputs have changed much. ${ADVICE}`);
    return this.result(attempt, null, bytes, verified, time);
  }

  /**
   * The model in int8: convolutions in integers; products of matrices in integers, or by their weights alone; the first and the last
   * convolution by their weights alone where held-back samples are nearer by it; weights rounded by the covariance of their inputs, or to
   * the nearest level.
   */
  private async quantise(float: OnnxModel): Promise<QuantisedOnnx> {
    const { signal } = this;
    const { fixedInputs = false, memory = MEMORY } = this.options;
    const operators = ["Conv", "Gemm", "MatMul"] as const;
    const tell = this.progress(0.95, 0.97, "int8");
    tell(0);
    const ranges = await activationRanges(float, {
      ...{ session: this.sessions, feeds: this.runs(this.split.fit), fixedInputs, operators },
      ...(signal && { signal }),
    });
    tell(0.3);
    const rounder = new Rounder(this.products, (sites) => this.collect(sites, { original: float }), memory);
    const write = (weightsOnly: readonly string[], round: QuantiseOnnxOptions["round"]) =>
      quantiseOnnx(float, { ranges, fixedInputs, operators, weightsOnly, ...(round && { round }) });
    const asked = await write([], rounder.round);
    const names = asked.quantised.map(({ name }) => name);
    if (!names.length) {
      this.warnings.push("int8 found no convolution and no product of float32 with constant weights");
      return asked;
    }
    await write(names, rounder.round);
    await rounder.work(float, MOST_INPUTS, fixedInputs);
    tell(0.6);
    const judge = this.judge!;
    const [convolutions, dense] = [true, false].map((one) =>
      asked.quantised.filter(({ op }) => (op === "Conv") === one).map(({ name }) => name),
    ) as [string[], string[]];
    let best: QuantisedOnnx | null = null;
    let error = Number.POSITIVE_INFINITY;
    let weightsOnly = dense;
    let round: QuantiseOnnxOptions["round"];
    const attempt = async (name: string, change: { weightsOnly?: string[]; round?: typeof round }, most: number) => {
      const next = { weightsOnly, round, ...change };
      const written = await write(next.weightsOnly, next.round);
      const held = await judge.of(written.model);
      const kept = !best || held.error < most * error;
      this.steps.push({ name: `int8: ${name}`, error: held.error, kept });
      if (kept) [best, error, weightsOnly, round] = [written, held.error, next.weightsOnly, next.round];
    };
    const count = (list: string[], what: string): string => `${list.length} ${what}${list.length === 1 ? "" : "s"}`;
    const all = [
      ...(convolutions.length ? [count(convolutions, "convolution")] : []),
      ...(dense.length ? [`the weights of ${count(dense, "product")}`] : []),
    ];
    await attempt(all.join(", "), {}, 1);
    await attempt("weights rounded for the outputs", { round: rounder.round }, 1);
    if (dense.length) await attempt("products in integers", { weightsOnly: [] }, DENSE_COST);
    for (const name of convolutions.length > 2 ? [convolutions[0]!, convolutions.at(-1)!] : [])
      await attempt(`${name} by its weights alone`, { weightsOnly: [...weightsOnly, name] }, FLOAT_GAIN);
    this.int8 = best!;
    return best!;
  }

  private async metric(bytes: Uint8Array): Promise<{ before: number; after: number } | null> {
    const { evaluate } = this.options;
    if (!evaluate) return null;
    const values: number[] = [];
    for (const model of [this.bytes, bytes]) {
      const session = await this.sessions(model);
      try {
        values.push(await evaluate((feeds) => session.run(feeds)));
      } finally {
        await session.release();
      }
      if (!Number.isFinite(values.at(-1)))
        throw new TenfoldError(`compressOnnx: evaluate gives ${values.at(-1)}, needs a finite number`);
    }
    return { before: values[0]!, after: values[1]! };
  }

  /** Milliseconds of a run of the original and of another model, in pairs. */
  private async pairedTimes(bytes: Uint8Array | null): Promise<{ before: number; after: number }> {
    const original = await this.sessions(writeOnnx(this.model));
    const small = bytes ? await this.sessions(bytes) : null;
    const feeds = this.split.verify[0]!;
    const time = async (session: { run(feeds: OnnxFeeds): Promise<unknown> } | null): Promise<number> => {
      const start = performance.now();
      await session?.run(feeds);
      return performance.now() - start;
    };
    try {
      const pairs: [number, number][] = [];
      for (let round = 0; round < 6; round++) {
        const pair: [number, number] = [await time(original), await time(small)];
        if (round) pairs.push(pair);
      }
      const middle = (list: number[]): number => list.sort((a, b) => a - b)[list.length >> 1]!;
      const before = middle(pairs.map(([one]) => one));
      return { before, after: before * middle(pairs.map(([one, other]) => other / one)) };
    } finally {
      await original.release();
      await small?.release();
    }
  }

  /** The model with a note of what was done. */
  private noted(model: OnnxModel, { held }: Attempt): OnnxModel {
    const { target, maxLoss } = this.options;
    const { fit, choose } = this.split;
    const note = {
      ...(target && { target }),
      ...(maxLoss !== undefined && { maxLoss }),
      ...(this.tuning?.stretches.some(({ best }) => best > 0) && { tuned: true }),
      samples: this.calibrated ? fit.length + choose.length : 0,
      ...(held && { heldOutError: +held.error.toPrecision(4) }),
    };
    const before = model.proto.metadataProps.filter(({ key }) => key !== NOTE);
    const proto = copyOf(model.proto, { metadataProps: [...before, makeEntry(NOTE, JSON.stringify(note))] });
    return new OnnxModel(model.file, proto, model.external, null);
  }

  private told(): CompressedOnnx["int8"] {
    if (!this.int8) return null;
    const { quantised, inFloat, raised } = this.int8;
    return { quantised, inFloat, raised };
  }

  private result(
    attempt: Attempt | null,
    reason: string | null,
    bytes: Uint8Array | null = null,
    verified: CompressedOnnx["verified"] = null,
    time: CompressedOnnx["time"] = null,
  ): CompressedOnnx {
    const layers = this.sites.map((site): CompressedLayer => {
      const candidate = attempt?.plan.get(site.id) ?? null;
      const { weights, multiplications } = site.counts;
      return {
        ...{ id: site.id, name: site.name, op: site.op, shape: site.shape },
        scheme: candidate?.scheme ?? null,
        ranks: candidate?.ranks ?? [],
        weights: { before: weights, after: candidate?.weights ?? weights },
        multiplications: { before: multiplications, after: candidate ? candidate.multiplications : multiplications },
        error: Math.sqrt(candidate?.error ?? 0),
        refitted: attempt?.refitted.has(site.id) ?? false,
      };
    });
    const saved = (key: "weights" | "multiplications"): number =>
      layers.reduce((sum, { [key]: { before, after } }) => sum + ((before ?? 0) - (after ?? 0)), 0);
    const { weights, multiplications } = this.totals;
    const { fit, choose, verify } = this.split;
    return {
      ...{ bytes, reason, layers, leftAlone: this.leftAlone, folded: this.folded, int8: this.told() },
      weights: { before: weights, after: weights - saved("weights") },
      multiplications: {
        before: multiplications,
        after: multiplications === null ? null : multiplications - saved("multiplications"),
      },
      ...{
        time,
        verified,
        tuning: this.tuning,
        steps: this.steps,
        curve: this.curve,
        ablation: this.ablation,
        warnings: this.warnings,
      },
      samples: { fit: fit.length, choose: choose.length, verify: verify.length },
    };
  }
}

/** only the weights of a convolution are int8 where the error of the outputs falls below this share */
const FLOAT_GAIN = 0.8;
/** how much larger it may become for products of matrices to be computed in integers, which is faster */
const DENSE_COST = 1.02;
/** Under this key of a model's metadata stands how it was compressed. */
const NOTE = "tenfold.compressed";
/** relative error of the outputs from which on a word is said */
const POOR = 0.3;
/** Where it is larger after refits, plans with an error up to this factor of the best one's before are fitted in order, too. */
const RIVAL = 1.3;
const ADVICE = "Quantisation to int8 costs such a network less: its layers have no low rank";
const KINDS = {
  measured: "ranks by measured effect on the outputs",
  lagrangian: "ranks by the layers' errors",
  uniform: "the same share for every layer",
} as const;
const WORDS: Readonly<Record<Cost, string>> = { weights: "weights", multiplications: "multiplications", time: "time" };

/** The candidate whose cost is nearest to a share of the layer's. */
function nearest(candidates: readonly FitCandidate[], { counts }: OnnxSite, share: number): FitCandidate | null {
  const shareOf = ({ weights, multiplications }: FitCandidate): number =>
    multiplications === null ? weights / counts.weights : multiplications / counts.multiplications!;
  return candidates.reduce<FitCandidate | null>(
    (best, one) => (!best || Math.abs(shareOf(one) - share) < Math.abs(shareOf(best) - share) ? one : best),
    null,
  );
}

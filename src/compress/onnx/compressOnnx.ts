import {
  checkOptions,
  Engine,
  instanceOf,
  type OptionRules,
  optionRules,
  required,
  TenfoldError,
} from "../../gpu/index.js";
import {
  type LeftAlone,
  type OnnxReplacement,
  type OnnxSite,
  onnxSites,
  type QuantisedOnnx,
  type QuantiseOnnxOptions,
  quantiseOnnx,
  readOnnx,
  writeOnnx,
} from "../../onnx/index.js";
import { OnnxModel } from "../../onnx/model.js";
import { copyOf, makeEntry } from "../../onnx/proto.js";
import type { Cost } from "../select.js";
import { type FitCandidate, type FittedScheme, RIDGE } from "./fits.js";
import { type Fits, fitsOf } from "./groups.js";
import { type Relays, widthOf } from "./moments.js";
import type { Agreement, SampleAgreement } from "./outputs.js";
import { type Choice, leastCost, makePlan, type Plan, type PlanRule, planCost, priceOf } from "./plan.js";
import { isPlan, MOST_INPUTS, type OnnxCompressionOptions, PreparedModel, QUANTISED } from "./prepared.js";
import { Rounder } from "./rounding.js";
import type { OnnxArray, OnnxFeeds } from "./session.js";
import { type Tuning, tuneModel } from "./tune.js";
import { wideOf } from "./wide.js";

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

/** What is asked for of a model. */
export interface OnnxRequest {
  /** one of `target`, `maxLoss` and `int8` is needed */
  target?: OnnxTarget;
  /**
   * Quantises convolutions and products of matrices to int8 after that, by `quantiseOnnx` with ranges of least error; alone, nothing else
   * is done. Weights are rounded for the least error of the layers' outputs. Where held-back samples say so, products and the first and
   * the last convolution have int8 weights alone and compute in float. Needs calibration samples.
   */
  int8?: boolean;
  /**
   * The most that may be lost: of the metric of `evaluate`, as before − after; else, on samples that calibration did not see, the part of
   * the classifications that change, for a model that classifies; else the relative error of the outputs. With a target a model that
   * loses more is not given; without one the smallest model within it is, and some ten models are measured.
   */
  maxLoss?: number;
  /** A metric of the user's, on samples of its own: larger is better. Called once with the original, and with each model that is measured. */
  evaluate?: (run: (feeds: OnnxFeeds) => Promise<Record<string, OnnxArray>>) => number | Promise<number>;
  /** whether layers are fitted again, in order, to what compressed layers before them give; true by default, needs samples */
  refit?: boolean;
  /**
   * Steps of tuning after that, without labels: where every node of the network, or of a part of it, has a layer, it learns the original's
   * values at its end and features inside it on the calibration samples and on blends of them. The weights are kept that held-back samples like best,
   * so that nothing is lost by it; `signal` ends tuning, and the best weights until then are kept. None by default; hundreds are needed, and samples.
   */
  tune?: number;
  /** Also says what each step brings, from fits of the weights alone on, in `ablation`; needs samples and a target of size or time. */
  ablation?: boolean;
  /**
   * Also tells in `versions` what the original, int8 alone and the file are like, side by side. int8 alone has weights to the nearest level, and
   * products of matrices compute in float: `int8` may find a nearer one. Needs samples.
   */
  beside?: boolean;
  /** Also tells of these divisors of the cost what they would give, in `curve`; each 1 or more. Needs samples. */
  curve?: readonly number[];
  /** called with the part of the work that is done, 0 to 1, and a few words */
  onProgress?: (done: number, doing: string) => void;
  signal?: AbortSignal;
}

export interface CompressOnnxOptions extends OnnxCompressionOptions, OnnxRequest {}

const requestRules: OptionRules<OnnxRequest> = {
  target: { needs: "an object with one of multiplications, weights, time, error", is: (value) => !!targetOf(value) },
  int8: optionRules.flag,
  maxLoss: optionRules.atLeastZero,
  evaluate: optionRules.callback,
  refit: optionRules.flag,
  tune: optionRules.count,
  ablation: optionRules.flag,
  beside: optionRules.flag,
  curve: {
    needs: "a list of numbers of 1 or more",
    is: (value) => Array.isArray(value) && value.every((one) => typeof one === "number" && one >= 1 && one < 1e6),
  },
  onProgress: optionRules.callback,
  signal: optionRules.signal,
};
const modelRules: OptionRules<OnnxCompressionOptions> = {
  engine: required(instanceOf(Engine, "an Engine, as openEngine() gives it")),
  session: optionRules.callback,
  calibration: { needs: "a list of samples, as samplesOf gives them", is: Array.isArray },
  verification: { needs: "a list of samples, as samplesOf gives them", is: Array.isArray },
  shapes: { needs: "shapes by name", is: (value) => typeof value === "object" && !!value },
  smallest: optionRules.share,
  fixedInputs: optionRules.flag,
  external: optionRules.callback,
  file: optionRules.text,
  patches: optionRules.positive,
  multiple: optionRules.positive,
  memory: optionRules.aboveZero,
  seed: optionRules.seed,
  plan: { needs: "a plan, as onPlan tells it", is: isPlan },
  onPlan: optionRules.callback,
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

/** What the file makes of one sample. */
export interface SampleDifference extends SampleAgreement {
  /** place in `verification`, or where that was not given in `calibration`, from 0 */
  sample: number;
}

/** A version of a model beside others, on the samples of `verified`. */
export interface OnnxVersion extends Agreement {
  name: "original" | "int8" | "low rank" | "low rank + int8";
  /** of the file; of the original with those of other files */
  bytes: number;
  /** of a run in the runtime: one sample, in turns with the others */
  milliseconds: number;
}

/** What is known of a network with some of the steps. */
export interface AblationStep extends Agreement {
  name: string;
}

/** A layer with its own weights, as a fit. */
const asItIs = async (site: OnnxSite): Promise<OnnxReplacement> => ({
  ...{ site: site.id, scheme: "whole" },
  factors: [{ shape: site.shape, data: await site.weights() }],
});

/** What became of a layer. */
export interface CompressedLayer {
  id: string;
  name: string;
  op: OnnxSite["op"];
  shape: readonly number[];
  /** null for a layer that stays whole */
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
  /** milliseconds of a run in the runtime, the median of turns on one sample; null without a runtime */
  time: { before: number; after: number } | null;
  /** what tuning brought; null without `tune` */
  tuning: Tuning | null;
  /** how many samples were used for what */
  samples: { fit: number; choose: number; verify: number };
  /** what was tried, with the relative error of the outputs on samples that fits did not see */
  steps: { name: string; error: number; kept: boolean }[];
  /** of the file as it is written, on samples that nothing before has seen; null without samples */
  verified: (Agreement & { metric: { before: number; after: number } | null; loss: number }) | null;
  /** Of the samples of `verified` those that the file changes most, at most 64: first those with other classes. Null without samples. */
  worst: SampleDifference[] | null;
  /** With `beside`: the original, int8 alone where anything can be int8, and last the file, also one that is not given because it loses too much. */
  versions: OnnxVersion[] | null;
  /** with `curve`, the budgets that there are candidates for */
  curve: CurvePoint[] | null;
  /** With `ablation`: the same file after each further step, on the samples of `verified`. The first three have the same ranks. */
  ablation: AblationStep[] | null;
  warnings: string[];
}

/** those of fits in order, of which the second is tried where the first does worse */
const REFIT_RIDGES = [1e-2, 1e-1] as const;
/** how much larger the error may be after a group of layers, for the next one to go on from there */
const MARGIN = 1.02;
/**
 * Layers that are fitted in order in one pass over the samples, as far as memory allows. Those behind the first see what it gave before
 * its new fit: PP-OCRv6's recogniser ÷ 1.28 reads 93.2 % of
 * Chinese characters with five together, 95.3 % with three, 95.5 % with two.
 */
const TOGETHER = 2;
/**
 * multiplications of all runs up to which layers that stay whole are fitted again, too, and effects are measured again in a plan that loses
 * much
 */
const WHOLE_WORK = 5e10;
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
  checkOptions("compressOnnx", options, { ...modelRules, ...requestRules });
  const network = new OnnxCompression(bytes, pick<OnnxCompressionOptions>(options, modelRules));
  try {
    return await network.compress(pick<OnnxRequest>(options, requestRules));
  } finally {
    await network.release();
  }
}

/** The options that some rules are for. */
const pick = <T>(options: T & object, rules: OptionRules<T>): T =>
  Object.fromEntries(Object.entries(options).filter(([name]) => name in rules)) as T;

/**
 * One model for several budgets. What is found of its layers serves all of them: moments of their inputs, decompositions, the effect on
 * the outputs, and fits, as far as `memory` allows. So a moved budget costs the fits of those layers whose ranks change, and of the layers
 * behind them, which are fitted in order; the answer is that of `compressOnnx`. A runtime's sessions may stay open until `release`.
 */
export class OnnxCompression {
  readonly #prepared: PreparedModel;
  #isBusy = false;

  /** @throws TenfoldError where options do not fit */
  constructor(bytes: Uint8Array, options: OnnxCompressionOptions) {
    checkOptions("OnnxCompression", options, modelRules);
    if (options.calibration?.length && !options.session)
      throw new TenfoldError("compressOnnx: calibration needs session, as runtimeSessions(ort) gives it", {
        code: "OPTION",
      });
    this.#prepared = new PreparedModel(bytes, options);
  }

  /**
   * Compresses the model. What an earlier request found is not found again, even if that one failed or was stopped.
   *
   * @throws FormatError where the bytes are no ONNX model; TenfoldError where the request does not fit, the runtime fails, or another
   *   request is under way
   */
  async compress(request: OnnxRequest): Promise<CompressedOnnx> {
    checkOptions("compressOnnx", request, requestRules);
    checkRequest(request, this.#prepared.calibrated);
    if (this.#isBusy)
      throw new TenfoldError("compressOnnx: another request for this model is under way: await it first");
    this.#isBusy = true;
    try {
      return await new Compression(this.#prepared, request).run();
    } finally {
      this.#isBusy = false;
    }
  }

  /** Closes sessions of the runtime. */
  async release(): Promise<void> {
    await this.#prepared.release();
  }
}

function checkRequest(
  { target, maxLoss, evaluate, int8, tune, ablation, beside, curve }: OnnxRequest,
  calibrated: boolean,
): void {
  const fail = (problem: string): never => {
    throw new TenfoldError(`compressOnnx: ${problem}`, { code: "OPTION" });
  };
  const isOpen = !target && maxLoss === undefined;
  if (isOpen && !int8) fail("needs a target, as in { multiplications: 2 }, or maxLoss, or int8");
  if (tune && calibrated && isOpen) fail("tune needs a target or maxLoss: int8 alone is not tuned");
  const kind = target ? targetOf(target)!.kind : null;
  if (ablation && !(calibrated && kind && kind !== "error"))
    fail("ablation needs calibration samples, and a target of multiplications, weights or time");
  if (calibrated) return;
  const needing: readonly [name: string, isAsked: boolean][] = [
    ["int8", !!int8],
    ["tune", !!tune],
    ["curve", !!curve],
    ["beside", !!beside],
    ["a target of time", kind === "time"],
    ["a target of error", kind === "error"],
    ["maxLoss", maxLoss !== undefined],
    ["evaluate", !!evaluate],
  ];
  const first = needing.find(([, isAsked]) => isAsked);
  if (first) fail(`${first[0]} needs calibration samples`);
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

/** One request. */
class Compression {
  private readonly steps: CompressedOnnx["steps"] = [];
  private readonly warnings: string[] = [];
  private choices: Choice[] = [];
  private int8: QuantisedOnnx | null = null;
  private tuning: Tuning | null = null;
  private ablation: AblationStep[] | null = null;
  private curve: CurvePoint[] | null = null;
  private worst: SampleDifference[] | null = null;
  /** the last file that was made, given or not */
  private made: ({ bytes: Uint8Array; name: OnnxVersion["name"] } & Agreement) | null = null;
  /** the metric of the original */
  private metricBefore: number | null = null;

  constructor(
    private readonly prepared: PreparedModel,
    private readonly request: OnnxRequest,
  ) {}

  /** Who stops tuning gets the best weights until then: what follows is not stopped. */
  private get signal(): AbortSignal | undefined {
    return this.tuning?.stopped ? undefined : this.request.signal;
  }
  private get cost(): Cost {
    const aim = targetOf(this.request.target);
    if (aim && aim.kind !== "error") return aim.kind;
    return this.prepared.totals.multiplications === null ? "weights" : "multiplications";
  }

  private progress(from: number, to: number, doing: string): (part: number) => void {
    return (part) => {
      this.signal?.throwIfAborted();
      this.request.onProgress?.(from + (to - from) * Math.min(1, part), doing);
    };
  }

  async run(): Promise<CompressedOnnx> {
    const result = await this.work();
    await this.compare(result);
    return result;
  }

  /** Takes the time of the file, and looks at int8 alone beside it. */
  private async compare(result: CompressedOnnx): Promise<void> {
    const { prepared, request, made } = this;
    const tell = this.progress(0.98, 1, "comparing");
    if (prepared.calibrated && (made || request.beside)) {
      tell(0);
      const all = made ? [made] : [];
      if (request.beside && made?.name !== "int8")
        try {
          const int8 = await prepared.int8Alone();
          if (int8) all.unshift({ name: "int8", ...int8 });
        } catch (error) {
          this.signal?.throwIfAborted();
          // the file is there, and is not lost by this
          result.warnings.push(`int8 alone is not told of: ${(error as Error).message}`);
        }
      tell(0.5);
      const [before, ...after] = await prepared.times(all.map(({ bytes }) => bytes));
      if (made) result.time = { before: before!, after: after.at(-1)! };
      const agreement = typeof all[0]?.agreement === "number" ? 1 : null;
      if (request.beside)
        result.versions = [
          { name: "original", bytes: prepared.size, milliseconds: before!, error: 0, cosine: 1, agreement },
          ...all.map((one, at) => ({ ...one, bytes: one.bytes.length, milliseconds: after[at]! })),
        ];
    }
    tell(1);
  }

  private async work(): Promise<CompressedOnnx> {
    const { prepared, request } = this;
    const { target, maxLoss, int8 } = request;
    const compression = this;
    prepared.watch = {
      get signal() {
        return compression.signal;
      },
      progress: (from, to, doing) => this.progress(from, to, doing),
    };
    await prepared.prepare();
    const aim = target ? targetOf(target)! : null;
    if (int8 && !target && maxLoss === undefined)
      return await this.finish({ plan: new Map(), fits: new Map(), refitted: new Set(), held: null }, null);
    if (!prepared.sites.length) return this.result(null, this.nothingHere());
    if (aim?.kind === "multiplications" && prepared.totals.multiplications === null)
      throw new TenfoldError(
        `compressOnnx: the multiplications of ${prepared.model.file} are unknown, because shapes are; ${prepared.calibrated ? "give a target of weights or of time" : "give shapes of the inputs, or calibration samples"}`,
        { code: "INPUT" },
      );
    this.choices = await prepared.choices(this.cost);
    if (request.curve) await this.drawCurve(request.curve);
    if (aim && aim.kind !== "error") {
      const attempt = await this.attempt(aim.value, 0.6, 0.75);
      if (typeof attempt === "string") return this.result(null, attempt);
      if (!attempt.plan.size) return this.result(null, "the target asks for no smaller model than this one");
      const steps = request.ablation ? await this.withoutSteps(aim.value) : null;
      const refitted = await this.refit(attempt, 0.75, request.tune ? 0.8 : 0.95);
      const final = await this.tune(refitted);
      if (steps) {
        steps.push(["ranks chosen by held-back samples", attempt.fits], ["refitted in order", refitted.fits]);
        const judge = await prepared.judge("verify");
        this.ablation = [];
        for (const [name, fits] of steps) this.ablation.push({ name, ...(await judge.of(prepared.written(fits))) });
        if (final.tuned) this.ablation.push({ name: "tuned", ...(await judge.of(final.tuned)) });
      }
      return await this.finish(final, maxLoss === undefined ? null : maxLoss);
    }
    return await this.search(aim ? { kind: "error", most: aim.value } : { kind: "loss", most: maxLoss! });
  }

  private nothingHere(): string {
    const reasons = new Map<string, number>();
    for (const { reason, weights } of this.prepared.leftAlone)
      reasons.set(reason, (reasons.get(reason) ?? 0) + weights);
    const [most] = [...reasons].sort((a, b) => b[1] - a[1]);
    return `nothing in this model can be factorised${most ? `; most weights are left alone because: ${most[0]}` : ""}`;
  }

  /** The cost of the model, and of its layers together. */
  private costs(): { total: number; layers: number } {
    const { cost, choices, prepared } = this;
    const { totals, plan } = prepared;
    const layers = choices.reduce((sum, choice) => sum + priceOf(choice, null, cost), 0);
    if (cost === "time") return { total: Math.max(plan.timeTotal, layers), layers };
    return { total: cost === "weights" ? totals.weights : totals.multiplications!, layers };
  }

  /** The cost that the layers may have together, for the model's cost divided by a number. */
  private budget(ratio: number): number {
    const { total, layers } = this.costs();
    return total / ratio - (total - layers);
  }

  /** The largest ratio that there are candidates for. */
  private mostRatio(): number {
    const { total, layers } = this.costs();
    return total / (total - layers + leastCost(this.choices, this.cost));
  }

  /** The plan that held-back samples like best, of several rules; a reason where no plan is that small. */
  private async attempt(ratio: number, from: number, to: number): Promise<Attempt | string> {
    const { choices, cost, prepared } = this;
    const spared = this.outputSites();
    const kinds = prepared.calibrated ? (["measured", "lagrangian", "uniform"] as const) : (["lagrangian"] as const);
    const rulesTried = (prepared.calibrated ? [new Set<string>(), spared] : [new Set<string>()]).flatMap((set) =>
      kinds.map(
        (kind): PlanRule => ({ kind, spared: set, name: `${KINDS[kind]}${set.size ? ", last layer left alone" : ""}` }),
      ),
    );
    const before = prepared.plan.chosen.find((one) => one.ratio === ratio && one.cost === cost);
    if (before) {
      const again = async ({ layers, held }: Pick<typeof before, "layers" | "held">): Promise<Attempt> => {
        const plan = new Map(layers.map(({ id, candidate }) => [id, candidate]));
        return { plan, fits: await prepared.fitsOfPlan(plan), refitted: new Set(), held };
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
      const key = textOf(plan);
      if (!plans.has(key)) plans.set(key, { name, plan });
    }
    const words = `trying ÷${+ratio.toPrecision(3)}`;
    const [middle, late] = [0.7, 0.85].map((part) => from + part * (to - from)) as [number, number];
    // a layer's fits for all plans one after the other, because the matrices that they come from are large
    for (const [at, { site }] of choices.entries()) {
      const tell = this.progress(from, middle, words);
      tell(at / choices.length);
      for (const { plan } of plans.values()) {
        const candidate = plan.get(site.id);
        if (candidate) await prepared.fitOf(site, candidate);
      }
    }
    const attempts: (Attempt & { name: string })[] = [];
    const isBetter = (one: Attempt, than: Attempt | null): boolean =>
      !than || (!!one.held && one.held.error < than.held!.error);
    const bestSoFar = (): Attempt | null =>
      attempts.reduce<Attempt | null>((best, one) => (isBetter(one, best) ? one : best), null);
    const steps: CompressedOnnx["steps"] = [];
    const consider = async (name: string, plan: Plan): Promise<Attempt> => {
      const fits = await prepared.fitsOfPlan(plan);
      const held = prepared.calibrated ? await prepared.heldBack(fits) : null;
      const next = { name, plan, fits, refitted: new Set<string>(), held };
      const kept = isBetter(next, bestSoFar());
      if (held) steps.push({ name: `÷${+ratio.toPrecision(3)}: ${name}`, error: held.error, kept });
      attempts.push(next);
      return next;
    };
    for (const [at, { name, plan }] of [...plans.values()].entries()) {
      this.progress(middle, late, words)(at / plans.size);
      await consider(name, plan);
    }
    const first = bestSoFar();
    if (first?.held && first.held.error > POOR)
      await this.measureAgain(ratio, first, this.progress(late, to, words), consider);
    this.steps.push(...steps);
    const best = bestSoFar();
    if (best) {
      const { held } = best;
      const rivals =
        held && held.error > POOR
          ? attempts
              .filter((one) => one !== best && one.held!.error <= RIVAL * held.error)
              .sort((a, b) => a.held!.error - b.held!.error)
              .slice(0, MOST_RIVALS)
          : [];
      const layersOf = ({ plan }: Attempt) => [...plan].map(([id, candidate]) => ({ id, candidate }));
      prepared.plan.chosen.push({
        ...{ cost, ratio, layers: layersOf(best), held, steps },
        ...(rivals.length && {
          rivals: rivals.map((one) => ({ name: one.name, layers: layersOf(one), held: one.held! })),
        }),
      });
      prepared.tellPlan();
      return { ...best, rivals };
    }
    return `no choice of ranks divides the ${WORDS[cost]} by ${ratio}: at most by ${(0.995 * this.mostRatio()).toPrecision(3)}`;
  }

  /**
   * Considers plans by what each layer does to the outputs where the others are as the plan before has them: the squared error that the plan loses when
   * the layer is the original's again. A probe of a layer alone says little of what it does where much is lost. A layer counts by the
   * geometric mean of all that was measured of it, as single measurements lead from one extreme to the other.
   */
  private async measureAgain(
    ratio: number,
    first: Attempt,
    tell: (part: number) => void,
    consider: (name: string, plan: Plan) => Promise<Attempt>,
  ): Promise<void> {
    const { choices, cost, prepared } = this;
    const judge = await prepared.judge("fit");
    const runs = (choices.length + 1) * judge.samples;
    if (!((prepared.totals.multiplications ?? Number.POSITIVE_INFINITY) * runs * AGAIN <= WHOLE_WORK)) return;
    const seen = new Set([textOf(first.plan)]);
    const logs = choices.map(({ weight }) => [Math.log(weight)]);
    let from = first;
    for (let round = 1; round <= AGAIN; round++) {
      const { plan, fits } = from;
      const whole = await judge.of(prepared.written(fits));
      for (const [at, { site, weight }] of choices.entries()) {
        this.signal?.throwIfAborted();
        tell((round - 1 + at / choices.length) / AGAIN);
        const candidate = plan.get(site.id);
        if (!candidate) continue;
        const others = new Map(fits);
        others.delete(site.id);
        const { error } = await judge.of(prepared.written(others));
        const lost = (whole.error ** 2 - error ** 2) / Math.max(candidate.error, 1e-9);
        logs[at]!.push(Math.log(Math.max(lost, LEAST_AGAIN * weight)));
      }
      const weighed = choices.map((choice, at) => ({ ...choice, weight: Math.exp(mean(logs[at]!)) }));
      const rule = { kind: "measured", spared: new Set<string>(), name: KINDS.again } as const;
      const next = makePlan(weighed, rule, cost, this.budget(ratio));
      if (!next || planCost(choices, next, cost) > this.budget(ratio) * (1 + 1e-9) || seen.has(textOf(next))) return;
      seen.add(textOf(next));
      from = await consider(`${rule.name}${round > 1 ? `, ${round} times` : ""}`, next);
    }
  }

  /** What budgets would give. */
  private async drawCurve(ratios: readonly number[]): Promise<void> {
    const { prepared, steps } = this;
    const { totals } = prepared;
    this.curve = [];
    for (const ratio of [...ratios].sort((a, b) => a - b)) {
      const attempt = await this.attempt(ratio, 0.6, 0.6);
      if (typeof attempt === "string" || !attempt.plan.size || !attempt.held) continue;
      const bytes = writeOnnx(prepared.written(attempt.fits));
      const [before, after] = (await prepared.times([bytes])) as [number, number];
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
    const { choices, cost, prepared } = this;
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
      moments.set(site.id, await prepared.fitOf(site, candidate));
      const fits = await fitsOf(prepared.products, site, await prepared.momentsOf(site), {
        ...{ ridge: RIDGE, multiple: prepared.multiple, refit: false, meansAlone: true },
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

  /** Sites with no other site behind them: a small error of theirs is the network's. */
  private outputSites(): Set<string> {
    const { sites, model } = this.prepared;
    const ids = new Map(sites.flatMap(({ id, outputs }) => outputs.map((name) => [name, id] as const)));
    const followed = new Set<string>();
    const last = new Set<string>();
    const { node } = model.graph;
    for (let at = node.length - 1; at >= 0; at--) {
      const { input, output } = node[at]!;
      const behind = output.some((name) => followed.has(name));
      const made = output.map((name) => ids.get(name)).filter((id) => id !== undefined);
      if (!behind) for (const id of made) last.add(id);
      if (behind || made.length) for (const name of input) followed.add(name);
    }
    return last.size < sites.length ? last : new Set();
  }

  /**
   * Fits layers again from input to output, and some of those that stay whole: targets from the original network, inputs from the one that is
   * fitted again so far. Of each group of layers the first of these goes on that held-back samples find no worse than the best network so
   * far, by a small margin: new fits, new fits that are drawn more to the original weights, and the fits as they were with new biases; else
   * the best of them. The margin is there because a fit that repairs what layers before it lost may look worse until layers behind it have
   * followed. The best of the networks on the way is given. Where much was lost before refits, and they leave more than a little, other
   * plans are refitted, too, because errors of plans that lose much say little of what refits will bring.
   */
  private async refit(attempt: Attempt, from: number, to: number): Promise<Attempt> {
    const { rivals = [] } = attempt;
    const part = (to - from) / (1 + rivals.length);
    let best = await this.refitInOrder(attempt, from, from + part);
    if (!this.refits(attempt) || best.held!.error <= FINE) return best;
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

  private refits(attempt: Attempt): boolean {
    return this.request.refit !== false && attempt.held !== null;
  }

  private async refitInOrder(attempt: Attempt, from: number, to: number): Promise<Attempt> {
    if (!this.refits(attempt)) return attempt;
    const { prepared } = this;
    // layers that stay whole, too: the last ones, whose error is the network's, and all where that takes seconds
    const last = this.outputSites();
    const work = (prepared.totals.multiplications ?? Number.POSITIVE_INFINITY) * prepared.split.fit.length;
    const isFitted = ({ id, kind }: OnnxSite): boolean =>
      attempt.plan.has(id) || (kind !== "transposedConvolution" && (last.has(id) || work <= WHOLE_WORK));
    const order = prepared.sites.filter(isFitted);
    let now = attempt;
    let best = attempt;
    const relays = await prepared.relays();
    for (let at = 0; at < order.length; ) {
      const group = [order[at]!];
      let bytes = prepared.refitBytes(order[at]!);
      while (group.length < TOGETHER && attempt.plan.has(order[at + group.length]?.id ?? "")) {
        const next = order[at + group.length]!;
        bytes += prepared.refitBytes(next);
        if (bytes > prepared.memory) break;
        group.push(next);
      }
      const tell = this.progress(
        from + ((to - from) * at) / order.length,
        from + ((to - from) * (at + group.length)) / order.length,
        `refitting ${group[0]!.name}`,
      );
      tell(0);
      const { fits } = now;
      const ahead = order.slice(at).map(({ input }) => input);
      relays.original.settle(() => prepared.model, ahead);
      for (const relay of [relays.current, relays.held]) relay.settle(() => prepared.written(fits), ahead);
      const refit = this.refitsOf(now, group, order.slice(0, at), relays, tell);
      let next: Attempt | null = null;
      // parts of the samples choose larger ridges themselves
      const ridges = group.every((site) => prepared.partsOf(site) > 1) ? REFIT_RIDGES.slice(0, 1) : REFIT_RIDGES;
      for (const ridge of [...ridges, null]) {
        const fits = new Map(now.fits);
        const refitted = new Set(now.refitted);
        for (const { fit, isNew } of await refit(ridge)) {
          fits.set(fit.site, fit);
          if (isNew) refitted.add(fit.site);
        }
        const held = await prepared.heldBack(fits, relays.held);
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

  /**
   * Fits a group of layers again, by a ridge, or with null only their biases. Their inputs follow from the fits of the layers before them,
   * so where those and the group's own fits were the same in an earlier request, its fits are taken.
   */
  private refitsOf(
    { plan, fits }: Attempt,
    group: readonly OnnxSite[],
    before: readonly OnnxSite[],
    relays: Relays,
    tell: (part: number) => void,
  ): (ridge: number | null) => Promise<{ fit: OnnxReplacement; isNew: boolean }[]> {
    const { prepared } = this;
    const origin = prepared.keyOf([...before, ...group].flatMap(({ id }) => fits.get(id) ?? []));
    // with fewer patches than inputs a fit is exact on them and wrong elsewhere
    const isNew = (site: OnnxSite, ridge: number | null): boolean =>
      ridge !== null && prepared.patchesOf(site)! >= widthOf(site);
    let layers: Promise<Fits[]> | null = null;
    const collect = async (): Promise<Fits[]> => {
      prepared.makeRoom(group);
      const moments = await prepared.collect(group, { current: prepared.written(fits), relays }, tell);
      const out: Fits[] = [];
      for (const site of group) {
        const metric = await prepared.metricOf(site);
        const more = { ridge: REFIT_RIDGES[0], multiple: prepared.multiple, refit: true, metric };
        out.push(await fitsOf(prepared.products, site, moments.get(site.id)!, more));
      }
      return out;
    };
    return async (ridge) => {
      const key = `refit ${group.map(({ id }) => id).join()} after ${origin} ${ridge}`;
      const made = await prepared.factors(key, async () => {
        layers ??= collect();
        const out: OnnxReplacement[] = [];
        for (const layer of await layers) {
          const { site } = layer;
          const { scheme, ranks } = plan.get(site.id) ?? { scheme: "whole" as const, ranks: [] };
          const again = isNew(site, ridge);
          if (again) layer.draw(ridge!);
          out.push(
            again ? await layer.fit(scheme, ranks) : await layer.rebiased(fits.get(site.id) ?? (await asItIs(site))),
          );
        }
        return out;
      });
      return made.map((fit, at) => ({
        fit: prepared.mark(fit, `${key} ${group[at]!.id}`),
        isNew: isNew(group[at]!, ridge),
      }));
    };
  }

  /** The attempt with weights that have learnt from the original, where held-back samples prefer them. */
  private async tune(attempt: Attempt): Promise<Attempt> {
    const { prepared, request } = this;
    const { tune: steps, signal } = request;
    if (!steps || !attempt.held) return attempt;
    const { memory, sessions } = prepared;
    const { engine, fixedInputs = false, seed = 0 } = prepared.options;
    const { model, held, tuning } = await tuneModel({
      ...{ engine, sessions, original: prepared.model, model: prepared.written(attempt.fits) },
      ...{ runs: prepared.runs(prepared.split.fit), judge: await prepared.judge("choose"), held: attempt.held },
      ...{ steps, fixedInputs, memory, seed, signal },
      onProgress: (done, doing) => request.onProgress?.(0.8 + 0.15 * done, doing),
    });
    this.tuning = tuning;
    for (const { from, to, best, error } of tuning.stretches)
      this.steps.push({ name: `tuned: ${from} to ${to}`, error: error.after, kept: best > 0 });
    if (tuning.reason) this.warnings.push(`nothing was tuned: ${tuning.reason}`);
    return { ...attempt, held, tuned: model };
  }

  /** The smallest model within a bound. */
  private async search(bound: { kind: "error" | "loss"; most: number }): Promise<CompressedOnnx> {
    const isMetric = bound.kind === "loss" && !!this.request.evaluate;
    const losses = new Map<Attempt, number>();
    const lossOf = async (attempt: Attempt): Promise<number> => {
      const held = attempt.held!;
      if (!isMetric) return bound.kind === "error" ? held.error : this.lossOf(held);
      if (!losses.has(attempt)) {
        const { before, after } = (await this.metric(writeOnnx(this.floatOf(attempt))))!;
        losses.set(attempt, before - after);
      }
      return losses.get(attempt)!;
    };
    const ratios = RATIOS.filter((ratio) => ratio <= this.mostRatio());
    const attempts = new Map<number, Attempt | string>();
    const at = async (index: number): Promise<Attempt | null> => {
      if (!attempts.has(index)) attempts.set(index, await this.attempt(ratios[index]!, 0.6, 0.75));
      const attempt = attempts.get(index)!;
      return typeof attempt === "string" ? null : attempt;
    };
    const passes = async (attempt: Attempt | null): Promise<boolean> =>
      !!attempt && (await lossOf(attempt)) <= bound.most;
    // refits and tuning only gain, so the search is without them, and one more step is tried with them
    let [low, high] = [-1, ratios.length];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (await passes(await at(middle))) low = middle;
      else high = middle;
    }
    const words = `${bound.kind === "error" ? "an error" : "a loss"} of ${bound.most}${isMetric ? " of the metric" : ""}`;
    for (let index = Math.min(low + 1, ratios.length - 1); index >= 0 && index >= low - 3; index--) {
      const attempt = await at(index);
      if (!attempt?.plan.size) continue;
      const final = await this.tune(await this.refit(attempt, 0.75, this.request.tune ? 0.8 : 0.95));
      if (!(await passes(final))) continue;
      const done = await this.finish(final, bound.kind === "loss" ? bound.most : null);
      if (done.bytes && (bound.kind === "loss" || done.verified!.error <= bound.most)) return done;
    }
    const first = ratios.length ? attempts.get(0) : null;
    this.made = null;
    const least = first && typeof first !== "string" ? (await lossOf(first)).toPrecision(2) : null;
    return this.result(
      null,
      `no smaller model keeps ${words}${least ? `: divided by ${ratios[0]}, it already is ${least}` : ""}. ${ADVICE}`,
    );
  }

  private lossOf({ agreement, error }: Agreement): number {
    return agreement === null ? error : 1 - agreement;
  }

  private floatOf({ tuned, fits }: Attempt): OnnxModel {
    return tuned ?? this.prepared.written(fits);
  }

  /** Writes the model, and looks at the file on samples that nothing has seen. */
  private async finish(attempt: Attempt, maxLoss: number | null): Promise<CompressedOnnx> {
    const { prepared } = this;
    const float = this.floatOf(attempt);
    const quantised = this.request.int8 ? await this.quantise(float) : null;
    if (quantised && !quantised.quantised.length && !attempt.plan.size)
      return this.result(null, "it has no convolution or product of float32 with constant weights, which int8 needs");
    const tell = this.progress(0.97, 0.98, "verifying");
    tell(0);
    const bytes = writeOnnx(this.noted(quantised?.model ?? float, attempt));
    let verified: CompressedOnnx["verified"] = null;
    if (prepared.calibrated) {
      const small = readOnnx(bytes, { file: prepared.model.file });
      const { agreement: seen, samples } = await (await prepared.judge("verify")).compare(small);
      const places = prepared.verifiedPlaces();
      this.worst = samples
        .map((one, at) => ({ sample: places[at]!, ...one }))
        .sort((a, b) => (a.agreement ?? 1) - (b.agreement ?? 1) || b.error - a.error)
        .slice(0, MOST_WORST);
      const name = attempt.plan.size ? (quantised?.quantised.length ? "low rank + int8" : "low rank") : "int8";
      this.made = { bytes, name, ...seen };
      const metric = await this.metric(bytes);
      verified = { ...seen, metric, loss: metric ? metric.before - metric.after : this.lossOf(seen) };
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
      );
    }
    if (verified && (verified.error > POOR || (verified.agreement ?? 1) < 1 - POOR / 3))
      this.warnings.push(`the outputs have changed much${attempt.plan.size ? `. ${ADVICE}` : ""}`);
    return this.result(attempt, null, bytes, verified);
  }

  /**
   * The model in int8: convolutions in integers; products of matrices in integers, or by their weights alone; the first and the last
   * convolution by their weights alone where held-back samples are nearer by it; weights rounded by the covariance of their inputs, or to
   * the nearest level.
   */
  private async quantise(float: OnnxModel): Promise<QuantisedOnnx> {
    const { prepared } = this;
    const { fixedInputs = false } = prepared.options;
    const operators = QUANTISED;
    const tell = this.progress(0.95, 0.97, "int8");
    tell(0);
    const ranges = await prepared.ranges(float);
    tell(0.3);
    const collect = (sites: readonly OnnxSite[]) => prepared.collect(sites, { original: float });
    const rounder = new Rounder(prepared.products, collect, prepared.memory);
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
    const judge = await prepared.judge("choose");
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
    for (const { name, share } of this.light(float, convolutions)) {
      const most = 1 - Math.max(FLOAT_GAIN, FLOAT_COST * share);
      await attempt(`${name} by its weights alone`, { weightsOnly: [...weightsOnly, name] }, most);
    }
    this.int8 = best!;
    return best!;
  }

  /** Convolutions that take least of the work, in the order of the network, and the first and the last one; with their shares of it. */
  private light(float: OnnxModel, names: readonly string[]): { name: string; share: number }[] {
    if (names.length < 3) return [];
    const { fixedInputs = false } = this.prepared.options;
    // values inside have other names than in the original
    const inputs = new Set(float.inputs.map(({ name }) => name));
    const shapes = new Map([...this.prepared.shapes].filter(([name]) => inputs.has(name)));
    const { sites, totals } = onnxSites(float, { smallest: 0, join: false, fixedInputs, shapes });
    const work = new Map(sites.map(({ name, counts }) => [name, counts.multiplications]));
    const shares = names.map((name) => {
      const multiplications = work.get(name);
      return {
        name,
        share: multiplications && totals.multiplications ? multiplications / totals.multiplications : null,
      };
    });
    const ends = new Set([names[0]!, names.at(-1)!]);
    const known = shares.filter(({ share }) => share !== null).sort((a, b) => a.share! - b.share!);
    const light = new Set(known.slice(0, MOST_FLOAT).map(({ name }) => name));
    return shares
      .filter(({ name, share }) => ends.has(name) || (light.has(name) && share! < FLOAT_SHARE))
      .map(({ name, share }) => ({ name, share: share ?? UNKNOWN_SHARE }));
  }

  private async metric(bytes: Uint8Array): Promise<{ before: number; after: number } | null> {
    const { request, prepared } = this;
    if (!request.evaluate) return null;
    const ask = async (model: Uint8Array): Promise<number> => {
      this.signal?.throwIfAborted();
      const session = await prepared.sessions(model);
      try {
        const value = await request.evaluate!((feeds) => session.run(feeds));
        if (Number.isFinite(value)) return value;
        throw new TenfoldError(`compressOnnx: evaluate gives ${value}, needs a finite number`);
      } finally {
        await session.release();
      }
    };
    // with the weights of files beside it, which the bytes alone lack
    this.metricBefore ??= await ask(writeOnnx(prepared.model));
    return { before: this.metricBefore, after: await ask(bytes) };
  }

  /** The model with a note of what was done. */
  private noted(model: OnnxModel, { held }: Attempt): OnnxModel {
    const { target, maxLoss } = this.request;
    const { fit, choose } = this.prepared.split;
    const note = {
      ...(target && { target }),
      ...(maxLoss !== undefined && { maxLoss }),
      ...(this.tuning?.stretches.some(({ best }) => best > 0) && { tuned: true }),
      samples: this.prepared.calibrated ? fit.length + choose.length : 0,
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
  ): CompressedOnnx {
    const { sites, totals, split, leftAlone, folded } = this.prepared;
    const layers = sites.map((site): CompressedLayer => {
      const candidate = attempt?.plan.get(site.id) ?? null;
      const { weights, multiplications } = site.counts;
      return {
        ...{ id: site.id, name: site.name, op: site.op, shape: wideOf(site).shape },
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
    const { weights, multiplications } = totals;
    const { fit, choose, verify } = split;
    return {
      ...{ bytes, reason, layers, leftAlone: [...leftAlone], folded: [...folded], int8: this.told() },
      weights: { before: weights, after: weights - saved("weights") },
      multiplications: {
        before: multiplications,
        after: multiplications === null ? null : multiplications - saved("multiplications"),
      },
      ...{
        time: null,
        verified,
        versions: null,
        worst: this.worst,
        tuning: this.tuning,
        steps: this.steps,
        curve: this.curve,
        ablation: this.ablation,
        warnings: [...this.prepared.warnings(), ...this.warnings],
      },
      samples: { fit: fit.length, choose: choose.length, verify: verify.length },
    };
  }
}

/** verification samples that are told one by one */
const MOST_WORST = 64;
/**
 * Only the weights of a convolution are int8 where the error of the outputs falls by this share, or by so many times the convolution's share of all
 * multiplications: in floats they take a few times as long.
 */
const [FLOAT_GAIN, FLOAT_COST] = [0.02, 3];
/** How many of the lightest convolutions are tried so, up to which share of all multiplications; and what stands for a share that is unknown. */
const [MOST_FLOAT, FLOAT_SHARE, UNKNOWN_SHARE] = [16, 0.03, 0.07];
/** how much larger it may become for products of matrices to be computed in integers, which is faster */
const DENSE_COST = 1.02;
/** The same text for the same plan. */
const textOf = (plan: Plan): string => JSON.stringify([...plan].map(([id, { scheme, ranks }]) => [id, scheme, ranks]));
const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
/** Under this key of a model's metadata stands how it was compressed. */
const NOTE = "tenfold.compressed";
/** relative error of the outputs from which on a word is said */
const POOR = 0.3;
/** relative error of the outputs after refits up to which no other plan is refitted */
const FINE = 0.1;
/** Where more was lost before refits, and more than FINE after them, plans with an error up to this factor of the best one's before are refitted, too. */
const RIVAL = 1.3;
const MOST_RIVALS = 3;
/** how often effects are measured again in a plan that loses much */
const AGAIN = 4;
/** the least effect of a layer in a plan, as a part of what a probe of the layer alone has */
const LEAST_AGAIN = 0.05;
const ADVICE = "Quantisation to int8 costs such a network less: its layers have no low rank";
const KINDS = {
  measured: "ranks by measured effect on the outputs",
  lagrangian: "ranks by the layers' errors",
  uniform: "the same share for every layer",
  again: "ranks by effects measured in the plan before",
} as const;
const WORDS: Readonly<Record<Cost, string>> = { weights: "weights", multiplications: "multiplications", time: "time" };

import {
  checkOption,
  checkOptions,
  formatShape,
  instanceOf,
  isList,
  type OptionRules,
  oneOf,
  optionRules,
  required,
  ShapeError,
  shown,
  TenfoldError,
  Tensor,
} from "../gpu/index.js";
import { cloneLayer, type Layer, Sequential } from "../nn/index.js";
import { Fitter, type PlannedCandidate } from "./fitter.js";
import { type Decomposer, METHODS, type Method } from "./methods.js";
import { type Candidate, selectRanks, type Target } from "./select.js";
import { type Timer, timeForward } from "./time.js";

export type { PlannedCandidate } from "./fitter.js";

export interface PlanOptions {
  /** a method, or the name of one of METHODS */
  method: Method | string;
  /** samples (N×…) by which losses are measured and fits are weighed; a few hundred do. They stay yours, and stay needed */
  calibration: Tensor;
  /** Ranks to try, as shares of the full ones: numbers above 0, up to 1. */
  shares?: readonly number[];
  /** try what EVBMF finds too, where the method can tell, so that targets may take it */
  evbmf?: boolean;
  /** weigh a layer's errors by its inputs where that helps its outputs (the default), or leave the weights' own error least */
  whiten?: boolean;
  /** measure every candidate's time for batches of this size: needed for targets of time */
  timeBatch?: number;
  /** what times layers, here and in `select`: `timeForward` by default */
  timer?: Timer;
  seed?: number;
  onProgress?: (done: number, total: number, what: string) => void;
  signal?: AbortSignal | undefined;
}

export interface PlannedLayer {
  index: number;
  name: string;
  /** the layer as it is first; only that where the method leaves it alone */
  candidates: PlannedCandidate[];
}

/** What became of a layer. */
export interface CompressedLayer {
  index: number;
  name: string;
  /** its name now */
  compressed: string;
  /** that it has now: where its shape leaves no more, fewer than were asked for; none where it was left alone */
  ranks: readonly number[];
  /** why it is as it was; empty where it was replaced */
  kept: string;
  weights: [before: number, after: number];
  multiplications: [before: number, after: number];
  weightError: number;
  outputError: number;
  /** milliseconds of a forward pass by batch size, where they were measured; of what was slower where it was kept for that */
  times?: { batch: number; before: number; after: number }[];
}

export interface Compressed {
  model: Sequential;
  layers: CompressedLayer[];
  /** false where no choice of ranks reaches the target: the smallest network then. True where the choice is not a target */
  reached: boolean;
}

/** Which candidates to take. */
export type Choice =
  | Target
  /** what EVBMF finds (Kim et al. 2016), where the method can tell; other layers stay */
  | "evbmf"
  /** the least ranks whose outputs keep this share of their energy on the calibration samples, above 0 and up to 1 */
  | { energy: number }
  /** ranks of layers by their place; others stay */
  | { ranks: Readonly<Record<number, readonly number[]>> };

export interface SelectOptions {
  /** take a layer's decomposition although it has more weights and multiplications, or is slower here */
  force?: boolean;
  /**
   * Batch sizes at which a layer and its decomposition are timed in turn. What is slower at the first of them is not taken:
   * the search goes on without it, and a layer of which nothing is left stays as it is. By default the plan's `timeBatch`, or
   * 1; an empty list (the default with `force`) measures nothing.
   */
  timeBatches?: readonly number[];
}

const planRules: OptionRules<PlanOptions> = {
  method: required({
    needs: "the name of one of METHODS, or a method of your own",
    is: (value) => typeof value === "string" || typeof (value as Method | null)?.of === "function",
  }),
  calibration: required(instanceOf(Tensor, "a Tensor of samples")),
  shares: { needs: "a list of numbers above 0, up to 1", is: isList },
  evbmf: optionRules.flag,
  whiten: optionRules.flag,
  timeBatch: optionRules.positive,
  timer: optionRules.callback,
  seed: optionRules.count,
  onProgress: optionRules.callback,
  signal: optionRules.signal,
};

const selectRules: OptionRules<SelectOptions> = {
  force: optionRules.flag,
  timeBatches: {
    needs: "a list of whole numbers, 1 or more",
    is: (value) => isList(value) && value.every(optionRules.positive.is),
  },
};

const CHOICE = '"evbmf", { energy }, { ranks } or { cost, ratio }';

/** @throws TenfoldError where a choice is none, or says more than one */
function checkChoice(choice: Choice): void {
  if (choice === "evbmf") return;
  if (typeof choice !== "object" || choice === null)
    throw new TenfoldError(`compress: the choice is ${shown(choice)}, needs ${CHOICE}`);
  if ("energy" in choice) checkOptions("compress: choice", choice, { energy: optionRules.any });
  else if ("ranks" in choice) checkOptions("compress: choice", choice, ranksRules);
  else if ("cost" in choice || "ratio" in choice) checkOptions("compress: choice", choice, targetRules);
  else
    throw new TenfoldError(`compress: the choice has ${Object.keys(choice).join(", ") || "nothing"}, needs ${CHOICE}`);
}

const targetRules: OptionRules<Target> = {
  cost: required(oneOf("weights", "multiplications", "time")),
  ratio: required({ needs: "a number, 1 or more", is: (value) => typeof value === "number" && value >= 1 }),
};
const ranksRules: OptionRules<{ ranks: unknown }> = {
  ranks: {
    needs: "ranks by the places of layers, as in { 0: [4, 8] }",
    is: (value) => typeof value === "object" && value !== null && !isList(value),
  },
};
const SHARES = [0.03, 0.06, 0.1, 0.16, 0.25, 0.4, 0.6];

export const methodOf = (method: Method | string): Method => {
  if (typeof method !== "string") return method;
  const found = METHODS.find(({ name }) => name === method);
  if (!found)
    throw new TenfoldError(`compress: no method ${method}; there are ${METHODS.map(({ name }) => name).join(", ")}`);
  return found;
};

/** What a choice leaves to choose from, and how. */
interface Offer {
  /** of every layer, as it is first */
  candidates: readonly (readonly PlannedCandidate[])[];
  /** why a layer has nothing but itself, where the choice knows */
  reasons: readonly string[];
  /** why a layer stays that could have been another one */
  otherwise: string;
  pick(open: readonly (readonly PlannedCandidate[])[]): { chosen: PlannedCandidate[]; reached: boolean };
}

/** Candidates of all layers of a trained network, with their losses: choices for several targets are made from one plan. */
export class CompressionPlan {
  /** what EVBMF found, once it was asked for; null where the method has none */
  #evbmf: (PlannedCandidate | null)[] | null = null;

  private constructor(
    readonly layers: readonly PlannedLayer[],
    private readonly fitter: Fitter,
    private readonly timeBatch: number | undefined,
  ) {}

  get model(): Sequential {
    return this.fitter.model;
  }

  get method(): Method {
    return this.fitter.method;
  }

  /**
   * Decomposes every layer that the method takes with several ranks and measures what the network's outputs lose by each.
   *
   * @throws ShapeError where the calibration samples do not fit
   */
  static async create(model: Sequential, options: PlanOptions): Promise<CompressionPlan> {
    checkOption("compress", "the model", model, instanceOf(Sequential, "a Sequential"));
    checkOptions("compress", options, planRules);
    const { calibration, shares = SHARES, whiten = true, seed = 0, onProgress, signal, timeBatch } = options;
    const { timer = timeForward } = options;
    if (formatShape(calibration.shape.slice(1)) !== formatShape(model.inputShape))
      throw new ShapeError(
        `compress: calibration ${calibration}, expected samples of shape ${formatShape(model.inputShape)}`,
      );
    for (const share of shares)
      if (!(share > 0 && share <= 1))
        throw new TenfoldError(`compress: a share of ${share} of the ranks, needs a number above 0 and up to 1`);
    const fitter = new Fitter(model, methodOf(options.method), { calibration, whiten, seed, timer });
    const taken = model.layers.filter((_, index) => fitter.decomposer(index)).length;
    const total = taken * (shares.length + (options.evbmf ? 1 : 0));
    let done = 0;
    const layers = await fitter.withActivations(async (activations) => {
      const planned: PlannedLayer[] = [];
      for (const [index, { name }] of model.layers.entries()) {
        const asItIs = fitter.asItIs(index);
        const candidates: PlannedCandidate[] = [];
        const decomposer = fitter.decomposer(index);
        if (decomposer) {
          const start = (what: string): void => {
            signal?.throwIfAborted();
            onProgress?.(done++, total, `${name}, ${what}`);
          };
          const tried = new Set<string>();
          for (const ranks of ladder(decomposer, shares)) {
            start(`rank ${ranks.join("·")}`);
            if (tried.has(ranks.join())) continue;
            tried.add(ranks.join());
            const found = await fitter.fit(index, ranks, activations);
            // others may have been lowered to the same
            if (!candidates.some((each) => each.ranks.join() === found.ranks.join())) candidates.push(found);
          }
          if (options.evbmf) {
            start("EVBMF");
            const found = await fitter.fitEvbmf(index, activations);
            if (found) candidates.push(found);
          }
        }
        if (timeBatch) {
          const own = candidates.map(({ layer }) => layer!);
          const [first, ...others] = await fitter.times(index, own, timeBatch);
          asItIs.time = first!;
          candidates.forEach((candidate, at) => {
            candidate.time = others[at]!;
          });
        }
        planned.push({ index, name, candidates: [asItIs, ...candidates] });
      }
      return planned;
    });
    onProgress?.(total, total, "");
    return new CompressionPlan(layers, fitter, timeBatch);
  }

  /**
   * The network with the candidates that this choice comes to. The plan stays as it is.
   *
   * @throws TenfoldError or ShapeError where the choice is not one of this network
   */
  async select(choice: Choice, options: SelectOptions = {}): Promise<Compressed> {
    checkChoice(choice);
    checkOptions("compress: select", options, selectRules);
    const { force = false, timeBatches = force ? [] : [this.timeBatch ?? 1] } = options;
    const { model, layers, fitter } = this;
    const { candidates, reasons, otherwise, pick } = await this.#offer(choice);
    const open = candidates.map((list) => (force ? [...list] : list.filter((each) => !grows(each, list[0]!))));
    const measured = new Map<PlannedCandidate, NonNullable<CompressedLayer["times"]>>();
    /** of every layer, what was measured last of those that are slower */
    const slower: (PlannedCandidate | undefined)[] = layers.map(() => undefined);
    let found = pick(open);
    // every search has at least one candidate less than the one before
    for (let again = timeBatches.length > 0; again; ) {
      again = false;
      for (const [index, candidate] of found.chosen.entries()) {
        if (!candidate.layer) continue;
        let times = measured.get(candidate);
        if (!times) {
          times = [];
          for (const batch of timeBatches) {
            const options = { sampleMs: 3, rounds: 21 };
            const [before, after] = await fitter.times(index, [candidate.layer], batch, options);
            times.push({ batch, before: before!, after: after! });
          }
          measured.set(candidate, times);
        }
        if (force || times[0]!.after <= NOISE * times[0]!.before) continue;
        slower[index] = candidate;
        // a larger decomposition by the same method would not be faster
        open[index] = open[index]!.filter((each) => !each.layer || (each !== candidate && !grows(each, candidate)));
        again = true;
      }
      if (again) found = pick(open);
    }
    const built: Layer[] = [];
    const report: CompressedLayer[] = [];
    for (const [index, final] of found.chosen.entries()) {
      const source = model.layers[index]!;
      const asItIs = candidates[index]![0]!;
      const slow = final.layer ? undefined : slower[index];
      const times = measured.get(slow ?? final);
      let kept = "";
      if (slow) {
        const { before, after } = times![0]!;
        kept = `slower here: ${after.toPrecision(2)} ms instead of ${before.toPrecision(2)}`;
      } else if (!final.layer) {
        const allGrow = candidates[index]!.length > 1 && open[index]!.length === 1;
        kept = reasons[index] || (allGrow ? "it would grow" : otherwise);
      }
      const layer = await cloneLayer(final.layer ?? source);
      built.push(layer);
      report.push({
        index,
        name: source.name,
        compressed: layer.name,
        ranks: final.ranks,
        kept,
        weights: [asItIs.weights, final.weights],
        multiplications: [asItIs.multiplications, final.multiplications],
        weightError: final.weightError,
        outputError: final.outputError,
        ...(times && { times }),
      });
    }
    const { inputShape } = model;
    const made = await Sequential.create(model.engine, built, { inputShape });
    return { model: made, layers: report, reached: found.reached };
  }

  async #offer(choice: Choice): Promise<Offer> {
    const { layers, fitter, method, timeBatch } = this;
    const alone = layers.map(({ index }) => fitter.reason(index));
    const all = layers.map(({ candidates }) => candidates);
    /** of one candidate a layer, or none: it, where it is still open */
    const given = (found: readonly (PlannedCandidate | null | undefined)[], reasons = alone): Offer => ({
      candidates: all.map(([asItIs], at) => (found[at] ? [asItIs!, found[at]] : [asItIs!])),
      reasons,
      otherwise: "no ranks were asked for",
      pick: (open) => ({ chosen: open.map((list) => list.at(-1)!), reached: true }),
    });
    if (choice === "evbmf") {
      const found = await this.#byEvbmf();
      const noise = found.map((each) => each?.evbmf?.includes(0) ?? false);
      return given(
        found.map((each, at) => (noise[at] ? null : each)),
        alone.map((reason, at) => {
          if (reason || (found[at] && !noise[at])) return reason;
          return noise[at] ? "EVBMF finds nothing but noise in it" : `${method.name} has no EVBMF ranks`;
        }),
      );
    }
    if ("ranks" in choice) {
      const wanted = Object.entries(choice.ranks).map(([index, ranks]) => [Number(index), ranks] as const);
      for (const [index, ranks] of wanted) fitter.check(index, ranks);
      return given(
        await fitter.withActivations(async (activations) => {
          const found: PlannedCandidate[] = [];
          for (const [index, ranks] of wanted) found[index] = await fitter.fit(index, ranks, activations);
          return found;
        }),
      );
    }
    if ("energy" in choice) {
      const { energy } = choice;
      if (!(energy > 0 && energy <= 1))
        throw new TenfoldError(`compress: an energy of ${energy}, needs a share above 0 and up to 1`);
      return {
        candidates: all.map((list) => list.filter(({ outputError }) => outputError ** 2 <= 1 - energy)),
        reasons: alone,
        otherwise: "no fewer weights keep that energy",
        pick: (open) => ({
          chosen: open.map((list) => list.reduce((best, each) => (each.weights < best.weights ? each : best))),
          reached: true,
        }),
      };
    }
    if (choice.cost === "time" && !timeBatch)
      throw new TenfoldError("compress: a target of time, needs a plan that was made with timeBatch");
    return {
      candidates: all,
      reasons: alone,
      otherwise: "other layers save more for what they lose",
      pick(open) {
        const { choice: places, reached } = selectRanks(open, choice);
        return { chosen: places.map((place, at) => open[at]![place]!), reached };
      },
    };
  }

  /** What EVBMF finds for every layer, from the plan where it is there. */
  async #byEvbmf(): Promise<(PlannedCandidate | null)[]> {
    const { layers, fitter } = this;
    this.#evbmf ??= await fitter.withActivations(async (activations) => {
      const found: (PlannedCandidate | null)[] = [];
      for (const { index, candidates } of layers)
        found.push(candidates.find(({ evbmf }) => evbmf) ?? (await fitter.fitEvbmf(index, activations)));
      return found;
    });
    return this.#evbmf;
  }
}

/** Of two medians of the same layer one may be so many times the other: a layer is slower from there on. */
const NOISE = 1.1;

/** Whether it has no fewer weights and no fewer multiplications than another one. */
const grows = (candidate: Candidate, other: Candidate): boolean =>
  candidate !== other && candidate.weights >= other.weights && candidate.multiplications >= other.multiplications;

/** The ranks to try, in the order of the shares. */
const ladder = (decomposer: Decomposer, shares: readonly number[]): number[][] =>
  shares.map((share) => decomposer.full.map((full) => Math.max(1, Math.round(share * full))));

export interface CompressOptions extends PlanOptions, SelectOptions {
  choice: Choice;
}

const compressRules: OptionRules<CompressOptions> = {
  ...planRules,
  ...selectRules,
  choice: required({ needs: CHOICE, is: () => true }),
};

/**
 * Decomposes a trained network: every layer that the method takes becomes a factorised one, with ranks that are given, that
 * EVBMF or an energy asks for, or that one search over all layers finds for a target. A layer that would grow or, measured
 * here, get slower is left alone, and the report says so. The network given stays as it is; fine-tune the new one with
 * `train`.
 */
export async function compress(model: Sequential, options: CompressOptions): Promise<Compressed> {
  checkOptions("compress", options, compressRules);
  const { choice, force, timeBatches, ...plan } = options;
  checkChoice(choice);
  const byTime = typeof choice === "object" && "cost" in choice && choice.cost === "time";
  // ranks that are given, or EVBMF's, need no others beside them
  const single = choice === "evbmf" || (typeof choice === "object" && "ranks" in choice);
  const made = await CompressionPlan.create(model, {
    ...plan,
    ...(single && { shares: [] }),
    ...(choice === "evbmf" && { evbmf: true }),
    ...(byTime && { timeBatch: plan.timeBatch ?? 1 }),
  });
  return made.select(choice, { ...(force !== undefined && { force }), ...(timeBatches && { timeBatches }) });
}

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
import { cloneJoin, cloneLayer, type Join, Network, type Place, rebuilt, type Sequential } from "../nn/index.js";
import { Fitter, type PlannedCandidate } from "./fitter.js";
import { type Decomposer, METHODS, type Method } from "./methods.js";
import { type Candidate, selectRanks, type Target } from "./select.js";
import { type Timer, timeForward } from "./time.js";

export type { PlannedCandidate } from "./fitter.js";

export interface PlanOptions {
  /** the name of one of METHODS, or a method */
  method: Method | string;
  /**
   * samples, N×sample shape, on which losses are measured and by which fits are weighed; a few hundred are enough. The caller
   * destroys them, after the last `select` of the plan
   */
  calibration: Tensor;
  /** ranks to try, as shares of the full ranks: numbers above 0, up to 1 */
  shares?: readonly number[];
  /** also try the ranks that EVBMF finds, where the method has them, so that targets can take these; false by default */
  evbmf?: boolean;
  /**
   * true (the default): fit a layer's weight, and also its outputs by its inputs, and take the fit whose outputs are nearer;
   * false: fit its weight only, as is done of layers with more inputs than a tensor has room for moments of (5792 for 128 MiB)
   */
  whiten?: boolean;
  /** time every candidate with batches of this size, which a target of time needs; by default none is timed */
  timeBatch?: number;
  /** times layers, in the plan and in its `select`; `timeForward` by default */
  timer?: Timer;
  /** seed of the fits, 0 by default */
  seed?: number;
  /**
   * a plan by another method for the same network, calibration samples, `whiten` and seed, none of which has changed since: fits that both
   * methods have in common, such as the SVDs of dense layers, are taken from it
   */
  from?: CompressionPlan<Network> | CompressionPlan<Sequential> | undefined;
  /** called before every fit, and at the end, with the number of fits done, their total, and what is fitted next */
  onProgress?: (done: number, total: number, what: string) => void;
  /** stops before the next fit */
  signal?: AbortSignal | undefined;
}

/** A layer of the network and its candidates. */
export interface PlannedLayer {
  /** place of the layer in the network */
  index: number;
  name: string;
  /** first the layer as it is, then its decompositions; there are none where the method does not decompose the layer */
  candidates: PlannedCandidate[];
}

/** What became of a layer. */
export interface CompressedLayer {
  /** place of the layer in the network */
  index: number;
  /** name of the layer before */
  name: string;
  /** name of the layer in the compressed network */
  compressed: string;
  /**
   * ranks of the decomposition, which are smaller than asked for where the layer's shape allows no larger ones; empty where the
   * layer stays
   */
  ranks: readonly number[];
  /** why the layer stays as it was; empty where it was replaced */
  staysBecause: string;
  weights: [before: number, after: number];
  multiplications: [before: number, after: number];
  /** ‖W − Ŵ‖ ÷ ‖W‖ of the layer's weight */
  weightError: number;
  /** ‖y − ŷ‖ ÷ ‖y‖ of the layer's outputs on the calibration samples */
  outputError: number;
  /**
   * milliseconds of a forward pass of the layer before and after, by batch size, where they were measured. `after` is that of the
   * rejected decomposition where the layer stays because this was slower
   */
  times?: { batch: number; before: number; after: number }[];
}

export interface Compressed<N extends Network = Sequential> {
  /** the compressed network, of the class of the network before; the caller destroys it */
  model: N;
  /** what became of every layer, in order */
  layers: CompressedLayer[];
  /**
   * false where no candidates reach the target; the network then costs at most 5 % more than the cheapest one. Always true for
   * choices without a target
   */
  reached: boolean;
}

/** Which candidates `select` takes. */
export type Choice =
  | Target
  /** the ranks that EVBMF finds (Kim et al. 2016), where the method has them; other layers stay */
  | "evbmf"
  /** for every layer, the smallest candidate with 1 − outputError² of at least this share, above 0 and up to 1 */
  | { energy: number }
  /** ranks of layers, by the layers' places; other layers stay */
  | { ranks: Readonly<Record<number, readonly number[]>> };

export interface SelectOptions {
  /** take a decomposition even where it has more weights and multiplications than the layer, or is timed and slower; false by default */
  force?: boolean;
  /**
   * batch sizes at which a layer and its decomposition are timed. A decomposition that is slower at the first of them is not
   * taken: the search starts again without it, and a layer without further decompositions stays. By default nothing is timed, so
   * that a seed gives the same network on every machine; for a target of time, the plan's `timeBatch`
   */
  timeBatches?: readonly number[];
}

const planRules: OptionRules<PlanOptions> = {
  method: required({
    needs: "the name of one of METHODS, or a method",
    is: (value) => typeof value === "string" || typeof (value as Method | null)?.of === "function",
  }),
  calibration: required(instanceOf(Tensor, "a Tensor of samples")),
  shares: { needs: "a list of numbers above 0, up to 1", is: isList },
  evbmf: optionRules.flag,
  whiten: optionRules.flag,
  timeBatch: optionRules.positive,
  timer: optionRules.callback,
  seed: optionRules.count,
  from: { needs: "a CompressionPlan of the same network", is: (value) => value instanceof CompressionPlan },
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

/** @throws TenfoldError unless the choice is one of the forms of {@link Choice} */
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
/** default of `PlanOptions.shares` */
const SHARES = [0.03, 0.06, 0.1, 0.16, 0.25, 0.4, 0.6];

/** The method of a name; a method itself stays. @throws TenfoldError where no method has the name */
export const methodOf = (method: Method | string): Method => {
  if (typeof method !== "string") return method;
  const named = METHODS.find(({ name }) => name === method);
  if (!named)
    throw new TenfoldError(`compress: no method ${method}; there are ${METHODS.map(({ name }) => name).join(", ")}`);
  return named;
};

/** The candidates that a choice allows, and how it picks among them. */
interface Offer {
  /** for every layer: the layer as it is, then the decompositions that the choice allows */
  candidates: readonly (readonly PlannedCandidate[])[];
  /** for every layer: why it has no decompositions, or "" */
  reasons: readonly string[];
  /** why a layer stays that has decompositions */
  otherwise: string;
  /** one candidate a layer, from those that are still open */
  pick(open: readonly (readonly PlannedCandidate[])[]): { chosen: PlannedCandidate[]; reached: boolean };
}

/** Candidates for all layers of a trained network, with their losses. One plan serves any number of choices. */
export class CompressionPlan<N extends Network = Sequential> {
  /** candidates with the ranks that EVBMF found, null for layers without; null until the first choice of "evbmf" */
  #evbmf: (PlannedCandidate | null)[] | null = null;

  private constructor(
    readonly layers: readonly PlannedLayer[],
    private readonly fitter: Fitter<N>,
    private readonly timeBatch: number | undefined,
  ) {}

  get model(): N {
    return this.fitter.model;
  }

  get method(): Method {
    return this.fitter.method;
  }

  /**
   * Decomposes every layer that the method can decompose, with several ranks, and measures how much the network's outputs change by
   * each decomposition alone.
   *
   * @throws ShapeError where the calibration samples do not fit the network, TenfoldError where an option is unfit
   */
  static async create<N extends Network>(model: N, options: PlanOptions): Promise<CompressionPlan<N>> {
    checkOption("compress", "the model", model, instanceOf(Network, "a Sequential or Network"));
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
    const settings = { calibration, whiten, seed, timer };
    const other = (options.from as CompressionPlan<N> | undefined)?.fitter;
    const fitter = new Fitter(model, methodOf(options.method), settings, other);
    const sites = [...fitter.sites.values()];
    const decomposable = sites.filter(({ decomposer }) => decomposer).length;
    const total = decomposable * (shares.length + (options.evbmf ? 1 : 0));
    let done = 0;
    const layers = await fitter.withActivations(async (activations) => {
      const planned: PlannedLayer[] = [];
      for (const { index, layer, decomposer } of sites) {
        const { name } = layer;
        const asItIs = fitter.asItIs(index);
        const candidates: PlannedCandidate[] = [];
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
            const fitted = await fitter.fit(index, ranks, activations);
            // a fit lowers ranks to what the layer can have, so that two fits may have the same
            if (!candidates.some(({ ranks }) => ranks.join() === fitted.ranks.join())) candidates.push(fitted);
          }
          if (options.evbmf) {
            start("EVBMF");
            const fitted = await fitter.fitEvbmf(index, activations);
            if (fitted) candidates.push(fitted);
          }
        }
        if (timeBatch) {
          const decompositions = candidates.map(({ layer }) => layer!);
          const [first, ...others] = await fitter.times(index, decompositions, timeBatch);
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
   * The network with the candidates that the choice picks. The plan and its network do not change.
   *
   * @throws TenfoldError or ShapeError where the choice is unfit or does not fit the network
   */
  async select(choice: Choice, options: SelectOptions = {}): Promise<Compressed<N>> {
    checkChoice(choice);
    checkOptions("compress: select", options, selectRules);
    const { force = false, timeBatches = isByTime(choice) && !force ? [this.timeBatch ?? 1] : [] } = options;
    const { model, layers, fitter } = this;
    const { candidates, reasons, otherwise, pick } = await this.#offer(choice);
    const open = candidates.map((list) =>
      force ? [...list] : list.filter((candidate) => !grows(candidate, list[0]!)),
    );
    const measured = new Map<PlannedCandidate, NonNullable<CompressedLayer["times"]>>();
    /** for every layer, the candidate that was last rejected for being slower */
    const slower: (PlannedCandidate | undefined)[] = layers.map(() => undefined);
    let selection = pick(open);
    // the loop ends, because every search has fewer candidates than the one before
    for (let again = timeBatches.length > 0; again; ) {
      again = false;
      for (const [at, candidate] of selection.chosen.entries()) {
        if (!candidate.layer) continue;
        let times = measured.get(candidate);
        if (!times) {
          times = [];
          for (const batch of timeBatches) {
            const options = { sampleMs: 3, rounds: 21 };
            const [before, after] = await fitter.times(layers[at]!.index, [candidate.layer], batch, options);
            times.push({ batch, before: before!, after: after! });
          }
          measured.set(candidate, times);
        }
        if (force || times[0]!.after <= NOISE * times[0]!.before) continue;
        slower[at] = candidate;
        // a larger decomposition by the same method would not be faster
        open[at] = open[at]!.filter((other) => !other.layer || (other !== candidate && !grows(other, candidate)));
        again = true;
      }
      if (again) selection = pick(open);
    }
    const built = new Map<number, Place["of"]>();
    const report: CompressedLayer[] = [];
    for (const [at, final] of selection.chosen.entries()) {
      const { index } = layers[at]!;
      const source = fitter.sites.get(index)!.layer;
      const asItIs = candidates[at]![0]!;
      const slow = final.layer ? undefined : slower[at];
      const times = measured.get(slow ?? final);
      let reason = "";
      if (slow) {
        const { before, after } = times![0]!;
        reason = `slower here: ${after.toPrecision(2)} ms instead of ${before.toPrecision(2)}`;
      } else if (!final.layer) {
        const allGrow = candidates[at]!.length > 1 && open[at]!.length === 1;
        reason = reasons[at] || (allGrow ? "it would grow" : otherwise);
      }
      const layer = await cloneLayer(final.layer ?? source);
      built.set(index, layer);
      report.push({
        index,
        name: source.name,
        compressed: layer.name,
        ranks: final.ranks,
        staysBecause: reason,
        weights: [asItIs.weights, final.weights],
        multiplications: [asItIs.multiplications, final.multiplications],
        weightError: final.weightError,
        outputError: final.outputError,
        ...(times && { times }),
      });
    }
    const places = model.places.map(({ id, of, from }, index) => ({
      ...{ id, from },
      of: built.get(index) ?? cloneJoin(of as Join),
    }));
    const made = await rebuilt(model, places, model.output);
    return { model: made, layers: report, reached: selection.reached };
  }

  async #offer(choice: Choice): Promise<Offer> {
    const { layers, fitter, method, timeBatch } = this;
    const alone = layers.map(({ index }) => fitter.reason(index));
    const all = layers.map(({ candidates }) => candidates);
    /** The offer of at most one decomposition a layer, which is picked unless it was rejected. */
    const offerOf = (decompositions: readonly (PlannedCandidate | null | undefined)[], reasons = alone): Offer => ({
      candidates: all.map(([asItIs], at) => (decompositions[at] ? [asItIs!, decompositions[at]] : [asItIs!])),
      reasons,
      otherwise: "no ranks were asked for",
      pick: (open) => ({ chosen: open.map((list) => list.at(-1)!), reached: true }),
    });
    if (choice === "evbmf") {
      const fits = await this.#byEvbmf();
      const noise = fits.map((fit) => fit?.evbmf?.includes(0) ?? false);
      return offerOf(
        fits.map((fit, at) => (noise[at] ? null : fit)),
        alone.map((reason, at) => {
          if (reason || (fits[at] && !noise[at])) return reason;
          return noise[at] ? "EVBMF finds nothing but noise in it" : `${method.name} has no EVBMF ranks`;
        }),
      );
    }
    if ("ranks" in choice) {
      const wanted = Object.entries(choice.ranks).map(([index, ranks]) => [Number(index), ranks] as const);
      for (const [index, ranks] of wanted) fitter.check(index, ranks);
      return offerOf(
        await fitter.withActivations(async (activations) => {
          const fits: PlannedCandidate[] = [];
          for (const [index, ranks] of wanted)
            fits[layers.findIndex((layer) => layer.index === index)] = await fitter.fit(index, ranks, activations);
          return fits;
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
          chosen: open.map((list) =>
            list.reduce((best, candidate) => (candidate.weights < best.weights ? candidate : best)),
          ),
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

  /** The candidates with the ranks that EVBMF finds; they are taken from the plan, or fitted at the first call. */
  async #byEvbmf(): Promise<(PlannedCandidate | null)[]> {
    const { layers, fitter } = this;
    this.#evbmf ??= await fitter.withActivations(async (activations) => {
      const fits: (PlannedCandidate | null)[] = [];
      for (const { index, candidates } of layers)
        fits.push(candidates.find(({ evbmf }) => evbmf) ?? (await fitter.fitEvbmf(index, activations)));
      return fits;
    });
    return this.#evbmf;
  }
}

const isByTime = (choice: Choice): boolean => typeof choice === "object" && "cost" in choice && choice.cost === "time";

/** Two medians of the same layer's time may differ by this factor, so only a larger factor counts as slower. */
const NOISE = 1.1;

/** Whether a candidate has at least as many weights and at least as many multiplications as another one. */
const grows = (candidate: Candidate, other: Candidate): boolean =>
  candidate !== other && candidate.weights >= other.weights && candidate.multiplications >= other.multiplications;

/** The ranks to try, for each share of the full ranks in turn. */
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
 * Decomposes a trained network: every layer that the method can decompose becomes a factorised one. The ranks are the caller's,
 * those of EVBMF or of an energy, or those that a search over all layers finds for a target. A layer stays where its
 * decomposition would be larger or, where times are asked for and measured on this device, slower, and the report says so. `model`
 * does not change; `train` can fine-tune the new network.
 *
 * @throws TenfoldError or ShapeError where an option is unfit or does not fit the network
 */
export async function compress<N extends Network>(model: N, options: CompressOptions): Promise<Compressed<N>> {
  checkOptions("compress", options, compressRules);
  const { choice, force, timeBatches, ...plan } = options;
  checkChoice(choice);
  // a choice of ranks, or of EVBMF's, needs no candidates with other ranks
  const single = choice === "evbmf" || (typeof choice === "object" && "ranks" in choice);
  const made = await CompressionPlan.create(model, {
    ...plan,
    ...(single && { shares: [] }),
    ...(choice === "evbmf" && { evbmf: true }),
    ...(isByTime(choice) && { timeBatch: plan.timeBatch ?? 1 }),
  });
  return made.select(choice, { ...(force !== undefined && { force }), ...(timeBatches && { timeBatches }) });
}

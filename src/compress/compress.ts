import { dispose, type Engine, formatShape, ShapeError, TenfoldError, type Tensor } from "../gpu/index.js";
import { Conv2d, type Counts, cloneLayer, type Layer, Linear, Sequential } from "../nn/index.js";
import { activationsOf, lossOf, patchMoments, secondMoments, weightError } from "./calibrate.js";
import { type Decomposer, type Factorised, METHODS, type Method } from "./methods.js";
import { type Candidate, selectRanks, type Target } from "./select.js";
import { timeForward } from "./time.js";

export interface PlanOptions {
  /** a method, or the name of one of METHODS */
  method: Method | string;
  /** samples (N×…) by which losses are measured and fits are weighed; a few hundred do */
  calibration: Tensor;
  /** Ranks to try, as shares of the full ones. */
  shares?: readonly number[];
  /** also what EVBMF finds, where the method can tell */
  evbmf?: boolean;
  /** weigh a layer's errors by its inputs (the default), or leave the weights' own error least */
  whiten?: boolean;
  /** measure every candidate's time for batches of this size: needed for targets of time */
  timeBatch?: number;
  seed?: number;
  onProgress?: (done: number, total: number, what: string) => void;
  signal?: AbortSignal | undefined;
}

/** A layer as it is, or decomposed with certain ranks, and what that does. */
export interface PlannedCandidate extends Candidate {
  /** null for the layer as it is */
  layer: Factorised | null;
  ranks: readonly number[];
  /** found by EVBMF, and what it found: 0 where it takes all for noise */
  evbmf?: readonly number[];
  weightError: number;
  /** ‖y − ŷ‖ ÷ ‖y‖ of the layer's outputs on the calibration samples */
  outputError: number;
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
  ranks: readonly number[];
  /** why it is as it was; empty where it was replaced */
  kept: string;
  weights: [before: number, after: number];
  multiplications: [before: number, after: number];
  weightError: number;
  outputError: number;
  /** milliseconds of a forward pass, by batch size, where they were measured */
  times?: { batch: number; before: number; after: number }[];
}

export interface Compressed {
  model: Sequential;
  layers: CompressedLayer[];
  /** false where no choice of ranks reaches the target: the smallest network then */
  reached: boolean;
}

/** Which candidates to take. */
export type Choice =
  | Target
  /** what EVBMF found (Kim et al. 2016) */
  | "evbmf"
  /** the least ranks whose outputs keep this share of their energy on the calibration samples */
  | { energy: number }
  /** ranks of layers by their place; others stay */
  | { ranks: Readonly<Record<number, readonly number[]>> };

export interface SelectOptions {
  /** take a layer's decomposition although it has more weights and multiplications, or is slower here */
  force?: boolean;
  /** batch sizes at which a layer's times are compared; it is left alone where it is slower at the first. None by default */
  timeBatches?: readonly number[];
}

const SHARES = [0.03, 0.06, 0.1, 0.16, 0.25, 0.4, 0.6];

const sizeOf = ({ weights, biases }: Counts): number => weights + biases;

export const methodOf = (method: Method | string): Method => {
  if (typeof method !== "string") return method;
  const found = METHODS.find(({ name }) => name === method);
  if (!found)
    throw new TenfoldError(`compress: no method ${method}; there are ${METHODS.map(({ name }) => name).join(", ")}`);
  return found;
};

/** Candidates of all layers of a trained network, with their losses: choices for several targets are made from one plan. */
export class CompressionPlan {
  private constructor(
    readonly model: Sequential,
    readonly method: Method,
    readonly layers: readonly PlannedLayer[],
    private readonly fitAt: (index: number, ranks: readonly number[]) => Promise<PlannedCandidate>,
  ) {}

  /**
   * Decomposes every layer that the method takes with several ranks and measures what the network's outputs lose by each.
   *
   * @throws ShapeError where the calibration samples do not fit
   */
  static async create(model: Sequential, options: PlanOptions): Promise<CompressionPlan> {
    const { calibration, shares = SHARES, whiten = true, seed = 0, onProgress, signal, timeBatch } = options;
    const { engine, inputShape } = model;
    if (formatShape(calibration.shape.slice(1)) !== formatShape(inputShape))
      throw new ShapeError(
        `compress: calibration ${calibration}, expected samples of shape ${formatShape(inputShape)}`,
      );
    const method = methodOf(options.method);
    const shapes = model.shapes();
    const decomposers = model.layers.map((layer) => method.of(layer));
    const total = decomposers.filter(Boolean).length * (shares.length + (options.evbmf ? 1 : 0));
    let done = 0;
    const moments = new Map<number, Float64Array>();
    const fitAt = async (
      index: number,
      ranks: readonly number[],
      activations: readonly Tensor[],
    ): Promise<PlannedCandidate> => {
      const original = model.layers[index]!;
      const layer = await decomposers[index]!.fit({ engine, covariance: moments.get(index) ?? null, seed }, ranks);
      const counts = layer.counts(shapes[index]!);
      // the layer of the plan stays without a network; a copy is tried
      const trial = await Sequential.create(engine, [await cloneLayer(layer)], { inputShape: shapes[index]! });
      try {
        const loss = await lossOf(model, activations, index, trial.layers[0]!);
        const candidate: PlannedCandidate = {
          layer,
          ranks,
          weights: sizeOf(counts),
          multiplications: counts.multiplications,
          loss: loss.network ** 2,
          weightError: weightError(await weightOf(original), await layer.toDense()),
          outputError: loss.layer,
        };
        if (timeBatch) {
          const [time] = await timeForward(engine, [{ layers: trial.layers, shape: [timeBatch, ...shapes[index]!] }]);
          candidate.time = time!;
        }
        return candidate;
      } finally {
        trial.destroy();
      }
    };
    const withActivations = async <T>(work: (activations: readonly Tensor[]) => Promise<T>): Promise<T> => {
      const activations = await activationsOf(model, calibration);
      try {
        return await work(activations);
      } finally {
        for (const tensor of activations) tensor[dispose]();
      }
    };
    const layers = await withActivations(async (activations) => {
      const planned: PlannedLayer[] = [];
      for (const [index, layer] of model.layers.entries()) {
        const counts = layer.counts(shapes[index]!);
        const asItIs: PlannedCandidate = {
          layer: null,
          ranks: [],
          weights: sizeOf(counts),
          multiplications: counts.multiplications,
          loss: 0,
          weightError: 0,
          outputError: 0,
        };
        if (timeBatch)
          [asItIs.time] = (await timeForward(engine, [{ layers: [layer], shape: [timeBatch, ...shapes[index]!] }])) as [
            number,
          ];
        const candidates = [asItIs];
        const decomposer = decomposers[index];
        if (decomposer) {
          if (whiten) {
            const found = await covarianceOf(layer, activations[index]!);
            if (found) moments.set(index, found);
          }
          const tried = new Set<string>();
          for (const { ranks, evbmf } of await ladder(engine, decomposer, shares, options.evbmf ?? false)) {
            signal?.throwIfAborted();
            onProgress?.(done++, total, `${layer.name}, rank ${ranks.join("·")}`);
            if (tried.has(ranks.join()) && !evbmf) continue;
            tried.add(ranks.join());
            candidates.push({ ...(await fitAt(index, ranks, activations)), ...(evbmf && { evbmf }) });
          }
        }
        planned.push({ index, name: layer.name, candidates });
      }
      return planned;
    });
    onProgress?.(total, total, "");
    return new CompressionPlan(model, method, layers, (index, ranks) => {
      if (!decomposers[index])
        throw new TenfoldError(`compress: ${method.name} leaves layer ${index} (${model.layers[index]?.name}) alone`);
      return withActivations((activations) => fitAt(index, ranks, activations));
    });
  }

  /** The network with the candidates that this choice comes to. The plan stays as it is. */
  async select(choice: Choice, { force = false, timeBatches = [] }: SelectOptions = {}): Promise<Compressed> {
    const { model, layers } = this;
    const { engine } = model;
    const shapes = model.shapes();
    let reached = true;
    let chosen: PlannedCandidate[];
    if (choice === "evbmf")
      chosen = layers.map(({ candidates }) => candidates.find(({ evbmf }) => evbmf) ?? candidates[0]!);
    else if ("energy" in choice) {
      const most = 1 - choice.energy;
      chosen = layers.map(({ candidates }) =>
        candidates
          .filter(({ outputError }) => outputError ** 2 <= most)
          .reduce((best, each) => (each.weights < best.weights ? each : best), candidates[0]!),
      );
    } else if ("ranks" in choice)
      chosen = await Promise.all(
        layers.map(({ index, candidates }) => {
          const ranks = choice.ranks[index];
          return ranks ? this.fitAt(index, ranks) : candidates[0]!;
        }),
      );
    else {
      const found = selectRanks(
        layers.map(({ candidates }) =>
          force ? candidates : candidates.filter((each) => !grows(each, candidates[0]!)),
        ),
        choice,
      );
      reached = found.reached;
      chosen = layers.map(({ candidates }, at) => {
        const open = force ? candidates : candidates.filter((each) => !grows(each, candidates[0]!));
        return open[found.choice[at]!]!;
      });
    }
    const built: Layer[] = [];
    const report: CompressedLayer[] = [];
    for (const [index, candidate] of chosen.entries()) {
      const original = layers[index]!.candidates[0]!;
      const source = model.layers[index]!;
      const leaves = layers[index]!.candidates.length === 1;
      const noise = choice === "evbmf" && candidate.evbmf?.includes(0);
      let kept = candidate.layer ? "" : leaves ? `${this.method.name} leaves it alone` : "as it is";
      if (noise) kept = "EVBMF finds nothing but noise in it";
      if (candidate.layer && !force && grows(candidate, original)) kept = "it would grow";
      const times: CompressedLayer["times"] = [];
      if (candidate.layer && timeBatches.length && !kept) {
        const [a, b] = await Promise.all(
          [source, candidate.layer].map(async (layer) =>
            Sequential.create(engine, [await cloneLayer(layer)], { inputShape: shapes[index]! }),
          ),
        );
        try {
          for (const batch of timeBatches) {
            const shape = [batch, ...shapes[index]!];
            const [before, after] = await timeForward(
              engine,
              [a!, b!].map(({ layers }) => ({ layers, shape })),
              { sampleMs: 3, rounds: 9 },
            );
            times.push({ batch, before: before!, after: after! });
          }
        } finally {
          a!.destroy();
          b!.destroy();
        }
        const { before, after } = times[0]!;
        if (!force && after > before)
          kept = `slower here: ${after.toPrecision(2)} ms instead of ${before.toPrecision(2)}`;
      }
      const final = kept ? original : candidate;
      const layer = await cloneLayer(final.layer ?? source);
      built.push(layer);
      report.push({
        index,
        name: source.name,
        compressed: layer.name,
        ranks: final.ranks,
        kept,
        weights: [original.weights, final.weights],
        multiplications: [original.multiplications, final.multiplications],
        weightError: final.weightError,
        outputError: final.outputError,
        ...(times.length && { times }),
      });
    }
    const { inputShape } = model;
    return { model: await Sequential.create(engine, built, { inputShape }), layers: report, reached };
  }
}

const grows = (candidate: Candidate, original: Candidate): boolean =>
  candidate !== original &&
  candidate.weights >= original.weights &&
  candidate.multiplications >= original.multiplications;

/** The ranks to try, largest last, each once. */
async function ladder(
  engine: Engine,
  decomposer: Decomposer,
  shares: readonly number[],
  withEvbmf: boolean,
): Promise<{ ranks: readonly number[]; evbmf?: readonly number[] }[]> {
  const found: { ranks: readonly number[]; evbmf?: readonly number[] }[] = shares.map((share) => ({
    ranks: decomposer.full.map((full) => Math.max(1, Math.round(share * full))),
  }));
  if (withEvbmf && decomposer.evbmf) {
    const evbmf = await decomposer.evbmf(engine);
    found.push({ ranks: evbmf.map((rank) => Math.max(1, rank)), evbmf });
  }
  return found;
}

async function weightOf(layer: Layer): Promise<Float32Array> {
  if (layer instanceof Linear || layer instanceof Conv2d) return layer.weight.read();
  throw new TenfoldError(`compress: ${layer.name} has no weight to compare with`);
}

async function covarianceOf(layer: Layer, input: Tensor): Promise<Float64Array | null> {
  const values = (await input.read()) as Float32Array;
  if (layer instanceof Linear) return secondMoments(values, layer.inputs);
  if (layer instanceof Conv2d) return patchMoments(values, input.shape, layer);
  return null;
}

export interface CompressOptions extends PlanOptions, SelectOptions {
  choice: Choice;
}

/**
 * Decomposes a trained network: every layer that the method takes becomes a factorised one, with ranks that are given, that
 * EVBMF or an energy asks for, or that one search over all layers finds for a target. A layer that would grow, or that is
 * slower here, is left alone. The network given stays as it is; fine-tune the new one with `train`.
 */
export async function compress(model: Sequential, { choice, ...options }: CompressOptions): Promise<Compressed> {
  const byTime = typeof choice === "object" && "cost" in choice && choice.cost === "time";
  const plan = await CompressionPlan.create(model, {
    ...options,
    ...("ranks" in Object(choice) && { shares: [] }),
    evbmf: choice === "evbmf",
    ...(byTime && { timeBatch: options.timeBatch ?? 1 }),
  });
  return plan.select(choice, options);
}

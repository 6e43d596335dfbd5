import { type Engine, isList, ShapeError, shown, TenfoldError, type Tensor } from "../gpu/index.js";
import { FitMemory } from "../nn/factorised/fitMemory.js";
import { Conv2d, type Counts, cloneLayer, Join, type Layer, Linear, type Network, Sequential } from "../nn/index.js";
import { Activations } from "./activations.js";
import { secondMoments, weightError } from "./calibrate.js";
import { type Decomposer, type Factorised, type Method, ranksTaken } from "./methods.js";
import type { Candidate } from "./select.js";
import type { Timer } from "./time.js";

/** A layer as it is, or a decomposition of it, with its size and its errors. */
export interface PlannedCandidate extends Candidate {
  /** null for the layer as it is */
  layer: Factorised | null;
  /** ranks of the decomposition; smaller than asked for where the layer's shape allows no larger ones */
  ranks: readonly number[];
  /** ranks that EVBMF found, where they were taken from it; 0 stands for nothing but noise */
  evbmf?: readonly number[];
  /** ‖W − Ŵ‖ ÷ ‖W‖ of the layer's weight */
  weightError: number;
  /** ‖y − ŷ‖ ÷ ‖y‖ of the layer's outputs on the calibration samples; with `whiten` at most that of a plain fit */
  outputError: number;
}

export interface FitterOptions {
  calibration: Tensor;
  whiten: boolean;
  seed: number;
  timer: Timer;
}

const sizeOf = ({ weights, biases }: Counts): number => weights + biases;

/** A layer of a network, at the place that may hold a decomposition of it. */
export interface Site {
  /** number of the place in the network */
  index: number;
  layer: Layer;
  /** shape of one sample of the layer's input */
  shape: readonly number[];
  /** which value of the network the input is: 0 for the samples, k + 1 for the output of place k */
  value: number;
  /** how the layer is decomposed; null where the method does not decompose it */
  decomposer: Decomposer | null;
}

/** Decomposes single layers of one network, and measures the errors and times of the decompositions. */
export class Fitter<N extends Network = Network> {
  /** the layers of the network by their places; joins have none */
  readonly sites: ReadonlyMap<number, Site>;
  /** by the layer's place */
  readonly #memories: Map<number, FitMemory>;

  /**
   * @param other of the same network and options: what it has computed of layers is taken
   * @throws TenfoldError where the other one has another network or other options
   */
  constructor(
    readonly model: N,
    readonly method: Method,
    private readonly options: FitterOptions,
    other?: Fitter<N>,
  ) {
    const differs =
      other &&
      (other.model !== model
        ? "network"
        : (["calibration", "whiten", "seed"] as const).find((name) => other.options[name] !== options[name]));
    if (differs) throw new TenfoldError(`compress: the plan to begin with has another ${differs}`);
    this.#memories = other ? other.#memories : new Map();
    const shapes = model.shapes();
    this.sites = new Map(
      model.graph.nodes.flatMap(({ of, from }, index): [number, Site][] => {
        if (of instanceof Join) return [];
        const value = from[0]!;
        return [[index, { index, layer: of, shape: shapes[value]!, value, decomposer: method.of(of) }]];
      }),
    );
  }

  get engine(): Engine {
    return this.model.engine;
  }

  #site(index: number): Site {
    return this.sites.get(index)!;
  }

  /** Why the method does not decompose a layer; empty where it does. */
  reason(index: number): string {
    const { method } = this;
    const { decomposer, layer } = this.#site(index);
    if (decomposer) return "";
    return method.why?.(layer) || `${method.name} does not decompose such layers`;
  }

  /** @throws TenfoldError or ShapeError unless the layer can be decomposed with these ranks */
  check(index: number, ranks: readonly number[]): void {
    const site = this.sites.get(index);
    if (!site)
      throw new TenfoldError(
        `compress: ranks of layer ${index}, the network has layers ${
          this.model.graph.isRow ? `0 to ${this.sites.size - 1}` : `at places ${[...this.sites.keys()].join(", ")}`
        }`,
      );
    const { decomposer, layer } = site;
    const { name } = layer;
    if (!decomposer)
      throw new TenfoldError(
        `compress: ${this.method.name} leaves layer ${index} (${name}) alone: ${this.reason(index)}`,
      );
    const { full, cores } = decomposer;
    const { length } = full;
    if (!isList(ranks))
      throw new TenfoldError(`compress: ranks of layer ${index} are ${shown(ranks)}, needs a list of them`);
    if (
      (ranks.length !== length && ranks.length !== cores) ||
      !ranks.every((rank) => Number.isInteger(rank) && rank >= 1)
    )
      throw new ShapeError(
        `compress: ranks ${formatRanks(ranks)} of layer ${index} (${name}), ${this.method.name} needs ` +
          `${length === 1 ? "one positive whole number" : `${length} positive whole numbers`}` +
          `${cores && cores > 1 ? `, or ${cores} of them` : ""}`,
      );
  }

  /** Calls `work` with what the network makes of the calibration samples, and frees it when it is done. */
  async withActivations<T>(work: (activations: Activations) => Promise<T>): Promise<T> {
    using activations = await Activations.of(this.model, this.options.calibration);
    return await work(activations);
  }

  /** The candidate that is the layer itself. */
  asItIs(index: number): PlannedCandidate {
    const { layer, shape } = this.#site(index);
    const counts = layer.counts(shape);
    return {
      layer: null,
      ranks: [],
      weights: sizeOf(counts),
      multiplications: counts.multiplications,
      loss: 0,
      weightError: 0,
      outputError: 0,
    };
  }

  /**
   * A layer decomposed with these ranks. With `whiten` there are two fits, one by the inputs' covariance and a plain one, and
   * the one with the smaller error of the outputs is taken. The covariance alone does not decide, because it describes the outputs
   * before their activation, and only some positions of large images.
   */
  async fit(index: number, ranks: readonly number[], activations: Activations): Promise<PlannedCandidate> {
    const { shared } = this.#site(index).decomposer!;
    const fit = () => this.#nearer(index, ranks, activations);
    // plans add times to candidates, each its own
    return shared ? { ...(await this.#memory(index).of(`candidate ${shared} ${ranks.join()}`, fit)) } : fit();
  }

  #memory(index: number): FitMemory {
    const memory = this.#memories.get(index) ?? new FitMemory();
    this.#memories.set(index, memory);
    return memory;
  }

  async #nearer(index: number, ranks: readonly number[], activations: Activations): Promise<PlannedCandidate> {
    const { engine } = this;
    const { layer: source, shape, decomposer } = this.#site(index);
    const context = { engine, seed: this.options.seed, memory: this.#memory(index) };
    const covariance = this.options.whiten ? await this.#covarianceOf(index, activations) : null;
    const fits = [await decomposer!.fit({ ...context, covariance: null }, ranks)];
    if (covariance) fits.push(await decomposer!.fit({ ...context, covariance }, ranks));
    let [layer, outputError] = [fits[0]!, Number.POSITIVE_INFINITY];
    // the plain fit may be the nearer one
    for (const fit of new Set(fits)) {
      using trial = await this.#copyOf(fit, index);
      const error = await activations.layerError(index, trial.layers[0]!);
      if (error <= outputError) [layer, outputError] = [fit, error];
    }
    const counts = layer.counts(shape);
    using trial = await this.#copyOf(layer, index);
    return {
      layer,
      ranks: ranksTaken(layer, ranks),
      weights: sizeOf(counts),
      multiplications: counts.multiplications,
      loss: (await activations.networkError(index, trial.layers[0]!)) ** 2,
      weightError: weightError(await weightOf(source), await layer.toDense()),
      outputError,
    };
  }

  /** A layer decomposed with the ranks that EVBMF finds; null where the method has no EVBMF ranks for the layer. */
  async fitEvbmf(index: number, activations: Activations): Promise<PlannedCandidate | null> {
    const evbmf = await this.#site(index).decomposer?.evbmf?.(this.engine);
    if (!evbmf) return null;
    const ranks = evbmf.map((rank) => Math.max(1, rank));
    return { ...(await this.fit(index, ranks, activations)), evbmf };
  }

  /** Milliseconds of a forward pass of a layer as it is, then of its decompositions, all timed in turn. */
  async times(
    index: number,
    decompositions: readonly Factorised[],
    batch: number,
    options?: { rounds?: number; sampleMs?: number },
  ): Promise<number[]> {
    const site = this.#site(index);
    const shape = [batch, ...site.shape];
    const trials: Sequential[] = [];
    try {
      for (const layer of decompositions) trials.push(await this.#copyOf(layer, index));
      const all = [[site.layer], ...trials.map(({ layers }) => layers)];
      return await this.options.timer(
        this.engine,
        all.map((layers) => ({ layers, shape })),
        options,
      );
    } finally {
      for (const trial of trials) trial.destroy();
    }
  }

  /** A copy of a layer in a network of its own: a plan's layer belongs to none. */
  async #copyOf(layer: Layer, index: number): Promise<Sequential> {
    return Sequential.create(this.engine, [await cloneLayer(layer)], { inputShape: this.#site(index).shape });
  }

  /**
   * E[x·xᵀ] of a layer's inputs. Null where all inputs are 0, because such a covariance weighs nothing, and where there are too many
   * inputs for one tensor.
   */
  async #covarianceOf(index: number, activations: Activations): Promise<Float64Array | null> {
    return await this.#memory(index).of("covariance", async () => {
      const { layer } = this.#site(index);
      if (!(layer instanceof Linear || layer instanceof Conv2d)) return null;
      const width = layer instanceof Linear ? layer.inputs : layer.inputs * layer.kernel[0] * layer.kernel[1];
      if (4 * width ** 2 > this.engine.device.limits.maxStorageBufferBindingSize) return null;
      const moments = await secondMoments(this.engine, layer, await activations.inputsOf(index));
      return moments.some((entry) => entry !== 0) ? moments : null;
    });
  }
}

const formatRanks = (ranks: readonly number[]): string => (ranks.length ? ranks.join(", ") : "(none)");

async function weightOf(layer: Layer): Promise<Float32Array> {
  if (layer instanceof Linear || layer instanceof Conv2d) return layer.weight.read();
  throw new TenfoldError(`compress: ${layer.name} has no weight to compare with`);
}

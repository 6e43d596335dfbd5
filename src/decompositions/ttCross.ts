import {
  checkOptions,
  type DType,
  Engine,
  isList,
  type OptionRules,
  optionRules,
  Program,
  ShapeError,
  shown,
  sizeOf,
  TenfoldError,
  Tensor,
} from "../gpu/index.js";
import { gatherRows, paste, toFloat } from "../ops/index.js";
import { checkCall, type Source } from "../sources/index.js";
import { svd } from "../tensors/dense.js";
import { entries, type HostCore, lengthOf, rankWithin, round } from "../tensors/hostTrain.js";
import type { TensorTrain } from "../tensors/index.js";
import { asSingle, distance, writeTrain } from "../tensors/trains.js";
import { maxVolume } from "./maxvol.js";
import { TensorScope } from "./tensorScope.js";

/** A tensor that is given by its entries: a function of indices. */
export interface EntrySource {
  /** n_1, …, n_d */
  shape: readonly number[];
  /**
   * The entries at `count` indices, d numbers each, row by row in `indices`. It is called with many at once, so that it may compute them
   * together, on a GPU or on a server.
   */
  entries(indices: Uint32Array, count: number): ArrayLike<number> | Promise<ArrayLike<number>>;
}

export interface TtCrossOptions {
  /** the error that is aimed at, as a part of the tensor's norm; it is estimated, not promised. 1e-6 by default */
  relativeError?: number;
  /** no rank becomes larger, 64 by default */
  maxRank?: number;
  /** how many ranks a half-sweep may add to what it needs, 2 by default: more need fewer sweeps and more entries */
  enrichment?: number;
  /** the run ends before it asks for more entries than this, 1e7 by default */
  maxEvaluations?: number;
  /** most sweeps to the right and back, 20 by default */
  sweeps?: number;
  /** entries at random places by which the error is estimated, 1000 by default; no core is made of them */
  samples?: number;
  /** of the first indices and of the samples */
  seed?: number;
  onIteration?: (iteration: { sweep: number; relativeError: number; evaluations: number; ranks: number[] }) => void;
  signal?: AbortSignal;
}

const rules: OptionRules<TtCrossOptions> = {
  relativeError: optionRules.fraction,
  maxRank: optionRules.positive,
  enrichment: optionRules.positive,
  maxEvaluations: optionRules.positive,
  sweeps: optionRules.positive,
  samples: optionRules.positive,
  seed: optionRules.seed,
  onIteration: optionRules.callback,
  signal: optionRules.signal,
};

export interface TtCrossResult {
  tensor: TensorTrain;
  /**
   * ‖f − f̂‖ / ‖f‖, estimated from the held-out entries, which stand for all, and from those that the last half-sweep to the right asked for,
   * which lie where f is large. What is alike nearly everywhere may still differ at places that nobody asked for. NaN where all that was
   * seen of f is 0 and f̂ is not
   */
  relativeError: number;
  /** entries that were asked for, with the samples; the same entry counts again where it was asked for again */
  evaluations: number;
  sweeps: number;
  /** whether the estimate is at most the error aimed at */
  converged: boolean;
  aborted: boolean;
}

const NAME = "ttCross";

/**
 * A tensor train from few entries of a tensor, by cross interpolation (Oseledets & Tyrtyshnikov 2010): each core interpolates entries at rows and
 * columns of nearly maximal volume (maxvol), which sweeps to the right and back choose anew. Ranks adapt: a half-sweep drops singular values
 * that the error does not need, and adds `enrichment` random rows to learn from. A sweep asks for about 2·Σ r_{k−1}·n_k·r_k entries of the
 * Π n_k, so tensors of 10¹² entries and more need some 10⁵.
 *
 * The factorisations are of small matrices, one after the other, and run on the host in f64; the train is the GPU's. `x` is a function of indices,
 * or a tensor or source on the GPU, of which only the entries asked for are read: of a source in slabs in one pass over it for each core, so that a
 * file is better opened by `openNpy` of `tenfold/node` and handed over as it is.
 *
 * @throws TenfoldError where an entry is not finite: it says which
 */
export async function ttCross(
  engine: Engine,
  x: EntrySource | Tensor<DType> | Source,
  options: TtCrossOptions = {},
): Promise<TtCrossResult> {
  const source = sourceOf(engine, x);
  checkOptions(NAME, options, rules);
  const { relativeError = 1e-6, sweeps: most = 20, samples = 1000, seed = 0, signal, onIteration } = options;
  signal?.throwIfAborted();
  const cross = new Cross(source, options, seed);
  const held = await cross.sample(samples, seed);
  let best: { cores: HostCore[]; error: number } | null = null;
  let seen = held;
  let sweeps = 0;
  let worse = 0;
  while (sweeps < most && !(best && (signal?.aborted || cross.isSpent))) {
    // the first sweep always runs: without it there is no result
    const cores = await cross.sweep(best === null);
    sweeps++;
    const error = cross.errorOf(cores, held, cross.seen());
    worse = best && error > 0.5 * best.error ? worse + 1 : 0;
    if (worse) cross.tighten();
    if (!best || !(best.error <= error)) {
      best = { cores, error };
      seen = cross.seen();
    }
    onIteration?.({
      sweep: sweeps,
      relativeError: error,
      evaluations: cross.evaluations,
      ranks: [1, ...cores.map(({ right }) => right)],
    });
    if (error <= 0.5 * relativeError || (worse >= PATIENCE && !cross.grew)) break;
  }
  const { cores } = best!;
  const rounded = round(cores, 0.3 * relativeError);
  const isGood = distance(cores, asSingle(rounded)) <= 0.5 * relativeError;
  const train = isGood ? rounded : cores;
  const stored = asSingle(train);
  const error = cross.errorOf(stored, held, seen);
  const converged = error <= relativeError;
  return {
    tensor: writeTrain(NAME, engine, train),
    relativeError: error,
    evaluations: cross.evaluations,
    sweeps,
    converged,
    aborted: !converged && !!signal?.aborted,
  };
}

/** sweeps that do not halve the error, and whose ranks no longer grow, after which the run is over */
const PATIENCE = 3;

function sourceOf(engine: Engine, x: EntrySource | Tensor<DType> | Source): EntrySource {
  const isFunction = typeof x === "object" && x !== null && "entries" in x && typeof x.entries === "function";
  if (!isFunction) {
    checkCall(engine, NAME, x as Tensor<DType> | Source);
    return gathered(x as Tensor<DType> | Source);
  }
  if (!(engine instanceof Engine))
    throw new TenfoldError(`${NAME}: the first argument is ${shown(engine)}, needs an engine`);
  const { shape } = x as EntrySource;
  if (!isList(shape) || !shape.length || !optionRules.shape.is(shape))
    throw new ShapeError(`${NAME}: the shape is ${shown(shape)}, needs ${optionRules.shape.needs}`);
  return x as EntrySource;
}

/** Reads entries of a tensor of the GPU's, or of slabs, in one pass over them. */
function gathered(x: Tensor<DType> | Source): EntrySource {
  const { shape, engine } = x;
  if (!(x instanceof Tensor) && x.eachSlab) return ofSlabs(x as Source & Required<Pick<Source, "eachSlab">>);
  const tensor = x instanceof Tensor ? x : x.tensor(NAME);
  const factor = x instanceof Tensor ? 1 : 2 ** x.exponent;
  return {
    shape,
    async entries(indices, count) {
      const flat = new Uint32Array(count);
      for (let at = 0; at < count; at++) {
        let place = 0;
        shape.forEach((extent, mode) => {
          place = place * extent + indices[at * shape.length + mode]!;
        });
        flat[at] = place;
      }
      using places = engine.tensor([count], flat, { label: "places" });
      using values = engine.tensor([count], null, { label: "entries" });
      await engine.run((s) => {
        const floats = tensor.dtype === "f32" ? (tensor as Tensor) : toFloat(s, tensor);
        gatherRows(s, floats.reshape([floats.size, 1]), places, { out: values.reshape([count, 1]) });
      }, "entries");
      const read = await values.read();
      return factor === 1 ? read : Float64Array.from(read, (value) => value * factor);
    },
  };
}

function ofSlabs(source: Source & Required<Pick<Source, "eachSlab">>): EntrySource {
  const { shape, engine } = source;
  return {
    shape,
    async entries(indices, count) {
      // those of a slab lie side by side
      const rowOf = (at: number): number => indices[at * shape.length]!;
      const order = Array.from({ length: count }, (_, at) => at).sort((a, b) => rowOf(a) - rowOf(b));
      using scope = new TensorScope(engine);
      const values = scope.allocate([count], "entries");
      const record = (p: Program): void => {
        let first = 0;
        source.eachSlab(p, (slab, start) => {
          const stop = start + slab.shape[0]!;
          let last = first;
          while (last < count && rowOf(order[last]!) < stop) last++;
          if (last === first) return;
          const flat = new Uint32Array(last - first);
          for (let at = first; at < last; at++) {
            let place = rowOf(order[at]!) - start;
            for (let mode = 1; mode < shape.length; mode++)
              place = place * shape[mode]! + indices[order[at]! * shape.length + mode]!;
            flat[at - first] = place;
          }
          const places = scope.keep(engine.tensor([flat.length], flat, { label: "places" }));
          const part = gatherRows(p.s, slab.x.reshape([slab.size, 1]), places);
          paste(p.s, part, values.reshape([count, 1]), [first, 0]);
          p.s.release(part);
          first = last;
        });
      };
      await Program.run(engine, record, "entries of slabs");
      const read = await engine.read(values);
      const result = new Float64Array(count);
      for (const [at, place] of order.entries()) result[place] = read[at]! * 2 ** source.exponent;
      return result;
    },
  };
}

/** Indices of some modes side by side: `count` of them, `width` numbers each. */
interface Indices {
  width: number;
  count: number;
  data: Uint32Array;
}

const NONE: Indices = { width: 0, count: 1, data: new Uint32Array(0) };

interface Samples {
  indices: Uint32Array;
  values: Float64Array;
}

/** of the entries that a half-sweep asked for, the most by which the error is estimated */
const MOST_SEEN = 10_000;

/** ‖f − f̂‖ and ‖f‖ over some entries. */
const normsAt = (cores: readonly HostCore[], { indices, values }: Samples): [error: number, size: number] => [
  lengthOf(entries(cores, indices).map((value, at) => value - values[at]!)),
  lengthOf(values),
];

class Cross {
  evaluations = 0;
  /** whether a rank grew in the last sweep */
  grew = true;
  /** whether there is not room for another sweep within the evaluations allowed */
  isSpent = false;
  readonly #shape: readonly number[];
  readonly #random: () => number;
  /** indices of the modes in front of mode k, and behind mode k − 1 */
  readonly #left: Indices[];
  readonly #right: Indices[];
  readonly #maxRank: number;
  readonly #enrichment: number;
  /** singular values below this part of the largest are dropped */
  #tolerance: number;
  readonly #maxEvaluations: number;
  #lastSweep = 0;
  /** what the last half-sweep to the right asked for */
  #asked: Samples[] = [];

  constructor(
    readonly source: EntrySource,
    { relativeError = 1e-6, maxRank = 64, enrichment = 2, maxEvaluations = 1e7 }: TtCrossOptions,
    seed: number,
  ) {
    const { shape } = source;
    const d = shape.length;
    this.#shape = shape;
    this.#random = generator(seed);
    this.#maxRank = maxRank;
    this.#enrichment = enrichment;
    this.#maxEvaluations = maxEvaluations;
    this.#tolerance = (0.1 * relativeError) / Math.sqrt(Math.max(1, d - 1));
    this.#left = new Array<Indices>(d + 1).fill(NONE);
    this.#right = new Array<Indices>(d + 1).fill(NONE);
    // nested from the right, so that each index continues one of the mode behind
    for (let k = d - 1; k > 0; k--) {
      const behind = this.#right[k + 1]!;
      const room = Math.min(shape[k]! * behind.count, sizeOf(shape.slice(0, k)), maxRank, 1 + enrichment);
      this.#right[k] = pick(distinct(shape[k]! * behind.count, room, this.#random), { extent: shape[k]!, behind });
    }
  }

  /** Entries at random places, which sweeps do not know of. */
  async sample(count: number, seed: number): Promise<Samples> {
    const random = generator(seed ^ 0x5bd1e995);
    const d = this.#shape.length;
    const indices = new Uint32Array(count * d);
    for (const at of indices.keys()) indices[at] = Math.floor(random() * this.#shape[at % d]!);
    return { indices, values: await this.#ask(indices, count) };
  }

  /** ‖f − f̂‖ / ‖f‖ where the held-out entries stand for all others, and those seen for themselves. */
  errorOf(cores: readonly HostCore[], held: Samples, seen: Samples): number {
    const stands = Math.sqrt(Math.min(1e300, sizeOf(this.#shape)) / held.values.length);
    const [error, size] = normsAt(cores, held);
    const [others, otherSize] = normsAt(cores, seen);
    const difference = Math.hypot(stands * error, others);
    return difference === 0 ? 0 : difference / (Math.hypot(stands * size, otherSize) || Number.NaN);
  }

  /** From here on ranks are cut by less. */
  tighten(): void {
    this.#tolerance *= 0.1;
  }

  /** The entries of the last half-sweep to the right: all, or the largest and some of the others. */
  seen(): Samples {
    const d = this.#shape.length;
    const all = this.#asked.flatMap(({ values }, part) => Array.from(values, (value, at) => ({ part, at, value })));
    all.sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
    const step = Math.max(1, Math.floor((2 * all.length) / MOST_SEEN));
    const some = all.filter((_, place) => place < MOST_SEEN / 2 || place % step === 0);
    const indices = new Uint32Array(some.length * d);
    some.forEach(({ part, at }, to) => {
      indices.set(this.#asked[part]!.indices.subarray(at * d, (at + 1) * d), to * d);
    });
    return { indices, values: Float64Array.from(some, ({ value }) => value) };
  }

  /** A sweep to the right and one back. The cores interpolate from the right. */
  async sweep(isFirst: boolean): Promise<HostCore[]> {
    const shape = this.#shape;
    const d = shape.length;
    const before = this.evaluations;
    const largest = (sets: readonly Indices[]) => sets.reduce((sum, { count }) => sum + count, 0);
    const had = largest(this.#right);
    this.#asked = [];
    for (let k = 0; k < d - 1; k++) {
      const [left, extent, right] = [this.#left[k]!, shape[k]!, this.#right[k + 1]!];
      const values = await this.#cross(left, extent, right, this.#asked);
      const { rows } = this.#choose(values, left.count * extent, right.count, sizeOf(shape.slice(k + 1)));
      this.#left[k + 1] = pick(rows, { front: left, extent });
    }
    const cores = new Array<HostCore>(d);
    for (let k = d - 1; k >= 0; k--) {
      const [left, extent, right] = [this.#left[k]!, shape[k]!, this.#right[k + 1]!];
      const values = await this.#cross(left, extent, right);
      if (k === 0) {
        cores[0] = { left: 1, extent, right: right.count, data: values };
        break;
      }
      const rows = extent * right.count;
      const turned = new Float64Array(values.length);
      for (let l = 0; l < left.count; l++)
        for (let row = 0; row < rows; row++) turned[row * left.count + l] = values[l * rows + row]!;
      const chosen = this.#choose(turned, rows, left.count, sizeOf(shape.slice(0, k)));
      const rank = chosen.rows.length;
      const data = new Float64Array(rank * rows);
      for (let row = 0; row < rows; row++)
        for (let r = 0; r < rank; r++) data[r * rows + row] = chosen.coefficients[row * rank + r]!;
      cores[k] = { left: rank, extent, right: right.count, data };
      this.#right[k] = pick(chosen.rows, { extent, behind: right });
    }
    this.grew = isFirst || largest(this.#right) > had;
    const cost = this.evaluations - before;
    // ranks may grow again as much as they did
    const growth = this.#lastSweep ? Math.max(1, cost / this.#lastSweep) : 2;
    this.isSpent = this.evaluations + growth * cost > this.#maxEvaluations;
    this.#lastSweep = cost;
    return cores;
  }

  /** Entries at all combinations, left×extent×right; noted down in `asked`. */
  async #cross(left: Indices, extent: number, right: Indices, asked?: Samples[]): Promise<Float64Array> {
    const d = this.#shape.length;
    const count = left.count * extent * right.count;
    const indices = new Uint32Array(count * d);
    let to = 0;
    for (let l = 0; l < left.count; l++)
      for (let i = 0; i < extent; i++)
        for (let r = 0; r < right.count; r++, to += d) {
          indices.set(left.data.subarray(l * left.width, (l + 1) * left.width), to);
          indices[to + left.width] = i;
          indices.set(right.data.subarray(r * right.width, (r + 1) * right.width), to + left.width + 1);
        }
    const values = await this.#ask(indices, count);
    asked?.push({ indices, values });
    return values;
  }

  async #ask(indices: Uint32Array, count: number): Promise<Float64Array> {
    const d = this.#shape.length;
    const answer = await this.source.entries(indices, count);
    if (answer?.length !== count)
      throw new TenfoldError(
        `${NAME}: entries returned ${isList(answer) ? `${answer.length} numbers` : shown(answer)} for ${count} indices, needs one number for each`,
      );
    const values = Float64Array.from(answer);
    const at = values.findIndex((value) => !Number.isFinite(value));
    if (at >= 0)
      throw new TenfoldError(
        `${NAME}: the entry at [${indices.subarray(at * d, (at + 1) * d).join(", ")}] is ${values[at]}, needs a finite number`,
        { code: "ENTRIES" },
      );
    this.evaluations += count;
    return values;
  }

  /**
   * Rows of a matrix that tell the others, and how: as many as its rank to the tolerance, and some more whose coefficients are 0. `room`
   * bounds them.
   */
  #choose(a: Float64Array, m: number, n: number, room: number): { rows: number[]; coefficients: Float64Array } {
    const most = Math.min(m, room, this.#maxRank);
    const largest = a.reduce((value, entry) => Math.max(value, Math.abs(entry)), 0);
    if (largest === 0) {
      // zeros: any row is as good, and more of them may meet what is not zero
      const rows = distinct(m, Math.min(most, 1 + this.#enrichment), this.#random);
      return { rows, coefficients: new Float64Array(m * rows.length) };
    }
    const { u, values } = svd(a, m, n);
    const width = values.length;
    const rank = Math.min(rankWithin(values, Math.max(this.#tolerance, 1e-15) * values[0]!), most);
    const basis = new Float64Array(m * rank);
    for (let i = 0; i < m; i++) for (let r = 0; r < rank; r++) basis[i * rank + r] = u[i * width + r]!;
    const { rows, coefficients } = maxVolume(basis, m, rank);
    // random ones: where rows are alike, those of large volume beside the chosen ones are their copies
    const more = distinct(m, Math.min(m, rank + this.#enrichment), this.#random)
      .filter((row) => !rows.includes(row))
      .slice(0, Math.min(this.#enrichment, most - rank));
    const count = rank + more.length;
    const wider = new Float64Array(m * count);
    for (let i = 0; i < m; i++) for (let r = 0; r < rank; r++) wider[i * count + r] = coefficients[i * rank + r]!;
    return { rows: [...rows, ...more], coefficients: wider };
  }
}

/** The indices at places of left×extent (where `front` is given) or of extent×right (where `behind` is). */
function pick(
  chosen: readonly number[],
  { front, extent, behind }: { front?: Indices; extent: number; behind?: Indices },
): Indices {
  const others = (front ?? behind)!;
  const width = others.width + 1;
  const data = new Uint32Array(chosen.length * width);
  chosen.forEach((place, at) => {
    const [other, index] = front
      ? [Math.floor(place / extent), place % extent]
      : [place % others.count, Math.floor(place / others.count)];
    const part = others.data.subarray(other * others.width, (other + 1) * others.width);
    data.set(part, at * width + (front ? 0 : 1));
    data[at * width + (front ? others.width : 0)] = index;
  });
  return { width, count: chosen.length, data };
}

/** Some of 0 … count − 1, each once. */
function distinct(count: number, some: number, random: () => number): number[] {
  const taken = new Set<number>();
  while (taken.size < Math.min(some, count)) taken.add(Math.floor(random() * count));
  return [...taken];
}

/** Uniform numbers in [0, 1): mulberry32. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

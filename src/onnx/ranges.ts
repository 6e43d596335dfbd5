import { TenfoldError } from "../errors.js";
import * as optionRules from "../gpu/optionRules.js";
import { checkOptions, isList, type OptionRules, oneOf, required, shown } from "../gpu/options.js";
import { cutOnnx, inlineExternal } from "./cut.js";
import { FLOAT } from "./dataTypes.js";
import type { OnnxModel } from "./model.js";
import {
  type ActivationRange,
  namesRule,
  operatorsRule,
  type QuantisedLayersOptions,
  quantisedLayers,
  quantisedValues,
} from "./quantise.js";
import { quoted } from "./tensors.js";
import { writeOnnx } from "./write.js";

/**
 * How a range is chosen from what a value was seen to hold.
 *
 * - `minMax`: all that was seen.
 * - `percentile`: without the share of the entries that `percentile` leaves out, half at each end.
 * - `leastError`: of all ranges the one with the least expected squared error, of rounding and of clipping.
 */
export type RangeMethod = "minMax" | "percentile" | "leastError";

export interface RangeOptions {
  /** `leastError` by default */
  method?: RangeMethod;
  /** the share of entries inside of the range, for `percentile`; 0.99999 by default */
  percentile?: number;
}

/** What is used of a session of onnxruntime; a session of `onnxruntime-node` or `onnxruntime-web` is one. */
export interface CalibrationSession<Feeds = never> {
  run(feeds: Feeds): Promise<Readonly<Record<string, { readonly data: unknown }>>>;
  release?(): Promise<void>;
}

export interface ActivationRangesOptions<Feeds = never> extends QuantisedLayersOptions, RangeOptions {
  /** opens a session of a model's bytes, as in `(bytes) => ort.InferenceSession.create(bytes)` */
  session: (bytes: Uint8Array) => Promise<CalibrationSession<Feeds>>;
  /** the inputs of each run, by their names, as the runtime takes them */
  feeds: Iterable<Feeds> | AsyncIterable<Feeds>;
  /** stops between two runs */
  signal?: AbortSignal;
}

const rangeRules = {
  method: oneOf("minMax", "percentile", "leastError"),
  percentile: {
    needs: "a share above 0.5 and up to 1",
    is: (value: unknown): boolean => typeof value === "number" && value > 0.5 && value <= 1,
  },
};
const rules: OptionRules<ActivationRangesOptions> = {
  ...rangeRules,
  session: required(optionRules.callback),
  feeds: required({
    needs: "a list of feeds, or what yields them",
    is: (value) =>
      isList(value) ||
      (typeof value === "object" && value !== null && (Symbol.iterator in value || Symbol.asyncIterator in value)),
  }),
  operators: operatorsRule,
  float: namesRule,
  weightsOnly: namesRule,
  fixedInputs: optionRules.flag,
  signal: optionRules.signal,
};

/**
 * The ranges that `quantiseOnnx` needs: runs the model on samples, with the values in question as outputs, and keeps a histogram of
 * each. Memory is that of one run. Nothing depends on the order of the samples, or on how they are put into batches.
 *
 * An input of the model keeps the smallest and the largest entry whatever the method, because images have 256 levels already.
 *
 * @returns by the names of values
 * @throws TenfoldError where no feed came, or a value is not finite or no float
 */
export async function activationRanges<Feeds>(
  model: OnnxModel,
  options: ActivationRangesOptions<Feeds>,
): Promise<Map<string, ActivationRange>> {
  checkOptions("activationRanges", options, rules as OptionRules<ActivationRangesOptions<Feeds>>);
  const { session: open, feeds, method, percentile, signal, ...which } = options;
  const { layers } = quantisedLayers("activationRanges", model, which);
  const names = quantisedValues(layers);
  if (!names.length) return new Map();
  const inputs = new Set(model.inputs.map(({ name }) => name));
  const computed = names.filter((name) => !inputs.has(name)).map((name) => ({ name, dataType: FLOAT }));
  const part = computed.length ? await inlineExternal(cutOnnx(model, computed)) : null;
  const needed = part?.inputs.map(({ name }) => name) ?? [];
  const histograms = new Map(names.map((name) => [name, new ActivationHistogram()]));
  const session = part && (await open(writeOnnx(part)));
  let runs = 0;
  try {
    for await (const one of feeds) {
      signal?.throwIfAborted();
      const fed = one as Record<string, { data?: unknown } | undefined>;
      const results = await session?.run(Object.fromEntries(needed.map((name) => [name, fed[name]])) as Feeds);
      runs++;
      for (const [name, histogram] of histograms) {
        const data = (inputs.has(name) ? fed[name] : results?.[name])?.data;
        if (!(data instanceof Float32Array))
          throw new TenfoldError(
            `activationRanges: ${quoted(name)} is ${shown(data)} after run ${runs}, needs float32 entries`,
          );
        try {
          histogram.add(data);
        } catch (error) {
          throw new TenfoldError(`activationRanges: run ${runs}, ${quoted(name)}: ${(error as Error).message}`, {
            cause: error,
          });
        }
      }
    }
  } finally {
    await session?.release?.();
  }
  if (!runs) throw new TenfoldError("activationRanges: feeds are empty, needs at least one run", { code: "OPTION" });
  return new Map(
    [...histograms].map(([name, histogram]) => [
      name,
      histogram.range(inputs.has(name) ? { method: "minMax" } : { method, percentile }),
    ]),
  );
}

/** bins on each side of 0 */
const HALF = 4096;

/**
 * A histogram of what a value holds. Its bins lie between ±2ᵏ, the smallest power of two that no entry exceeds: when a larger entry
 * comes, pairs of bins become one. So the counts are those of all entries, whatever their order.
 */
export class ActivationHistogram {
  private min = Number.POSITIVE_INFINITY;
  private max = Number.NEGATIVE_INFINITY;
  private zeros = 0;
  private entries = 0;
  /** the bins lie between −reach and reach; 0 while all entries are 0 */
  private reach = 0;
  private counts: Float64Array<ArrayBuffer> = new Float64Array(2 * HALF);

  /** Counts entries. @throws TenfoldError where one is not finite */
  add(values: Float32Array): void {
    let [low, high] = [this.min, this.max];
    for (const value of values) {
      if (!(Math.abs(value) < Number.POSITIVE_INFINITY))
        throw new TenfoldError(`an entry is ${value}, and int8 has no level for it`);
      if (value < low) low = value;
      if (value > high) high = value;
    }
    if (!values.length) return;
    [this.min, this.max] = [low, high];
    this.grow(Math.max(-low, high));
    const perBin = HALF / this.reach;
    let zeros = 0;
    for (const value of values) {
      if (value === 0) zeros++;
      else this.counts[Math.min(2 * HALF - 1, Math.floor(value * perBin) + HALF)]!++;
    }
    this.zeros += zeros;
    this.entries += values.length;
  }

  private grow(magnitude: number): void {
    if (!(magnitude > this.reach)) return;
    // a power of two of at least this, also where a logarithm is rounded
    let reach = 2 ** Math.ceil(Math.log2(magnitude));
    if (reach < magnitude) reach *= 2;
    if (reach / 2 >= magnitude) reach /= 2;
    // bins keep a normal width
    reach = Math.max(reach, 2 ** -1000);
    for (; this.reach && this.reach < reach; this.reach *= 2) {
      const merged = new Float64Array(2 * HALF);
      for (let bin = 0; bin < 2 * HALF; bin++) merged[HALF / 2 + (bin >> 1)]! += this.counts[bin]!;
      this.counts = merged;
    }
    this.reach = reach;
  }

  /**
   * The range by one of the methods. It lies within what was seen.
   *
   * @throws TenfoldError where nothing was counted
   */
  range(options: RangeOptions = {}): ActivationRange {
    checkOptions("range", options, rangeRules);
    const { method = "leastError", percentile = 0.99999 } = options;
    if (!this.entries) throw new TenfoldError("no entries were counted");
    const { min, max } = this;
    if (method === "minMax" || min === max) return { min, max };
    return method === "percentile" ? this.percentileRange(percentile) : this.leastErrorRange();
  }

  private edge(bin: number): number {
    return ((bin - HALF) / HALF) * this.reach;
  }

  private percentileRange(share: number): ActivationRange {
    const { min, max, counts } = this;
    // the end where entries stop at 0, as after Relu, stays
    const ends = (min < 0 ? 1 : 0) + (max > 0 ? 1 : 0);
    const out = ((1 - share) * this.entries) / Math.max(1, ends);
    let [low, high] = [min, max];
    if (min < 0)
      for (let bin = 0, sum = 0; bin < HALF; bin++) {
        sum += counts[bin]!;
        if (sum > out) {
          low = Math.max(min, this.edge(bin));
          break;
        }
        if (bin === HALF - 1) low = 0;
      }
    if (max > 0)
      for (let bin = 2 * HALF - 1, sum = 0; bin >= HALF; bin--) {
        sum += counts[bin]!;
        if (sum > out) {
          high = Math.min(max, this.edge(bin + 1));
          break;
        }
        if (bin === HALF) high = 0;
      }
    return { min: low, max: high };
  }

  /**
   * Of ranges [−a, b]: an entry inside has the expected error Δ²⁄12 of rounding to steps of Δ = (a + b) ÷ 255, one outside its
   * squared distance to the range; 0 is a level and has none.
   */
  private leastErrorRange(): ActivationRange {
    const inside = this.entries - this.zeros;
    const [below, above] = [this.clipping(-1), this.clipping(1)];
    const [farBelow, farAbove] = [Math.max(0, -this.min), Math.max(0, this.max)];
    const error = (a: number, b: number): number => {
      const [lost, lostEntries] = below(a);
      const [more, moreEntries] = above(b);
      return lost + more + ((inside - lostEntries - moreEntries) * ((a + b) / 255) ** 2) / 12;
    };
    let best = { a: farBelow, b: farAbove, error: error(farBelow, farAbove) };
    const search = (aFrom: number, aTo: number, bFrom: number, bTo: number): void => {
      const at = (from: number, to: number, i: number): number => from + ((to - from) * i) / STEPS;
      for (let i = aTo > aFrom ? 0 : STEPS; i <= STEPS; i++)
        for (let j = bTo > bFrom ? 0 : STEPS; j <= STEPS; j++) {
          const [a, b] = [at(aFrom, aTo, i), at(bFrom, bTo, j)];
          const candidate = error(a, b);
          if (candidate < best.error) best = { a, b, error: candidate };
        }
    };
    search(0, farBelow, 0, farAbove);
    const [stepA, stepB] = [farBelow / STEPS, farAbove / STEPS];
    const { a, b } = best;
    search(
      Math.max(0, a - stepA),
      Math.min(farBelow, a + stepA),
      Math.max(0, b - stepB),
      Math.min(farAbove, b + stepB),
    );
    // what was seen bounds the range where all entries are of one sign
    return {
      min: this.min < 0 ? -best.a : Math.min(this.min, best.b),
      max: this.max > 0 ? best.b : Math.max(this.max, -best.a),
    };
  }

  /** For one side of 0: the squared distances of the entries beyond a limit, and how many there are. */
  private clipping(sign: 1 | -1): (limit: number) => [squares: number, entries: number] {
    // sums over the bins from the outermost one to each, of counts, and of centres and squared centres times counts
    const [n, s, q] = [new Float64Array(HALF + 1), new Float64Array(HALF + 1), new Float64Array(HALF + 1)];
    const width = this.reach / HALF;
    for (let bin = HALF - 1; bin >= 0; bin--) {
      const count = this.counts[sign > 0 ? HALF + bin : HALF - 1 - bin]!;
      const centre = (bin + 0.5) * width;
      n[bin] = n[bin + 1]! + count;
      s[bin] = s[bin + 1]! + count * centre;
      q[bin] = q[bin + 1]! + count * centre * centre;
    }
    return (limit) => {
      const bin = Math.min(HALF, Math.ceil(limit / width));
      return [Math.max(0, q[bin]! - 2 * limit * s[bin]! + limit * limit * n[bin]!), n[bin]!];
    };
  }
}

/** how finely ranges are tried, in each of two passes */
const STEPS = 128;

/** What a network's outputs are compared by. */
import { TenfoldError } from "../../gpu/index.js";
import { isFloat } from "../../onnx/dataTypes.js";
import { GraphFacts } from "../../onnx/graph.js";
import type { OnnxModel } from "../../onnx/index.js";
import { elementTypeOf, intOf } from "../../onnx/proto.js";
import { Relay } from "./relay.js";
import { floatsOfArray, type OnnxArray, type OnnxFeeds, type OnnxSessions, Part } from "./session.js";

/** A value that outputs are judged by. */
export interface Judged {
  /** an output of the model, or what a final Softmax takes: after it, a bad plan can look like a good one */
  name: string;
  dataType: number;
  /** axis of the classes, which a Softmax normalises over; null where there is none */
  axis: number | null;
  /** whether all axes from there on are classes, as Softmax has it before operator set 13 */
  flattened: boolean;
  /** whether a constant added to all classes changes nothing */
  shiftless: boolean;
}

/** How near the outputs of two networks are. */
export interface Agreement {
  /** ‖y − ŷ‖ ÷ ‖y − mean y‖ over all samples; of several outputs the largest; before a final Softmax */
  error: number;
  /** cosine of the angle between y and ŷ; of several outputs the smallest */
  cosine: number;
  /** the part of the classifications with the same best class; null where outputs are no classes */
  agreement: number | null;
}

/** The values of a model that are judged: its outputs of floats. */
export function judgedOf(model: OnnxModel): Judged[] {
  const facts = new GraphFacts(model);
  const old = (model.opsets.get("") ?? 1) < 13;
  const out: Judged[] = [];
  for (const info of model.graph.output) {
    const dataType = elementTypeOf(info);
    if (!isFloat(dataType)) continue;
    const maker = facts.producers.get(info.name);
    const rank = model.outputs.find(({ name }) => name === info.name)?.shape?.length ?? null;
    const softmax = maker?.opType === "Softmax" || maker?.opType === "LogSoftmax";
    // the value before a Softmax that the model gives, too, would be judged twice
    if (softmax && maker.input[0] && facts.producers.has(maker.input[0])) {
      const axis = intOf(maker, "axis", old ? 1 : -1);
      out.push({ name: maker.input[0], dataType, axis, flattened: old, shiftless: true });
    } else
      out.push({
        name: info.name,
        dataType,
        axis: rank === 2 || rank === null ? -1 : null,
        flattened: false,
        shiftless: false,
      });
  }
  if (!out.length)
    throw new TenfoldError(`compressOnnx: ${model.file} has no output of floats, by which networks could be compared`);
  return [...new Map(out.map((one) => [one.name, one])).values()];
}

/** Rows of classes in a value: entries of a row are `inner` apart. */
export function rowsOf(
  { axis, flattened }: Judged,
  shape: readonly number[],
): { classes: number; inner: number } | null {
  if (axis === null || !shape.length) return null;
  const at = axis < 0 ? axis + shape.length : axis;
  if (!(at >= 0 && at < shape.length)) return null;
  const product = (extents: readonly number[]): number => extents.reduce((a, b) => a * b, 1);
  return flattened
    ? { classes: product(shape.slice(at)), inner: 1 }
    : { classes: shape[at]!, inner: product(shape.slice(at + 1)) };
}

/** One value of one run, without what does not count, and the best class of every row. */
interface Seen {
  values: Float32Array;
  best: Int32Array | null;
}

function seen(judged: Judged, array: OnnxArray): Seen {
  const values = Float32Array.from(floatsOfArray(array));
  const rows = rowsOf(judged, array.shape);
  if (!rows || rows.classes < 2) return { values, best: null };
  const { classes, inner } = rows;
  const best = new Int32Array(values.length / classes);
  for (let row = 0; row < best.length; row++) {
    const from = Math.floor(row / inner) * classes * inner + (row % inner);
    const end = from + classes * inner;
    let [top, sum] = [from, 0];
    for (let i = from; i < end; i += inner) {
      sum += values[i]!;
      if (values[i]! > values[top]!) top = i;
    }
    best[row] = (top - from) / inner;
    if (!judged.shiftless) continue;
    const mean = sum / classes;
    for (let i = from; i < end; i += inner) values[i]! -= mean;
  }
  return { values, best };
}

/** Sums over values y of one network and z of another. */
interface Sums {
  /** Σ (y − z)² */
  difference: number;
  product: number;
  squares: number;
  of: number;
  /** rows with the same best class, and all rows */
  same: number;
  rows: number;
  /** the best classes of the last row */
  classes: { before: number; after: number } | null;
}

/** Sums over one value of one sample, the one of place `index` in a run of `count`. */
function sumsOf(judged: Judged, before: Seen, array: OnnxArray, index: number, count: number): Sums {
  const [y, z] = [before.values, floatsOfArray(array)];
  const { classes, inner } = before.best ? rowsOf(judged, array.shape)! : { classes: y.length / count, inner: 1 };
  const rows = y.length / classes / count;
  const sums: Sums = { difference: 0, product: 0, squares: 0, of: 0, same: 0, rows: 0, classes: null };
  for (let row = index * rows; row < (index + 1) * rows; row++) {
    const from = Math.floor(row / inner) * classes * inner + (row % inner);
    const end = from + classes * inner;
    let [difference, product, squares, of, total] = [0, 0, 0, 0, 0];
    let [top, most] = [from, z[from]!];
    for (let i = from; i < end; i += inner) {
      // a list of both would be made anew for every element: this loop is the host's largest where there are many classes
      const a = y[i]!;
      const b = z[i]!;
      const gap = a - b;
      difference += gap * gap;
      product += a * b;
      squares += b * b;
      of += a * a;
      total += b;
      if (b > most) {
        most = b;
        top = i;
      }
    }
    if (judged.shiftless && before.best) {
      // y has mean 0 over the classes, and z is taken as if it had
      const shift = total ** 2 / classes;
      difference = Math.max(0, difference - shift);
      squares = Math.max(0, squares - shift);
    }
    sums.difference += difference;
    sums.product += product;
    sums.squares += squares;
    sums.of += of;
    if (!before.best) continue;
    sums.classes = { before: before.best[row]!, after: (top - from) / inner };
    if (sums.classes.before === sums.classes.after) sums.same++;
    sums.rows++;
  }
  return sums;
}

/** What another network makes of one sample. */
export interface SampleAgreement {
  /** ‖y − ŷ‖ as a share of the samples' spread: its root mean square over all samples is the error of them; of several outputs the largest */
  error: number;
  /** the part of the sample's classifications that stay; null where outputs are no classes */
  agreement: number | null;
  /** the best class of both networks; null where a sample has several, or none */
  classes: { before: number; after: number } | null;
}

/** Compares networks with one network, on some samples. */
export class OutputJudge {
  private constructor(
    private readonly sessions: OnnxSessions,
    private readonly judged: readonly Judged[],
    private readonly runs: readonly OnnxFeeds[],
    private readonly counts: readonly number[],
    private readonly reference: readonly (readonly Seen[])[],
    /** of each value: the energy of its difference from the mean */
    private readonly spread: readonly { energy: number }[],
  ) {}

  /** @param counts how many samples each run has; one by default */
  static async of(
    sessions: OnnxSessions,
    model: OnnxModel,
    runs: readonly OnnxFeeds[],
    counts: readonly number[] = runs.map(() => 1),
  ): Promise<OutputJudge> {
    const judged = judgedOf(model);
    const reference: Seen[][] = [];
    const sums = judged.map(() => ({ count: 0, sum: 0, squares: 0 }));
    const part = await Part.open(sessions, model, judged);
    try {
      for (const feeds of runs) {
        const values = await part.run(feeds);
        reference.push(
          judged.map((one, at) => {
            const now = seen(one, values[one.name]!);
            const total = sums[at]!;
            total.count += now.values.length;
            for (const value of now.values) {
              total.sum += value;
              total.squares += value * value;
            }
            return now;
          }),
        );
      }
    } finally {
      await part.release();
    }
    const spread = sums.map(({ count, sum, squares }) => ({
      energy: Math.max(squares - sum ** 2 / Math.max(count, 1), squares * 1e-12),
    }));
    const odd = sums.findIndex(({ squares }) => !Number.isFinite(squares));
    if (odd >= 0)
      throw new TenfoldError(`compressOnnx: the model gives NaN or infinity for ${judged[odd]!.name} on a sample`);
    return new OutputJudge(sessions, judged, runs, counts, reference, spread);
  }

  get samples(): number {
    return this.counts.reduce((sum, count) => sum + count, 0);
  }

  /** The runs, for a network that is settled up to a place. */
  relay(memory: number): Relay {
    return new Relay(this.sessions, this.runs, memory);
  }

  /** @param relay of the same runs, of a network that is settled as this one is */
  async of(model: OnnxModel, relay?: Relay): Promise<Agreement> {
    return (await this.compare(model, relay)).agreement;
  }

  /** How near a network is, and on which samples: these in the order of the runs. */
  async compare(model: OnnxModel, relay?: Relay): Promise<{ agreement: Agreement; samples: SampleAgreement[] }> {
    const { judged, reference, counts, spread } = this;
    /** of each sample, of each value */
    const each: Sums[][] = [];
    const { runs, from } = (await relay?.reach()) ?? { runs: this.runs, from: [] };
    const part = await Part.open(this.sessions, model, judged, from);
    try {
      for (const [at, feeds] of runs.entries()) {
        const values = await part.run(feeds);
        const count = counts[at]!;
        for (let index = 0; index < count; index++)
          each.push(judged.map((one, which) => sumsOf(one, reference[at]![which]!, values[one.name]!, index, count)));
      }
    } finally {
      await part.release();
    }
    const total = (which: number, key: Exclude<keyof Sums, "classes">): number =>
      each.reduce((sum, sums) => sum + sums[which]![key], 0);
    const lost = judged.map((_, which) => ({
      ...{ difference: total(which, "difference"), product: total(which, "product") },
      ...{ squares: total(which, "squares"), of: total(which, "of") },
      ...{ same: total(which, "same"), rows: total(which, "rows") },
    }));
    const [same, rows] = lost.reduce(([same, rows], one) => [same + one.same, rows + one.rows], [0, 0]);
    const errors = lost.map(({ difference }, which) => relative(difference, spread[which]!.energy));
    const cosines = lost.map(({ product, squares, of }) =>
      squares > 0 && of > 0 ? product / Math.sqrt(squares * of) : squares === of ? 1 : 0,
    );
    const finite = (value: number, worst: number): number => (Number.isNaN(value) ? worst : value);
    const largest = (values: readonly number[]): number =>
      Math.max(...values.map((value) => finite(value, Number.POSITIVE_INFINITY)));
    return {
      agreement: {
        error: largest(errors),
        cosine: Math.min(...cosines.map((value) => finite(value, -1))),
        agreement: rows ? same / rows : null,
      },
      samples: each.map((sums): SampleAgreement => {
        const [same, rows] = sums.reduce(([same, rows], one) => [same + one.same, rows + one.rows], [0, 0]);
        const share = ({ difference }: Sums, which: number): number =>
          relative(difference * each.length, spread[which]!.energy);
        return {
          error: largest(sums.map(share)),
          agreement: rows ? same / rows : null,
          classes: rows === 1 ? sums.find((one) => one.rows)!.classes : null,
        };
      }),
    };
  }
}

/** A relative error from its square and what that is a share of; 1 for any error where the original has nothing but zeros. */
const relative = (difference: number, energy: number): number =>
  energy > 0 ? Math.sqrt(difference / energy) : difference === 0 ? 0 : 1;

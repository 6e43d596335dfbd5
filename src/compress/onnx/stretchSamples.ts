/** Values of a stretch of a network on samples: what it reads, and what it gives at its end and inside. */
import { type Engine, sizeOf } from "../../gpu/index.js";
import type { OnnxModel } from "../../onnx/index.js";
import { concatenated } from "../../onnx/tensors.js";
import type { Stretch } from "./networkOf.js";
import { floatsOfArray, type OnnxFeeds, type OnnxSessions, Part } from "./session.js";

/** the part of the loss, and of gradients, that features have together; the stretch's end has the rest */
const FEATURES = 0.5;

export interface StretchSamples {
  inputs: Float32Array;
  /** of each sample: the features, and the stretch's end behind them */
  targets: Float32Array;
  count: number;
}

/** A value that is learnt, and its entries in one sample. */
export interface Learnt {
  name: string;
  size: number;
}

export interface SourceOptions {
  engine: Engine;
  sessions: OnnxSessions;
  /** gives the targets */
  original: OnnxModel;
  /** gives the inputs */
  model: OnnxModel;
  /** bytes that inputs and targets may take on the host, and on the GPU */
  memory: number;
}

/** Samples that memory allows, where so many numbers of each are read, and so many learnt. */
export function mostSamples({ engine, memory }: SourceOptions, width: number, height: number): number {
  // half of the room is for blends
  const binding = engine.device.limits.maxStorageBufferBindingSize / (8 * Math.max(width, height));
  return Math.floor(Math.min(binding, memory / (8 * (width + height))));
}

/** Scales by which squared differences are shares of variances. Features have the same part of the sum each, and half of it together. */
export function scalesOf({ targets, count }: StretchSamples, learnt: readonly Learnt[]): number[] {
  const total = targets.length / count;
  let first = 0;
  return learnt.map(({ size }, at) => {
    let [sum, squares] = [0, 0];
    for (let row = 0; row < count; row++)
      for (let i = row * total + first; i < row * total + first + size; i++) {
        sum += targets[i]!;
        squares += targets[i]! ** 2;
      }
    first += size;
    const entries = count * size;
    const variance = Math.max(squares / entries - (sum / entries) ** 2, (1e-12 * squares) / entries, 1e-30);
    const share = at === learnt.length - 1 ? 1 - FEATURES : FEATURES / (learnt.length - 1);
    return Math.sqrt((share * total) / (size * variance));
  });
}

/** Matrices of so many rows as one: the rows of each behind those of the one before. */
export function besideEachOther(parts: readonly (Float32Array | Float64Array)[], rows: number): Float32Array {
  const width = parts.reduce((sum, { length }) => sum + length, 0) / rows;
  const out = new Float32Array(rows * width);
  let column = 0;
  for (const part of parts) {
    const size = part.length / rows;
    for (let row = 0; row < rows; row++) out.set(part.subarray(row * size, (row + 1) * size), row * width + column);
    column += size;
  }
  return out;
}

/** What a stretch reads in the model that learns, and what it shall give: what the original has there. */
export class SampleSource {
  private constructor(
    private readonly stretch: Stretch,
    private readonly learnt: readonly Learnt[],
    private readonly before: Part,
    private readonly after: Part,
    /** the most samples that memory allows */
    private readonly most: number,
  ) {}

  /** @param learnt in the order of a sample's targets */
  static async open(stretch: Stretch, learnt: readonly Learnt[], options: SourceOptions): Promise<SampleSource> {
    const { sessions, original, model } = options;
    const height = learnt.reduce((sum, { size }) => sum + size, 0);
    const most = Math.max(1, mostSamples(options, sizeOf(stretch.sample), height));
    const { dataType } = stretch.layers.flatMap(({ places }) => places)[0]!.tensor;
    const before = await Part.open(sessions, model, [{ name: stretch.from, dataType }]);
    try {
      const values = learnt.map(({ name }) => ({ name, dataType }));
      const after = await Part.open(sessions, original, values);
      return new SampleSource(stretch, learnt, before, after, most);
    } catch (error) {
      await before.release();
      throw error;
    }
  }

  /** Those of the samples whose values have the shapes of the stretch, as many as memory allows. */
  async read(runs: readonly OnnxFeeds[]): Promise<StretchSamples> {
    const { learnt, most } = this;
    const { from, sample } = this.stretch;
    const inputs: Float32Array[] = [];
    const targets: Float32Array[] = [];
    let count = 0;
    for (const feeds of runs) {
      if (count >= most) break;
      const x = (await this.before.run(feeds))[from]!;
      const values = await this.after.run(feeds);
      const all = x.shape[0]!;
      const fits = ({ name, size }: Learnt): boolean =>
        values[name]!.shape[0] === all && sizeOf(values[name]!.shape) === all * size;
      if (`${x.shape.slice(1)}` !== `${sample}` || !learnt.every(fits)) continue;
      const rows = Math.min(all, most - count);
      inputs.push(Float32Array.from(floatsOfArray(x).subarray(0, rows * sizeOf(sample))));
      const parts = learnt.map(({ name, size }) => floatsOfArray(values[name]!).subarray(0, rows * size));
      targets.push(besideEachOther(parts, rows));
      count += rows;
    }
    return { inputs: concatenated(inputs), targets: concatenated(targets), count };
  }

  async release(): Promise<void> {
    await this.before.release();
    await this.after.release();
  }
}

/**
 * Means and covariances of the vectors that layers' weights are multiplied with. Products are made a block of rows at a
 * time in f32, and blocks are added up on the host in f64, so that a sum of 10⁵ patches is as exact as one of 10³. What is summed is
 * the difference from the first block's mean, because a large mean would drown the variance in f32.
 */
import { DATA_TYPES, FLOAT } from "../../onnx/dataTypes.js";
import type { OnnxModel, OnnxSite } from "../../onnx/index.js";
import { patchesOf } from "./patches.js";
import type { Products } from "./products.js";
import type { Relay } from "./relay.js";
import { hashOf, randomNumbers } from "./samples.js";
import { type OnnxArray, type OnnxFeeds, type OnnxSessions, Part } from "./session.js";
import { isNarrow } from "./wide.js";

/** Of patches x in the original network, and of patches z at the same places of a network that is compressed so far. */
export interface Moments {
  count: number;
  meanX: Float64Array;
  meanZ: Float64Array;
  /** E[(z − mean)(z − mean)ᵀ], d×d */
  covariance: Float64Array;
  /** E[(x − mean)(z − mean)ᵀ], d×d; the same array as `covariance` where z is x */
  cross: Float64Array;
  /** the same of some of the samples each, which together are all samples; none where they were not asked for */
  parts?: readonly MomentPart[];
}

/** Sums over some samples, of differences from the means over all samples: those of all others are found by subtracting them. */
export interface MomentPart {
  count: number;
  /** Σ(x − mean x), Σ(z − mean z) */
  sumX: Float64Array;
  sumZ: Float64Array;
  /** Σ(z − mean z)(z − mean z)ᵀ, d×d */
  covariance: Float32Array;
  /** Σ(x − mean x)(z − mean z)ᵀ, d×d; the same array as `covariance` where z is x */
  cross: Float32Array;
}

/** Rows of one product: their sum rounds by 1e-6 of the norms or so. More of them where a result is large beside them. */
const rowsFor = (width: number): number => (width < 2048 ? 1024 : 4096);

/** Patches that are taken of a layer: so many for each of its inputs, and at least so many. */
const [PATCHES_AN_INPUT, LEAST_PATCHES] = [32, 16384];

/** The rows of one network: a block that fills, and what is taken from each row. */
class Rows {
  readonly block: Float32Array;
  readonly shift: Float32Array;
  constructor(readonly width: number) {
    this.block = new Float32Array(rowsFor(width) * width);
    this.shift = new Float32Array(width);
  }

  /** Before the first product: from now on the difference from the mean of these rows is taken. */
  centre(rows: number): void {
    const { block, width, shift } = this;
    const mean = new Float64Array(width);
    for (let row = 0, at = 0; row < rows; row++) for (let i = 0; i < width; i++, at++) mean[i]! += block[at]!;
    for (let i = 0; i < width; i++) shift[i] = mean[i]! / rows;
    for (let row = 0, at = 0; row < rows; row++) for (let i = 0; i < width; i++, at++) block[at]! -= shift[i]!;
  }

  /** Adds the rows to a sum; rows beyond `rows` become 0. */
  close(rows: number, sum: Float64Array): void {
    const { block, width } = this;
    for (let row = 0, at = 0; row < rows; row++) for (let i = 0; i < width; i++, at++) sum[i]! += block[at]!;
    block.fill(0, rows * width);
  }
}

type Sum = Float32Array | Float64Array;

/** Sums over the rows of one part. */
class PartSums {
  count = 0;
  readonly sumX: Float64Array;
  readonly sumZ: Float64Array;
  readonly zz: Sum;
  readonly xz: Sum;

  /** @param narrow whether products are summed in f32: parts have few of them, and there are several */
  constructor(width: number, pair: boolean, narrow: boolean) {
    const make = (): Sum => new (narrow ? Float32Array : Float64Array)(width * width);
    this.sumX = new Float64Array(width);
    this.sumZ = pair ? new Float64Array(width) : this.sumX;
    this.zz = make();
    this.xz = pair ? make() : this.zz;
  }

  /** Sums about other shifts, which are larger by so much. */
  move(dx: Float64Array, dz: Float64Array): void {
    const { count, sumX, sumZ, zz, xz } = this;
    const width = sumX.length;
    for (const [sums, sum, d] of xz === zz
      ? [[zz, sumZ, dz] as const]
      : ([
          [zz, sumZ, dz],
          [xz, sumX, dx],
        ] as const))
      for (let i = 0, at = 0; i < width; i++)
        for (let j = 0; j < width; j++, at++) sums[at]! += d[i]! * (count * dz[j]! - sumZ[j]!) - sum[i]! * dz[j]!;
    for (const [sum, d] of xz === zz
      ? [[sumZ, dz] as const]
      : ([
          [sumZ, dz],
          [sumX, dx],
        ] as const))
      for (let i = 0; i < width; i++) sum[i]! -= count * d[i]!;
  }
}

/** Sums for one layer. */
export class MomentSums {
  private readonly x: Rows;
  private readonly z: Rows | null;
  private readonly parts: PartSums[];
  private part = 0;
  private filled = 0;
  private begun = false;

  /**
   * @param width inputs of the layer, times the kernel's taps
   * @param pair whether there are rows of two networks
   * @param parts of the samples, whose moments are kept, too; 1 for none
   */
  constructor(
    private readonly products: Products,
    private readonly width: number,
    private readonly pair: boolean,
    parts = 1,
  ) {
    this.x = new Rows(width);
    this.z = pair ? new Rows(width) : null;
    this.parts = Array.from({ length: parts }, () => new PartSums(width, pair, parts > 1));
  }

  /** Takes one row of a part. Each writes itself, less a shift, into an array from an index on. */
  async add(
    write: (rows: "x" | "z", out: Float32Array, at: number, shift: Float32Array) => void,
    part = 0,
  ): Promise<void> {
    if (part !== this.part) await this.flush();
    this.part = part;
    const at = this.filled * this.width;
    write("x", this.x.block, at, this.x.shift);
    if (this.z) write("z", this.z.block, at, this.z.shift);
    if (++this.filled === rowsFor(this.width)) await this.flush();
  }

  private async flush(): Promise<void> {
    const { products, x, z, filled, width } = this;
    if (!filled) return;
    const part = this.parts[this.part]!;
    if (!this.begun) for (const one of z ? [x, z] : [x]) one.centre(filled);
    this.begun = true;
    x.close(filled, part.sumX);
    z?.close(filled, part.sumZ);
    part.count += filled;
    this.filled = 0;
    const rows = rowsFor(width);
    const inputs = (z ?? x).block;
    const add = async (left: Float32Array, sums: Sum): Promise<void> => {
      const summands = await products.across(left, inputs, rows, width);
      for (let i = 0; i < sums.length; i++) sums[i]! += summands[i]!;
    };
    await add(inputs, part.zz);
    if (z) await add(x.block, part.xz);
  }

  /** The moments of all rows. */
  async finish(): Promise<Moments> {
    await this.flush();
    const { parts, width, pair } = this;
    const count = parts.reduce((sum, part) => sum + part.count, 0);
    const n = Math.max(1, count);
    const meanOf = (key: "sumX" | "sumZ"): Float64Array =>
      Float64Array.from({ length: width }, (_, i) => parts.reduce((sum, part) => sum + part[key][i]!, 0) / n);
    const [offsetX, offsetZ] = [meanOf("sumX"), meanOf("sumZ")];
    for (const part of parts) part.move(offsetX, offsetZ);
    const together = (key: "zz" | "xz"): Float64Array => {
      const out = parts.length > 1 ? new Float64Array(width * width) : (parts[0]![key] as Float64Array);
      if (parts.length > 1) for (const part of parts) for (let i = 0; i < out.length; i++) out[i]! += part[key][i]!;
      for (let i = 0; i < out.length; i++) out[i]! /= n;
      return out;
    };
    const covariance = together("zz");
    return {
      count,
      meanX: offsetX.map((value, i) => value + this.x.shift[i]!),
      meanZ: offsetZ.map((value, i) => value + (this.z ?? this.x).shift[i]!),
      covariance,
      cross: pair ? together("xz") : covariance,
      ...(parts.length > 1 && {
        parts: parts.map(({ count, sumX, sumZ, zz, xz }) => ({
          ...{ count, sumX, sumZ },
          ...{ covariance: zz as Float32Array, cross: xz as Float32Array },
        })),
      }),
    };
  }
}

/** Runs of both networks from a place on before which both are settled. */
export interface Relays {
  original: Relay;
  current: Relay;
}

export interface CollectOptions {
  products: Products;
  sessions: OnnxSessions;
  /** where the targets come from */
  original: OnnxModel;
  /** where the layers' inputs come from; the original by default */
  current?: OnnxModel | undefined;
  sites: readonly OnnxSite[];
  /** runs of the model */
  runs: readonly OnnxFeeds[];
  /** the same runs, of both networks, with what is settled before the layers */
  relays?: Relays | undefined;
  /** how many samples each run has; one by default */
  counts?: readonly number[];
  /** how many parts of the samples, neighbours each, a site's moments are kept of, too; 1 for none */
  partsOf?: (site: OnnxSite) => number;
  /** how many patches are taken of each layer at most, at places that are drawn, over all runs */
  patches: number;
  seed: number;
  onRun?: ((done: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/** Entries of the vectors that a site's weights are multiplied with: inputs times the kernel's taps; of transposed ones inputs alone. */
export const widthOf = (site: OnnxSite): number =>
  site.kind === "transposedConvolution" ? site.shape[1]! : site.shape.slice(1).reduce((a, b) => a * b, 1);

/** The element type of a site's values. */
export const typeOf = ({ dtype }: OnnxSite): number =>
  Number(Object.entries(DATA_TYPES).find(([, { name }]) => name === dtype)?.[0] ?? FLOAT);

/** The moments of groups, one behind the other. */
function joinedMoments(parts: readonly Moments[]): Moments {
  if (parts.length === 1) return parts[0]!;
  const join = (key: "meanX" | "meanZ" | "covariance" | "cross"): Float64Array => {
    const out = new Float64Array(parts.length * parts[0]![key].length);
    for (const [at, one] of parts.entries()) out.set(one[key], at * one[key].length);
    return out;
  };
  const covariance = join("covariance");
  const cross = parts[0]!.cross === parts[0]!.covariance ? covariance : join("cross");
  // the parts of samples of a layer in groups are not kept
  return { count: parts[0]!.count, meanX: join("meanX"), meanZ: join("meanZ"), covariance, cross };
}

/** The moments of the inputs of some layers, in one pass over the samples; of a layer in groups those of all groups, one behind the other. */
export async function collectMoments(options: CollectOptions): Promise<Map<string, Moments>> {
  const { products, sessions, original, current, sites, runs, relays, patches, seed, onRun, signal } = options;
  const { counts = runs.map(() => 1), partsOf = () => 1 } = options;
  const values = sites.map((site) => ({ name: site.input, dataType: typeOf(site) }));
  const whole = { runs, from: [] };
  const begun = (await relays?.original.reach()) ?? whole;
  const begunNow = (await relays?.current.reach()) ?? whole;
  const before = await Part.open(sessions, original, values, begun.from);
  const now = current && current !== original ? await Part.open(sessions, current, values, begunNow.from) : null;
  const sumsOf = (site: OnnxSite): MomentSums[] =>
    Array.from({ length: site.groups }, () => new MomentSums(products, widthOf(site), now !== null, partsOf(site)));
  const sums = new Map(sites.map((site) => [site.id, sumsOf(site)]));
  // places do not depend on which layers are collected together
  const random = new Map(sites.map(({ id }) => [id, randomNumbers(seed + hashOf(id))]));
  const samples = counts.reduce((a, b) => a + b, 0);
  let sample = 0;
  try {
    for (const done of runs.keys()) {
      signal?.throwIfAborted();
      const x = await before.run(begun.runs[done]!);
      const z = now ? await now.run(begunNow.runs[done]!) : x;
      for (const site of sites) {
        const read = async (values: typeof x): Promise<OnnxArray> =>
          isNarrow(site) ? await site.basis.project(sessions, values[site.input]!) : values[site.input]!;
        const inputs = await read(x);
        const inputsNow = now && (await read(z));
        const rows = sums.get(site.id)!.map((sum, group) => ({
          ...{ sum, x: patchesOf(site, inputs, group), z: inputsNow && patchesOf(site, inputsNow, group) },
        }));
        const { count } = rows[0]!.x;
        const wanted = Math.min(patches, Math.max(LEAST_PATCHES, PATCHES_AN_INPUT * widthOf(site)));
        const taken = Math.min(count, Math.max(8, Math.ceil(wanted / runs.length)));
        const draw = random.get(site.id)!;
        for (let k = 0; k < taken; k++) {
          // one place in each of `taken` equal parts
          const index = Math.min(count - 1, Math.floor(((k + draw()) * count) / taken));
          const of = sample + Math.floor((index * counts[done]!) / count);
          const part = Math.floor((of * partsOf(site)) / samples);
          for (const one of rows)
            await one.sum.add((which, out, at, shift) => one[which]!.write(index, out, at, shift), part);
        }
      }
      sample += counts[done]!;
      onRun?.(done + 1);
    }
    const moments = new Map<string, Moments>();
    for (const site of sites) {
      const parts: Moments[] = [];
      for (const sum of sums.get(site.id)!) parts.push(await sum.finish());
      moments.set(site.id, joinedMoments(parts));
    }
    return moments;
  } finally {
    await before.release();
    await now?.release();
  }
}

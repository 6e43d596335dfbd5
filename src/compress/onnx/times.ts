/** Times of layers and of what stands in their place, each alone in the runtime. */
import { cutOnnx } from "../../onnx/cut.js";
import { type OnnxModel, type OnnxReplacement, type OnnxSite, replaceSites, writeOnnx } from "../../onnx/index.js";
import type { FitCandidate } from "./fits.js";
import { factorShapes } from "./fits.js";
import { typeOf } from "./moments.js";
import type { OnnxArray, OnnxSession, OnnxSessions } from "./session.js";

/** how often a layer and a candidate run in turn */
const ROUNDS = 7;
/** candidates of a layer that are timed, spread over their multiplications */
const MOST_TIMED = 10;

const TYPED: Readonly<Record<string, (size: number) => OnnxArray["data"]>> = {
  float32: (size) => Float32Array.from({ length: size }, (_, i) => Math.sin(i)),
  float64: (size) => Float64Array.from({ length: size }, (_, i) => Math.sin(i)),
  float16: (size) => new Uint16Array(size).fill(0x3800),
};

/** Milliseconds of layers by their shapes, so that layers alike are measured once. */
export class LayerTimes {
  private readonly known = new Map<string, { original: number; candidates: FitCandidate[] }>();

  constructor(
    private readonly sessions: OnnxSessions,
    private readonly model: OnnxModel,
    private readonly options: { fixedInputs: boolean; join: boolean },
  ) {}

  /** The time of a layer, and candidates with times; a candidate that was not timed is not among them. */
  async of(
    site: OnnxSite,
    candidates: readonly FitCandidate[],
  ): Promise<{ original: number; candidates: FitCandidate[] }> {
    const step = Math.max(1, candidates.length / MOST_TIMED);
    const taken = candidates.filter((_, at) => Math.floor(at / step) !== Math.floor((at - 1) / step));
    const names = taken.map(({ scheme, ranks }) => `${scheme} ${ranks.join()}`).join(";");
    const key = `${keyOf(site)} ${names}`;
    const before = this.known.get(key);
    if (before)
      return { ...before, candidates: taken.map((one, at) => ({ ...one, time: before.candidates[at]!.time! })) };
    const original = await this.open(site, null);
    const feeds = this.feeds(site);
    let total = 0;
    const timed: FitCandidate[] = [];
    try {
      for (const candidate of taken) {
        const session = await this.open(site, candidate);
        try {
          const pairs: [number, number][] = [];
          // the first pair allocates
          for (let round = 0; round <= ROUNDS; round++) {
            const pair: [number, number] = [await timeOf(original, feeds), await timeOf(session, feeds)];
            if (round) pairs.push(pair);
          }
          const base = median(pairs.map(([one]) => one));
          total += base / taken.length;
          timed.push({ ...candidate, time: median(pairs.map(([one, other]) => other / one)) });
        } finally {
          await session.release();
        }
      }
    } finally {
      await original.release();
    }
    const result = { original: total, candidates: timed.map((one) => ({ ...one, time: one.time! * total })) };
    this.known.set(key, result);
    return result;
  }

  /** Milliseconds of a layer as it is, by itself: the least of several runs, which other work of the machine disturbs least. */
  async alone(site: OnnxSite): Promise<number> {
    const key = keyOf(site);
    const before = this.known.get(key);
    if (before) return before.original;
    const session = await this.open(site, null);
    const feeds = this.feeds(site);
    const all: number[] = [];
    try {
      for (let round = 0; round <= ROUNDS; round++) all.push(await timeOf(session, feeds));
    } finally {
      await session.release();
    }
    const original = Math.min(...all);
    this.known.set(key, { original, candidates: [] });
    return original;
  }

  private feeds(site: OnnxSite): Record<string, OnnxArray> {
    const shape = site.inputShape!.map((extent) => extent ?? 1);
    const size = shape.reduce((a, b) => a * b, 1);
    return { [site.input]: { dtype: site.dtype, shape, data: (TYPED[site.dtype] ?? TYPED.float32!)(size) } };
  }

  private async open(site: OnnxSite, candidate: FitCandidate | null): Promise<OnnxSession> {
    let { model } = this;
    if (candidate) {
      const factors = factorShapes(site, candidate.scheme, candidate.ranks).map((shape) => ({
        shape,
        data: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(0.01),
      }));
      const replacement: OnnxReplacement = { site: site.id, scheme: candidate.scheme, factors };
      model = replaceSites(model, [replacement], this.options);
    }
    const dataType = typeOf(site);
    const part = cutOnnx(
      model,
      site.outputs.map((name) => ({ name, dataType })),
      [{ name: site.input, dataType }],
    );
    return this.sessions(writeOnnx(part));
  }
}

/** The same for layers that are alike. */
const keyOf = ({ op, shape, geometry, inputShape, dtype, parts }: OnnxSite): string =>
  JSON.stringify([op, shape, geometry, inputShape, dtype, parts]);

async function timeOf(session: OnnxSession, feeds: Record<string, OnnxArray>): Promise<number> {
  const start = performance.now();
  await session.run(feeds);
  return performance.now() - start;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

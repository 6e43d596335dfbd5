/** Times of sessions in turns; of layers and of what stands in their place, each alone in the runtime. */
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
          const [base, time] = (await timesInTurns([original, session], feeds, { rounds: ROUNDS })) as [number, number];
          total += base / taken.length;
          timed.push({ ...candidate, time: time / base });
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

  /** Milliseconds of a layer as it is. */
  async alone(site: OnnxSite): Promise<number> {
    const key = keyOf(site);
    let known = this.known.get(key);
    if (!known) {
      const session = await this.open(site, null);
      try {
        const [original] = (await timesInTurns([session], this.feeds(site), { rounds: ROUNDS })) as [number];
        known = { original, candidates: [] };
      } finally {
        await session.release();
      }
      this.known.set(key, known);
    }
    return known.original;
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

/**
 * Milliseconds of a run of each session. They run in turns, so that what else the machine does hits all of them: of the first the median,
 * of the others that times the median of their shares of it.
 *
 * @param options milliseconds that each runs before that (the first run allocates) and in a turn: one run at least
 */
export async function timesInTurns(
  sessions: readonly OnnxSession[],
  feeds: Readonly<Record<string, OnnxArray>>,
  { rounds, warmUp = 0, least = 0, onRound }: { rounds: number; warmUp?: number; least?: number; onRound?: () => void },
): Promise<number[]> {
  const turn = async (session: OnnxSession, least: number): Promise<number> => {
    const start = performance.now();
    for (let runs = 1; ; runs++) {
      await session.run(feeds);
      const ms = performance.now() - start;
      if (ms >= least) return ms / runs;
    }
  };
  for (const session of sessions) await turn(session, warmUp);
  const all: number[][] = [];
  for (let round = 0; round < rounds; round++) {
    const times: number[] = [];
    for (const session of sessions) times.push(await turn(session, least));
    all.push(times);
    onRound?.();
  }
  const first = median(all.map(([ms]) => ms!));
  return sessions.map((_, at) => first * median(all.map((times) => times[at]! / times[0]!)));
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

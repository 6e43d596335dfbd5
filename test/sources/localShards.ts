/** Shards in this process, in place of those on other machines. */
import { dispose, type Engine } from "../../src/gpu/index.js";
import {
  type Block,
  joinAnswers,
  Shard,
  type ShardAnswer,
  type ShardRequest,
  type Shards,
  type ShardTensor,
} from "../../src/sources/index.js";

export class LocalShards implements Shards {
  readonly shape: readonly number[];
  readonly missing: boolean;
  readonly #shards: { shard: Shard; starts: number[]; sent: Set<number> }[];
  /** questions that were asked */
  readonly asked: ShardRequest[] = [];

  constructor(
    engine: Engine,
    readonly x: ShardTensor,
    /** all of X */
    readonly bytes: Uint8Array,
    readonly blockRows: number,
    /** how many shards there are, and how many blocks each of them keeps */
    { count = 2, keeps = 1 }: { count?: number; keeps?: number } = {},
    /** changes what travels, or fails */
    readonly onAsk: (request: ShardRequest) => void = () => {},
  ) {
    this.shape = x.shape;
    this.missing = x.missing;
    this.keeps = keeps;
    const blocks = Math.ceil(x.shape[0]! / blockRows);
    this.#shards = Array.from({ length: count }, (_, index) => ({
      shard: new Shard(engine, x),
      // by turns, so that rows of a shard are in several ranges
      starts: Array.from({ length: blocks }, (_, block) => block * blockRows).filter(
        (_, block) => block % count === index,
      ),
      sent: new Set<number>(),
    }));
  }

  readonly keeps: number;

  async ask(request: ShardRequest, signal: AbortSignal | undefined): Promise<ShardAnswer> {
    this.asked.push(request);
    this.onAsk(request);
    const [extent] = this.shape as [number];
    const row = this.bytes.length / extent;
    const answers: ShardAnswer[] = [];
    for (const { shard, starts, sent } of this.#shards) {
      const blocks = starts.map((start, index): Block => {
        const rows = Math.min(this.blockRows, extent - start);
        const keep = index < this.keeps;
        const read = sent.has(start) ? null : async () => this.bytes.subarray(start * row, (start + rows) * row);
        if (keep) sent.add(start);
        return { start, rows, keep, read };
      });
      answers.push(await shard.answer(request, blocks, signal));
    }
    return joinAnswers(answers);
  }

  [dispose](): void {
    for (const { shard } of this.#shards) shard[dispose]();
  }
}

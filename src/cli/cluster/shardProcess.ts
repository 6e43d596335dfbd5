/** A process that holds blocks of a tensor and answers questions about them, over pipes: what runs beside each worker of a cluster. */
import { dispose, type Engine, isSoftware, TenfoldError } from "../../gpu/index.js";
import { encodeFrame, type Frame, type FrameArray, FrameReader } from "../../io/index.js";
import { type Block, type HostArray, Shard, type ShardRequest, type ShardTensor } from "../../sources/index.js";
import { tenfoldVersion } from "../version.js";

/** What changes when processes of another version would misunderstand frames. */
export const PROTOCOL = 1;

/** Where frames come from and go to. */
export interface Pipe {
  input: AsyncIterable<Uint8Array>;
  /** resolves when more may be written */
  write(bytes: Uint8Array): Promise<void>;
}

export async function writeFrame(pipe: Pipe, header: object, arrays: Record<string, FrameArray> = {}): Promise<void> {
  for (const piece of encodeFrame(header, arrays)) await pipe.write(piece);
}

/** An error as a frame tells it. */
export const errorHeader = (error: unknown): object => ({
  verb: "error",
  code: error instanceof TenfoldError ? error.code : null,
  message: error instanceof Error ? error.message : String(error),
});

/** Where a question says that a block comes: its numbers follow in a frame of their own, in order, where `sent`. */
interface AskedBlock {
  start: number;
  rows: number;
  keep: boolean;
  sent: boolean;
}

/**
 * Serves frames until the pipe ends: `hello` (version and adapter), `open` (what X is), `ask` (a question, its arrays and its blocks) and `close`
 * (frees what there is of X; another may be opened). An error is an answer, too.
 */
export async function serveShard(engine: Engine, pipe: Pipe): Promise<void> {
  const frames = new FrameReader(pipe.input, "the shard's input");
  let memory = new Turns();
  let shard: Shard | null = null;
  try {
    for (let frame = await frames.next(); frame; frame = await frames.next()) {
      const { verb } = frame.header;
      if (verb === "hello") {
        const { adapterName: adapter } = engine;
        const told = { verb, version: tenfoldVersion(), protocol: PROTOCOL, adapter, software: isSoftware(adapter) };
        await writeFrame(pipe, told);
      } else if (verb === "open") {
        shard?.[dispose]();
        shard = null;
        try {
          shard = new Shard(engine, frame.header.x as ShardTensor);
          await writeFrame(pipe, { verb: "opened" });
        } catch (error) {
          await writeFrame(pipe, errorHeader(error));
        }
      } else if (verb === "close") {
        shard?.[dispose]();
        shard = null;
        memory = new Turns();
        engine.trim();
        await writeFrame(pipe, { verb: "closed" });
      } else if (verb === "ask") await answer(shard, frame, frames, pipe, memory);
      else await writeFrame(pipe, errorHeader(new TenfoldError(`shard: ${verb} is no verb`)));
    }
  } finally {
    shard?.[dispose]();
  }
}

/** Memory for blocks: one is read while the one before is written to the GPU. */
class Turns {
  readonly #buffers = [new Uint8Array(0), new Uint8Array(0)];
  #turn = 0;

  readonly next = (bytes: number): Uint8Array<ArrayBuffer> => {
    this.#turn = 1 - this.#turn;
    // whole words of 32 bits, as the GPU is written
    if (this.#buffers[this.#turn]!.length < bytes) this.#buffers[this.#turn] = new Uint8Array(4 * Math.ceil(bytes / 4));
    return this.#buffers[this.#turn]!;
  };
}

async function answer(
  shard: Shard | null,
  { header, arrays }: Frame,
  frames: FrameReader,
  pipe: Pipe,
  memory: Turns,
): Promise<void> {
  const asked = header.blocks as AskedBlock[];
  /** how many blocks are still to come */
  let coming = asked.filter(({ sent }) => sent).length;
  const read = async (): Promise<Uint8Array> => {
    coming--;
    const frame = await frames.next(memory.next);
    if (!frame) throw new TenfoldError("shard: the pipe ended before all blocks came");
    if (frame.header.verb !== "block") {
      // whoever reads the chunks could not
      coming = 0;
      throw new TenfoldError(String(frame.header.message ?? "shard: a block did not come"), { code: "FILE" });
    }
    return frame.arrays.numbers!.data as Uint8Array;
  };
  try {
    if (!shard) throw new TenfoldError("shard: asked before a tensor was opened");
    const blocks = asked.map(({ start, rows, keep, sent }): Block => ({ start, rows, keep, read: sent ? read : null }));
    const request = { ...(header.question as object), arrays: arrays as Record<string, HostArray> } as ShardRequest;
    const { ranges, arrays: answered } = await shard.answer(request, blocks);
    await writeFrame(pipe, { verb: "answer", ranges, bytes: shard.bytes }, answered);
  } catch (error) {
    while (coming > 0) await read().catch(() => {});
    await writeFrame(pipe, errorHeader(error));
  }
}

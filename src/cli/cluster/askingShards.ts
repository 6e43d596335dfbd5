/** The shards of a tensor by way of a pipe, at whose other end a program places questions among workers. */
import { TenfoldError } from "../../gpu/index.js";
import { type Frame, FrameReader } from "../../io/index.js";
import type { HostArray, Joining, ShardAnswer, ShardRequest, Shards } from "../../sources/index.js";
import { tenfoldVersion } from "../version.js";
import { type Pipe, PROTOCOL, writeFrame } from "./shardProcess.js";

/** The next frame, unless it is an error. */
async function answerFrom(frames: FrameReader): Promise<Frame> {
  const frame = await frames.next();
  if (!frame) throw new TenfoldError("cluster: the program that asks the workers has ended");
  const { verb, message, code } = frame.header;
  if (verb === "error") throw new TenfoldError(`cluster: ${message}`, { code: code === "FILE" ? "FILE" : "USAGE" });
  return frame;
}

export class AskingShards implements Shards {
  private constructor(
    readonly frames: FrameReader,
    readonly pipe: Pipe,
    readonly name: string,
    readonly shape: readonly number[],
    readonly missing: boolean,
    readonly blockRows: number,
  ) {}

  /** Says hello, and hears what X is. */
  static async open(pipe: Pipe): Promise<AskingShards> {
    const frames = new FrameReader(pipe.input, "the cluster's answers");
    await writeFrame(pipe, { verb: "hello", version: tenfoldVersion(), protocol: PROTOCOL });
    const frame = await answerFrom(frames);
    const { name, shape, missing, blockRows } = frame.header as unknown as AskingShards;
    return new AskingShards(frames, pipe, name, shape, missing, blockRows);
  }

  async ask(request: ShardRequest, signal: AbortSignal | undefined): Promise<ShardAnswer> {
    signal?.throwIfAborted();
    const { arrays, ...question } = request;
    await writeFrame(this.pipe, { verb: "ask", question }, arrays as Record<string, HostArray>);
    const frame = await answerFrom(this.frames);
    return {
      ranges: frame.header.ranges as ShardAnswer["ranges"],
      arrays: frame.arrays as Record<string, HostArray & { joining: Joining }>,
    };
  }
}

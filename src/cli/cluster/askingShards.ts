/** The shards of a tensor by way of a pipe, at whose other end a program places questions among workers. */
import { TenfoldError } from "../../gpu/index.js";
import { FrameReader } from "../../io/index.js";
import type { HostArray, Joining, ShardAnswer, ShardRequest, Shards } from "../../sources/index.js";
import { tenfoldVersion } from "../version.js";
import { type Pipe, PROTOCOL, writeFrame } from "./shardProcess.js";

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
    const frame = await frames.next();
    if (!frame) throw new TenfoldError("cluster: the program that asks the workers has ended");
    const { name, shape, missing, blockRows } = frame.header as unknown as AskingShards;
    return new AskingShards(frames, pipe, name, shape, missing, blockRows);
  }

  async ask(request: ShardRequest, signal: AbortSignal | undefined): Promise<ShardAnswer> {
    signal?.throwIfAborted();
    const { arrays, ...question } = request;
    await writeFrame(this.pipe, { verb: "ask", question }, arrays as Record<string, HostArray>);
    const frame = await this.frames.next();
    if (!frame) throw new TenfoldError("cluster: the program that asks the workers has ended");
    if (frame.header.verb === "error")
      throw new TenfoldError(`cluster: ${frame.header.message}`, {
        code: frame.header.code === "FILE" ? "FILE" : "USAGE",
      });
    return {
      ranges: frame.header.ranges as ShardAnswer["ranges"],
      arrays: frame.arrays as Record<string, HostArray & { joining: Joining }>,
    };
  }
}

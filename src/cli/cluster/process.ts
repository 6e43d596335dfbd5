/** The roles that this program has in a cluster, where the environment variable TENFOLD_CLUSTER names one. */
import { once } from "node:events";
import { openEngine } from "../../node/open.js";
import type { Context } from "../context.js";
import { AskingShards } from "./askingShards.js";
import { errorHeader, type Pipe, serveShard, writeFrame } from "./shardProcess.js";

/** Standard input and output as a pipe of frames. Nothing else may be written to standard output. */
export const standardPipe = (): Pipe => ({
  input: process.stdin as AsyncIterable<Uint8Array>,
  async write(bytes) {
    if (!process.stdout.write(bytes)) await once(process.stdout, "drain");
  },
});

/** Serves a worker until its pipe ends. Returns the exit code. */
export async function runShard(): Promise<number> {
  // Ctrl-C in a terminal is for the program that asks
  process.on("SIGINT", () => {});
  const pipe = standardPipe();
  try {
    const engine = await openEngine();
    try {
      await serveShard(engine, pipe);
    } finally {
      engine.destroy();
    }
    return 0;
  } catch (error) {
    await writeFrame(pipe, errorHeader(error));
    return 1;
  }
}

/** The context of a command whose tensor is with workers: what it prints to standard output travels in frames, too. */
export function askingContext(context: Context): Context {
  const pipe = standardPipe();
  const print = (content: string | Uint8Array): void => {
    const data = typeof content === "string" ? new TextEncoder().encode(content) : content;
    void writeFrame(pipe, { verb: "print" }, { content: { shape: [data.length], data } });
  };
  return {
    ...context,
    stdout: { write: print, columns: Number(process.env.COLUMNS) || 80 },
    openShards: () => AskingShards.open(pipe),
  };
}

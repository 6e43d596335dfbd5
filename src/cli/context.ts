import type { Readable } from "node:stream";
import { type Engine, TenfoldError } from "../gpu/index.js";
import { type OpenOptions, openEngine } from "../node/open.js";
import type { Shards } from "../sources/index.js";
import type { LoadRuntime } from "./runtime.js";

/** A stream that a command writes to: process.stdout, process.stderr, or a test's. */
export interface Output {
  write(content: string | Uint8Array): unknown;
  isTTY?: boolean;
  columns?: number;
}

/** What a command gets from the process that runs it. */
export interface Context {
  /** results */
  stdout: Output;
  /** progress and errors */
  stderr: Output;
  /** what is piped in, for a file called `-` */
  stdin: Readable & { isTTY?: boolean };
  env: Readonly<Record<string, string | undefined>>;
  /** aborts at the first Ctrl-C */
  signal: AbortSignal;
  /** imports the runtime of ONNX models; tests have another */
  loadRuntime?: LoadRuntime | undefined;
  /** where the tensor is with workers of a cluster: connects with them, in place of opening a file */
  openShards?: (() => Promise<Shards>) | undefined;
  /** calls `work` with an engine and destroys the engine afterwards; tests pass an engine that they share */
  withEngine<T>(work: (engine: Engine) => Promise<T>, options?: PoolOption): Promise<T>;
}

/** How much memory of freed buffers the engine keeps. */
export type PoolOption = Pick<OpenOptions, "poolBytes">;

/** Calls `work` with a new engine. It destroys the engine afterwards, because Dawn keeps the process alive until then. */
export async function withEngine<T>(work: (engine: Engine) => Promise<T>, options: PoolOption = {}): Promise<T> {
  const engine = await openEngine(options);
  try {
    return await work(engine);
  } finally {
    engine.destroy();
  }
}

/** Options or input that cannot be used. The message is one line; the exit code is 2. */
export class InputError extends TenfoldError {
  override name = "InputError";
  override readonly code = "INPUT";
}

/** The user stopped the command by Ctrl-C; exit code 130. The message says what was not done. */
export class InterruptedError extends TenfoldError {
  override name = "InterruptedError";
  override readonly code = "INTERRUPTED";
}

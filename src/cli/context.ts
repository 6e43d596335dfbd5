import { type Engine, TenfoldError } from "../gpu/index.js";
import { openEngine } from "../node/open.js";

/** What a command writes to: process.stdout, or a test's. */
export interface Output {
  write(content: string | Uint8Array): unknown;
  isTTY?: boolean;
  columns?: number;
}

/** What a command knows of the process that runs it. */
export interface Context {
  /** results */
  stdout: Output;
  /** progress and errors */
  stderr: Output;
  env: Readonly<Record<string, string | undefined>>;
  /** aborts at the first Ctrl-C */
  signal: AbortSignal;
  /** does GPU work on an engine that is gone afterwards; tests bring one that they share */
  withEngine<T>(work: (engine: Engine) => Promise<T>): Promise<T>;
}

/** Opens an engine for some work. Dawn keeps the process alive for as long as a device is open, so it is closed at once. */
export async function withEngine<T>(work: (engine: Engine) => Promise<T>): Promise<T> {
  const engine = await openEngine();
  try {
    return await work(engine);
  } finally {
    engine.destroy();
  }
}

/** The user asked for something that cannot be; one line, exit code 2. */
export class InputError extends TenfoldError {
  override name = "InputError";
  override readonly code = "INPUT";
}

/** Ctrl-C; exit code 130. The message says what was left undone. */
export class InterruptedError extends TenfoldError {
  override name = "InterruptedError";
  override readonly code = "INTERRUPTED";
}

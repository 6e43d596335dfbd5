/** Reads the file that a command works on, or what is piped into the command. */
import { addAbortSignal } from "node:stream";
import { type ArrayFile, arrayIn, openArray, type TextOptions } from "../node/arrays.js";
import { readBytes } from "../node/files.js";
import { type Context, InputError, InterruptedError } from "./context.js";

/** What help texts say of `-`. */
export const STANDARD_INPUT_HELP = "- is standard input";

/** `-`, and `-:X` for one array of several; names that systems have for it, too. */
const STANDARD_INPUT = /^(?:-|\/dev\/stdin|\/dev\/fd\/0|\/proc\/self\/fd\/0)(?::(.+))?$/;

/** Whether an argument means standard input. */
export const isStandardInput = (file: string): boolean => STANDARD_INPUT.test(file);

type Reading = Pick<Context, "stdin" | "signal">;

/**
 * All bytes of standard input.
 *
 * @throws InputError where it is a terminal or empty, InterruptedError where Ctrl-C ended it
 */
async function readStandardInput({ stdin, signal }: Reading): Promise<Uint8Array> {
  const example = "pipe a file in, as in cat X.npy | tenfold info -";
  if (stdin.isTTY) throw new InputError(`standard input is a terminal; ${example}`);
  const pieces: Uint8Array[] = [];
  try {
    for await (const piece of addAbortSignal(signal, stdin)) pieces.push(piece as Uint8Array);
  } catch (error) {
    if (signal.aborted) throw new InterruptedError("stopped while standard input was read; nothing was written");
    throw new InputError(`standard input cannot be read: ${(error as Error).message}`);
  }
  const bytes = Buffer.concat(pieces);
  if (!bytes.length) throw new InputError(`standard input is empty; ${example}`);
  return bytes;
}

/** The bytes of a file, or of standard input. */
export const readInput = async (file: string, reading: Reading): Promise<Uint8Array> =>
  isStandardInput(file) ? await readStandardInput(reading) : readBytes(file);

/** Opens the array of a file, or the one that standard input holds: its first bytes say of which kind it is. */
export async function openInput(file: string, reading: Reading, options: TextOptions = {}): Promise<ArrayFile> {
  const [isStandard, member] = STANDARD_INPUT.exec(file) ?? [];
  if (isStandard === undefined) return await openArray(file, options);
  return arrayIn(await readStandardInput(reading), "-", member ?? null, options);
}

import { TenfoldError } from "../errors.js";

/** A file that contradicts its format or cannot be read. `message` is one line: the file, the place, what is needed. */
export class FormatError extends TenfoldError {
  override name = "FormatError";
  override readonly code: "FORMAT" | "UNSUPPORTED" = "FORMAT";
  constructor(
    /** the file's name, as the caller passed it to the reader */
    readonly file: string,
    /** the message without the file's name */
    readonly problem: string,
    options?: ErrorOptions,
  ) {
    super(`${file}: ${problem}`, options);
  }
}

/**
 * A file or member that is sound but is not an array of numbers known here. Readers of several arrays skip such members; callers
 * see a FormatError.
 */
export class UnsupportedError extends FormatError {
  override readonly code = "UNSUPPORTED";
}

/** Throws where a reader is not given bytes: most often the name of a file. */
export function checkBytes(reader: string, bytes: unknown, argument: 1 | 2 = 1): void {
  const kind = Object.prototype.toString.call(bytes).slice(8, -1);
  // a Buffer of Node's is one, too
  if (kind === "Uint8Array") return;
  const given = typeof bytes === "string" ? JSON.stringify(bytes.slice(0, 60)) : `of the kind ${kind}`;
  const advice: Partial<Record<string, string>> = {
    String: "; readBytes of tenfold/node reads a file, and fetch an address",
    ArrayBuffer: ", as new Uint8Array(buffer)",
    Promise: "; is an await missing?",
  };
  throw new TenfoldError(
    `${reader}: the ${argument === 1 ? "first" : "second"} argument is ${given}, needs the bytes of a file as a Uint8Array${advice[kind] ?? ""}`,
  );
}

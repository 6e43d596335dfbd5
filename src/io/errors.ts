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

import { TenfoldError } from "../errors.js";

/** A file does not hold what its format promises. `message` is one line: the file, the place, what is needed. */
export class FormatError extends TenfoldError {
  override name = "FormatError";
  override readonly code: "FORMAT" | "UNSUPPORTED" = "FORMAT";
  constructor(
    /** the file, as it was named to the reader */
    readonly file: string,
    /** the message without the file */
    readonly problem: string,
    options?: ErrorOptions,
  ) {
    super(`${file}: ${problem}`, options);
  }
}

/** Nothing is wrong with the file, but it holds what is no array of numbers here. Readers of several arrays skip it. Callers see a FormatError. */
export class UnsupportedError extends FormatError {
  override readonly code = "UNSUPPORTED";
}

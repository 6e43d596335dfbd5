/** A file does not hold what its format promises. `message` is one line: the file, the place, what is needed. */
export class FormatError extends Error {
  override name = "FormatError";
  constructor(
    /** the file, as it was named to the reader */
    readonly file: string,
    problem: string,
    options?: ErrorOptions,
  ) {
    super(`${file}: ${problem}`, options);
  }
}

import type { NumericArray } from "./array.js";
import { FormatError } from "./errors.js";

/** The arrays of a file, by name and in its order. What it holds besides is named under `skipped`. */
export class NamedArrays extends Map<string, NumericArray> {
  constructor(
    /** the file, as it was named to the reader */
    readonly file: string,
    arrays: Iterable<readonly [string, NumericArray]>,
    /** what the file holds and is no array of numbers here: why, by name */
    readonly skipped: ReadonlyMap<string, string>,
  ) {
    super(arrays);
  }

  /**
   * The array of this name; undefined where the file has none.
   *
   * @throws FormatError where the name is among the skipped, with the reason
   */
  override get(name: string): NumericArray | undefined {
    const reason = this.has(name) ? undefined : this.skipped.get(name);
    if (reason !== undefined) throw new FormatError(this.file, `"${name}" was skipped: ${reason}`);
    return super.get(name);
  }
}

import type { NumericArray } from "./array.js";
import { FormatError } from "./errors.js";

/** The arrays of a file by name, in the file's order. `skipped` names the rest of its content. */
export class NamedArrays extends Map<string, NumericArray> {
  constructor(
    /** the file's name, as the caller passed it to the reader */
    readonly file: string,
    arrays: Iterable<readonly [string, NumericArray]>,
    /** the reason, by name, for everything in the file that is not an array of numbers known here */
    readonly skipped: ReadonlyMap<string, string>,
  ) {
    super(arrays);
  }

  /**
   * The array of this name; undefined where the file has nothing of the name.
   *
   * @throws FormatError where the name is in `skipped`, with the reason
   */
  override get(name: string): NumericArray | undefined {
    const reason = this.has(name) ? undefined : this.skipped.get(name);
    if (reason !== undefined) throw new FormatError(this.file, `"${name}" was skipped: ${reason}`);
    return super.get(name);
  }
}

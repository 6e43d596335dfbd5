import { unzipSync, type Zippable, zipSync } from "fflate";
import type { NumericArray } from "./array.js";
import { FormatError } from "./errors.js";
import { readNpy, writeNpy } from "./npy.js";

/** 1980, the first year that zip knows: the same arrays give the same bytes */
const NO_DATE = new Date(1980, 0, 1);

/**
 * Reads the arrays of NumPy's `.npz`, stored or compressed, by name (without `.npy`), in the order of the archive.
 *
 * @throws FormatError for a damaged archive or a member that is no `.npy` file, naming it
 */
export function readNpz(bytes: Uint8Array, name = "npz"): Map<string, NumericArray> {
  if (bytes.length === 0) throw new FormatError(name, "the file is empty");
  let members: Record<string, Uint8Array>;
  try {
    members = unzipSync(bytes);
  } catch (error) {
    throw new FormatError(name, `not a whole zip archive (${(error as Error).message})`, { cause: error });
  }
  const arrays = new Map<string, NumericArray>();
  for (const [member, content] of Object.entries(members))
    arrays.set(member.replace(/\.npy$/, ""), readNpy(content, `${name}, member ${member}`));
  return arrays;
}

/**
 * Writes an `.npz` that `numpy.load` opens, members in the given order.
 *
 * @param options.compress deflate the members (`numpy.savez_compressed`); off by default, factors hardly shrink
 */
export function writeNpz(
  arrays: Iterable<readonly [string, NumericArray]>,
  { compress = false }: { compress?: boolean } = {},
): Uint8Array {
  const members: Zippable = {};
  for (const [name, array] of arrays) {
    if (!/^[\w.-]+$/.test(name)) throw new FormatError("npz", `member "${name}", needs letters, digits, _ . or -`);
    if (`${name}.npy` in members) throw new FormatError("npz", `two members are called "${name}"`);
    members[`${name}.npy`] = [writeNpy(array), { level: compress ? 6 : 0, mtime: NO_DATE }];
  }
  return zipSync(members);
}

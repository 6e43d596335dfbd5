import { type Zippable, zipSync } from "fflate";
import type { NumericArray } from "./array.js";
import { checkBytes, FormatError, UnsupportedError } from "./errors.js";
import { NamedArrays } from "./named.js";
import { readNpy, writeNpy } from "./npy.js";
import { readZip } from "./zip.js";

/** The date of all members, 1980, the first year of zip's clock: so the same arrays always give the same bytes. */
const NO_DATE = new Date(1980, 0, 1);
/** The largest sizes of a zip archive without ZIP64, which is not written here. */
const MOST_BYTES = 2 ** 32 - 1;
const MOST_MEMBERS = 2 ** 16 - 1;

/**
 * Reads the arrays of NumPy's `.npz`, stored or compressed, by name (without `.npy`), in the order of the archive. Members that
 * are not arrays of numbers (folders, text, objects, complex numbers) are skipped; `skipped` names them with the reason. Of
 * members with the same name the last counts, as in NumPy.
 *
 * @param name the file, for messages
 * @throws FormatError for a damaged archive, naming the member
 */
export function readNpz(bytes: Uint8Array, name = "npz"): NamedArrays {
  checkBytes("readNpz", bytes);
  if (bytes.length === 0) throw new FormatError(name, "the file is empty");
  const arrays = new Map<string, NumericArray>();
  const skipped = new Map<string, string>();
  for (const member of readZip(bytes, name)) {
    const key = member.name.replace(/\.npy$/, "");
    try {
      if (member.name.endsWith("/")) throw new UnsupportedError(member.name, "it is a folder");
      const array = readNpy(member.content(), `${name}, member ${member.name}`);
      skipped.delete(key);
      arrays.set(key, array);
    } catch (error) {
      if (!(error instanceof UnsupportedError)) throw error;
      arrays.delete(key);
      skipped.set(key, error.problem);
    }
  }
  return new NamedArrays(name, arrays, skipped);
}

/**
 * Writes an `.npz` that `numpy.load` opens, with the members in the order of `arrays`.
 *
 * @param options.compress deflate the members (`numpy.savez_compressed`); false by default, because factors hardly shrink
 * @throws FormatError where two names are equal, where a name would leave the folder that the archive is unpacked in, or where
 * the archive would exceed 4 GiB or 65,535 members
 */
export function writeNpz(
  arrays: Iterable<readonly [string, NumericArray]>,
  { compress = false }: { compress?: boolean } = {},
): Uint8Array {
  const members = new Map<string, Zippable[string]>();
  let bytes = 22;
  for (const [name, array] of arrays) {
    const problem = nameProblem(name);
    if (problem) throw new FormatError("npz", `member ${JSON.stringify(name)} ${problem}`);
    const member = `${name}.npy`;
    if (members.has(member)) throw new FormatError("npz", `two members are called "${name}"`);
    const content = writeNpy(array);
    // the archive holds the member's name twice, at up to three bytes a character, and two headers of 30 and 46 bytes
    bytes += content.length + 76 + 6 * member.length;
    members.set(member, [content, { level: compress ? 6 : 0, mtime: NO_DATE }]);
  }
  if (members.size > MOST_MEMBERS || bytes > MOST_BYTES)
    throw new FormatError(
      "npz",
      `${members.size} members of ${bytes} bytes in all, the most are ${MOST_MEMBERS} and 4 GiB: write several files`,
    );
  return zipSync(Object.fromEntries(members));
}

/** Why a name is not safe in an archive that others unpack, or null. */
function nameProblem(name: string): string | null {
  if (/\p{Surrogate}/u.test(name)) return "has half a character (a lone surrogate), which UTF-8 cannot write";
  if (name.includes("\0")) return "has a zero character, where unpackers end the name";
  if (name.includes("\\")) return "has a backslash, which Windows takes for a folder's end: use /";
  if (/^\/|^[A-Za-z]:/.test(name))
    return "is a path from the root or of a drive, where an unpacker could overwrite a file";
  if (name.split("/").includes("..")) return "leads out of the folder that it is unpacked in, by ..";
  // the archive's headers count a name's bytes in 16 bits
  if (new TextEncoder().encode(name).length > 65_000) return "is longer than zip can write";
  return null;
}

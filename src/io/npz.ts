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
  const checksums = readChecksums(bytes);
  const arrays = new Map<string, NumericArray>();
  for (const [member, content] of Object.entries(members)) {
    const expected = checksums.get(member);
    if (expected !== undefined && crc32(content) !== expected)
      throw new FormatError(`${name}, member ${member}`, "damaged: its checksum is wrong");
    arrays.set(member.replace(/\.npy$/, ""), readNpy(content, `${name}, member ${member}`));
  }
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

/** The CRC-32 of every member, from the central directory; fflate finds members by it, but does not compare. */
function readChecksums(zip: Uint8Array): Map<string, number> {
  const view = new DataView(zip.buffer, zip.byteOffset, zip.byteLength);
  const checksums = new Map<string, number>();
  let end = zip.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end--;
  if (end < 0) return checksums;
  // an archive of 4 GiB or more points elsewhere: it is then read unchecked
  for (let at = view.getUint32(end + 16, true); at + 46 <= end && view.getUint32(at, true) === 0x02014b50; ) {
    const nameLength = view.getUint16(at + 28, true);
    const name = new TextDecoder().decode(zip.subarray(at + 46, at + 46 + nameLength));
    checksums.set(name, view.getUint32(at + 16, true));
    at += 46 + nameLength + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  }
  return checksums;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function crc32(bytes: Uint8Array): number {
  let value = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) value = (value >>> 8) ^ CRC_TABLE[(value ^ bytes[i]!) & 255]!;
  return ~value >>> 0;
}

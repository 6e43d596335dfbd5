import { inflateSync } from "fflate";
import { crc32 } from "./crc32.js";
import { FormatError, UnsupportedError } from "./errors.js";
import { MOST_INFLATION } from "./gzip.js";

/** A file in a zip archive. */
export interface ZipMember {
  name: string;
  /**
   * The member's unpacked bytes; those of a stored member share the archive's memory.
   *
   * @throws FormatError where the member is damaged, UnsupportedError where it is encrypted or packed by another method than
   * deflate
   */
  content(): Uint8Array;
}

/** Names of packing methods that are not read here, for messages. */
const METHODS: Readonly<Record<number, string>> = { 9: "deflate64", 12: "bzip2", 14: "lzma", 93: "zstd", 95: "xz" };
/** A 32-bit field with this value stands in the ZIP64 extra field instead. */
const IN_ZIP64 = 0xffffffff;

/**
 * Lists the members of a zip archive, with or without ZIP64, from its central directory (APPNOTE 6.3). Members that share bytes
 * are refused, because with them a short file could unpack to any size. fflate's reader is not used, because it stops at the
 * first member that it cannot unpack, does not compare checksums, and copies stored members.
 *
 * @param file the archive, for messages
 * @throws FormatError where the archive or its directory is damaged
 */
export function readZip(bytes: Uint8Array, file: string): ZipMember[] {
  const fail = (problem: string): never => {
    throw new FormatError(file, `not a whole zip archive (${problem})`);
  };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const u16 = (at: number): number => view.getUint16(at, true);
  const u32 = (at: number): number => view.getUint32(at, true);
  const u64 = (at: number): number => Number(view.getBigUint64(at, true));
  const is = (signature: number, at: number, length: number): boolean =>
    at >= 0 && at + length <= bytes.length && u32(at) === signature;

  let end = bytes.length - 22;
  // a comment of up to 64 KiB may follow
  while (end >= 0 && end >= bytes.length - 22 - 0xffff && u32(end) !== 0x06054b50) end--;
  if (!is(0x06054b50, end, 22)) fail("no end of its directory was found");
  let [count, size, start, directoryEnd] = [u16(end + 10), u32(end + 12), u32(end + 16), end];
  if (is(0x07064b50, end - 20, 20)) {
    // the ZIP64 end record usually lies right before its locator; a longer one lies where the locator says
    const wide = is(0x06064b50, end - 76, 56) ? end - 76 : u64(end - 12);
    if (!is(0x06064b50, wide, 56)) fail("the end of its ZIP64 directory is missing");
    [count, size, start, directoryEnd] = [u64(wide + 32), u64(wide + 40), u64(wide + 48), wide];
  }
  // bytes in front of the archive, such as the program of a self-extracting one
  const before = directoryEnd - size - start;
  if (before < 0) fail("its directory does not fit");
  const members: ZipMember[] = [];
  const ranges: { name: string; from: number; to: number }[] = [];
  let at = before + start;
  for (let index = 0; index < count; index++) {
    if (!is(0x02014b50, at, 46)) fail(`entry ${index} of its directory is damaged`);
    const [flags, method, checksum] = [u16(at + 8), u16(at + 10), u32(at + 16)];
    let [packed, unpacked, offset] = [u32(at + 20), u32(at + 24), u32(at + 42)];
    const nameEnd = at + 46 + u16(at + 28);
    const extraEnd = nameEnd + u16(at + 30);
    if (extraEnd > bytes.length) fail(`entry ${index} of its directory is damaged`);
    const name = decodeName(bytes.subarray(at + 46, nameEnd), !!(flags & 0x800));
    for (let extra = nameEnd; extra + 4 <= extraEnd; extra += 4 + u16(extra + 2)) {
      if (u16(extra) !== 1) continue;
      let field = extra + 4;
      const next = (value: number): number => {
        if (value !== IN_ZIP64) return value;
        if (field + 8 > extraEnd) fail(`entry ${index} of its directory is damaged`);
        field += 8;
        return u64(field - 8);
      };
      unpacked = next(unpacked);
      packed = next(packed);
      offset = next(offset);
    }
    at = extraEnd + u16(at + 32);
    const local = before + offset;
    const present = is(0x04034b50, local, 30);
    const first = present ? local + 30 + u16(local + 26) + u16(local + 28) : local;
    if (present) ranges.push({ name, from: local, to: first + packed });
    const content = (): Uint8Array => {
      const damaged = (problem: string, cause?: unknown): never => {
        throw new FormatError(`${file}, member ${name}`, `damaged: ${problem}`, { cause });
      };
      if (flags & 1) throw new UnsupportedError(`${file}, member ${name}`, "it is encrypted");
      if (method !== 0 && method !== 8) {
        const how = METHODS[method] ?? `method ${method}`;
        throw new UnsupportedError(`${file}, member ${name}`, `it is packed by ${how}, needs deflate or none`);
      }
      if (!present) damaged("its header is not where the directory says");
      if (first + packed > bytes.length) damaged("it is cut short");
      let out = bytes.subarray(first, first + packed);
      if (method === 8) {
        if (unpacked > MOST_INFLATION * packed + 1024) damaged(`${packed} bytes cannot hold ${unpacked}`);
        try {
          // one byte more than the directory says, because fflate silently drops bytes that do not fit
          out = inflateSync(out, { out: new Uint8Array(unpacked + 1) });
        } catch (error) {
          damaged((error as Error).message, error);
        }
      }
      if (out.length !== unpacked) {
        const more = out.length > unpacked && method === 8 ? "more" : `${out.length}`;
        damaged(`it has ${more} bytes, the directory says ${unpacked}`);
      }
      if (crc32(out) !== checksum) damaged("its checksum is wrong");
      return out;
    };
    members.push({ name, content });
  }
  ranges.sort((a, b) => a.from - b.from || a.to - b.to);
  ranges.forEach(({ name, from }, index) => {
    const other = ranges[index - 1];
    if (other && from < other.to)
      throw new FormatError(`${file}, member ${name}`, `damaged: it shares bytes of the archive with ${other.name}`);
  });
  return members;
}

/** A member's name. It is read as UTF-8 even without UTF-8's flag, which many programs forget, and as Latin-1 if that fails. */
function decodeName(bytes: Uint8Array, utf8: boolean): string {
  try {
    return new TextDecoder("utf-8", { fatal: !utf8, ignoreBOM: true }).decode(bytes);
  } catch {
    return new TextDecoder("latin1").decode(bytes);
  }
}

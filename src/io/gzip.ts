import { Inflate, inflateSync } from "fflate";
import { crc32 } from "./crc32.js";
import { FormatError } from "./errors.js";

export const isGzip = (bytes: Uint8Array): boolean => bytes[0] === 0x1f && bytes[1] === 0x8b;

/** Bytes of the shortest deflate stream, that of empty content. */
const LEAST_STREAM = 2;
/** The most bytes that deflate can unpack from one byte. */
export const MOST_INFLATION = 1032;
/** Bytes of a stream that are unpacked to look at the begin of its content. No block without compression is longer. */
const BEGIN = 2 ** 17;

/**
 * Unpacks a gzip file (RFC 1952) as `gzip -dc` does: it may consist of several members, and zeros after a member are padding.
 * Every member's checksum and length are compared.
 *
 * @param most returns the length that the begin of the content promises, in bytes, or null where it does not say
 * @throws FormatError where the file is damaged, or unpacks to more bytes than `most` returned
 */
export function gunzip(bytes: Uint8Array, name: string, most: (begin: Uint8Array) => number | null): Uint8Array {
  const fail = (problem: string, cause?: unknown): never => {
    throw new FormatError(name, `not a whole gzip file (${problem})`, { cause });
  };
  let out: Uint8Array | undefined;
  let limit = 0;
  let length = 0;
  for (let at = 0, count = 0; at < bytes.length; count++) {
    while (count && bytes[at] === 0) at++;
    if (at >= bytes.length) break;
    const which = count ? `member ${count + 1}, at byte ${at}, ` : "it ";
    if (!isGzip(bytes.subarray(at))) fail(`${which}begins with neither 1f 8b nor zeros`);
    const start = headerEnd(bytes, at) ?? fail(`${which}is cut short, or its header is damaged`);
    const damaged = (error: unknown): never =>
      fail(`${which}is cut short or damaged: ${(error as Error).message}`, error);
    const stream = bytes.subarray(start);
    const could = MOST_INFLATION * stream.length;
    if (!out) {
      try {
        limit = Math.min(most(beginOf(stream)) ?? could, could);
        // one byte more than the limit, because fflate silently drops bytes that do not fit
        out = new Uint8Array(limit + 1);
      } catch (error) {
        if (error instanceof FormatError) throw error;
        damaged(error);
      }
    }
    let content = out!.subarray(length);
    try {
      content = inflateSync(stream, { out: content });
    } catch (error) {
      // fflate throws a RangeError for an uncompressed block that does not fit: the length check below reports it
      if (!(error instanceof RangeError)) damaged(error);
    }
    length += content.length;
    if (length > limit) throw new FormatError(name, `unpacks to more than the ${limit} bytes that its header promises`);
    const end = trailerEnd(bytes, start + LEAST_STREAM, content);
    if (end === null) fail(`${which}is cut short or damaged: its checksum and length are not those of its content`);
    at = end!;
  }
  return out ? out.subarray(0, length) : new Uint8Array(0);
}

/** The begin of a deflate stream's content. It does not check the rest of the stream. */
function beginOf(stream: Uint8Array): Uint8Array {
  const parts: Uint8Array[] = [];
  new Inflate((part) => parts.push(part)).push(stream.subarray(0, BEGIN));
  return parts[0] ?? new Uint8Array(0);
}

/** The first byte after a member's header; null where the header is cut short or has unknown flags. */
function headerEnd(bytes: Uint8Array, begin: number): number | null {
  const flags = bytes[begin + 3]!;
  if (bytes[begin + 2] !== 8 || flags & 0xe0) return null;
  let at = begin + 10;
  if (flags & 4) at += 2 + bytes[at]! + 256 * bytes[at + 1]!;
  // the file's name and a comment, each with a zero at its end
  for (const flag of [8, 16]) {
    if (!(flags & flag)) continue;
    const zero = bytes.indexOf(0, at);
    if (zero < 0) return null;
    at = zero + 1;
  }
  if (flags & 2) at += 2;
  return at < bytes.length ? at : null;
}

/**
 * The end of a member, behind the checksum and length of `content`; null where the bytes do not hold them. It searches for the
 * expected checksum and length, because fflate does not tell where a stream ends.
 */
function trailerEnd(bytes: Uint8Array, from: number, content: Uint8Array): number | null {
  const trailer = new Uint8Array(8);
  const view = new DataView(trailer.buffer);
  view.setUint32(0, crc32(content), true);
  view.setUint32(4, content.length % 2 ** 32, true);
  for (let at = bytes.indexOf(trailer[0]!, from); at >= 0; at = bytes.indexOf(trailer[0]!, at + 1)) {
    if (trailer.every((byte, index) => bytes[at + index] === byte)) return at + 8;
  }
  return null;
}

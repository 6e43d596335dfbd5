import { Inflate } from "fflate";
import { crc32 } from "./crc32.js";
import { FormatError } from "./errors.js";

export const isGzip = (bytes: Uint8Array): boolean => bytes[0] === 0x1f && bytes[1] === 0x8b;

/** Bytes of a deflate stream of nothing, the shortest there is. */
const LEAST_STREAM = 2;

/**
 * Unpacks a gzip file (RFC 1952) as `gzip -dc` does: members follow one another, zeros after a member are padding. Every
 * member's checksum and length are compared.
 *
 * @throws FormatError
 */
export function gunzip(bytes: Uint8Array, name: string): Uint8Array {
  const fail = (problem: string, cause?: unknown): never => {
    throw new FormatError(name, `not a whole gzip file (${problem})`, { cause });
  };
  const members: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    if (members.length && bytes[at] === 0) {
      at++;
      continue;
    }
    const which = members.length ? `member ${members.length + 1}, at byte ${at}, ` : "it ";
    if (!isGzip(bytes.subarray(at))) fail(`${which}begins with neither 1f 8b nor zeros`);
    const start = headerEnd(bytes, at) ?? fail(`${which}is cut short, or its header is damaged`);
    const parts: Uint8Array[] = [];
    try {
      new Inflate((part) => parts.push(part)).push(bytes.subarray(start), true);
    } catch (error) {
      fail(`${which}is cut short or damaged: ${(error as Error).message}`, error);
    }
    const content = concatenate(parts);
    const end = trailerEnd(bytes, start + LEAST_STREAM, content);
    if (end === null) fail(`${which}is cut short or damaged: its checksum and length are not those of its content`);
    members.push(content);
    at = end!;
  }
  return concatenate(members);
}

/** The first byte after a member's header, or null. */
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

/** The end of the checksum and length of `content`. Found by what they must be: fflate does not tell where a stream ends. */
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

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0]!;
  const out = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

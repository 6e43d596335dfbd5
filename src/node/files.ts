import { randomBytes } from "node:crypto";
import {
  chmodSync,
  closeSync,
  fstatSync,
  fsyncSync,
  openSync,
  readFileSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { TenfoldError } from "../errors.js";

/** A file could not be read or written. `message` is one line: the file and why. */
export class FileError extends TenfoldError {
  override name = "FileError";
  override readonly code = "FILE";
  constructor(
    readonly file: string,
    problem: string,
    options?: ErrorOptions,
  ) {
    super(`${file}: ${problem}`, options);
  }
}

/** The most bytes that one call to the operating system reads or writes. */
const PIECE = 2 ** 30;

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "no such file or folder",
  EISDIR: "it is a folder",
  ENOTDIR: "a part of its path is no folder",
  EACCES: "permission denied",
  EPERM: "permission denied",
  EROFS: "the file system is read-only",
  ENOSPC: "no space left on the device",
  EDQUOT: "the disk quota is used up",
  ENAMETOOLONG: "its name is too long",
  ELOOP: "too many symbolic links",
  EBADF: "nothing is open under this number",
  EPIPE: "its reader is gone",
};

export function fileFailure(file: string, doing: "read" | "written", error: unknown): never {
  if (error instanceof TenfoldError) throw error;
  const { code, message } = error as NodeJS.ErrnoException;
  throw new FileError(file, `cannot be ${doing}: ${(code && REASONS[code]) || message}`, { cause: error });
}

/**
 * Reads all bytes of a file, also beyond the 2 GiB that node:fs reads.
 *
 * @throws FileError with the reason in words
 */
export function readBytes(file: string): Uint8Array {
  try {
    const stat = statSync(file);
    // pipes and devices have no size
    if (!stat.isFile()) return readFileSync(file);
    const descriptor = openSync(file, "r");
    try {
      const bytes = new Uint8Array(stat.size);
      let read = 0;
      while (read < bytes.length) {
        const count = readSync(descriptor, bytes, read, Math.min(bytes.length - read, PIECE), read);
        // another process has cut the file short
        if (!count) break;
        read += count;
      }
      return bytes.subarray(0, read);
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    fileFailure(file, "read", error);
  }
}

/**
 * The open descriptor that a path such as `/dev/stdout` or `/dev/fd/3` stands for, or undefined. Bytes are written to the
 * descriptor, because opening `/dev/stdout` fails where it is a socket, and replacing the file behind it would lose what other
 * programs write there.
 */
function descriptorOf(file: string): number | undefined {
  const [, standard, number] = /^\/dev\/(stdout|stderr)$|^\/(?:dev|proc\/self)\/fd\/(\d+)$/.exec(file) ?? [];
  if (process.platform === "win32" || !(standard || number)) return undefined;
  return standard ? (standard === "stdout" ? 1 : 2) : Number(number);
}

/** Where bytes for a path are written: to a file that is `replaced` by a new one, or into an open descriptor, device or pipe. */
function target(file: string): { path: string | number; replaced: boolean; stat?: Stats } {
  const descriptor = descriptorOf(file);
  if (descriptor !== undefined) {
    fstatSync(descriptor);
    return { path: descriptor, replaced: false };
  }
  const stat = statSync(file, { throwIfNoEntry: false });
  if (!stat) return { path: file, replaced: true };
  if (stat.isDirectory()) throw new FileError(file, `cannot be written: ${REASONS.EISDIR}`);
  // a symbolic link stays, and the file that it leads to is replaced
  return stat.isFile() ? { path: realpathSync(file), replaced: true, stat } : { path: file, replaced: false };
}

/** Writes all bytes to an open file, also one that takes only a part of them at a time. */
function writeAll(descriptor: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(descriptor, bytes, at, Math.min(bytes.length - at, PIECE));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
      // the pipe is full and does not block: wait 5 ms and try again
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
}

const draftOf = (path: string): string =>
  join(dirname(path), `.${basename(path).slice(0, 200)}.${randomBytes(6).toString("hex")}.tmp`);

/** Throws a {@link FileError} where {@link writeAtomic} could not create the file. It changes nothing. */
export function checkWritable(file: string): void {
  try {
    const { path, replaced } = target(file);
    if (!replaced) return;
    const draft = draftOf(path as string);
    closeSync(openSync(draft, "wx"));
    rmSync(draft);
  } catch (error) {
    fileFailure(file, "written", error);
  }
}

/** A file that is being written: a temporary one in its folder, or the device, pipe or descriptor itself. */
function beginWriting(file: string): { write(bytes: Uint8Array): void; finish(): void; discard(): void } {
  const { path, replaced, stat } = target(file);
  if (typeof path === "number")
    return { write: (bytes) => writeAll(path, bytes), finish: () => undefined, discard: () => undefined };
  const draft = replaced ? draftOf(path) : path;
  const descriptor = openSync(draft, replaced ? "wx" : "w");
  let open = true;
  const close = (): void => {
    if (open) closeSync(descriptor);
    open = false;
  };
  return {
    write: (bytes) => writeAll(descriptor, bytes),
    finish() {
      if (replaced) fsyncSync(descriptor);
      close();
      if (!replaced) return;
      if (stat) chmodSync(draft, stat.mode & 0o7777);
      renameSync(draft, path);
    },
    discard() {
      try {
        close();
      } finally {
        if (replaced) rmSync(draft, { force: true });
      }
    },
  };
}

/**
 * Writes a file entirely or not at all: it writes a temporary file in the same folder, flushes it to the disk and renames it.
 * Devices, pipes and open descriptors (`/dev/stdout`, `/dev/fd/3`) are written to directly.
 *
 * @throws FileError with the reason in words
 */
export function writeAtomic(file: string, content: Uint8Array | string): void {
  try {
    const writing = beginWriting(file);
    try {
      writing.write(typeof content === "string" ? new TextEncoder().encode(content) : content);
      writing.finish();
    } catch (error) {
      writing.discard();
      throw error;
    }
  } catch (error) {
    fileFailure(file, "written", error);
  }
}

/**
 * {@link writeAtomic} of a file that comes in pieces, such as the `data` of `splitOnnx`. One piece is in memory at a time.
 *
 * @throws FileError with the reason in words; what the pieces' source throws is passed on, and nothing is written
 */
export async function writeAtomicPieces(file: string, pieces: AsyncIterable<Uint8Array>): Promise<void> {
  const attempt = <T>(work: () => T): T => {
    try {
      return work();
    } catch (error) {
      return fileFailure(file, "written", error);
    }
  };
  const writing = attempt(() => beginWriting(file));
  try {
    for await (const piece of pieces) attempt(() => writing.write(piece));
    attempt(() => writing.finish());
  } catch (error) {
    attempt(() => writing.discard());
    throw error;
  }
}

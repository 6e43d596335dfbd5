import { randomBytes } from "node:crypto";
import {
  chmodSync,
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";

/** A file could not be read or written. `message` is one line: the file and why. */
export class FileError extends Error {
  override name = "FileError";
  constructor(
    readonly file: string,
    problem: string,
    options?: ErrorOptions,
  ) {
    super(`${file}: ${problem}`, options);
  }
}

/** The most that one call to the operating system reads or writes. */
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
};

function fail(file: string, doing: "read" | "written", error: unknown): never {
  const { code, message } = error as NodeJS.ErrnoException;
  throw new FileError(file, `cannot be ${doing}: ${(code && REASONS[code]) || message}`, { cause: error });
}

/** Reads a whole file, also beyond the 2 GiB where node:fs stops. */
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
        if (!count) break; // it was cut short meanwhile
        read += count;
      }
      return bytes.subarray(0, read);
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    fail(file, "read", error);
  }
}

/** Where the bytes of a path end up, and what is there now. */
function target(file: string): { path: string; stat: Stats | undefined } {
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat?.isDirectory()) throw Object.assign(new Error(), { code: "EISDIR" });
  // a symbolic link stays and its file is replaced
  return { path: stat ? realpathSync(file) : file, stat };
}

const draftOf = (path: string): string =>
  join(dirname(path), `.${basename(path).slice(0, 200)}.${randomBytes(6).toString("hex")}.tmp`);

/** Throws a {@link FileError} where {@link writeAtomic} would fail for want of a place; leaves nothing behind. */
export function checkWritable(file: string): void {
  try {
    const { path, stat } = target(file);
    if (stat && !stat.isFile()) return;
    const draft = draftOf(path);
    closeSync(openSync(draft, "wx"));
    rmSync(draft);
  } catch (error) {
    fail(file, "written", error);
  }
}

/**
 * Writes a whole file or nothing: to a temporary name beside it, to the disk, then renamed over it. Devices and pipes are
 * written directly.
 */
export function writeAtomic(file: string, content: Uint8Array | string): void {
  try {
    const { path, stat } = target(file);
    if (stat && !stat.isFile()) {
      writeFileSync(path, content);
      return;
    }
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    const draft = draftOf(path);
    try {
      const descriptor = openSync(draft, "wx");
      try {
        for (let at = 0; at < bytes.length; ) {
          at += writeSync(descriptor, bytes, at, Math.min(bytes.length - at, PIECE));
        }
        fsyncSync(descriptor);
      } finally {
        closeSync(descriptor);
      }
      if (stat) chmodSync(draft, stat.mode & 0o7777);
      renameSync(draft, path);
    } catch (error) {
      rmSync(draft, { force: true });
      throw error;
    }
  } catch (error) {
    fail(file, "written", error);
  }
}

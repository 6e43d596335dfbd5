import { existsSync } from "node:fs";
import { checkWritable, readBytes, writeAtomic } from "./files.js";

/**
 * Keeps the state of a run in a file, for the option `checkpoint` of `cp`, `cpALS` and `tuckerHOOI`: `every` so many seconds (60 by default), when
 * the run ends, and when it is aborted. The file is replaced by a rename, so that it is always whole. The same call with the same file goes on where
 * the last one was stopped.
 *
 * @throws FileError where the file cannot be written
 */
export function checkpointFile(
  file: string,
  { every = 60 }: { every?: number } = {},
): { every: number; load(): Uint8Array | null; save(bytes: Uint8Array): void } {
  checkWritable(file);
  return {
    every,
    load: () => (existsSync(file) ? readBytes(file) : null),
    save: (bytes) => writeAtomic(file, bytes),
  };
}

import { closeSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { FileError, readBytes } from "./files.js";

/**
 * Reads parts of the files in a model's folder, for `external` of `readOnnx`. Only the asked bytes are read.
 *
 * @param folder the model's folder
 * @returns a reader that throws FileError where a file is missing or too short
 */
export function externalFiles(folder: string): (location: string, offset: number, length: number) => Uint8Array {
  return (location, offset, length) => {
    const file = join(folder, location);
    let descriptor: number;
    try {
      descriptor = openSync(file, "r");
    } catch (error) {
      // the same failure, in words
      readBytes(file);
      throw new FileError(file, `cannot be read: ${(error as Error).message}`, { cause: error });
    }
    try {
      const bytes = new Uint8Array(length);
      let read = 0;
      while (read < length) {
        const count = readSync(descriptor, bytes, read, Math.min(length - read, 2 ** 30), offset + read);
        if (!count)
          throw new FileError(file, `has ${offset + read} bytes, but ${length} from byte ${offset} on are needed`);
        read += count;
      }
      return bytes;
    } finally {
      closeSync(descriptor);
    }
  };
}

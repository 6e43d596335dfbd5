/** What the readers of files of several arrays share. */
import { basename } from "node:path";
import { FormatError, type Numeric, type TextArray } from "../io/index.js";
import type { NpyFile } from "./openNpy.js";

/** An array in a file, of which rows of mode 0 can be read. */
export interface ArrayFile {
  /** the file, and the array in it where it holds several: `data.npz:X` */
  name: string;
  shape: readonly number[];
  /** the type of its elements: `f4`, `i2` */
  dtype: string;
  /** whether rows are read from the file as they are asked for; otherwise the array is in memory */
  isStreamed: boolean;
  /** rows that are stored together: reading a multiple of them unpacks nothing twice */
  chunk: number;
  /** Elements of rows `start` to `stop` of mode 0, row by row; all of a scalar. */
  rows(start: number, stop: number): Numeric | Promise<Numeric>;
  /** reads rows as the GPU takes them, without a copy, where the file can */
  reader?: NpyFile;
  /** what the file says of modes and indices */
  text?: Pick<TextArray, "labels" | "modes" | "entries">;
  /** names of the other arrays in the file */
  others: readonly string[];
  close(): void;
}

/** A file of arrays that have names. */
export interface Container {
  shapes: ReadonlyMap<string, readonly number[]>;
  /** what else is in the file, and why it is not read */
  skipped?: ReadonlyMap<string, string>;
  open(name: string): ArrayFile | Promise<ArrayFile>;
  /** Closes the file, unless an array of it is open: then the last of them does. */
  close(): void;
}

/** The name of the array that is meant where none is given. */
export function soleName(
  file: string,
  shapes: ReadonlyMap<string, readonly number[]>,
  skipped: ReadonlyMap<string, string> = new Map(),
): string {
  if (!shapes.size) {
    const reasons = [...skipped].map(([name, reason]) => `${name}: ${reason}`).join("; ");
    throw new FormatError(file, `holds no array of numbers${reasons ? ` (${reasons})` : ""}`);
  }
  const only = onlyName(shapes);
  if (only !== null) return only;
  const [first] = shapes.keys();
  const list = [...shapes].map(([name, shape]) => `${name} ${shape.join("×") || "a scalar"}`);
  throw new FormatError(
    file,
    `holds ${shapes.size} arrays, give one as ${basename(file)}:${first}; they are ${listed(list)}`,
  );
}

/** The name of the only array, or the only one that is no vector; null where there are several. */
export function onlyName(shapes: ReadonlyMap<string, readonly number[]>): string | null {
  const tensors = [...shapes].filter(([, shape]) => shape.filter((extent) => extent > 1).length > 1);
  const [only, ...others] = tensors.length === 1 ? tensors : shapes;
  return only && !others.length ? only[0] : null;
}

/** The first names of a list, and how many more there are. */
export function listed(names: readonly string[]): string {
  const most = 12;
  if (!names.length) return "none";
  return names.length > most ? `${names.slice(0, most).join(", ")} and ${names.length - most} more` : names.join(", ");
}

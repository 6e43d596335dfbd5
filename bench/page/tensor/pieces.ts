/** Arrays of files, as their numbers are read: in pieces. */
import type { Numeric } from "../../../src/index.js";

/** One array of a file. */
export interface Member {
  name: string;
  shape: readonly number[];
  /** how the file holds the entries: `f32`, `text` */
  dtype: string;
  /** names of the modes, where the file has some */
  modes: readonly string[] | null;
  /** whether the first index runs fastest in the file (Fortran's order) */
  isColumnMajor: boolean;
  /** what the reader has decided by itself, for the user to know */
  note: string;
  /** where it stands for several matrices of as many columns, one below the other: their names, rows and places among the members */
  slices?: readonly Slice[];
}

/** A matrix that is one of several. */
export interface Slice {
  name: string;
  rows: number;
  member: number;
}

/** Takes the numbers of a file in order, some at a time. */
export type Take = (values: Numeric) => void | Promise<void>;

export interface OpenFile {
  /** what kind of file it is: `NumPy array` */
  kind: string;
  members: readonly Member[];
  /** what else is in the file, each with the reason why it is not read */
  skipped: readonly (readonly [name: string, reason: string])[];
  /** Reads all numbers of a member, in the file's order. */
  read(member: number, take: Take): Promise<void>;
}

/** entries that are read at once: 1 MiB of f32, and a multiple of what a view of the GPU's memory may begin at */
export const ENTRIES = 1 << 18;

/** Hands an array over in pieces. */
export async function inPieces(data: Numeric, take: Take): Promise<void> {
  for (let from = 0; from < data.length; from += ENTRIES) await take(data.subarray(from, from + ENTRIES));
}

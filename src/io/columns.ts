/** Tensors as lines of text: a matrix, or a line an entry. */
import { elementCount, type NumericArray } from "./array.js";
import { FormatError, UnsupportedError } from "./errors.js";

/** The most entries of a tensor that is given by some of them and read as dense: 1 GiB as f32. */
export const MOST_DENSE = 2 ** 28;

/** A tensor of text, with what else the text says. */
export interface TextArray extends NumericArray {
  /** names of the modes, where columns of indices have them */
  modes?: string[];
  /** of each mode, what its indices stand for, where a column does not hold indices; null where it does */
  labels?: (string[] | null)[];
  /** how many entries the text gives; the others are 0. Left out for a matrix, of which all are there */
  entries?: number;
}

interface Line {
  /** from 1 */
  number: number;
  cells: string[];
}

/**
 * Reads a CSV file: a matrix with a line a row, or a tensor with a line an entry, whose last column is the value and whose other columns say
 * where it is (`form`: "entries"; taken by itself where the header's last name is `value`). Columns are parted by commas, semicolons, tabs or
 * spaces; a first line of names is left out. Empty cells and `NA` are NaN.
 *
 * A column of whole numbers from 0 or 1 on holds indices. What another column holds is numbered: numbers by size, words as they appear
 * (`labels`). Entries that are not there are 0.
 *
 * @param name the file, for messages
 * @throws FormatError naming the line: where it is not like the others, a value is no number, an entry is there twice, or the dense tensor
 * would have more than {@link MOST_DENSE} entries
 */
export function readCsv(bytes: Uint8Array, name = "csv", form: "matrix" | "entries" | "auto" = "auto"): TextArray {
  const lines = linesOf(bytes);
  const [first] = lines;
  if (!first) throw new FormatError(name, "the file is empty");
  const head = first.cells.some((cell) => Number.isNaN(numberOf(cell)) && !isMissing(cell)) ? first.cells : null;
  const isTable = form === "entries" || (form === "auto" && /^values?$/i.test(head?.at(-1) ?? ""));
  // where there is no value in the first line, it is a header; a table of words alone may have none
  const hasHead = head && (!isTable || (Number.isNaN(numberOf(head.at(-1)!)) && !isMissing(head.at(-1)!)));
  const rows = hasHead ? lines.slice(1) : lines;
  if (!rows.length) throw new FormatError(name, "no line but the names of columns");
  const columns = first.cells.length;
  for (const { number, cells } of rows)
    if (cells.length !== columns)
      throw new FormatError(name, `line ${number} has ${cells.length} columns, the lines before have ${columns}`);
  return isTable ? entriesOf(name, rows, hasHead ? head : null) : matrixOf(name, rows, columns);
}

/**
 * Reads a sparse tensor in the form of FROSTT (`.tns`): a line an entry, with indices from 1 on and the value, and comments from `#` on. It
 * becomes dense: entries that are not there are 0.
 *
 * @param name the file, for messages
 * @throws FormatError as {@link readCsv} does
 */
export function readTns(bytes: Uint8Array, name = "tns"): TextArray {
  const rows = linesOf(bytes);
  const columns = rows[0]?.cells.length ?? 0;
  if (!rows.length) throw new FormatError(name, "no entries");
  for (const { number, cells } of rows)
    if (cells.length !== columns)
      throw new FormatError(name, `line ${number} has ${cells.length} columns, the lines before have ${columns}`);
  if (columns < 2) throw new FormatError(name, `line ${rows[0]!.number} has 1 column, needs indices and a value`);
  const places = Array.from({ length: columns - 1 }, (_, mode) =>
    rows.map(({ number, cells }) => {
      const index = Number(cells[mode]);
      if (!(Number.isSafeInteger(index) && index >= 1))
        throw new FormatError(name, `line ${number}: index ${cells[mode]}, needs a whole number from 1 on`);
      return index - 1;
    }),
  );
  return dense(name, rows, places);
}

/** Lines with something in them, without comments. */
function linesOf(bytes: Uint8Array): Line[] {
  const text = new TextDecoder().decode(bytes);
  const lines: Line[] = [];
  let parting: string | RegExp | null = null;
  let number = 0;
  for (const raw of text.split(/\r\n|\n|\r/)) {
    number++;
    const line = raw.replace(/#.*$/, "").trim();
    if (!line) continue;
    parting ??= [",", ";", "\t"].find((mark) => line.includes(mark)) ?? /\s+/;
    lines.push({ number, cells: line.split(parting).map((cell) => cell.trim().replace(/^"(.*)"$/, "$1")) });
  }
  return lines;
}

const isMissing = (cell: string): boolean => /^(|na|nan|null)$/i.test(cell);

function numberOf(cell: string): number {
  if (/^[+-]?inf(inity)?$/i.test(cell))
    return cell.startsWith("-") ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  return cell === "" ? Number.NaN : Number(cell);
}

function valueAt(name: string, { number, cells }: Line, column: number): number {
  const cell = cells[column]!;
  const value = numberOf(cell);
  if (Number.isNaN(value) && !isMissing(cell))
    throw new FormatError(name, `line ${number}, column ${column + 1}: ${JSON.stringify(cell)} is no number`);
  return value;
}

function matrixOf(name: string, rows: readonly Line[], columns: number): TextArray {
  const data = new Float64Array(rows.length * columns);
  for (const [row, line] of rows.entries())
    for (let column = 0; column < columns; column++) data[row * columns + column] = valueAt(name, line, column);
  return { shape: [rows.length, columns], data };
}

function entriesOf(name: string, rows: readonly Line[], head: readonly string[] | null): TextArray {
  const columns = rows[0]!.cells.length;
  if (columns < 2) throw new FormatError(name, "1 column, needs one of values behind those that say where they are");
  const labels: (string[] | null)[] = [];
  const places: number[][] = [];
  for (let mode = 0; mode < columns - 1; mode++) {
    const cells = rows.map((line) => line.cells[mode]!);
    const numbers = cells.map(Number);
    const areNumbers = cells.every((cell, index) => cell !== "" && Number.isFinite(numbers[index]));
    const least = areNumbers ? numbers.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY) : -1;
    if (numbers.every(Number.isSafeInteger) && (least === 0 || least === 1)) {
      labels.push(null);
      places.push(numbers.map((index) => index - least));
      continue;
    }
    const names = [...new Set(cells)];
    if (areNumbers) names.sort((a, b) => Number(a) - Number(b));
    const indices = new Map(names.map((label, index) => [label, index]));
    labels.push(names);
    places.push(cells.map((cell) => indices.get(cell)!));
  }
  return { ...dense(name, rows, places), labels, ...(head && { modes: head.slice(0, -1) }) };
}

/** The dense tensor of entries at places, a list of indices a mode. */
function dense(name: string, rows: readonly Line[], places: readonly (readonly number[])[]): TextArray {
  const shape = places.map((indices) => indices.reduce((a, b) => Math.max(a, b), 0) + 1);
  const size = elementCount(shape);
  if (size === null || size > MOST_DENSE)
    throw new UnsupportedError(
      name,
      `${rows.length} entries of a tensor ${shape.join("×")}: as dense it has ${size ?? "too many"} entries, the most are ${MOST_DENSE}; take a part of it`,
    );
  const data = new Float64Array(size);
  const isThere = new Uint8Array(size);
  for (const [row, line] of rows.entries()) {
    const flat = shape.reduce((place, extent, mode) => place * extent + places[mode]![row]!, 0);
    if (isThere[flat])
      throw new FormatError(
        name,
        `line ${line.number}: the entry at ${line.cells.slice(0, -1).join(", ")} is there twice`,
      );
    isThere[flat] = 1;
    data[flat] = valueAt(name, line, shape.length);
  }
  return { shape, data, entries: rows.length };
}

/** Tensors as lines of text: a matrix, or a line an entry. */
import { elementCount, type NumericArray } from "./array.js";
import { checkBytes, FormatError, UnsupportedError } from "./errors.js";

/** The most entries of a tensor that is given by some of them and read as dense: 1 GiB as f32. */
export const MOST_DENSE = 2 ** 28;

/** A tensor of text, with what else the text says. */
export interface TextArray extends NumericArray {
  /** names of the modes, where columns of indices have them */
  modes?: string[];
  /** of each mode, what its indices stand for, where the text names them; null where it does not */
  labels?: (string[] | null)[];
  /** how many entries the text gives, of a tensor that is given by some of them. Left out for a matrix, of which all are there */
  entries?: number;
}

/** What lines can be read as. */
export type TextForm = "matrix" | "entries";

/** Lines with an entry each, as a tensor. */
export interface TextEntries {
  shape: number[];
  /** names of the modes; null where no line has them */
  modes: string[] | null;
  /** entries that the text gives */
  entries: number;
  /** Makes the tensor. Entries that are not there are `absent`. @throws FormatError where an entry is there twice */
  dense(absent: number): TextArray;
}

/** Text that was read: as a matrix and as entries, where it can be read so. */
export interface TextTable {
  matrix: TextArray | null;
  entries: TextEntries | null;
  /** the form that its header asks for by the name `value` over its last column; null where nothing does */
  asked: "entries" | null;
  /** whether the first line names the columns, and whether the first column names the rows */
  hasHead: boolean;
  hasRowNames: boolean;
}

/** words for an entry that is missing */
const MISSING = /^(|na|n\/a|nan|null|none|-|\?|\.)$/i;
const INFINITE = /^([+-]?)inf(inity)?$/i;
const DECIMAL_COMMA = /^[+-]?\d*,\d+(e[+-]?\d+)?$/i;
/** a comma that parts no thousands */
const SURELY_DECIMAL = /^[+-]?(0*,\d+|\d+,(\d{1,2}|\d{4,})|\d+,\d+e[+-]?\d+)$/i;
/** a number, if it is known what its commas are */
const HAS_COMMAS = /^[+-]?\d{1,3}(,\d{3})+(\.\d*)?$/;
/** lines from which the layout is told */
const SAMPLE = 50;
/** labels of a mode beyond which lines that may be rows of a matrix are not taken for entries */
const MOST_LABELS = 100_000;

/** How text is written, by the mark that it begins with: spreadsheets write Unicode text in UTF-16. */
const encodingOf = ([first, second]: Uint8Array): string =>
  first === 0xff && second === 0xfe ? "utf-16le" : first === 0xfe && second === 0xff ? "utf-16be" : "utf-8";

/** The number that a cell holds, NaN where it is missing; undefined where it is none. */
function numberOf(cell: string, hasDecimalComma = false): number | undefined {
  const value = Number(hasDecimalComma ? cell.replace(",", ".") : cell);
  // an empty cell would be 0
  if (!Number.isNaN(value) && cell.trim() !== "") return value;
  const text = cell.trim();
  if (MISSING.test(text)) return Number.NaN;
  const infinite = INFINITE.exec(text);
  if (!infinite) return undefined;
  return infinite[1] === "-" ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
}

/** The cells of a line. A quoted cell may hold the separator. */
function cellsOf(line: string, separator: string): string[] {
  if (separator === " ") return line.trim().split(/\s+/);
  if (!line.includes('"')) return line.split(separator);
  const cells: string[] = [];
  let cell = "";
  let isQuoted = false;
  for (let at = 0; at < line.length; at++) {
    const letter = line[at]!;
    if (letter === '"') {
      // a quote within quotes is written twice
      if (isQuoted && line[at + 1] === '"') cell += line[++at];
      else isQuoted = !isQuoted;
    } else if (letter === separator && !isQuoted) {
      cells.push(cell);
      cell = "";
    } else cell += letter;
  }
  return [...cells, cell];
}

/** How lines are laid out. */
interface Layout {
  separator: string;
  hasDecimalComma: boolean;
  columns: number;
  /** names of the columns, where the first line has them */
  head: readonly string[] | null;
  hasRowNames: boolean;
  /** whether the lines can be rows of a matrix, and entries with their places before them */
  canBeMatrix: boolean;
  canBeEntries: boolean;
}

/** The first separator that cuts all lines into the same number of cells, and more than one. */
function separatorOf(lines: readonly string[]): string {
  const marks = ["\t", ";", ",", " "];
  const cuts = (mark: string): boolean => {
    const [columns, ...others] = lines.map((line) => cellsOf(line, mark).length);
    return columns! > 1 && others.every((count) => count === columns);
  };
  return marks.find(cuts) ?? marks.find((mark) => cellsOf(lines[0]!, mark).length > 1) ?? ",";
}

/** The layout, from the first lines. */
function layoutOf(lines: readonly string[]): Layout {
  const separator = separatorOf(lines);
  const cells = lines.map((line) => cellsOf(line, separator).map((cell) => cell.trim()));
  // between commas, three digits behind another comma may be thousands: it is told by the others
  const decimal = separator === "," ? SURELY_DECIMAL : DECIMAL_COMMA;
  const hasDecimalComma = cells.some((row) => row.some((cell) => decimal.test(cell)));
  const isNumber = (cell = ""): boolean => numberOf(cell, hasDecimalComma) !== undefined || HAS_COMMAS.test(cell);
  const [first, ...below] = cells as [string[], ...string[][]];
  // words over a column of numbers are its name; so is `value` over the last column
  const isHead =
    /^values?$/i.test(first.at(-1)!) ||
    first.some((cell, at) => !isNumber(cell) && below.length > 0 && below.every((row) => isNumber(row[at])));
  const rows = isHead ? below : cells;
  const columns = first.length;
  const isNumeric = first.map((_, at) => rows.every((row) => isNumber(row[at])));
  // pandas leaves the cell over the names of its rows empty
  const hasRowNames =
    columns > 1 && ((isHead && first[0] === "") || (!isNumeric[0] && isNumeric.slice(1).every(Boolean)));
  const skip = hasRowNames ? 1 : 0;
  const isPlace = (at: number): boolean => !isNumeric[at] || rows.every((row) => /^-?\d+$/.test(row[at] ?? ""));
  const canBeEntries =
    columns >= 3 && columns <= 9 && isNumeric.at(-1)! && first.slice(0, -1).every((_, at) => isPlace(at));
  const canBeMatrix = isNumeric.slice(skip).every(Boolean);
  // a row of numbers makes a matrix whose other lines are wrong, and are told as such
  const isRow = !canBeEntries && rows.length > 0 && rows[0]!.slice(skip).every(isNumber);
  return {
    ...{ separator, hasDecimalComma, columns, hasRowNames, canBeEntries },
    head: isHead ? first : null,
    canBeMatrix: canBeMatrix || isRow,
  };
}

/** entries of a block */
const BLOCK = 2 ** 16;

/** Numbers in blocks, so that a list that grows is not copied. */
class Numbers<T extends Float64Array | Uint32Array> {
  #blocks: T[] = [];
  length = 0;

  constructor(private readonly create: (length: number) => T) {}

  push(value: number): void {
    const at = this.length++ % BLOCK;
    if (at === 0) this.#blocks.push(this.create(BLOCK));
    this.#blocks.at(-1)![at] = value;
  }

  at(index: number): number {
    return this.#blocks[Math.floor(index / BLOCK)]![index % BLOCK]!;
  }

  /** All of them in one array. The list is empty afterwards. */
  take(): T {
    const all = this.create(this.length);
    for (let from = 0; from < this.length; from += BLOCK)
      all.set(this.#blocks.shift()!.subarray(0, Math.min(BLOCK, this.length - from)), from);
    this.length = 0;
    return all;
  }
}

/** What the indices of a mode stand for. */
interface ModeLabels {
  extent: number;
  /** null where the text has indices */
  labels: string[] | null;
  /** the index of each label, in the order in which labels came */
  indices: number[];
}

/** Lines that are entries: the labels of every mode, and each line's places among them. */
class Entries {
  readonly #labels: Map<string, number>[];
  readonly #places = new Numbers((length) => new Uint32Array(length));
  readonly #values = new Numbers((length) => new Float64Array(length));
  readonly #lines = new Numbers((length) => new Uint32Array(length));

  constructor(
    readonly name: string,
    readonly order: number,
    /** whether all modes have indices from 1 on */
    readonly hasIndices: boolean,
  ) {
    this.#labels = Array.from({ length: order }, () => new Map());
  }

  add(cells: readonly string[], value: number, line: number): void {
    for (const [mode, known] of this.#labels.entries()) {
      const label = cells[mode]!.trim();
      let at = known.get(label);
      if (at === undefined) {
        if (this.hasIndices && !(Number.isSafeInteger(Number(label)) && Number(label) >= 1))
          throw new FormatError(this.name, `line ${line}: index ${label}, needs a whole number from 1 on`);
        known.set(label, (at = known.size));
      }
      this.#places.push(at);
    }
    this.#values.push(value);
    this.#lines.push(line);
  }

  get mostLabels(): number {
    return this.#labels.reduce((most, { size }) => Math.max(most, size), 0);
  }

  /** Whole numbers from 0 or 1 on are indices, other numbers stand by their size, and words as they came. */
  #modeOf(known: ReadonlyMap<string, number>): ModeLabels {
    const names = [...known.keys()];
    const numbers = names.map(Number);
    const areNumbers = names.every((label, at) => label !== "" && Number.isFinite(numbers[at]));
    const least = areNumbers ? numbers.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY) : -1;
    if (numbers.every(Number.isSafeInteger) && (this.hasIndices || least === 0 || least === 1)) {
      const from = this.hasIndices ? 1 : least;
      const extent = numbers.reduce((a, b) => Math.max(a, b), 0) - from + 1;
      return { extent, labels: null, indices: numbers.map((index) => index - from) };
    }
    const labels = [...names];
    if (areNumbers) labels.sort((a, b) => Number(a) - Number(b));
    const indices = new Map(labels.map((label, index) => [label, index]));
    return { extent: names.length, labels, indices: names.map((label) => indices.get(label)!) };
  }

  tensor(modes: string[] | null): TextEntries {
    const { name, order } = this;
    const parts = this.#labels.map((known) => this.#modeOf(known));
    const shape = parts.map(({ extent }) => extent);
    const count = this.#values.length;
    const dense = (absent: number): TextArray => {
      const size = elementCount(shape);
      if (size === null || size > MOST_DENSE)
        throw new UnsupportedError(
          name,
          `${count} entries of a tensor ${shape.join("×")}: as dense it has ${size ?? "too many"} entries, the most are ${MOST_DENSE}; take a part of it`,
        );
      const data = new Float64Array(size).fill(absent);
      const isThere = new Uint8Array(size);
      for (let at = 0; at < count; at++) {
        const place = parts.map(({ indices }, mode) => indices[this.#places.at(at * order + mode)]!);
        const flat = place.reduce((flat, index, mode) => flat * shape[mode]! + index, 0);
        if (isThere[flat]) {
          const labels = this.#labels.map((known, mode) => [...known.keys()][this.#places.at(at * order + mode)]);
          throw new FormatError(name, `line ${this.#lines.at(at)}: the entry at ${labels.join(", ")} is there twice`);
        }
        isThere[flat] = 1;
        data[flat] = this.#values.at(at);
      }
      const said = { labels: parts.map(({ labels }) => labels), ...(modes && { modes }) };
      return { shape, data, entries: count, ...(this.hasIndices ? {} : said) };
    };
    return { shape, modes, entries: count, dense };
  }
}

/**
 * Reads text of numbers piece by piece: a matrix with a line a row, or a tensor with a line an entry, whose last column is the value and whose
 * other columns say where it is. Columns are parted by tabs, semicolons, commas or spaces; a comma may stand for the decimal point, between commas
 * in quotes: "1,5". A first line of names, a first column of names, empty lines and comments from `#` on are known as such. Empty cells, `NA` and the like
 * are NaN.
 *
 * A column of whole numbers from 0 or 1 on holds indices. What another column holds is numbered: numbers by size, words as they appear.
 */
export class TextReader {
  #decoder: TextDecoder | null = null;
  readonly #sample: [line: string, number: number][] = [];
  #rest = "";
  #number = 0;
  #rows = 0;
  #layout: Layout | null = null;
  #values: Numbers<Float64Array> | null = null;
  #rowNames: string[] = [];
  #entries: Entries | null = null;

  /** @param form the one form to read; both where none is given, so far as the first lines allow; `tns`: entries with indices from 1 on */
  constructor(
    readonly name = "csv",
    readonly form: TextForm | "tns" | null = null,
  ) {}

  /** Takes the next bytes. @throws FormatError naming the line that is not like the others, or has a value that is no number */
  push(bytes: Uint8Array): void {
    this.#decoder ??= new TextDecoder(encodingOf(bytes));
    this.#take(this.#rest + this.#decoder.decode(bytes, { stream: true }), false);
  }

  #take(text: string, isLast: boolean): void {
    // a line's end may be cut between its two characters
    const lines = text.split(/\r\n|\n|\r(?!$)/);
    this.#rest = isLast ? "" : lines.pop()!;
    for (const raw of lines) {
      this.#number++;
      const line = raw.includes("#") ? raw.replace(/^\s*#.*|\s#(\s.*)?$/, "") : raw;
      if (line.trim() === "") continue;
      if (this.#layout) this.#add(line, this.#number);
      else if (this.#sample.push([line, this.#number]) === SAMPLE) this.#begin();
    }
  }

  /** Finds the layout, and takes the lines from which it was found. */
  #begin(): void {
    const { name, form } = this;
    const lines = this.#sample.map(([line]) => line);
    const layout = form === "tns" ? tnsLayout(lines[0]!) : layoutOf(lines);
    this.#layout = layout;
    const { columns, head } = layout;
    if (form === "tns" && columns < 2)
      throw new FormatError(name, `line ${this.#sample[0]![1]} has 1 column, needs indices and a value`);
    if (form === "entries" && columns < 2)
      throw new FormatError(name, "1 column, needs one of values behind those that say where they are");
    const asksEntries = this.#askedForm() === "entries";
    if (form === "matrix" || (!form && layout.canBeMatrix && !asksEntries))
      this.#values = new Numbers((length) => new Float64Array(length));
    if ((form ?? "matrix") !== "matrix" || (!form && (layout.canBeEntries || asksEntries)))
      this.#entries = new Entries(name, columns - 1, form === "tns");
    if (lines.length === 1 && !/\d/.test(lines[0]!) && !this.#entries)
      throw new FormatError(name, "no line but the names of columns");
    if (!this.#values && !this.#entries)
      throw new FormatError(
        name,
        "columns of words: a table needs numbers in every column but the first; entries need their places first and their value last",
      );
    for (const [line, number] of this.#sample.splice(0).slice(head ? 1 : 0)) this.#add(line, number);
  }

  #askedForm(): "entries" | null {
    const last = this.#layout!.head?.at(-1);
    return last !== undefined && /^values?$/i.test(last) ? "entries" : null;
  }

  #add(line: string, number: number): void {
    const { separator, columns, hasRowNames, hasDecimalComma } = this.#layout!;
    const cells = cellsOf(line, separator);
    if (cells.length !== columns)
      throw new FormatError(
        this.name,
        `line ${number} has ${cells.length} column${cells.length === 1 ? "" : "s"}, the lines before have ${columns}; ${line.split('"').length % 2 ? "mend the line, or remove it" : "its quotes do not end: a cell ends on the line on which it begins"}`,
      );
    const valueAt = (column: number): number => {
      const value = numberOf(cells[column]!, hasDecimalComma);
      if (value === undefined)
        throw new FormatError(
          this.name,
          `line ${number}, column ${column + 1}: ${JSON.stringify(cells[column]!.trim().slice(0, 30))} ${HAS_COMMAS.test(cells[column]!.trim()) ? "may have a decimal comma, or commas between thousands: write a point, or none of them" : "is no number; leave entries that are missing empty"}`,
        );
      return value;
    };
    const values = this.#values;
    if (values) {
      if (hasRowNames) this.#rowNames.push(cells[0]!.trim());
      for (let column = hasRowNames ? 1 : 0; column < columns; column++) values.push(valueAt(column));
    }
    const entries = this.#entries;
    if (entries) {
      entries.add(cells, valueAt(columns - 1), number);
      if (values && entries.mostLabels > MOST_LABELS) this.#entries = null;
    }
    this.#rows++;
  }

  /** What the text holds. @throws FormatError where there is no line of numbers */
  end(): TextTable {
    this.#take(this.#rest + (this.#decoder?.decode() ?? ""), true);
    if (!this.#layout && this.#sample.length) this.#begin();
    if (!this.#layout) throw new FormatError(this.name, "the file has no line of numbers");
    if (!this.#rows) throw new FormatError(this.name, "no line but the names of columns");
    const { head, hasRowNames, columns } = this.#layout;
    const names = head?.slice(hasRowNames ? 1 : 0) ?? null;
    return {
      matrix: this.#values && {
        shape: [this.#rows, columns - (hasRowNames ? 1 : 0)],
        data: this.#values.take(),
        ...((names || hasRowNames) && { labels: [hasRowNames ? this.#rowNames : null, names] }),
      },
      entries: this.#entries?.tensor(head ? head.slice(0, -1) : null) ?? null,
      asked: this.#askedForm(),
      hasHead: head !== null,
      hasRowNames,
    };
  }
}

/** The layout of FROSTT's files, which their form says. */
const tnsLayout = (line: string): Layout => ({
  separator: " ",
  columns: cellsOf(line, " ").length,
  ...{ hasDecimalComma: false, head: null, hasRowNames: false, canBeMatrix: false, canBeEntries: true },
});

/** bytes that are decoded at once */
const PIECE = 2 ** 20;

function readText(bytes: Uint8Array, name: string, form: TextReader["form"]): TextTable {
  const reader = new TextReader(name, form);
  for (let from = 0; from < bytes.length; from += PIECE) reader.push(bytes.subarray(from, from + PIECE));
  return reader.end();
}

/**
 * Reads a CSV file as {@link TextReader} does: a matrix, or, where the header's last name is `value` or nothing else is possible, a tensor with
 * a line an entry.
 *
 * @param name the file, for messages
 * @param absent what entries are that no line names: 0 as in sparse tensors, or NaN where they are missing
 * @throws FormatError naming the line: where it is not like the others, a value is no number, an entry is there twice, or the dense tensor
 * would have more than {@link MOST_DENSE} entries
 */
export function readCsv(bytes: Uint8Array, name = "csv", form: TextForm | "auto" = "auto", absent = 0): TextArray {
  checkBytes("readCsv", bytes);
  const { matrix, entries } = readText(bytes, name, form === "auto" ? null : form);
  return matrix ?? entries!.dense(absent);
}

/**
 * Reads a sparse tensor in the form of FROSTT (`.tns`): a line an entry, with indices from 1 on and the value, and comments from `#` on. It
 * becomes dense.
 *
 * @param name the file, for messages
 * @param absent what entries are that no line names: 0, or NaN where they are missing
 * @throws FormatError as {@link readCsv} does
 */
export const readTns = (bytes: Uint8Array, name = "tns", absent = 0): TextArray => {
  checkBytes("readTns", bytes);
  return readText(bytes, name, "tns").entries!.dense(absent);
};

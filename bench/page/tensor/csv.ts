/** Text of numbers: a table as a matrix, or a line an entry with its place. Read as a stream, a line at a time. */
import { ENTRIES, type Member, type OpenFile } from "./pieces.js";

/** words for an entry that is missing */
const MISSING = /^(|na|n\/a|nan|null|none|-|\?|\.)$/i;
const INFINITE = /^([+-]?)inf(inity)?$/i;
/** lines from which the layout is told, and the bytes in which they are looked for */
const SAMPLE = { lines: 50, bytes: 1 << 18 };
/** labels of one mode, and entries of a tensor that lines with places make */
const MOST_LABELS = 20_000;
const MOST_ENTRIES = 2 ** 28;

/** The number that a cell holds, NaN where it is missing; undefined where it is none. */
export function numberOf(cell: string, hasDecimalComma = false): number | undefined {
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
export function cellsOf(line: string, separator: string): string[] {
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
  cells.push(cell);
  return cells;
}

/** Lines with their numbers, without those that are empty or comments (#). */
async function* linesOf(blob: Blob): AsyncGenerator<[line: string, number: number]> {
  const reader = blob.stream().getReader();
  const decoder = new TextDecoder();
  let rest = "";
  let number = 0;
  for (;;) {
    const { value, done } = await reader.read();
    rest += done ? decoder.decode() : decoder.decode(value, { stream: true });
    // a line's end may be cut between its two characters
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = done ? "" : lines.pop()!;
    for (const line of lines) {
      number++;
      if (line.trim() !== "" && !line.startsWith("#")) yield [line, number];
    }
    if (done) return;
  }
}

/** How the file is laid out. */
export interface Layout {
  separator: string;
  hasDecimalComma: boolean;
  columns: number;
  /** names of the columns, where the first line has them */
  head: readonly string[] | null;
  /** whether the first column names the rows */
  hasRowNames: boolean;
  /** whether the lines can be rows of a matrix, and whether they can be entries with their places before them */
  canBeTable: boolean;
  canBeEntries: boolean;
}

/** The separator that cuts all lines into the same number of cells, the largest there is. */
function separatorOf(lines: readonly string[]): string {
  let best = { separator: ",", columns: 1 };
  for (const separator of ["\t", ";", ",", " "]) {
    const [columns, ...others] = lines.map((line) => cellsOf(line, separator).length);
    if (columns! > best.columns && others.every((count) => count === columns)) best = { separator, columns: columns! };
  }
  return best.separator;
}

/** The layout, from the first lines. */
export function layoutOf(lines: readonly string[]): Layout {
  const separator = separatorOf(lines);
  const cells = lines.map((line) => cellsOf(line, separator).map((cell) => cell.trim()));
  const hasDecimalComma = separator !== "," && cells.some((row) => row.some((cell) => /^-?\d+,\d+$/.test(cell)));
  const isNumber = (cell: string): boolean => numberOf(cell, hasDecimalComma) !== undefined;
  const [first, ...below] = cells as [string[], ...string[][]];
  // words over a column of numbers are its name
  const isHead =
    below.length > 0 && first.some((cell, at) => !isNumber(cell) && below.every((row) => isNumber(row[at] ?? "")));
  const rows = isHead ? below : cells;
  const columns = first.length;
  const isNumeric = first.map((_, at) => rows.every((row) => isNumber(row[at] ?? "")));
  // pandas leaves the cell over the names of its rows empty
  const hasRowNames =
    columns > 1 && ((isHead && first[0] === "") || (!isNumeric[0] && isNumeric.slice(1).every(Boolean)));
  const isPlace = (at: number): boolean => !isNumeric[at] || rows.every((row) => /^-?\d+$/.test(row[at] ?? ""));
  const places = first.slice(0, -1);
  return {
    separator,
    hasDecimalComma,
    columns,
    head: isHead ? first : null,
    hasRowNames,
    canBeTable: isNumeric.slice(hasRowNames ? 1 : 0).every(Boolean),
    canBeEntries: columns >= 3 && columns <= 9 && isNumeric.at(-1)! && places.every((_, at) => isPlace(at)),
  };
}

/** Numbers in blocks, so that a list that grows is never copied. */
class Numbers<T extends Float32Array | Uint32Array> {
  readonly blocks: T[] = [];
  length = 0;

  constructor(private readonly create: (length: number) => T) {}

  push(value: number): void {
    const at = this.length++ % ENTRIES;
    if (at === 0) this.blocks.push(this.create(ENTRIES));
    this.blocks.at(-1)![at] = value;
  }

  at(index: number): number {
    return this.blocks[Math.floor(index / ENTRIES)]![index % ENTRIES]!;
  }

  *pieces(): Generator<T> {
    for (const [index, block] of this.blocks.entries())
      yield block.subarray(0, Math.min(ENTRIES, this.length - index * ENTRIES)) as T;
  }
}

/** Lines that are entries: labels, and the place of every line. */
class Entries {
  readonly labels: Map<string, number>[];
  readonly #places = new Numbers((length) => new Uint32Array(length));
  readonly #values = new Numbers((length) => new Float32Array(length));

  constructor(readonly order: number) {
    this.labels = Array.from({ length: order }, () => new Map());
  }

  /** Adds a line; false where there are more labels than a mode may have. */
  add(cells: readonly string[], value: number): boolean {
    for (const [mode, known] of this.labels.entries()) {
      const label = cells[mode]!.trim();
      let at = known.get(label);
      if (at === undefined) known.set(label, (at = known.size));
      this.#places.push(at);
    }
    this.#values.push(value);
    return this.labels.every((known) => known.size <= MOST_LABELS);
  }

  get shape(): number[] {
    return this.labels.map((known) => known.size);
  }

  /** whole numbers by their size, words as they came: of every mode, the index of each label */
  ranks(): number[][] {
    return this.labels.map((known) => {
      const labels = [...known.keys()];
      const isOrdered = labels.every((label) => /^-?\d+$/.test(label));
      if (isOrdered) labels.sort((a, b) => Number(a) - Number(b));
      const out = new Array<number>(labels.length);
      for (const [index, label] of labels.entries()) out[known.get(label)!] = index;
      return out;
    });
  }

  /** The tensor; what no line names is NaN. */
  dense(name: string): Float32Array {
    const { shape, order } = this;
    const ranks = this.ranks();
    const size = shape.reduce((a, b) => a * b, 1);
    const out = new Float32Array(size).fill(Number.NaN);
    const isSet = new Uint8Array(size);
    for (let line = 0; line < this.#values.length; line++) {
      let to = 0;
      for (let mode = 0; mode < order; mode++)
        to = to * shape[mode]! + ranks[mode]![this.#places.at(line * order + mode)]!;
      if (isSet[to]) {
        const place = this.labels.map((known, mode) => [...known.keys()][this.#places.at(line * order + mode)]);
        throw new Error(
          `${name}: the place ${place.join(", ")} is there twice. Keep one line of each place, or take the table as a matrix`,
        );
      }
      isSet[to] = 1;
      out[to] = this.#values.at(line);
    }
    return out;
  }
}

async function sampleOf(blob: Blob): Promise<string[]> {
  const isCut = blob.size > SAMPLE.bytes;
  const lines: string[] = [];
  for await (const [line] of linesOf(blob.slice(0, SAMPLE.bytes))) if (lines.push(line) > SAMPLE.lines) break;
  // the last line may end where the sample does
  if (lines.length > SAMPLE.lines || (isCut && lines.length > 1)) lines.pop();
  return lines;
}

export async function openCsv(blob: Blob, name: string): Promise<OpenFile> {
  const sample = await sampleOf(blob);
  if (!sample.length) throw new Error(`${name}: no line of numbers`);
  const layout = layoutOf(sample);
  const { separator, hasDecimalComma, columns, head, hasRowNames } = layout;
  if (!layout.canBeTable && !layout.canBeEntries)
    throw new Error(
      `${name}: columns of words. A table needs numbers in every column but the first; entries need their places first and their value last`,
    );
  const skip = hasRowNames ? 1 : 0;
  const table = layout.canBeTable ? new Numbers((length) => new Float32Array(length)) : null;
  let entries = layout.canBeEntries ? new Entries(columns - 1) : null;
  let rows = 0;
  let isFirst = head !== null;
  for await (const [line, number] of linesOf(blob)) {
    if (isFirst) {
      isFirst = false;
      continue;
    }
    const cells = cellsOf(line, separator);
    if (cells.length !== columns)
      throw new Error(
        `${name}, line ${number}: ${cells.length} cells, other lines have ${columns}. Mend the line, or remove it`,
      );
    const valueAt = (column: number): number => {
      const value = numberOf(cells[column]!, hasDecimalComma);
      if (value === undefined)
        throw new Error(
          `${name}, line ${number}, column ${column + 1}: ${JSON.stringify(cells[column]!.slice(0, 30))} is not a number. Leave entries that are missing empty`,
        );
      return value;
    };
    if (table) for (let column = skip; column < columns; column++) table.push(valueAt(column));
    if (entries && !entries.add(cells, valueAt(columns - 1))) entries = null;
    rows++;
  }
  if (!rows) throw new Error(`${name}: no line of numbers, only the names of the columns`);
  const size = entries?.shape.reduce((a, b) => a * b, 1) ?? 0;
  if (size > MOST_ENTRIES || (table && size > 100 * rows)) entries = null;
  if (!table && !entries)
    throw new Error(
      `${name}: its places would make a tensor of ${size.toLocaleString("en-US")} entries for ${rows} lines: too sparse`,
    );

  const notes = [head ? "the first line names the columns" : "", hasRowNames ? "the first column names the rows" : ""];
  const members: Member[] = [];
  const readers: (() => Iterable<Float32Array>)[] = [];
  if (table) {
    members.push({
      ...{ name: "the table, as a matrix", shape: [rows, columns - skip], dtype: "text", isColumnMajor: false },
      ...{ modes: ["rows", "columns"], note: notes.filter(Boolean).join("; ") },
    });
    readers.push(() => table.pieces());
  }
  if (entries) {
    const placed = entries;
    members.push({
      ...{ name: "a line an entry: places, then the value", shape: placed.shape, dtype: "text", isColumnMajor: false },
      modes: placed.shape.map((_, mode) => head?.[mode] || `mode ${mode}`),
      note: `${rows} lines; entries without a line are missing`,
    });
    readers.push(function* () {
      const out = placed.dense(name);
      for (let from = 0; from < out.length; from += ENTRIES) yield out.subarray(from, from + ENTRIES);
    });
    // lines that fill the tensor they name are its entries, not a table
    if (size === rows) for (const list of [members, readers]) list.reverse();
  }
  return {
    kind: "text of numbers",
    members,
    skipped: [],
    async read(member, take) {
      for (const piece of readers[member]!()) await take(piece);
    },
  };
}

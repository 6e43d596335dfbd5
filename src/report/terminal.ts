/** Text for terminals: tables, and a line that is written anew in its place. */

export interface TableOptions {
  /** headings, one a column; none by default */
  head?: readonly string[];
  /** alignment, one a column; left by default */
  align?: readonly ("left" | "right")[];
  /** the most characters of a line; 80 by default */
  width?: number;
}

const GAP = 2;
/** letters that take two places of a terminal, and marks that take none */
const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60]|\p{Emoji_Presentation}/gu;
const MARKS = /\p{M}/gu;

/** The places that a line takes in a terminal. */
const placesOf = (line: string): number => [...line.replace(MARKS, "").replace(WIDE, "$&.")].length;

/** The lines of a cell: its own, cut at words, and within words that are longer than a line. */
function linesOf(cell: string, width: number): string[] {
  const short = cell.replace(/\S+/g, (word) =>
    placesOf(word) > width ? word.match(new RegExp(`.{1,${width}}`, "gsu"))!.join("\n") : word,
  );
  return short.split("\n").flatMap((text) => {
    const lines: string[] = [];
    let line = "";
    for (const word of text.split(/(?<=\s)(?=\S)/)) {
      if (line && placesOf(line + word.trimEnd()) > width) {
        lines.push(line);
        line = "";
      }
      line += word;
    }
    return [...lines, line];
  });
}

/**
 * A plain table without rules or colours. Where it is wider than `width`, the widest columns are narrowed and their cells wrapped
 * at words. Ends with a line break.
 */
export function table(rows: readonly (readonly (string | number)[])[], options: TableOptions = {}): string {
  const { head, align = [], width = 80 } = options;
  const cells = [...(head ? [head] : []), ...rows].map((row) => row.map(String));
  const columns = Math.max(0, ...cells.map((row) => row.length));
  if (!columns) return "";
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(1, ...cells.map((row) => Math.max(...(row[column] ?? "").split("\n").map(placesOf)))),
  );
  const room = Math.max(width - GAP * (columns - 1), columns);
  for (let over = sum(widths) - room; over > 0; over = sum(widths) - room) {
    // narrow the widest column to the width of the second widest, or by `over`
    const widest = widths.indexOf(Math.max(...widths));
    const next = Math.max(1, ...widths.filter((_, column) => column !== widest));
    widths[widest] = Math.max(1, widths[widest]! - over, Math.min(next, widths[widest]! - 1));
  }
  let text = "";
  for (const row of cells) {
    const lines = widths.map((places, column) => linesOf(row[column] ?? "", places).map((line) => line.trimEnd()));
    for (let at = 0; at < Math.max(...lines.map(({ length }) => length)); at++) {
      const line = lines.map((of, column) => {
        const cell = of[at] ?? "";
        const room = " ".repeat(Math.max(0, widths[column]! - placesOf(cell)));
        return align[column] === "right" ? room + cell : cell + room;
      });
      text += `${line.join(" ".repeat(GAP)).trimEnd()}\n`;
    }
  }
  return text;
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** What a line is written to. */
export interface Terminal {
  write(text: string): unknown;
  columns?: number | undefined;
}

/** milliseconds between two states of a line */
const PACE = 100;

/** A line of a terminal that is written anew in its place, ten times a second at most, and cut where the terminal ends. */
export class StatusLine {
  #shown = Number.NEGATIVE_INFINITY;
  #waiting = "";

  constructor(private readonly terminal: Terminal) {}

  show(line: string): void {
    this.#waiting = line;
    if (performance.now() - this.#shown >= PACE) this.#write();
  }

  #write(): void {
    const { columns = 80 } = this.terminal;
    this.terminal.write(`\r${[...this.#waiting].slice(0, columns - 1).join("")}\x1b[K`);
    this.#shown = performance.now();
    this.#waiting = "";
  }

  /** Removes the line, for others to be written where it stood. */
  clear(): void {
    this.terminal.write("\r\x1b[K");
    this.#waiting = "";
    this.#shown = Number.NEGATIVE_INFINITY;
  }

  /** Leaves the last state on the screen, and goes on to the next line. */
  end(): void {
    if (this.#waiting) this.#write();
    this.terminal.write("\n");
  }
}

/** A bar of 20 places: `██████░░░░░░░░░░░░░░` for a share of 0.3. */
export function barOf(share: number): string {
  const full = Math.round(20 * Math.min(1, Math.max(0, share)));
  return "█".repeat(full) + "░".repeat(20 - full);
}

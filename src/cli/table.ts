import CliTable from "cli-table3";
import type { Output } from "./context.js";

export interface TableOptions {
  /** headings, one a column; none by default */
  head?: readonly string[];
  /** alignment, one a column; left by default */
  align?: readonly ("left" | "right")[];
  /** the most characters of a line; 80 by default */
  width?: number;
}

const GAP = 2;
const NO_LINES = {
  top: "",
  "top-mid": "",
  "top-left": "",
  "top-right": "",
  bottom: "",
  "bottom-mid": "",
  "bottom-left": "",
  "bottom-right": "",
  left: "",
  "left-mid": "",
  mid: "",
  "mid-mid": "",
  right: "",
  "right-mid": "",
  middle: " ".repeat(GAP),
};

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
    Math.max(1, ...cells.map((row) => Math.max(...(row[column] ?? "").split("\n").map((line) => line.length)))),
  );
  const room = Math.max(width - GAP * (columns - 1), columns);
  for (let over = sum(widths) - room; over > 0; over = sum(widths) - room) {
    // narrow the widest column to the width of the second widest, or by `over`
    const widest = widths.indexOf(Math.max(...widths));
    const next = Math.max(1, ...widths.filter((_, column) => column !== widest));
    widths[widest] = Math.max(1, widths[widest]! - over, Math.min(next, widths[widest]! - 1));
  }
  const grid = new CliTable({
    chars: NO_LINES,
    style: { "padding-left": 0, "padding-right": 0, head: [], border: [], compact: true },
    colWidths: widths,
    colAligns: Array.from({ length: columns }, (_, column) => align[column] ?? "left"),
    wordWrap: true,
    wrapOnWordBoundary: true,
  });
  // words that are longer than their column are broken here, because cli-table3 would cut them off
  const breakLong = (cell: string, column: number): string =>
    cell.replace(/\S+/g, (word) => word.match(new RegExp(`.{1,${widths[column]}}`, "gsu"))!.join("\n"));
  grid.push(...cells.map((row) => row.map(breakLong)));
  const lines = grid.toString().split("\n");
  return `${lines.map((line) => line.trimEnd()).join("\n")}\n`;
}

/** The characters in a line of an output: the terminal's width, or 80. */
export const widthOf = (output: Output): number => (output.isTTY && output.columns ? output.columns : 80);

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** `47,040` */
export const formatCount = (count: number): string => count.toLocaleString("en-US");

/** `850 ms`, `12.3 s`, `4 min 05 s` */
export function formatSeconds(seconds: number): string {
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 99.95) return `${seconds.toPrecision(3)} s`;
  const rounded = Math.round(seconds);
  return `${Math.floor(rounded / 60)} min ${String(rounded % 60).padStart(2, "0")} s`;
}

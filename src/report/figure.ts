/** What every figure of a result is: SVG text of any width, words, and a table of its numbers; as files. */
import type { DecompositionData } from "./model.js";
import { csv as csvText, PAPER, type Palette, tick, words } from "./svg.js";

/** A table that a figure shows, row by row. */
export interface Table {
  head: readonly string[];
  rows: Iterable<readonly (string | number)[]>;
}

export interface Figure {
  /** of a file: `factor-0` */
  id: string;
  title: string;
  /** what is drawn, and how to read it */
  words: string;
  /** what it says to those who do not see it */
  label: string;
  /** SVG text of this width in pixels */
  draw(width: number, palette: Palette): string;
  /** markup that a page shows below it */
  below?: string;
  /** the numbers, all of them, also where the drawing is coarser */
  table(): Table;
}

/** The figure as a file for paper. Its title is what a screen reader says. */
export const svgFile = (figure: Figure, width = 900): string =>
  figure.draw(width, PAPER).replace(/^<svg [^>]*>/, (tag) => `${tag}<title>${words(figure.label)}</title>`);

/** The figure's numbers as the text of a CSV file, in pieces of some hundred lines. */
export function* csvPieces(figure: Figure): Generator<string> {
  const { head, rows } = figure.table();
  yield csvText([head]);
  let some: (readonly (string | number)[])[] = [];
  for (const row of rows) {
    if (some.push(row) < 500) continue;
    yield csvText(some);
    some = [];
  }
  yield csvText(some);
}

/** The same as one text; null where it would be longer than `most` characters. */
export function csvFile(figure: Figure, most = Number.POSITIVE_INFINITY): string | null {
  let text = "";
  for (const piece of csvPieces(figure)) {
    text += piece;
    if (text.length > most) return null;
  }
  return text;
}

const MARGIN = { left: 58, right: 14, top: 26, bottom: 44 };
/** A number with so many digits that count, and no more zeros than it needs. */
export const digits = (value: number, places = 4): string => String(Number(value.toPrecision(places)));
export const plural = (count: number, name: string): string => `${count} ${name}${count === 1 ? "" : "s"}`;

/** What an index of a mode stands for, or the index itself. */
export type LabelOf = (index: number) => string | number;
export const labelsOf =
  ({ labels }: DecompositionData, mode: number): LabelOf =>
  (index) =>
    labels?.[mode]?.[index] ?? index;

/** The part of `width` × `height` that axes leave. */
export const frame = (width: number, height: number) => ({
  x: [MARGIN.left, width - MARGIN.right] as const,
  y: [height - MARGIN.bottom, MARGIN.top] as const,
});

/** points of one line: beyond, the least and the largest of each bin are drawn */
const MOST_POINTS = 320;

/** A line thinned to the least and the largest value of each bin, where it has more points than are drawn. */
export function thinned(
  length: number,
  valueAt: (index: number) => number,
  most = MOST_POINTS,
): { xs: number[]; ys: number[] } {
  const xs: number[] = [];
  const ys: number[] = [];
  if (length <= most) {
    for (let i = 0; i < length; i++) {
      xs.push(i);
      ys.push(valueAt(i));
    }
    return { xs, ys };
  }
  const bins = most / 2;
  for (let bin = 0; bin < bins; bin++) {
    const [from, to] = [Math.floor((bin * length) / bins), Math.floor(((bin + 1) * length) / bins)];
    let [low, high] = [from, from];
    for (let i = from; i < to; i++) {
      if (valueAt(i) < valueAt(low)) low = i;
      if (valueAt(i) > valueAt(high)) high = i;
    }
    for (const i of low < high ? [low, high] : [high, low]) {
      xs.push(i);
      ys.push(valueAt(i));
    }
  }
  return { xs, ys };
}

/** A label that leaves room for its neighbours. */
export const shortened = (text: string | number): string => {
  const all = typeof text === "number" ? tick(text) : text;
  return all.length > 14 ? `${all.slice(0, 13)}…` : all;
};

export const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

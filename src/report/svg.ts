/** Figures as SVG text, made of numbers alone: in a page, in a file, and under Node. */

/** What a figure is drawn with. */
export interface Palette {
  text: string;
  quiet: string;
  line: string;
  accent: string;
  mark: string;
  /** of numbers above 0, below 0 and at 0 */
  warm: string;
  cold: string;
  zero: string;
  font: string;
}

/** The page's colours, light or dark as the page is: for figures inside a page with style.css. */
export const PAGE: Palette = {
  text: "var(--text)",
  quiet: "var(--quiet)",
  line: "var(--line)",
  accent: "var(--accent)",
  mark: "var(--mark)",
  warm: "var(--warm)",
  cold: "var(--cold)",
  zero: "var(--zero)",
  font: "inherit",
};

/** Colours for white paper: for figures that stand alone in a file. */
export const PAPER: Palette = {
  text: "#1c1b19",
  quiet: "#5d5a54",
  line: "#dcd8d0",
  accent: "#0b62a8",
  mark: "#d1490c",
  warm: "#d55e00",
  cold: "#0072b2",
  zero: "#f4f3f1",
  font: "system-ui, sans-serif",
};

export type Attributes = Readonly<Record<string, string | number | undefined>>;

const escaped = (text: string): string =>
  text.replace(/[&<>"]/g, (sign) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[sign]!);
/** Text inside an element. */
export const words = escaped;

/** A number with at most two digits after the point. */
export const short = (value: number): string => String(Math.round(100 * value) / 100);

/** An element; attributes that are undefined are left out, and children are markup already. */
export function el(name: string, attributes: Attributes, ...children: readonly string[]): string {
  const list = Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}="${typeof value === "number" ? short(value) : escaped(value!)}"`)
    .join("");
  return children.length ? `<${name}${list}>${children.join("")}</${name}>` : `<${name}${list}/>`;
}

/** A picture of this size in pixels. `fill` of text is the palette's. */
export const picture = (width: number, height: number, palette: Palette, ...children: readonly string[]): string =>
  el(
    "svg",
    {
      xmlns: "http://www.w3.org/2000/svg",
      width,
      height,
      viewBox: `0 0 ${short(width)} ${short(height)}`,
      "font-family": palette.font,
      "font-size": 12,
      fill: palette.text,
    },
    ...children,
  );

export const label = (
  x: number,
  y: number,
  text: string,
  { anchor = "start", fill, size }: { anchor?: "start" | "middle" | "end"; fill?: string; size?: number } = {},
): string => el("text", { x, y, "text-anchor": anchor, fill, "font-size": size }, words(text));

/** From numbers to pixels. */
export interface Scale {
  (value: number): number;
  readonly domain: readonly [number, number];
  readonly ticks: readonly number[];
}

/** The 1, 2 or 5 times a power of ten that cuts `span` into at most `most` steps. */
export function stepOf(span: number, most: number): number {
  const power = 10 ** Math.floor(Math.log10(span / most));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => span / step <= most * (1 + 1e-9))!;
}

/** @param options `isNice` moves both ends outwards to a tick */
export function linear(
  low: number,
  high: number,
  [from, to]: readonly [number, number],
  { ticks = 4, integers = false, isNice = false }: { ticks?: number; integers?: boolean; isNice?: boolean } = {},
): Scale {
  const fitting = stepOf(Math.abs(high - low) || 1, ticks);
  const step = integers ? Math.max(1, fitting) : fitting;
  const [first, last] = isNice
    ? [step * Math.floor(low / step + 1e-9), step * Math.ceil(high / step - 1e-9)]
    : [low, high];
  const span = last - first || 1;
  const list: number[] = [];
  for (let at = Math.ceil(first / step - 1e-9); at * step <= last + 1e-9 * span; at++) list.push(at * step || 0);
  const scale = (value: number): number => from + ((to - from) * (value - first)) / span;
  return Object.assign(scale, { domain: [first, last] as const, ticks: list });
}

/** digits that ticks between powers of ten begin with, where there is room: of these the first list that fits */
const BETWEEN_POWERS = [[1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 5], [1]];

/** the least distance of two ticks, as a share of what `ticks` equal steps would have */
const CLEAR = 0.4;

/** With ticks at powers of ten, and between them where there is room; both ends are above 0. */
export function logarithmic(
  low: number,
  high: number,
  range: readonly [number, number],
  { ticks = 5 }: { ticks?: number } = {},
): Scale {
  const [a, b] = [Math.log10(low), Math.log10(high)];
  const inner = linear(a, b === a ? a + 1 : b, range);
  const marks = BETWEEN_POWERS.map((digits) => {
    const list: number[] = [];
    for (let power = Math.floor(a); power <= b + 1e-9; power++)
      list.push(...digits.map((digit) => digit * 10 ** power).filter((value) => isWithin(value, low, high)));
    return list;
  });
  const powers = marks.at(-1)!;
  const every = Math.ceil(powers.length / Math.max(2, Math.floor(ticks)));
  // the last digits before a power lie closest together
  const isClear = (list: readonly number[]): boolean =>
    list.every((value, at) => at === 0 || (Math.log10(value / list[at - 1]!) / (b - a)) * ticks >= CLEAR);
  const list = marks.find((of) => of.length <= ticks && isClear(of)) ?? powers.filter((_, at) => at % every === 0);
  return Object.assign((value: number): number => inner(Math.log10(value)), {
    domain: [low, high] as const,
    ticks: list.length >= 2 ? list : [low, high],
  });
}

const isWithin = (value: number, low: number, high: number): boolean =>
  value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9);

/** A number for an axis: three digits, no trailing zeros. */
export const tick = (value: number): string => rounded(value, 3);

function rounded(value: number, digits: number): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e5)
    return value
      .toExponential(digits - 1)
      .replace(/\.?0+e/, "e")
      .replace("e+", "e");
  return String(Number(value.toPrecision(digits)));
}

/** Numbers for the ticks of an axis, with as many digits as tell neighbours apart. */
function numbersFor(ticks: readonly number[]): (value: number) => string {
  const isClear = (digits: number): boolean =>
    new Set(ticks.map((value) => rounded(value, digits))).size === ticks.length;
  const digits = [3, 4, 5, 6, 7].find(isClear) ?? 8;
  return (value) => rounded(value, digits);
}

export interface Axes {
  x: Scale;
  y: Scale;
  xName?: string;
  yName?: string;
  /** words for the ticks of x, in place of numbers */
  xTick?: (value: number) => string;
  yTick?: (value: number) => string;
  /** where x has grid lines, too */
  xGrid?: boolean;
  /** false: y has none */
  yGrid?: boolean;
}

/** Axes with grid lines along y. They take the palette's quiet colour. */
export function axes(palette: Palette, of: Axes): string {
  const { x, y, xName, yName, xTick, yTick, xGrid = false, yGrid = true } = of;
  const [nameX, nameY] = [xTick ?? numbersFor(x.ticks), yTick ?? numbersFor(y.ticks)];
  const [left, right] = [x(x.domain[0]), x(x.domain[1])];
  const [bottom, top] = [y(y.domain[0]), y(y.domain[1])];
  const parts = y.ticks.flatMap((value) => [
    yGrid ? el("line", { x1: left, x2: right, y1: y(value), y2: y(value), stroke: palette.line }) : "",
    label(left - 6, y(value) + 4, nameY(value), { anchor: "end", fill: palette.quiet }),
  ]);
  for (const value of x.ticks)
    parts.push(
      xGrid ? el("line", { x1: x(value), x2: x(value), y1: top, y2: bottom, stroke: palette.line }) : "",
      el("line", { x1: x(value), x2: x(value), y1: bottom, y2: bottom + 4, stroke: palette.quiet }),
      label(x(value), bottom + 17, nameX(value), { anchor: "middle", fill: palette.quiet }),
    );
  parts.push(el("line", { x1: left, x2: right, y1: bottom, y2: bottom, stroke: palette.quiet }));
  if (xName) parts.push(label(right, bottom + 33, `${xName} →`, { anchor: "end", fill: palette.quiet }));
  if (yName) parts.push(label(left - 6, top - 9, `↑ ${yName}`, { fill: palette.quiet }));
  return parts.join("");
}

/** A line through points; a point that is not finite interrupts it. */
export function pathOf(xs: ArrayLike<number>, ys: ArrayLike<number>): string {
  let d = "";
  let down = false;
  for (let i = 0; i < xs.length; i++) {
    const [x, y] = [xs[i]!, ys[i]!];
    if (Number.isFinite(x) && Number.isFinite(y)) {
      d += `${down ? "L" : "M"}${short(x)} ${short(y)}`;
      down = true;
    } else down = false;
  }
  return d;
}

/** steps of opacity from 0 to the largest magnitude */
const LEVELS = 16;

/**
 * A matrix as coloured cells: above 0 warm, below 0 cold, the stronger the larger; `most` has full colour. Neighbours of one level in a
 * row are one rectangle, so that a picture stays small.
 */
export function heatMap(
  palette: Palette,
  { values, rows, columns, most }: { values: ArrayLike<number>; rows: number; columns: number; most: number },
  { x, y, width, height }: { x: number; y: number; width: number; height: number },
): string {
  const paths = new Map<number, string>();
  const levelOf = (value: number): number =>
    Number.isFinite(value) ? Math.round((LEVELS * Math.max(-most, Math.min(most, value))) / (most || 1)) : 0;
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; ) {
      const level = levelOf(values[row * columns + column]!);
      let end = column + 1;
      while (end < columns && levelOf(values[row * columns + end]!) === level) end++;
      if (level) paths.set(level, `${paths.get(level) ?? ""}M${column} ${row}h${end - column}v1h${column - end}z`);
      column = end;
    }
  const cells = [...paths].map(([level, d]) =>
    el("path", { d, fill: level > 0 ? palette.warm : palette.cold, "fill-opacity": Math.abs(level) / LEVELS }),
  );
  return el(
    "g",
    {
      transform: `translate(${short(x)} ${short(y)}) scale(${width / columns} ${height / rows})`,
      "shape-rendering": "crispEdges",
    },
    el("rect", { width: columns, height: rows, fill: palette.zero }),
    ...cells,
  );
}

/** Where panels lie that share a figure. */
export interface Grid {
  columns: number;
  rows: number;
  /** of a panel, in pixels */
  width: number;
  height: number;
}

/** As many panels side by side as `width` has room for, each at least `least` wide. */
export function gridOf(count: number, width: number, least: number, ratio: number, most = 6): Grid {
  const fitting = Math.max(1, Math.min(count, most, Math.floor(width / least)));
  const rows = Math.ceil(count / fitting);
  // four panels are two rows of two, and not three and one
  const columns = Math.ceil(count / rows);
  const panel = width / columns;
  return { columns, rows, width: panel, height: (width / fitting) * ratio };
}

/** Lines of CSV; cells with a comma, a quote or a line's end are quoted. */
export function csv(rows: Iterable<readonly (string | number)[]>): string {
  const cell = (value: string | number): string =>
    typeof value === "string" && /[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : String(value);
  let text = "";
  for (const row of rows) text += `${row.map(cell).join(",")}\n`;
  return text;
}

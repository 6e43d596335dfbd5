/** What pages about decompositions are put together from: elements, buttons, images of digits, boxes for charts. */
import { PIXELS } from "../experiments/digits.js";

export { percent } from "../experiments/figures.js";

/** pixels of a row and of a column of an image */
export const SIDE = 28;
/** A colour for each digit: Okabe and Ito's, which are told apart with any colour vision. */
export const CLASS_COLOURS = [
  "#0072b2",
  "#d55e00",
  "#009e73",
  "#cc79a7",
  "#e69f00",
  "#56b4e9",
  "#8a6d00",
  "#9467bd",
  "#b2182b",
  "#777777",
];

export const nameOf = (digits: readonly number[]): string =>
  digits.length === 10 ? "all ten digits" : `digits ${digits.join(", ")}`;
export const count = (value: number): string => value.toLocaleString("en-US");

export type Child = Node | string | null | undefined;

/** An element with attributes and children. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, string> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child): child is Node | string => child !== null && child !== undefined));
  return element;
}

export const card = (title: string, words: string, ...children: Child[]): HTMLElement =>
  h("section", { class: "card" }, h("h2", {}, title), h("p", {}, words), ...children);

/** A table that scrolls by itself where it is too wide; the first `words` columns are set to the left. */
export function wideTable(
  label: string,
  head: readonly string[],
  words: number,
  rows: readonly { first: boolean; cells: readonly (string | { text: string; title: string })[] }[],
): HTMLElement {
  const left = (index: number): Record<string, string> => (index < words ? { class: "left" } : {});
  const body = rows.map(({ first, cells }) =>
    h(
      "tr",
      first ? { class: "first" } : {},
      ...cells.map((cell, index) => {
        const { text, title } = typeof cell === "string" ? { text: cell, title: "" } : cell;
        const attributes = { ...left(index), ...(title && { title }) };
        return index ? h("td", attributes, text) : h("th", { scope: "row", ...attributes }, text);
      }),
    ),
  );
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
    h(
      "table",
      { class: "dense" },
      h("thead", {}, h("tr", {}, ...head.map((text, index) => h("th", { scope: "col", ...left(index) }, text)))),
      h("tbody", {}, ...body),
    ),
  );
}

/**
 * A wide table that shows the columns that most readers want; a switch brings all of them.
 *
 * @param brief the columns that are shown at first
 */
export function tableWithSwitch(
  label: string,
  head: readonly string[],
  words: number,
  brief: readonly string[],
  rows: Parameters<typeof wideTable>[3],
): HTMLElement {
  const box = h("div");
  const shown = head.flatMap((name, column) => (brief.includes(name) ? [column] : []));
  const pick = <T>(values: readonly T[], columns: readonly number[]): T[] => columns.map((column) => values[column]!);
  const show = (columns: readonly number[]): void =>
    box.replaceChildren(
      wideTable(
        label,
        pick(head, columns),
        columns.filter((column) => column < words).length,
        rows.map(({ first, cells }) => ({ first, cells: pick(cells, columns) })),
      ),
    );
  const all = head.map((_, column) => column);
  const options = [
    ["what counts", shown],
    [`all ${head.length} columns`, all],
  ] as const;
  return h("div", {}, choices("columns", options, show), box);
}

/** Buttons of which exactly one is pressed, the first to begin with. */
export function choices<T>(
  label: string,
  options: readonly (readonly [string, T])[],
  choose: (value: T) => void,
): HTMLElement {
  const group = h("div", { class: "choices", role: "group", "aria-label": label });
  const buttons = options.map(([name, value], index) => {
    const button = h("button", { type: "button", "aria-pressed": String(index === 0) }, name);
    button.addEventListener("click", () => {
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      choose(value);
    });
    return button;
  });
  group.append(...buttons);
  choose(options[0]![1]);
  return group;
}

/** Red, green, blue and how opaque it is, 0 to 255 each; opaque where the last is left out. */
export type Colour = (value: number) => [red: number, green: number, blue: number, opacity?: number];

/** Black for 0, white for 1. */
export const grey: Colour = (value) => {
  const level = Math.round(255 * Math.min(1, Math.max(0, value)));
  return [level, level, level];
};
/** Blue for −1, nothing for 0, orange for 1: 0 has the colour behind the canvas, in light and in dark pages. */
export const diverging: Colour = (value) => {
  const v = Math.min(1, Math.max(-1, value));
  const [r, g, b] = v > 0 ? [223, 104, 16] : [24, 124, 194];
  return [r, g, b, Math.round(255 * Math.abs(v))];
};

const palettes = new Map<Colour, Uint32Array>();
/** The colours of −1 to 1 in steps of 1/255, as the words of an ImageData. */
function paletteOf(colour: Colour): Uint32Array {
  let palette = palettes.get(colour);
  if (!palette) {
    palette = new Uint32Array(511);
    const view = new Uint8Array(palette.buffer);
    for (let i = 0; i < 511; i++) {
      const [r, g, b, opacity = 255] = colour((i - 255) / 255);
      view.set([r, g, b, opacity], 4 * i);
    }
    palettes.set(colour, palette);
  }
  return palette;
}

/** Draws images of 28×28 side by side, `columns` in a row. */
export function drawImages(
  values: ArrayLike<number>,
  images: number,
  columns: number,
  colour: Colour,
  label: string,
  canvas = h("canvas", { role: "img" }),
): HTMLCanvasElement {
  canvas.setAttribute("aria-label", label);
  const [width, height] = [columns * SIDE, Math.ceil(images / columns) * SIDE];
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d")!;
  const picture = context.createImageData(width, height);
  const words = new Uint32Array(picture.data.buffer);
  const palette = paletteOf(colour);
  for (let image = 0; image < images; image++) {
    const start = Math.floor(image / columns) * SIDE * width + (image % columns) * SIDE;
    for (let row = 0; row < SIDE; row++)
      for (let column = 0; column < SIDE; column++) {
        const value = values[image * PIXELS + row * SIDE + column]!;
        const level = value > 1 ? 510 : value < -1 ? 0 : Math.round(255 * value) + 255;
        words[start + row * width + column] = palette[level]!;
      }
  }
  context.putImageData(picture, 0, 0);
  return canvas;
}

const waiting = new Set<() => void>();
/** Draws soon, each call in a task of its own, so that no task is long. A function that waits already is not called twice. */
export function drawLater(draw: () => void): void {
  if (waiting.size === 0) setTimeout(drawNext);
  waiting.add(draw);
}
function drawNext(): void {
  const [draw] = waiting;
  waiting.delete(draw!);
  if (waiting.size) setTimeout(drawNext);
  draw!();
}

export interface Chart {
  box: HTMLElement;
  /** Draws again soon. `label`, where there is one, is what screen readers say from now on. */
  redraw(label?: string): void;
}

/** A box for a chart, which is drawn again when its width changes. */
export function plot(make: (width: number) => Element, label: string): Chart {
  const box = h("div", { class: "plot", role: "img", "aria-label": label });
  let width = 0;
  const draw = (): void => {
    if (!box.clientWidth) return;
    box.replaceChildren(make(Math.max(260, box.clientWidth)));
  };
  new ResizeObserver(() => {
    if (Math.abs(box.clientWidth - width) < 2) return;
    width = box.clientWidth;
    drawLater(draw);
  }).observe(box);
  return {
    box,
    redraw(next) {
      if (next) box.setAttribute("aria-label", next);
      if (width) drawLater(draw);
    },
  };
}

export interface ColumnChoice {
  element: HTMLSelectElement;
  /** the chosen column, counted from 0 */
  readonly column: number;
  /** Offers so many columns, and chooses `column`, or the last one where there are fewer. */
  offer(columns: number, column?: number): void;
}

/** A choice of one of some columns. */
export function columnChoice(label: string, onChange: () => void): ColumnChoice {
  const select = h("select", { "aria-label": label });
  let [offered, chosen] = [0, 0];
  select.addEventListener("change", () => {
    chosen = Number(select.value);
    onChange();
  });
  return {
    element: select,
    get column() {
      return chosen;
    },
    offer(columns, column = chosen) {
      if (offered !== columns)
        select.replaceChildren(
          ...Array.from({ length: columns }, (_, index) =>
            h("option", { value: String(index) }, `column ${index + 1}`),
          ),
        );
      offered = columns;
      chosen = Math.min(column, columns - 1);
      select.value = String(chosen);
    },
  };
}

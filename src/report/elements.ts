/** What pages about decompositions are put together from: elements, buttons, images of digits, boxes for charts. */

export const SIDE = 28;
export const PIXELS = SIDE * SIDE;
/** Okabe and Ito's colours, told apart with any colour vision; the tenth is grey. */
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

export const percent = (share: number, digits = 1): string => `${(100 * share).toFixed(digits)} %`;
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

/** Buttons of which one is pressed. */
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

export type Colour = (value: number) => [number, number, number];

/** A colour of grey for 0 to 1, or from blue over white to orange for −1 to 1. */
export const grey: Colour = (value) => {
  const level = Math.round(255 * Math.min(1, Math.max(0, value)));
  return [level, level, level];
};
export const diverging: Colour = (value) => {
  const v = Math.min(1, Math.max(-1, value));
  const [r, g, b] = v > 0 ? [213, 94, 0] : [0, 114, 178];
  const mix = (end: number) => Math.round(247 + (end - 247) * Math.abs(v));
  return [mix(r), mix(g), mix(b)];
};

const palettes = new Map<Colour, Uint32Array>();
/** The colours of −1 to 1 in steps of 1/255, as the words of an ImageData. */
function paletteOf(colour: Colour): Uint32Array {
  let palette = palettes.get(colour);
  if (!palette) {
    palette = new Uint32Array(511);
    const view = new Uint8Array(palette.buffer);
    for (let i = 0; i < 511; i++) view.set([...colour((i - 255) / 255), 255], 4 * i);
    palettes.set(colour, palette);
  }
  return palette;
}

/** Draws images of 28×28 side by side, `columns` in a row, into a canvas that is there or a new one. */
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
/** Draws soon, one thing a task, so that no task is long; what waits already is not drawn twice. */
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
  /** draws again soon, with another name for those who do not see it where one is given */
  redraw(label?: string): void;
}

/** A box for a chart, which is drawn again when its width changes. */
export function plot(make: (width: number) => Element, label: string): Chart {
  const box = h("div", { class: "plot", role: "img", "aria-label": label });
  let width = 0;
  const draw = (): void => {
    if (!box.clientWidth) return;
    const chart = make(Math.max(260, box.clientWidth));
    // the box says what the chart is; its groups have no role that a name could belong to
    for (const group of chart.querySelectorAll("g[aria-label]")) group.removeAttribute("aria-label");
    box.replaceChildren(chart);
  };
  new ResizeObserver(() => {
    if (Math.abs(box.clientWidth - width) < 2) return;
    width = box.clientWidth;
    drawLater(draw);
  }).observe(box);
  return {
    box,
    redraw(name) {
      if (name) box.setAttribute("aria-label", name);
      if (width) drawLater(draw);
    },
  };
}

export const chartStyle = { background: "transparent", color: "var(--text)", fontSize: "12px", overflow: "visible" };

/** One of the columns 1 to `columns`, counted from 0. */
export function columnSelect(label: string, columns: number, start: number): HTMLSelectElement {
  const select = h("select", { "aria-label": label });
  setColumns(select, columns, start);
  return select;
}

/** As many columns as are there now; the choice stays where it can. */
export function setColumns(select: HTMLSelectElement, columns: number, start = Number(select.value)): void {
  if (select.options.length !== columns)
    select.replaceChildren(
      ...Array.from({ length: columns }, (_, r) => h("option", { value: String(r) }, `column ${r + 1}`)),
    );
  select.value = String(Math.min(start, columns - 1));
}

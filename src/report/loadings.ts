/** Figures of the loadings of images: a histogram, and one loading against another. */
import * as Plot from "@observablehq/plot";
import { CLASS_COLOURS, chartStyle, choices, columnChoice, drawImages, grey, h, plot } from "./elements.js";

/** Loadings of some images, one dot each. */
export interface Dots {
  /** columns shown */
  rank: number;
  /** n×stride loadings, of which the first `rank` columns are shown */
  values: Float32Array;
  stride: number;
  /** what each image shows */
  labels: readonly number[];
  /** all digits that were chosen */
  digits: readonly number[];
  /** 784 numbers in pixels / 255 */
  image: (index: number) => ArrayLike<number>;
}

export interface DotsChart {
  element: HTMLElement;
  /** Draws again, since the dots have changed. */
  update(): void;
}

const classScale = (digits: readonly number[]) => ({
  legend: true,
  domain: digits.map(String),
  range: digits.map((digit) => CLASS_COLOURS[digit]!),
});

/** A histogram of the loadings: of the first five columns, or of one column with a colour for each digit. */
export function loadingHistogram(dots: () => Dots | null): DotsChart {
  let mode: "column" | "class" = "column";
  const choice = columnChoice("column", () => redraw());
  const label = h("label", {}, "of ", choice.element);
  const chart = plot((width) => {
    const all = dots();
    return all ? histogramOf(all, mode === "class" ? choice.column : null, width) : h("div");
  }, "Histogram of the loadings");
  const redraw = (): void => {
    label.hidden = mode === "column";
    chart.redraw();
  };
  const group = choices(
    "group by",
    [
      ["by column", "column"],
      ["by class", "class"],
    ] as const,
    (value) => {
      mode = value;
      redraw();
    },
  );
  group.append(label);
  const update = (): void => {
    choice.offer(dots()?.rank ?? 1);
    redraw();
  };
  update();
  return { element: h("div", {}, group, chart.box), update };
}

/** @param column the one that is shown with a colour for each digit; null: the first columns, with a colour for each */
function histogramOf({ values, stride, labels, rank, digits }: Dots, column: number | null, width: number): Element {
  const columns = Array.from({ length: Math.min(rank, 5) }, (_, index) => index);
  const nameOf = (index: number): string => `column ${index + 1}`;
  const data = labels.flatMap((digit, image) =>
    column === null
      ? columns.map((index) => ({ value: values[image * stride + index]!, group: nameOf(index) }))
      : [{ value: values[image * stride + column]!, group: String(digit) }],
  );
  const color =
    column === null ? { legend: true, domain: columns.map(nameOf), range: CLASS_COLOURS } : classScale(digits);
  const bars = {
    x: "value",
    fill: "group",
    fillOpacity: 0.45,
    thresholds: 40,
  } as Plot.BinXInputs<Plot.RectYOptions>;
  return Plot.plot({
    width,
    height: 310,
    marginBottom: 42,
    style: chartStyle,
    x: { label: "loading" },
    y: { label: "images", grid: true },
    color,
    marks: [Plot.rectY(data, Plot.binX({ y2: "count" }, bars)), Plot.ruleY([0])],
  });
}

export interface ScatterChart extends DotsChart {
  /** Rings the place of these loadings; they may be those of an image that has no dot. */
  ring(loadings: ArrayLike<number>): void;
  destroy(): void;
}

/** Two loadings of each image, coloured by digit, and the mean of each digit. Pointing at a dot shows its image. */
export function loadingScatter(dots: () => Dots | null, onPoint?: (index: number) => void): ScatterChart {
  return new Scatter(dots, onPoint);
}

/** arrow keys go from dot to dot, for those without a pointer */
const DOT_STEPS: Readonly<Record<string, number>> = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: 10, ArrowDown: -10 };

class Scatter implements ScatterChart {
  readonly element: HTMLElement;
  readonly #tip = h("div", { class: "tip", hidden: "" });
  readonly #chart = plot(
    (width) => this.#draw(width),
    "Two loadings of each image, coloured by digit, with the mean of each digit",
  );
  readonly #across = columnChoice("across", () => this.#chart.redraw());
  readonly #up = columnChoice("up", () => this.#chart.redraw());
  /** the dot that the arrow keys are at */
  #current = -1;
  #columns = 1;
  #drawn: { svg: Element; x: (value: number) => number; y: (value: number) => number } | null = null;

  constructor(
    private readonly dots: () => Dots | null,
    private readonly onPoint: ((index: number) => void) | undefined,
  ) {
    const label = "Dots; arrow keys go from dot to dot";
    const focus = h("div", { tabindex: "0", role: "group", "aria-label": label }, this.#chart.box);
    focus.addEventListener("keydown", (event) => this.#step(event));
    focus.addEventListener("blur", () => this.#point(-1));
    const selects = h(
      "div",
      { class: "choices" },
      h("label", {}, "across ", this.#across.element),
      h("label", {}, "up ", this.#up.element),
    );
    this.element = h("div", {}, selects, focus, this.#tip);
    this.update();
  }

  update(): void {
    const columns = this.dots()?.rank ?? 1;
    // with a single column both choices show it; with more they begin at columns 2 and 3
    const begin = this.#columns === 1;
    this.#columns = columns;
    this.#across.offer(columns, begin ? 1 : this.#across.column);
    this.#up.offer(columns, begin ? 2 : this.#up.column);
    this.#chart.redraw();
  }

  destroy(): void {
    this.#tip.remove();
  }

  ring(loadings: ArrayLike<number>): void {
    const [x, y] = [loadings[this.#across.column], loadings[this.#up.column]];
    if (!this.#drawn || x === undefined || y === undefined) return;
    const { svg } = this.#drawn;
    let ring = svg.querySelector(".ring");
    if (!ring) {
      ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
      const look = { class: "ring", r: "7", fill: "none", stroke: "var(--mark)", "stroke-width": "3" };
      for (const [name, value] of Object.entries(look)) ring.setAttribute(name, value);
      svg.append(ring);
    }
    ring.setAttribute("cx", String(this.#drawn.x(x)));
    ring.setAttribute("cy", String(this.#drawn.y(y)));
  }

  /** Shows the image of a dot beside it; −1: of none. */
  #point(index: number): void {
    const all = this.dots();
    const tip = this.#tip;
    tip.hidden = !all || index < 0;
    if (!all || index < 0) return;
    const digit = all.labels[index];
    tip.replaceChildren(drawImages(all.image(index), 1, 1, grey, `a ${digit}`), `a ${digit}`);
    this.onPoint?.(index);
  }

  /** Puts the image beside a place on the screen. */
  #place(x: number, y: number): void {
    this.#tip.style.left = `${Math.min(x + 16, innerWidth - 110)}px`;
    this.#tip.style.top = `${y + 16}px`;
  }

  #step(event: KeyboardEvent): void {
    const step = DOT_STEPS[event.key];
    const all = this.dots();
    if (step === undefined || !all || !this.#drawn) return;
    event.preventDefault();
    const { length } = all.labels;
    this.#current = (this.#current + step + length) % length;
    const loadings = all.values.subarray(this.#current * all.stride, (this.#current + 1) * all.stride);
    this.#point(this.#current);
    this.ring(loadings);
    const { svg, x, y } = this.#drawn;
    const { left, top } = svg.getBoundingClientRect();
    this.#place(left + x(loadings[this.#across.column]!), top + y(loadings[this.#up.column]!));
  }

  #draw(width: number): Element {
    const all = this.dots();
    this.#drawn = null;
    if (!all) return h("div");
    const chart = scatterOf(all, this.#across.column, this.#up.column, width);
    const scale = (name: "x" | "y") => chart.scale(name)!.apply as (value: number) => number;
    const svg = chart.tagName === "svg" ? chart : [...chart.querySelectorAll("svg")].at(-1)!;
    this.#drawn = { svg, x: scale("x"), y: scale("y") };
    chart.addEventListener("input", () => {
      const dot = (chart as unknown as { value: { index: number } | null }).value;
      this.#point(dot?.index ?? -1);
    });
    chart.addEventListener("pointermove", (event) => {
      const { clientX, clientY } = event as PointerEvent;
      this.#place(clientX, clientY);
    });
    chart.addEventListener("pointerleave", () => this.#point(-1));
    return chart;
  }
}

function scatterOf({ values, stride, labels, digits }: Dots, across: number, up: number, width: number) {
  const data = labels.map((digit, index) => ({
    x: values[index * stride + across]!,
    y: values[index * stride + up]!,
    digit: String(digit),
    index,
  }));
  const means = digits.map((digit) => {
    const ofDigit = data.filter((dot) => dot.digit === String(digit));
    const average = (key: "x" | "y") => ofDigit.reduce((sum, dot) => sum + dot[key], 0) / Math.max(1, ofDigit.length);
    return { x: average("x"), y: average("y"), digit: String(digit) };
  });
  return Plot.plot({
    width,
    height: 350,
    marginBottom: 42,
    style: chartStyle,
    x: { label: `loading ${across + 1}`, grid: true },
    y: { label: `loading ${up + 1}`, grid: true },
    color: classScale(digits),
    marks: [
      Plot.dot(data, { x: "x", y: "y", fill: "digit", r: 3, fillOpacity: 0.65 }),
      Plot.dot(means, { x: "x", y: "y", fill: "digit", stroke: "var(--card)", strokeWidth: 2, r: 11 }),
      Plot.text(means, { x: "x", y: "y", text: "digit", fill: "white", fontWeight: "bold" }),
      Plot.dot(data, Plot.pointer({ x: "x", y: "y", stroke: "var(--mark)", strokeWidth: 2, r: 6 })),
    ],
  });
}

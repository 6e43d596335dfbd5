/** Figures of the loadings of images: a histogram, and one loading against another. */
import { boxes, type DrawnChart, dots as dotsMark, drawChart, lineAcross, texts } from "./chart.js";
import { CLASS_COLOURS, choices, columnChoice, drawImages, grey, h, plot } from "./elements.js";
import { stepOf } from "./svg.js";

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

const classLegend = (digits: readonly number[]) =>
  digits.map((digit) => [String(digit), CLASS_COLOURS[digit]!] as const);

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

/** bins of the histogram at most */
const MOST_BINS = 50;

/** @param column the one that is shown with a colour for each digit; null: the first columns, with a colour for each */
function histogramOf({ values, stride, labels, rank, digits }: Dots, column: number | null, width: number): Element {
  const columnOf = (index: number, digit?: number): number[] =>
    labels.flatMap((label, image) => (digit === undefined || label === digit ? [values[image * stride + index]!] : []));
  const legend =
    column === null
      ? CLASS_COLOURS.slice(0, Math.min(rank, 5)).map((colour, index) => [`column ${index + 1}`, colour] as const)
      : classLegend(digits);
  const groups = legend.map(([, colour], at) => ({
    colour,
    values: column === null ? columnOf(at) : columnOf(column, digits[at]!),
  }));
  const bins = binsOf(
    groups.map((group) => group.values),
    MOST_BINS,
  );
  return drawChart({
    width,
    height: 310,
    x: { name: "loading" },
    y: { name: "images", integers: true },
    legend,
    marks: [
      boxes(
        groups.flatMap(({ colour }, at) =>
          bins.flatMap(({ from, to, counts }) =>
            counts[at] ? [{ x: [from, to] as const, y: [0, counts[at]] as const, colour }] : [],
          ),
        ),
        0.45,
      ),
      lineAcross(0, "var(--text)", { width: 1 }),
    ],
  }).element;
}

/** Bins of a round width over the numbers of all lists, and how many of each list lie in each. */
function binsOf(lists: readonly (readonly number[])[], most: number): { from: number; to: number; counts: number[] }[] {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const list of lists) for (const value of list) [low, high] = [Math.min(low, value), Math.max(high, value)];
  if (low > high) return [];
  const step = stepOf(high - low || 1, most);
  const first = Math.floor(low / step);
  const bins = Array.from({ length: Math.floor(high / step) - first + 1 }, (_, at) => ({
    from: (first + at) * step,
    to: (first + at + 1) * step,
    counts: lists.map(() => 0),
  }));
  for (const [at, list] of lists.entries())
    for (const value of list) bins[Math.floor(value / step) - first]!.counts[at]!++;
  return bins;
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
  #drawn: DrawnChart | null = null;

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
    this.#drawn = scatterOf(all, this.#across.column, this.#up.column, width, (index) => this.#point(index));
    const { element: chart } = this.#drawn;
    chart.addEventListener("pointermove", (event) => {
      const { clientX, clientY } = event as PointerEvent;
      this.#place(clientX, clientY);
    });
    return chart;
  }
}

function scatterOf(
  { values, stride, labels, digits }: Dots,
  across: number,
  up: number,
  width: number,
  onPoint: (index: number) => void,
): DrawnChart {
  const places = labels.map((digit, index) => ({
    x: values[index * stride + across]!,
    y: values[index * stride + up]!,
    digit,
    colour: CLASS_COLOURS[digit]!,
  }));
  const means = digits.map((digit) => {
    const ofDigit = places.filter((place) => place.digit === digit);
    const average = (key: "x" | "y") =>
      ofDigit.reduce((sum, place) => sum + place[key], 0) / Math.max(1, ofDigit.length);
    return { x: average("x"), y: average("y"), text: String(digit), colour: CLASS_COLOURS[digit]! };
  });
  return drawChart({
    width,
    height: 350,
    x: { name: `loading ${across + 1}`, grid: true },
    y: { name: `loading ${up + 1}` },
    legend: classLegend(digits),
    marks: [
      dotsMark(places, { opacity: 0.65 }),
      dotsMark(means, { radius: 11, around: "var(--card)" }),
      texts(means, { fill: "white", "font-weight": "bold", "text-anchor": "middle" }),
    ],
    pointer: { places, onPoint },
  });
}

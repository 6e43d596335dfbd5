/**
 * Figures of a decomposition, of the networks that are trained on it and of compressed networks: data in, elements out.
 * The pages of the studies and the demo page draw with them.
 */
import * as Plot from "@observablehq/plot";
import type { CompressedLayer } from "../compress/index.js";
import { PIXELS } from "../experiments/digits.js";
import {
  CLASS_COLOURS,
  type Colour,
  chartStyle,
  choices,
  columnChoice,
  count,
  diverging,
  drawImages,
  drawLater,
  grey,
  h,
  percent,
  plot,
} from "./elements.js";

const GRID = 10;

/** Images and what a decomposition keeps of them, 784 numbers an image in pixels / 255. */
export interface Approximation {
  originals: Float32Array;
  approximations: Float32Array;
  /** what each image shows */
  digits: readonly number[];
  rank: number;
  /** where the first image lies among all, counted from 0; 0 by default */
  start?: number;
}

export interface ImageGrids {
  element: HTMLElement;
  set(data: Approximation): void;
  /** Marks the image at this place in the grids. */
  pick(index: number): void;
}

/** Up to a hundred originals, approximations and residuals side by side, with one mark on all three. */
export function imageGrids(which: string, onPick?: (index: number) => void): ImageGrids {
  const picked = h("div", { class: "picked", "aria-live": "polite" });
  const frames: HTMLElement[] = [];
  let current = 0;
  let data: Approximation | null = null;
  const pick = (index: number): void => {
    if (!data) return;
    current = Math.min(data.digits.length - 1, Math.max(0, index));
    for (const frame of frames) {
      frame.style.left = `${(current % GRID) * 10}%`;
      frame.style.top = `${Math.floor(current / GRID) * 10}%`;
    }
    let [lost, all] = [0, 0];
    for (let pixel = current * PIXELS; pixel < (current + 1) * PIXELS; pixel++) {
      lost += (data.originals[pixel]! - data.approximations[pixel]!) ** 2;
      all += data.originals[pixel]! ** 2;
    }
    picked.textContent = `Image ${count((data.start ?? 0) + current + 1)}: a ${data.digits[current]}. ${percent(lost / all, 0)} of its energy is in the residual.`;
  };
  const chosen = (index: number): void => {
    pick(index);
    onPick?.(current);
  };
  const grid = (
    words: string,
    colour: Colour,
    shown: (data: Approximation) => [name: string, values: Float32Array],
  ) => {
    const frame = h("div", { class: "frame" });
    frames.push(frame);
    const canvas = h("canvas", { role: "img" });
    const box = h("div", { class: "grid", tabindex: "0", role: "group" }, canvas, frame);
    const title = h("strong");
    const point = (event: PointerEvent): void => {
      const { left, top, width, height } = box.getBoundingClientRect();
      const column = Math.floor((GRID * (event.clientX - left)) / width);
      chosen(GRID * Math.floor((GRID * (event.clientY - top)) / height) + Math.min(GRID - 1, Math.max(0, column)));
    };
    box.addEventListener("pointermove", point);
    box.addEventListener("pointerdown", point);
    box.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -GRID, ArrowDown: GRID }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      chosen(current + step);
    });
    return {
      figure: h("figure", {}, box, h("figcaption", {}, title, ` ${words}`)),
      draw() {
        const [name, values] = shown(data!);
        title.textContent = name;
        box.setAttribute("aria-label", `${name}; arrow keys move the mark`);
        drawImages(values, data!.digits.length, GRID, colour, name, canvas);
      },
    };
  };
  const original = grid(which, grey, ({ originals }) => ["Original", originals]);
  const approximation = grid(
    "what the loadings keep; below 0 is drawn black, above 1 white",
    grey,
    ({ rank, approximations }) => [`Rank ${rank}`, approximations],
  );
  const residual = grid(
    "original − approximation: orange is missing, blue is too much",
    diverging,
    ({ originals, approximations }) => ["Residual", originals.map((value, index) => value - approximations[index]!)],
  );
  const grids = h("div", { class: "grids" }, original.figure, approximation.figure, residual.figure);
  return {
    element: h("div", {}, grids, picked),
    pick,
    set(next) {
      const sameOriginals = data?.originals === next.originals;
      data = next;
      // each grid in a task of its own
      if (!sameOriginals) drawLater(original.draw);
      drawLater(approximation.draw);
      drawLater(residual.draw);
      pick(current);
    },
  };
}

/** What every component looks like, each on its own scale. */
export function componentImages(values: ArrayLike<number>, rank: number): HTMLElement[] {
  return Array.from({ length: rank }, (_, r) => {
    const image = Float32Array.from({ length: PIXELS }, (__, pixel) => values[r * PIXELS + pixel]!);
    const largest = image.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
    const canvas = drawImages(
      image.map((v) => v / largest),
      1,
      1,
      diverging,
      `component ${r + 1}`,
    );
    return h("figure", {}, canvas, h("figcaption", {}, String(r + 1)));
  });
}

export interface AccuracyPoint {
  epoch: number;
  accuracy: number;
  network: string;
  set: "training" | "validation";
}

/** Accuracy against epoch: validation solid, training dashed. */
export function accuracyPlot(points: readonly AccuracyPoint[], networks: readonly string[], width: number): Element {
  const lineOf = (set: AccuracyPoint["set"]) =>
    Plot.line(
      points.filter((point) => point.set === set),
      {
        x: "epoch",
        y: "accuracy",
        stroke: "network",
        strokeWidth: 2,
        strokeDasharray: set === "training" ? "4 3" : "none",
      },
    );
  return Plot.plot({
    width,
    height: 310,
    marginBottom: 42,
    style: chartStyle,
    x: { label: "epoch" },
    y: { label: "accuracy", tickFormat: (v: number) => `${Math.round(100 * v)} %`, grid: true, nice: true },
    color: { legend: true, domain: [...networks], range: ["#0072b2", "#d55e00", "#009e73"] },
    marks: [
      lineOf("training"),
      lineOf("validation"),
      Plot.tip(
        points,
        Plot.pointer({
          x: "epoch",
          y: "accuracy",
          title: (d: AccuracyPoint) => `${d.network}, ${d.set}\nepoch ${d.epoch}: ${percent(d.accuracy)}`,
        }),
      ),
    ],
  });
}

export type LayerMeasure = "weights" | "multiplications" | "ms, batch 1" | "ms, batch 100";

/** A layer's figure before and after; null for the time of a layer that was not replaced, which is not measured. */
function measured(layer: CompressedLayer, which: LayerMeasure): readonly [number, number] | null {
  if (which === "weights" || which === "multiplications") return layer[which];
  const time = layer.times?.find(({ batch }) => which.endsWith(` ${batch}`));
  return time ? [time.before, time.after] : null;
}

/** A compressed network's layers, each with a bar before and one after. */
export function layerBars(layers: readonly CompressedLayer[], which: LayerMeasure, width: number): Element {
  const bars = layers
    .filter(({ weights }) => weights[0] > 0)
    .flatMap((layer) => {
      const values = measured(layer, which);
      if (!values) return [];
      const [weights, multiplications] = [layer.weights, layer.multiplications].map(
        ([before, after]) => before / after,
      );
      const tip = [
        layer.name,
        layer.kept || layer.compressed,
        `output error ${layer.outputError.toFixed(3)}`,
        `×${weights!.toPrecision(3)} fewer weights, ×${multiplications!.toPrecision(3)} fewer multiplications`,
        ...(layer.times ?? []).map(
          ({ batch, before, after }) => `×${(before / after).toPrecision(3)} faster at batch ${batch}`,
        ),
      ].join("\n");
      const name = layer.name.replace(/,.*/, "");
      return (["before", "after"] as const).map((state, at) => ({
        layer: `${layer.index} ${name}`,
        state,
        value: values[at]!,
        tip: `${tip}\n${state}: ${which.startsWith("ms") ? `${values[at]!.toPrecision(3)} ms` : count(values[at]!)}`,
      }));
    });
  // a phone has no room for a tip beside a bar: there the tip hangs in the middle
  const middle = Math.max(0, ...bars.map(({ value }) => value)) / 2;
  const place = width < 560 ? { x: () => middle, anchor: "top" as const } : { x: "value" };
  return Plot.plot({
    width,
    height: 56 + 52 * new Set(bars.map(({ layer }) => layer)).size,
    marginLeft: 120,
    marginBottom: 42,
    style: chartStyle,
    // "~s" would write 0.8 ms as "800m"
    x: { label: which, tickFormat: which.startsWith("ms") ? "~g" : "~s", grid: true },
    y: { axis: null, domain: ["before", "after"] },
    fy: { label: null, padding: 0.2 },
    color: { legend: true, domain: ["before", "after"], range: ["#9a9a9a", "#0072b2"] },
    marks: [
      Plot.barX(bars, { x: "value", y: "state", fy: "layer", fill: "state" }),
      Plot.tip(bars, Plot.pointerY({ ...place, y: "state", fy: "layer", title: "tip" })),
    ],
  });
}

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

/** Counts of images, by what they show (rows) and what a network takes them for (columns); shaded by their share of the row. */
export function confusionTable(matrix: readonly (readonly number[])[], digits: readonly number[], accuracy: number) {
  const rows = matrix.map((row, truth) => {
    const total = row.reduce((a, b) => a + b, 0);
    const cells = row.map((value, guess) => {
      const share = total ? value / total : 0;
      const colour = guess === truth ? "#0072b2" : "#d55e00";
      const cell = h(
        "td",
        { class: "cell", title: `${digits[truth]} taken for ${digits[guess]}: ${percent(share)}` },
        count(value),
      );
      cell.style.background = `color-mix(in srgb, ${colour} ${Math.round(70 * Math.sqrt(share))}%, transparent)`;
      return cell;
    });
    return h("tr", {}, h("th", { scope: "row" }, String(digits[truth])), ...cells);
  });
  const head = h(
    "tr",
    {},
    h("th", { scope: "col" }, "is ↓ taken for →"),
    ...digits.map((digit) => h("th", { scope: "col" }, String(digit))),
  );
  return h(
    "table",
    { class: "confusion" },
    h("caption", {}, `${percent(accuracy)} right`),
    h("thead", {}, head),
    h("tbody", {}, ...rows),
  );
}

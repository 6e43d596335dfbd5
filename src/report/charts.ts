/** Figures of a decomposition, of networks on it and of compressed networks, for the report and for the demo page: data in, elements out. */
import * as Plot from "@observablehq/plot";
import type { CompressedLayer } from "../compress/index.js";
import {
  CLASS_COLOURS,
  type Colour,
  chartStyle,
  choices,
  columnSelect,
  count,
  diverging,
  drawImages,
  drawLater,
  grey,
  h,
  PIXELS,
  percent,
  plot,
  setColumns,
} from "./elements.js";

const GRID = 10;

/** Images and what a decomposition keeps of them, 784 numbers an image in pixels / 255. */
export interface Approximation {
  originals: Float32Array;
  approximations: Float32Array;
  /** what each image shows */
  digits: readonly number[];
  rank: number;
  /** number of the first image, 0 by default */
  start?: number;
}

export interface ImageGrids {
  element: HTMLElement;
  set(data: Approximation): void;
  /** marks an image, by its place in the grids */
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
      // a grid a task
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

/** of a layer as it was and as it is; null where its time was not measured, for it was left alone */
function measured(layer: CompressedLayer, which: LayerMeasure): readonly [number, number] | null {
  if (which === "weights" || which === "multiplications") return layer[which];
  const found = layer.times?.find(({ batch }) => which.endsWith(` ${batch}`));
  return found ? [found.before, found.after] : null;
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
  // beside a bar there is no room for a tip on a phone: there it hangs in the middle
  const middle = Math.max(0, ...bars.map(({ value }) => value)) / 2;
  const place = width < 560 ? { x: () => middle, anchor: "top" as const } : { x: "value" };
  return Plot.plot({
    width,
    height: 56 + 52 * new Set(bars.map(({ layer }) => layer)).size,
    marginLeft: 120,
    marginBottom: 42,
    style: chartStyle,
    // ms are not to become "800m"
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
  /** the dots have changed */
  update(): void;
}

const classScale = (digits: readonly number[]) => ({
  legend: true,
  domain: digits.map(String),
  range: digits.map((digit) => CLASS_COLOURS[digit]!),
});

/** How often a loading has which value, all columns together or one column by class. */
export function loadingHistogram(dots: () => Dots | null): DotsChart {
  let mode: "column" | "class" = "column";
  const select = columnSelect("column", dots()?.rank ?? 1, 0);
  const label = h("label", {}, "of ", select);
  const chart = plot((width) => {
    const given = dots();
    if (!given) return h("div");
    const { values, stride, labels, rank, digits } = given;
    const most = Math.min(rank, 5);
    const column = Number(select.value);
    const data = labels.flatMap((digit, index) =>
      mode === "column"
        ? Array.from({ length: most }, (_, r) => ({ value: values[index * stride + r]!, group: `column ${r + 1}` }))
        : [{ value: values[index * stride + column]!, group: String(digit) }],
    );
    const color =
      mode === "column"
        ? { legend: true, domain: Array.from({ length: most }, (_, r) => `column ${r + 1}`), range: CLASS_COLOURS }
        : classScale(digits);
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
  }, "Histogram of the loadings");
  const redraw = (): void => {
    label.hidden = mode === "column";
    chart.redraw();
  };
  select.addEventListener("change", redraw);
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
  return {
    element: h("div", {}, group, chart.box),
    update() {
      setColumns(select, dots()?.rank ?? 1);
      redraw();
    },
  };
}

export interface ScatterChart extends DotsChart {
  /** rings these loadings, those of an image that is not among the dots perhaps */
  ring(loadings: ArrayLike<number>): void;
  destroy(): void;
}

/** Two loadings of each image, coloured by digit, with class means; a dot shows its image. */
export function loadingScatter(dots: () => Dots | null, onPoint?: (index: number) => void): ScatterChart {
  const across = columnSelect("across", dots()?.rank ?? 1, 1);
  const up = columnSelect("up", dots()?.rank ?? 1, 2);
  const tip = h("div", { class: "tip", hidden: "" });
  let chosen = -1;
  let shown: { svg: Element; x: (value: number) => number; y: (value: number) => number } | null = null;
  const ringAt = (cx: number, cy: number): void => {
    const { svg } = shown!;
    let ring = svg.querySelector(".ring");
    if (!ring) {
      ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
      for (const [name, value] of Object.entries({ class: "ring", r: "7", fill: "none", stroke: "var(--mark)" }))
        ring.setAttribute(name, value);
      ring.setAttribute("stroke-width", "3");
      svg.append(ring);
    }
    ring.setAttribute("cx", String(cx));
    ring.setAttribute("cy", String(cy));
  };
  const ring = (loadings: ArrayLike<number>): void => {
    const [x, y] = [loadings[Number(across.value)], loadings[Number(up.value)]];
    if (shown && x !== undefined && y !== undefined) ringAt(shown.x(x), shown.y(y));
  };
  const point = (index: number): void => {
    const given = dots();
    tip.hidden = !given || index < 0;
    if (!given || index < 0) return;
    const digit = given.labels[index];
    tip.replaceChildren(drawImages(given.image(index), 1, 1, grey, `a ${digit}`), `a ${digit}`);
    onPoint?.(index);
  };
  const { box, redraw } = plot((width) => {
    const given = dots();
    shown = null;
    if (!given) return h("div");
    const { values, stride, labels, digits } = given;
    const [cx, cy] = [Number(across.value), Number(up.value)];
    const data = labels.map((digit, index) => ({
      x: values[index * stride + cx]!,
      y: values[index * stride + cy]!,
      digit: String(digit),
      index,
    }));
    const means = digits.map((digit) => {
      const own = data.filter((dot) => dot.digit === String(digit));
      const average = (key: "x" | "y") => own.reduce((sum, dot) => sum + dot[key], 0) / Math.max(1, own.length);
      return { x: average("x"), y: average("y"), digit: String(digit) };
    });
    const chart = Plot.plot({
      width,
      height: 350,
      marginBottom: 42,
      style: chartStyle,
      x: { label: `loading ${cx + 1}`, grid: true },
      y: { label: `loading ${cy + 1}`, grid: true },
      color: classScale(digits),
      marks: [
        Plot.dot(data, { x: "x", y: "y", fill: "digit", r: 3, fillOpacity: 0.65 }),
        Plot.dot(means, { x: "x", y: "y", fill: "digit", stroke: "var(--card)", strokeWidth: 2, r: 11 }),
        Plot.text(means, { x: "x", y: "y", text: "digit", fill: "white", fontWeight: "bold" }),
        Plot.dot(data, Plot.pointer({ x: "x", y: "y", stroke: "var(--mark)", strokeWidth: 2, r: 6 })),
      ],
    });
    const scale = (name: "x" | "y") => chart.scale(name)!.apply as (value: number) => number;
    const svg = chart.tagName === "svg" ? chart : [...chart.querySelectorAll("svg")].at(-1)!;
    shown = { svg, x: scale("x"), y: scale("y") };
    chart.addEventListener("input", () => {
      const dot = (chart as unknown as { value: { index: number } | null }).value;
      point(dot?.index ?? -1);
    });
    chart.addEventListener("pointermove", (event) => {
      const { clientX, clientY } = event as PointerEvent;
      tip.style.left = `${Math.min(clientX + 16, innerWidth - 110)}px`;
      tip.style.top = `${clientY + 16}px`;
    });
    chart.addEventListener("pointerleave", () => {
      tip.hidden = true;
    });
    return chart;
  }, "Two loadings of each image, coloured by digit, with the mean of each digit");
  // without a pointer: the dots in turn
  const focus = h("div", { tabindex: "0", role: "group", "aria-label": "Dots; arrow keys go from dot to dot" }, box);
  focus.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: 10, ArrowDown: -10 }[event.key];
    const given = dots();
    if (step === undefined || !given || !shown) return;
    event.preventDefault();
    const { length } = given.labels;
    chosen = (chosen + step + length) % length;
    const loadings = given.values.subarray(chosen * given.stride, (chosen + 1) * given.stride);
    point(chosen);
    ring(loadings);
    const { left, top } = shown.svg.getBoundingClientRect();
    tip.style.left = `${Math.min(left + shown.x(loadings[Number(across.value)]!) + 16, innerWidth - 110)}px`;
    tip.style.top = `${top + shown.y(loadings[Number(up.value)]!) + 16}px`;
  });
  focus.addEventListener("blur", () => {
    tip.hidden = true;
  });
  for (const select of [across, up]) select.addEventListener("change", () => redraw());
  const selects = h("div", { class: "choices" }, h("label", {}, "across ", across), h("label", {}, "up ", up));
  return {
    element: h("div", {}, selects, focus, tip),
    ring,
    update() {
      const rank = dots()?.rank ?? 1;
      // where there was one column there was no choice
      const fresh = across.options.length === 1;
      setColumns(across, rank, fresh ? 1 : Number(across.value));
      setColumns(up, rank, fresh ? 2 : Number(up.value));
      redraw();
    },
    destroy: () => tip.remove(),
  };
}

/** Rows are what images show, columns what a network says; counts, shaded by their share of the row. */
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

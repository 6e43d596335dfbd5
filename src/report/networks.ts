/** Figures of networks: how they learn, what they take for what, and what compressing does to their layers. */
import type { CompressedLayer } from "../compress/index.js";
import { boxes, countTick, drawChart, line, percentTick } from "./chart.js";
import { count, h, percent } from "./elements.js";

export interface AccuracyPoint {
  epoch: number;
  accuracy: number;
  network: string;
  set: "training" | "validation";
}

const NETWORK_COLOURS = ["#0072b2", "#d55e00", "#009e73"];

/** Accuracy against epoch: validation solid, training dashed. */
export function accuracyPlot(points: readonly AccuracyPoint[], networks: readonly string[], width: number): Element {
  const places = points.map((point) => ({ ...point, x: point.epoch, y: point.accuracy }));
  const lines = networks.flatMap((name, at) =>
    (["training", "validation"] as const).map((set) =>
      line(
        places.filter((place) => place.network === name && place.set === set),
        NETWORK_COLOURS[at]!,
        set === "training" ? { dashes: "4 3" } : {},
      ),
    ),
  );
  return drawChart({
    width,
    height: 310,
    x: { name: "epoch", integers: true },
    y: { name: "accuracy", format: percentTick, isNice: true },
    legend: networks.map((name, at) => [name, NETWORK_COLOURS[at]!]),
    marks: lines,
    pointer: {
      places,
      tip: (at) => {
        const { network, set, epoch, accuracy } = places[at]!;
        return `${network}, ${set}\nepoch ${epoch}: ${percent(accuracy)}`;
      },
    },
  }).element;
}

export type LayerMeasure = "weights" | "multiplications" | "ms, batch 1" | "ms, batch 100";

/** A layer's figure before and after; null for the time of a layer that was not replaced, which is not measured. */
function measured(layer: CompressedLayer, which: LayerMeasure): readonly [number, number] | null {
  if (which === "weights" || which === "multiplications") return layer[which];
  const time = layer.times?.find(({ batch }) => which.endsWith(` ${batch}`));
  return time ? [time.before, time.after] : null;
}

const STATES = [
  ["before", "#9a9a9a"],
  ["after", "#0072b2"],
] as const;

/** A compressed network's layers, each with a bar before and one after. */
export function layerBars(layers: readonly CompressedLayer[], which: LayerMeasure, width: number): Element {
  const isTime = which.startsWith("ms");
  const rows = layers.flatMap((layer) => {
    const values = layer.weights[0] > 0 ? measured(layer, which) : null;
    return values ? [{ layer, values }] : [];
  });
  const bars = rows.flatMap(({ layer, values }, row) =>
    STATES.map(([state, colour], at) => ({
      layer,
      state,
      colour,
      value: values[at]!,
      // a row is 1 high, of which a tenth above and below is empty
      y: [row + 0.1 + 0.4 * at, row + 0.48 + 0.4 * at] as const,
    })),
  );
  return drawChart({
    width,
    height: 56 + 52 * rows.length,
    left: 120,
    x: { name: which, ...(!isTime && { format: countTick }), grid: true },
    y: {
      domain: [rows.length, 0],
      ticks: rows.map((_, row) => row + 0.5),
      format: (place) => {
        const { index, name } = rows[Math.floor(place)]!.layer;
        return `${index} ${name.replace(/,.*/, "")}`;
      },
      grid: false,
    },
    legend: STATES,
    marks: [boxes(bars.map(({ value, ...bar }) => ({ ...bar, x: [0, value] })))],
    pointer: {
      places: bars.map(({ value, y }) => ({ x: value, y: (y[0] + y[1]) / 2 })),
      along: "y",
      tip: (at) => {
        const { layer, state, value } = bars[at]!;
        return `${tipOf(layer)}\n${state}: ${isTime ? `${value.toPrecision(3)} ms` : count(value)}`;
      },
    },
  }).element;
}

/** What a layer became, line by line. */
function tipOf({
  name,
  staysBecause,
  compressed,
  outputError,
  weights,
  multiplications,
  times = [],
}: CompressedLayer): string {
  const fewer = ([before, after]: readonly [number, number]): string => `×${(before / after).toPrecision(3)} fewer`;
  return [
    name,
    staysBecause || compressed,
    `output error ${outputError.toFixed(3)}`,
    `${fewer(weights)} weights, ${fewer(multiplications)} multiplications`,
    ...times.map(({ batch, before, after }) => `×${(before / after).toPrecision(3)} faster at batch ${batch}`),
  ].join("\n");
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

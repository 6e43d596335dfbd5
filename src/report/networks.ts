/** Figures of networks: how they learn, what they take for what, and what compressing does to their layers. */
import * as Plot from "@observablehq/plot";
import type { CompressedLayer } from "../compress/index.js";
import { chartStyle, count, h, percent } from "./elements.js";

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
        layer.staysBecause || layer.compressed,
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

/** The page of `tenfold compare`: every method on one network, by weights, multiplications and time. */
import * as Plot from "@observablehq/plot";
import type { CompareRow } from "../compare.js";
import { type LayerMeasure, layerBars } from "./charts.js";
import type { ComparisonData } from "./data.js";
import { CLASS_COLOURS, card, chartStyle, choices, count, h, percent, plot } from "./elements.js";

const labelOf = ({ method, target }: CompareRow): string => (target ? `${method} ${target}` : method);
const digits = (value: number, places = 3): string =>
  Number.isFinite(value) ? String(Number(value.toPrecision(places))) : "–";
const timeOf = (row: CompareRow, batch: number) => row.time.find((each) => each.batch === batch);
const rateOf = (row: CompareRow): string => {
  const { mean, deviation, values } = row.after;
  return values.length > 1 ? `${percent(mean)} ± ${(100 * deviation).toFixed(1)}` : percent(mean);
};

function summary({ rows }: ComparisonData): HTMLElement {
  const head = [
    "method",
    "",
    "weights",
    "× fewer",
    "multiplications × fewer",
    "dispatches",
    "weight error",
    "output error",
    "before tuning",
    "after tuning",
    "ms, batch 1",
    "ms, batch 100",
    "÷ theory",
  ];
  const body = rows.map((row, index) => {
    const first = row.method !== rows[index - 1]?.method;
    const hundred = timeOf(row, 100);
    // what was not measured beside LeNet is null in JSON
    const theory = hundred?.original ? hundred.original / hundred.ms / row.multiplicationsRatio : Number.NaN;
    return h(
      "tr",
      first ? { class: "first" } : {},
      h("th", { scope: "row", title: row.title }, first ? row.method : ""),
      h("td", { class: "left" }, row.reached ? row.target : `${row.target} (not reached)`),
      ...[
        count(row.weights),
        digits(row.weightsRatio),
        digits(row.multiplicationsRatio),
        String(row.dispatches),
        row.layers.length ? row.weightError.toFixed(3) : "",
        row.layers.length ? row.outputError.toFixed(3) : "",
        Number.isFinite(row.before) && row.before !== null ? percent(row.before) : "",
        rateOf(row),
        digits(timeOf(row, 1)?.ms ?? Number.NaN),
        digits(hundred?.ms ?? Number.NaN),
        row.method === "original" ? "" : digits(theory),
      ].map((text) => h("td", {}, text)),
    );
  });
  return card(
    "All methods",
    "One trained LeNet, decomposed by each method to so many times fewer weights, then fine-tuned. Errors are relative, of the replaced layers' weights and of what they put out. ÷ theory: how much faster than LeNet it is at batch 100, divided by how many times fewer multiplications it has; 1 would mean that every multiplication saved is time saved.",
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "All methods" },
      h(
        "table",
        { class: "dense" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ...head.map((text, index) => h("th", { scope: "col", ...(index < 2 && { class: "left" }) }, text)),
          ),
        ),
        h("tbody", {}, ...body),
      ),
    ),
    h("ul", { class: "notes" }, ...titles(rows).map((text) => h("li", {}, text))),
  );
}

const titles = (rows: readonly CompareRow[]): string[] => [
  ...new Set(rows.map(({ method, title }) => `${method}: ${title}`)),
];

const MEASURES = [
  ["weights", "weights and biases", (row: CompareRow) => row.weights],
  ["multiplications", "multiplications an image", (row: CompareRow) => row.multiplications],
  ["time at batch 1", "ms a forward pass of 1 image", (row: CompareRow) => timeOf(row, 1)?.ms ?? Number.NaN],
  ["time at batch 100", "ms a forward pass of 100 images", (row: CompareRow) => timeOf(row, 100)?.ms ?? Number.NaN],
] as const;

function scatter({ rows }: ComparisonData): HTMLElement {
  let [, label, measure]: readonly [string, string, (row: CompareRow) => number] = MEASURES[0];
  const methods = [...new Set(rows.map(({ method }) => method))];
  const chart = plot((width) => {
    const points = rows.map((row) => ({ row, x: measure(row), method: row.method }));
    const before = points.filter(({ row }) => row.layers.length > 0);
    return Plot.plot({
      width,
      height: 380,
      marginBottom: 44,
      style: chartStyle,
      x: { type: "log", label, tickFormat: "~s", grid: true },
      y: { label: "held-out accuracy", tickFormat: (v: number) => `${Math.round(100 * v)} %`, grid: true, nice: true },
      color: { legend: true, domain: methods, range: [...CLASS_COLOURS, "#444444"] },
      marks: [
        Plot.link(before, {
          x: "x",
          y1: (p) => p.row.before,
          y2: (p) => p.row.after.mean,
          stroke: "method",
          strokeOpacity: 0.35,
        }),
        Plot.dot(before, { x: "x", y: (p) => p.row.before, stroke: "method", r: 3.5 }),
        Plot.dot(points, { x: "x", y: (p) => p.row.after.mean, fill: "method", r: 5 }),
        Plot.tip(
          points,
          Plot.pointer({
            x: "x",
            y: (p) => p.row.after.mean,
            title: ({ row }: { row: CompareRow }) =>
              [
                labelOf(row),
                `${count(row.weights)} weights, ${count(row.multiplications)} multiplications`,
                `${row.layers.length ? `${percent(row.before)} before, ` : ""}${rateOf(row)} after`,
                ...row.layers.filter(({ kept }) => !kept).map(({ compressed }) => compressed),
              ].join("\n"),
          }),
        ),
      ],
    });
  }, "Held-out accuracy of every method before and after fine-tuning");
  return card(
    "What accuracy costs",
    "Filled dots: after fine-tuning; rings: before. Up and to the left is better. Point at a dot for its ranks.",
    choices(
      "measure",
      MEASURES.map((each) => [each[0], each] as const),
      (chosen) => {
        [, label, measure] = chosen;
        chart.redraw(`Held-out accuracy against ${label}`);
      },
    ),
    chart.box,
  );
}

function layers({ rows }: ComparisonData): HTMLElement {
  const factorised = rows.filter((row) => row.layers.length > 0);
  let row = factorised[0]!;
  let which: LayerMeasure = "weights";
  const chart = plot((width) => layerBars(row.layers, which, width), "Weights of every layer before and after");
  const curve = plot(
    (width) =>
      Plot.plot({
        width,
        height: 240,
        marginBottom: 42,
        style: chartStyle,
        x: { label: "epoch of fine-tuning", ticks: row.curve.map(({ epoch }) => epoch), tickFormat: "d" },
        y: {
          label: "running training accuracy",
          tickFormat: (v: number) => `${(100 * v).toFixed(1)} %`,
          grid: true,
          nice: true,
        },
        marks: [
          Plot.line(row.curve, { x: "epoch", y: "accuracy", stroke: "#0072b2", strokeWidth: 2 }),
          Plot.dot(row.curve, { x: "epoch", y: "accuracy", fill: "#0072b2" }),
          Plot.ruleY([rows[0]!.after.mean], { stroke: "#d55e00", strokeDasharray: "4 3" }),
        ],
      }),
    "Accuracy while fine-tuning; the dashed line is LeNet held out",
  );
  const select = h(
    "select",
    { "aria-label": "row of the table" },
    ...factorised.map((each, index) => h("option", { value: String(index) }, labelOf(each))),
  );
  const redraw = (): void => {
    chart.redraw(`${which} of every layer before and after, ${labelOf(row)}`);
    curve.redraw();
  };
  select.addEventListener("change", () => {
    row = factorised[Number(select.value)]!;
    redraw();
  });
  return card(
    "Layer by layer",
    "Where a row of the table saves, and how it recovers. Point at a bar for the ranks, and for how much faster a layer is beside how many times fewer multiplications it has; the dashed line is LeNet's held-out accuracy.",
    h("div", { class: "controls" }, select),
    choices(
      "count",
      (["weights", "multiplications", "ms, batch 1", "ms, batch 100"] as const).map((each) => [each, each] as const),
      (chosen) => {
        which = chosen;
        redraw();
      },
    ),
    chart.box,
    curve.box,
  );
}

/** The cards of the page. */
export function comparisonCards(data: ComparisonData): HTMLElement[] {
  return [summary(data), scatter(data), ...(data.rows.some((row) => row.layers.length) ? [layers(data)] : [])];
}

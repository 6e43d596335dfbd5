/** The page of `tenfold compare`: every method on one network, by weights, multiplications and time. */
import type { CompareRow } from "../../experiments/compare.js";
import { countTick, type Dot, dots, drawChart, line, lineAcross, percentTick } from "../chart.js";
import type { ComparisonData } from "../data.js";
import { CLASS_COLOURS, card, choices, count, h, percent, plot, tableWithSwitch, wideTable } from "../elements.js";
import { type LayerMeasure, layerBars } from "../networks.js";

/** `Tucker-2` of `Tucker-2 (Kim et al. 2016)` */
const nameOf = ({ method, title }: Pick<CompareRow, "method" | "title">): string =>
  method === "original" ? "the original" : title.replace(/,? \(.*$/, "");
const labelOf = (row: CompareRow): string => (row.target ? `${nameOf(row)} ${row.target}` : nameOf(row));
const digits = (value: number, places = 3): string => String(Number(value.toPrecision(places)));
const rateOf = ({ after: { mean, deviation, values } }: CompareRow): string =>
  values.length > 1 ? `${percent(mean)} ± ${(100 * deviation).toFixed(1)}` : percent(mean);
const timeOf = (row: CompareRow, batch: number) => row.time.find((time) => time.batch === batch)!;
/** how many times faster than the original */
const fasterAt = (row: CompareRow, batch: number): number => timeOf(row, batch).original / timeOf(row, batch).ms;
const layersOf = ({ layers }: CompareRow): CompareRow["layers"] => layers.filter(({ weights }) => weights[0] > 0);
/** Ranks of every layer with weights, `1·2 2·6 12 –`; – stands for a layer that was not replaced. */
const ranksOf = (row: CompareRow): string =>
  layersOf(row)
    .map(({ ranks }) => ranks.join("·") || "–")
    .join(" ");

function summary({ rows, notes }: ComparisonData): HTMLElement {
  const head = [
    ...["method", "asked for", "ranks", "weights", "× fewer", "mult. × fewer", "dis\u00adpatches"],
    ...["weight error", "output error", "% before tuning", "% after tuning", "epochs"],
    ...["ms, batch 1", "ms, batch 100", "× faster, 1", "× faster, 100", "÷ theory"],
  ];
  const brief = ["method", "asked for", "weights", "× fewer", "mult. × fewer", "% after tuning", "× faster, 100"];
  const marked = new Set(bestOf(rows).map(({ row }) => row));
  const body = rows.map((row, index) => {
    const first = row.method !== rows[index - 1]?.method;
    const original = row.method === "original";
    return {
      first,
      cells: [
        { text: first ? nameOf(row) : "", title: row.title },
        `${row.target.replace(" multiplications", " mult.")}${row.reached ? "" : " !"}${marked.has(row) ? " ←" : ""}`,
        ranksOf(row),
        count(row.weights),
        digits(row.weightsRatio),
        digits(row.multiplicationsRatio),
        String(row.dispatches),
        row.layers.length ? row.weightError.toFixed(3) : "",
        row.layers.length ? row.outputError.toFixed(3) : "",
        row.before === null ? "" : (100 * row.before).toFixed(1),
        rateOf(row).replace(" %", ""),
        row.epochs ? String(row.epochs) : "",
        ...[1, 100].map((batch) => digits(timeOf(row, batch).ms)),
        ...[1, 100].map((batch) => (original ? "" : digits(fasterAt(row, batch)))),
        original ? "" : digits(fasterAt(row, 100) / row.multiplicationsRatio),
      ],
    };
  });
  return card(
    "All methods",
    "One trained network, decomposed by each method to so many times fewer weights (methods for dense layers) or multiplications (mult.; methods for convolutions), then fine-tuned. ← marks the best; ! where a method cannot get there, and the nearest is shown. × faster, 100: for 100 images at once, beside the original, timed in turn with it.",
    tableWithSwitch("All methods", head, 3, brief, body),
    h(
      "details",
      {},
      h("summary", {}, "What the columns mean, and where the methods come from"),
      h(
        "p",
        {},
        "Ranks are those of the layers with weights, – where one stayed as it is. Errors are relative, of the replaced layers' weights and of what they put out. ÷ theory: how much faster at batch 100, divided by how many times fewer multiplications; 1 would mean that every multiplication saved is time saved. Epochs are those of fine-tuning; the network on loadings is trained from the start.",
      ),
      h("ul", { class: "notes" }, ...titles(rows).map((text) => h("li", {}, text))),
    ),
    h("ul", { class: "notes" }, ...notes.map((text) => h("li", {}, text))),
  );
}

const titles = (rows: readonly CompareRow[]): string[] => [...new Set(rows.map(({ title }) => title))];

/** accuracy that a row may lose to be called good: one point */
const POINT = 0.01;

/** Of the rows that lose a point at most: the one with the fewest multiplications, and the one with the fewest weights. */
function bestOf(rows: readonly CompareRow[]): { row: CompareRow; what: "multiplications" | "weights" }[] {
  const original = rows.find(({ method }) => method === "original");
  if (!original) return [];
  const good = rows.filter((row) => row.layers.length > 0 && row.after.mean >= original.after.mean - POINT);
  return (["multiplications", "weights"] as const).flatMap((what) => {
    const least = good.reduce<CompareRow | null>((best, row) => (!best || row[what] < best[what] ? row : best), null);
    return least && least[what] < original[what] ? [{ row: least, what }] : [];
  });
}

/** What the comparison comes to, in a sentence or two. */
function meaning({ rows }: ComparisonData): HTMLElement | null {
  const original = rows.find(({ method }) => method === "original");
  const decomposed = rows.filter(({ layers }) => layers.length > 0);
  if (!original || !decomposed.length) return null;
  const kept = `the original's ${percent(original.after.mean)}`;
  const best = bestOf(rows);
  if (!best.length) {
    const nearest = decomposed.reduce((top, row) => (row.after.mean > top.after.mean ? row : top));
    const words = `No method stays within a point of ${kept}: the nearest is ${labelOf(nearest)}, with ${percent(nearest.after.mean)} after fine-tuning.`;
    return card("What it means", words);
  }
  const told = ({ row, what }: (typeof best)[number]): string => {
    const speed = fasterAt(row, 100);
    const pace = speed >= 1.05 ? `${digits(speed, 2)} times as fast` : speed <= 0.95 ? "no faster" : "as fast";
    const ratio = what === "weights" ? row.weightsRatio : row.multiplicationsRatio;
    return `${labelOf(row)} has the fewest ${what}, ${digits(ratio, 2)} times fewer, and reads ${percent(row.after.mean)} after fine-tuning; it is ${pace} here`;
  };
  const same = best.length === 2 && best[0]!.row === best[1]!.row;
  return card(
    "What it means",
    `Of what loses at most a point of ${kept} of unseen images: ${best
      .slice(0, same ? 1 : 2)
      .map(told)
      .join(". ")}.`,
  );
}

/** A colour for each name. */
const colouring = (names: readonly string[], colours: readonly string[]): Map<string, string> =>
  new Map(names.map((name, at) => [name, colours[at % colours.length]!]));

const MEASURES = [
  ["weights", "weights and biases", (row: CompareRow) => row.weights],
  ["multiplications", "multiplications an image", (row: CompareRow) => row.multiplications],
  ["time at batch 1", "ms a forward pass of 1 image", (row: CompareRow) => timeOf(row, 1).ms],
  ["time at batch 100", "ms a forward pass of 100 images", (row: CompareRow) => timeOf(row, 100).ms],
] as const;

function scatter({ rows }: ComparisonData): HTMLElement {
  let [name, label, measure]: readonly [string, string, (row: CompareRow) => number] = MEASURES[0];
  const colours = colouring([...new Set(rows.map(nameOf))], ["var(--text)", ...CLASS_COLOURS]);
  const chart = plot((width) => {
    const points = rows.map((row) => ({
      ...{ row, x: measure(row), y: row.after.mean, before: row.before },
      colour: colours.get(nameOf(row))!,
    }));
    const tuned = points.flatMap(({ before, ...point }) =>
      point.row.layers.length > 0 && before !== null ? [{ ...point, before }] : [],
    );
    return drawChart({
      width,
      height: 380,
      x: {
        ...{ name: label, isLogarithmic: true, grid: true },
        ...(!name.startsWith("time") && { format: countTick }),
      },
      y: { name: "held-out accuracy", format: percentTick, isNice: true },
      legend: [...colours],
      marks: [
        lineAcross(rows[0]!.after.mean, "var(--text)", { width: 1, dashes: "4 3", opacity: 0.5 }),
        ...tuned.map(({ x, y, before, colour }) =>
          line(
            [
              { x, y: before },
              { x, y },
            ],
            colour,
            { width: 1.5, opacity: 0.35 },
          ),
        ),
        dots(
          tuned.map(({ x, before, colour }) => ({ x, y: before, colour })),
          { radius: 3.5, ring: 1.5 },
        ),
        dots(points, { radius: 5 }),
      ],
      pointer: { places: points, tip: (at) => tipOf(rows[at]!) },
    }).element;
  }, "Held-out accuracy of every method before and after fine-tuning");
  return card(
    "What accuracy costs",
    "Filled dots: after fine-tuning; rings: before; the dashed line is the original. Up and to the left is better. Point at a dot for its ranks.",
    choices(
      "measure",
      MEASURES.map((option) => [option[0], option] as const),
      (chosen) => {
        [name, label, measure] = chosen;
        chart.redraw(`Held-out accuracy against ${label}`);
      },
    ),
    chart.box,
  );
}

/** What a row of the table says, line by line. */
const tipOf = (row: CompareRow): string =>
  [
    labelOf(row),
    `${count(row.weights)} weights, ${count(row.multiplications)} multiplications`,
    [1, 100].map((batch) => `${digits(timeOf(row, batch).ms)} ms at batch ${batch}`).join(", "),
    `${row.layers.length ? `${percent(row.before!)} before, ` : ""}${rateOf(row)} after`,
    ...(row.layers.length ? [`ranks ${ranksOf(row)}`] : []),
    ...row.layers.filter(({ staysBecause }) => !staysBecause).map(({ compressed }) => compressed),
  ].join("\n");

/** The curves of a row, and their colours. */
const CURVES = [
  ["held out", "#0072b2"],
  ["training, while it learns", "#9a9a9a"],
] as const;

/** A row's accuracy by epoch, on the training images and, where it was measured, on the held-out ones. */
function curveOf({ curve, before, after }: CompareRow): (Dot & { on: string })[] {
  const last = curve.length;
  const held = curve.flatMap(({ epoch, validationAccuracy }) => {
    const accuracy = validationAccuracy ?? (epoch === last ? after.values[0] : undefined);
    return accuracy === undefined ? [] : [{ x: epoch, y: accuracy }];
  });
  const [[heldOut, blue], [training, grey]] = CURVES;
  return [
    ...[...(before === null ? [] : [{ x: 0, y: before }]), ...held].map((place) => ({
      ...place,
      on: heldOut,
      colour: blue,
    })),
    ...curve.map(({ epoch, accuracy }) => ({ x: epoch, y: accuracy, on: training, colour: grey })),
  ];
}

/** Output error against multiplications, by method and convolution; null where no convolution was decomposed. */
function convolutions({ curves: measured, rows }: ComparisonData): HTMLElement | null {
  const named = new Map(rows.map((row) => [row.method, nameOf(row)]));
  const curves = measured.map((curve) => ({ ...curve, method: named.get(curve.method) ?? curve.method }));
  // the last convolution comes first: it has most weights to lose
  const names = [...new Set(curves.map(({ layer }) => layer))].reverse();
  if (!names.length) return null;
  const colours = colouring([...new Set(curves.map(({ method }) => method))], CLASS_COLOURS);
  let shown = names[0]!;
  const chart = plot((width) => {
    const lines = curves
      .filter(({ layer }) => layer === shown)
      .map(({ method, points }) =>
        points.map((point) => ({
          ...{ method, ranks: point.ranks, x: point.multiplications, y: point.outputError },
          colour: colours.get(method)!,
        })),
      );
    const places = lines.flat();
    return drawChart({
      width,
      height: 320,
      x: { name: "multiplications an image", isLogarithmic: true, format: countTick, grid: true },
      y: { name: "output error", isLogarithmic: true },
      legend: [...colours],
      marks: [...lines.map((points) => line(points, points[0]?.colour ?? "none")), dots(places)],
      pointer: {
        places,
        tip: (at) => {
          const { method, ranks, x, y } = places[at]!;
          return `${method}, rank ${ranks.join("·")}\n${count(x)} multiplications\noutput error ${digits(y)}`;
        },
      },
    }).element;
  }, `Output error of ${shown} against its multiplications, by method`);
  return card(
    "What a convolution loses",
    "Every method at every rank that was tried, before fine-tuning: ‖y − ŷ‖ ÷ ‖y‖ of the layer's outputs. Down and to the left is better. Point at a dot for its ranks.",
    choices(
      "convolution",
      names.map((name) => [name, name] as const),
      (chosen) => {
        shown = chosen;
        chart.redraw(`Output error of ${shown} against its multiplications, by method`);
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
  const curve = plot((width) => {
    const points = curveOf(row);
    const epochs = [...new Set(points.map(({ x }) => x))];
    return drawChart({
      width,
      height: 240,
      x: { name: "epoch of fine-tuning", ticks: epochs },
      y: { name: "accuracy", format: percentTick, isNice: true },
      legend: CURVES,
      marks: [
        lineAcross(rows[0]!.after.mean, "#d55e00", { width: 1, dashes: "4 3" }),
        ...CURVES.map(([name, colour]) =>
          line(
            points.filter(({ on }) => on === name),
            colour,
          ),
        ),
        dots(points),
      ],
      pointer: {
        places: points,
        tip: (at) => `${points[at]!.on}\nepoch ${points[at]!.x}: ${percent(points[at]!.y)}`,
      },
    }).element;
  }, "Accuracy while fine-tuning; the dashed line is the original held out");
  const select = h(
    "select",
    { "aria-label": "row of the table" },
    ...factorised.map((option, index) => h("option", { value: String(index) }, labelOf(option))),
  );
  const redraw = (): void => {
    chart.redraw(`${which} of every layer before and after, ${labelOf(row)}`);
    curve.redraw(`Accuracy while fine-tuning ${labelOf(row)}; the dashed line is the original held out`);
  };
  select.addEventListener("change", () => {
    row = factorised[Number(select.value)]!;
    redraw();
  });
  return card(
    "Layer by layer",
    "Where a row of the table saves, and how it recovers. Point at a bar for the ranks; the dashed line is the original's held-out accuracy. Below, each method's layers in figures: × fewer multiplications is how much faster theory has it, × faster is what was measured.",
    h("div", { class: "controls" }, select),
    choices(
      "count",
      (["weights", "multiplications", "ms, batch 1", "ms, batch 100"] as const).map(
        (measure) => [measure, measure] as const,
      ),
      (chosen) => {
        which = chosen;
        redraw();
      },
    ),
    chart.box,
    curve.box,
    ...[...new Set(factorised.map(({ method }) => method))].map((method) =>
      layerTable(factorised.filter((candidate) => candidate.method === method)),
    ),
  );
}

/** The layers of every row of one method, folded away below the method's title. */
function layerTable(rows: readonly CompareRow[]): HTMLElement {
  const head = [
    ...["asked for", "layer", "now", "weights", "× fewer", "multiplications", "× fewer"],
    ...["weight error", "output error", "× faster, 1", "× faster, 100"],
  ];
  const body = rows.flatMap((row) =>
    layersOf(row).map(
      ({ name, compressed, staysBecause, weights, multiplications, weightError, outputError, times }, at) => {
        const faster = (batch: number): string => {
          const time = times?.find((measured) => measured.batch === batch);
          return time ? digits(time.before / time.after) : "";
        };
        const fewer = ([before, after]: readonly [number, number]): string[] => [
          count(after),
          staysBecause ? "" : digits(before / after),
        ];
        return {
          first: at === 0,
          cells: [
            at ? "" : row.target,
            name,
            staysBecause || compressed,
            ...fewer(weights),
            ...fewer(multiplications),
            ...(staysBecause ? ["", ""] : [weightError.toFixed(3), outputError.toFixed(3)]),
            ...[1, 100].map(faster),
          ],
        };
      },
    ),
  );
  const { title } = rows[0]!;
  return h("details", { class: "layers" }, h("summary", {}, title), wideTable(title, head, 3, body));
}

/** What stands below the page's title. */
export function comparisonCards(data: ComparisonData): HTMLElement[] {
  const decomposed = data.rows.some((row) => row.layers.length);
  return [meaning(data), summary(data), scatter(data), convolutions(data), decomposed ? layers(data) : null].filter(
    (element) => element !== null,
  );
}

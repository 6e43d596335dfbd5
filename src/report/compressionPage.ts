/** A compressed network as one HTML file: what each layer became, and what other budgets would give. */

import { count, percent } from "./elements.js";
import { csvFile, type Figure, svgFile } from "./figure.js";
import { figurePage } from "./figurePage.js";
import { axes, csv, el, label, linear, type Palette, pathOf, picture, words } from "./svg.js";
import { int8Words, type ModelVersion, versionTable } from "./versions.js";

/** What the page needs to know, without the runtime and the library. */
export interface CompressionData {
  /** the model's file, and the one that was written; null where none was */
  file: string;
  out: string | null;
  reason: string | null;
  layers: readonly {
    name: string;
    scheme: string | null;
    ranks: readonly number[];
    weights: { before: number; after: number };
    multiplications: { before: number | null; after: number | null };
    error: number;
  }[];
  weights: { before: number; after: number };
  multiplications: { before: number | null; after: number | null };
  bytes: { before: number; after: number | null };
  time: { before: number; after: number } | null;
  verified: { error: number; agreement: number | null } | null;
  /** the original, int8 alone and the file; null where they were not compared */
  versions: readonly ModelVersion[] | null;
  curve: readonly CurvePoint[] | null;
  /** the budget that was asked for; null where none was */
  chosen: number | null;
  /** the command that gives a point of the curve, by its number */
  command: (ratio: number) => string;
  /** samples that the file changes most, the worst ones first; null where none were compared */
  worst: readonly WorstSample[] | null;
  /** what tuning brought; null where nothing was to be tuned */
  tuning: {
    stretches: readonly {
      from: string;
      to: string;
      steps: number;
      best: number;
      error: { before: number; after: number };
    }[];
  } | null;
  warnings: readonly string[];
  adapter: string;
  date: string;
}

/** What a compressed network makes of one sample. */
export interface WorstSample {
  /** its place in the file of samples, from 0 */
  sample: number;
  error: number;
  /** the part of its classifications that stay; null where outputs are no classes */
  agreement: number | null;
  /** the best class of the original and of the file; null where there is none, or several */
  classes: { before: number; after: number } | null;
  /** a picture, as a URL; null where samples are no images */
  image: string | null;
}

/** A budget, and what a network within it is like on samples that its fits did not see. */
export interface CurvePoint {
  /** what the cost was divided by */
  ratio: number;
  error: number;
  agreement: number | null;
  /** shares of the original's; null where they are unknown */
  weights: number;
  multiplications: number | null;
  time: number | null;
  bytes: number;
}

type Layer = CompressionData["layers"][number];
/** Multiplications where they are known, else weights. */
const costsOf = ({ multiplications, weights }: Layer): { before: number; after: number } =>
  multiplications.before === null || multiplications.after === null
    ? weights
    : { before: multiplications.before, after: multiplications.after };

const [ROW, NAMES] = [22, 300];

/** A bar a layer: what it cost, and what is left. */
function layersFigure({ layers, multiplications }: CompressionData): Figure {
  const cost = multiplications.before === null ? "weights" : "multiplications";
  const largest = Math.max(1, ...layers.map((layer) => costsOf(layer).before));
  const draw = (width: number, palette: Palette): string => {
    const height = 26 + ROW * layers.length;
    const x = linear(0, largest, [NAMES, width - 150]);
    const rows = layers.flatMap((layer, at) => {
      const { before, after } = costsOf(layer);
      const top = 20 + ROW * at;
      const shown = layer.name.length > 40 ? `…${layer.name.slice(-39)}` : layer.name;
      const method = layer.scheme ? `${percent(after / before, 0)}, error ${percent(layer.error)}` : "as it is";
      return [
        label(NAMES - 8, top + 13, shown, { anchor: "end" }),
        el("rect", { x: NAMES, y: top, width: Math.max(1, x(before) - NAMES), height: ROW - 6, fill: palette.line }),
        el("rect", {
          ...{ x: NAMES, y: top, width: Math.max(1, x(after) - NAMES), height: ROW - 6 },
          fill: layer.scheme ? palette.accent : palette.quiet,
        }),
        label(x(before) + 6, top + 13, method, { fill: palette.quiet }),
      ];
    });
    return picture(width, height, palette, label(NAMES, 12, cost, { fill: palette.quiet }), ...rows);
  };
  return {
    id: "layers",
    title: "Layers",
    words: `How many ${cost} each layer had (light) and has (dark), and the error that it makes alone, as calibration expects it.`,
    label: `bars of the ${cost} of ${layers.length} layers before and after`,
    draw,
    table: () => ({
      head: ["layer", "method", "ranks", "multiplications before", "after", "weights before", "after", "error"],
      rows: layers.map(({ name, scheme, ranks, multiplications: m, weights: w, error }) => [
        ...[name, scheme ?? "as it is", ranks.join(" "), m.before ?? "", m.after ?? "", w.before, w.after],
        scheme ? error : 0,
      ]),
    }),
  };
}

/** Error, size and time over budgets. A click on one shows its numbers and its command. */
function curveFigure(points: readonly CurvePoint[], { chosen, command }: CompressionData): Figure {
  const draw = (width: number, palette: Palette): string => {
    const [height, left, right] = [320, 58, 110];
    const last = Math.max(1.01, chosen ?? 1, ...points.map(({ ratio }) => ratio));
    const x = linear(1, last, [left, width - right]);
    const y = linear(0, Math.max(1, ...points.flatMap(({ error, time }) => [error, time ?? 0])), [height - 44, 26]);
    const ends: { name: string; at: readonly [x: number, y: number]; stroke: string }[] = [];
    const line = (name: string, at1: number, shown: (point: CurvePoint) => number | null, stroke: string): string => {
      const known = points.filter((point) => shown(point) !== null);
      if (!known.length) return "";
      const xs = [1, ...known.map(({ ratio }) => ratio)].map(x);
      const ys = [at1, ...known.map((point) => shown(point)!)].map(y);
      const dots = xs.map((place, at) => el("circle", { cx: place, cy: ys[at]!, r: 3, fill: stroke }));
      const path = el("path", { d: pathOf(xs, ys), fill: "none", stroke, "stroke-width": 2 });
      ends.push({ name, at: [xs.at(-1)! + 8, ys.at(-1)! + 4], stroke });
      return [path, ...dots].join("");
    };
    const lines = [
      line("weights", 1, ({ weights }) => weights, palette.accent),
      line("time", 1, ({ time }) => time, palette.text),
      line("error", 0, ({ error }) => error, palette.mark),
    ];
    // names of lines that end close together, below each other
    let lowest = 0;
    const names = ends
      .sort((a, b) => a.at[1] - b.at[1])
      .map(({ name, at: [x, y], stroke }) => {
        lowest = Math.max(y, lowest + 13);
        return label(x, lowest, name, { fill: stroke });
      });
    const mark =
      chosen === null
        ? []
        : [el("line", { x1: x(chosen), x2: x(chosen), y1: 26, y2: height - 44, stroke: palette.quiet })];
    const between = points.slice(1).map(({ ratio }, at) => (ratio + points[at]!.ratio) / 2);
    const edges = [...[1, ...between].map(x), x(last) + 12];
    const bands = points.map((point, at) =>
      el(
        "rect",
        {
          ...{ x: edges[at]!, y: 26, width: edges[at + 1]! - edges[at]!, height: height - 70 },
          ...{ fill: "transparent", "data-budget": String(at) },
        },
        el("title", {}, wordsOf(point)),
      ),
    );
    return picture(
      ...([width, height, palette] as const),
      axes(palette, { x, y, xName: "cost divided by", yName: "share of the original, or error" }),
      ...mark,
      ...lines,
      ...names,
      ...bands,
    );
  };
  return {
    id: "budgets",
    title: "Other budgets",
    words:
      "Networks before their layers are fitted again in order, on samples that fits did not see. The vertical line is the budget that was asked for. A click on a budget, in the figure or in the table, shows its numbers and its command.",
    label: `error, weights and time of ${points.length} budgets`,
    draw,
    below: budgetsBelow(points, command, chosen),
    table: () => ({
      head: ["divided by", "error", "same class", "weights", "multiplications", "bytes", "time"],
      rows: points.map((point) => [
        ...[point.ratio, point.error, point.agreement ?? "", point.weights, point.multiplications ?? "", point.bytes],
        point.time ?? "",
      ]),
    }),
  };
}

/** A budget in words. */
const wordsOf = ({ ratio, error, agreement, weights, time, bytes }: CurvePoint): string =>
  [
    `÷${ratio}: error ${error.toFixed(4)}`,
    ...(agreement === null ? [] : [`${percent(agreement)} same class`]),
    ...[`${count(bytes)} bytes`, `${percent(weights)} of the weights`],
    ...(time === null ? [] : [`${percent(time)} of the time`]),
  ].join(", ");

const PICK = `const $=id=>document.getElementById(id);
function pick(at){for(const one of document.querySelectorAll("[data-budget]")){const is=one.dataset.budget===at;one.toggleAttribute("data-picked",is);if(is&&one.dataset.command){$("numbers").textContent=one.title;$("command").textContent=one.dataset.command}}$("copy").textContent="copy";$("picked").hidden=false}
onclick=({target})=>{const one=target.closest("[data-budget]");if(one)pick(one.dataset.budget)}`;

/** A table of the budgets, and the one that is picked. */
function budgetsBelow(
  points: readonly CurvePoint[],
  command: CompressionData["command"],
  chosen: CompressionData["chosen"],
): string {
  const rows = points.map(({ ratio, error, agreement, weights, bytes, time }) => [
    ...[`<button type="button">÷${ratio}</button>`, error.toFixed(4), agreement === null ? "" : percent(agreement)],
    ...[percent(weights), count(bytes), time === null ? "" : percent(time)],
  ]);
  const attributes = (at: number): string =>
    ` data-budget="${at}" title="${words(wordsOf(points[at]!))}" data-command="${words(command(points[at]!.ratio))}"`;
  const first = points.findIndex(({ ratio }) => ratio === chosen);
  return `<style>[data-budget]{cursor:pointer}rect[data-picked]{fill:var(--accent);fill-opacity:.15}tr[data-picked]{background:var(--zero)}</style>
<div id="picked" hidden aria-live="polite"><p id="numbers"></p><p><code id="command" style="overflow-wrap:anywhere"></code> <button type="button" id="copy" onclick="navigator.clipboard.writeText($('command').textContent);this.textContent='copied'">copy</button></p></div>
${tableOf("Budgets", ["budget", "error", "same class", "weights", "bytes", "time"], rows, attributes)}<script>${PICK}${first < 0 ? "" : `;pick("${first}")`}</script>`;
}

/** The figures of a report, which are files, too. */
export const compressionFigures = (data: CompressionData): Figure[] => [
  layersFigure(data),
  ...(data.curve?.length ? [curveFigure(data.curve, data)] : []),
];

const divided = (before: number, after: number): string =>
  `${count(before)} to ${count(after)} (÷${(before / after).toFixed(2)})`;

function factsOf({
  out,
  reason,
  weights,
  multiplications,
  bytes,
  time,
  verified,
  tuning,
  warnings,
}: CompressionData): [string, string][] {
  return [
    ["written", out ?? `nothing${reason ? `: ${reason}` : ""}`],
    ["weights", divided(weights.before, weights.after)],
    ...(multiplications.before !== null && multiplications.after !== null
      ? [["multiplications", divided(multiplications.before, multiplications.after)] as [string, string]]
      : []),
    ...(bytes.after !== null ? [["bytes", divided(bytes.before, bytes.after)] as [string, string]] : []),
    ...(time
      ? [
          ["time of a run in the runtime", `${time.before.toPrecision(3)} ms to ${time.after.toPrecision(3)} ms`] as [
            string,
            string,
          ],
        ]
      : []),
    ...(verified
      ? [
          [
            "outputs on samples not seen",
            `relative error ${verified.error.toFixed(4)}${verified.agreement === null ? "" : `, the same class in ${percent(verified.agreement)}`}`,
          ] as [string, string],
        ]
      : []),
    ...(tuning?.stretches ?? []).map(({ from, to, steps, best, error }): [string, string] => [
      `tuned ${from} to ${to}`,
      best
        ? `error on held-back samples ${error.before.toFixed(4)} to ${error.after.toFixed(4)}, after ${best} of ${steps} steps`
        : `no better after ${steps} steps, so not kept`,
    ]),
    ...warnings.map((warning): [string, string] => ["warning", warning]),
  ];
}

const cell = (text: string, tag = "td"): string =>
  `<${tag} style="text-align:right;padding:.1rem .8rem;white-space:nowrap">${text}</${tag}>`;
/** A table that scrolls where it is wider than the page. */
const tableOf = (
  name: string,
  head: readonly string[],
  rows: readonly (readonly string[])[],
  attributes: (row: number) => string = () => "",
): string => {
  const lines = rows.map((row, at) => `<tr${attributes(at)}>${row.map((text) => cell(text)).join("")}</tr>`);
  return `<div class="picture" tabindex="0" role="group" aria-label="${name}"><table style="border-collapse:collapse"><thead><tr>${head.map((text) => cell(text, "th")).join("")}</tr></thead><tbody>${lines.join("")}</tbody></table></div>`;
};

/** What a sample's classes are called, before and after. */
export function classWords({ classes, agreement }: WorstSample): readonly [before: string, after: string] {
  if (classes) return [String(classes.before), `${classes.after}${classes.before === classes.after ? "" : " ✗"}`];
  return agreement === null ? ["", ""] : ["", `${percent(agreement)} the same`];
}

function versionsSection(versions: readonly ModelVersion[]): string {
  const { head, rows } = versionTable(versions);
  const advice = int8Words(versions);
  const said = advice ? `<p><strong>${words(advice)}.</strong></p>` : "";
  return `<section><h2>Beside int8</h2><p>Outputs on samples that nothing was fitted to; times of a run in the runtime, in turns.</p>${tableOf("Beside int8", head, rows)}${said}</section>\n`;
}

/** samples that the page shows */
const MOST_SHOWN = 24;

function worstSection(worst: readonly WorstSample[]): string {
  const shown = worst.slice(0, MOST_SHOWN);
  const hasImages = shown.some(({ image }) => image);
  const rows = shown.map((one) => {
    const picture = one.image ? `<img src="${one.image}" alt="sample ${one.sample}" height="64">` : "";
    return [String(one.sample), ...(hasImages ? [picture] : []), ...classWords(one), one.error.toFixed(4)];
  });
  const head = ["sample", ...(hasImages ? [""] : []), "class of the original", "of the file", "error"];
  const scaled = hasImages ? " A picture's least value is black, its largest white." : "";
  return `<section><h2>Worst samples</h2><p>Of the samples that nothing was fitted to, those with other classes first. Numbers count from 0 in the file of samples. The root mean square of all errors is the relative error above.${scaled}</p>${tableOf("Worst samples", head, rows)}</section>\n`;
}

/** The page. */
export function compressionPage(data: CompressionData): string {
  return [
    ...figurePage({
      title: `${data.file}: compressed`,
      lead: `Compressed by tenfold on ${data.adapter}, ${data.date.slice(0, 10)}.`,
      facts: factsOf(data),
      figures: compressionFigures(data),
      start: data.versions ? versionsSection(data.versions) : "",
      end: data.worst?.length ? worstSection(data.worst) : "",
    }),
  ].join("");
}

/** The files of a report by name: the page, each figure as SVG and its numbers as CSV, and the samples that are changed most. */
export const compressionFiles = (data: CompressionData): [name: string, content: string][] => [
  ["index.html", compressionPage(data)],
  ...(data.worst?.length
    ? [
        [
          "samples.csv",
          csv([
            ["sample", "class of the original", "of the file", "same class", "error"],
            ...data.worst.map(({ sample, classes, agreement, error }) => [
              ...[sample, classes?.before ?? "", classes?.after ?? "", agreement ?? "", error],
            ]),
          ]),
        ] as [string, string],
      ]
    : []),
  ...compressionFigures(data).flatMap((figure): [string, string][] => [
    [`${figure.id}.svg`, svgFile(figure)],
    [`${figure.id}.csv`, csvFile(figure)!],
  ]),
];

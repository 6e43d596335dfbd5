/** Prints the results of a run as tables, in plain text and Markdown. The JSON file is the {@link Report} itself. */
import { table } from "../src/report/terminal.js";
import type { Goal } from "./goals.js";
import type { Probes } from "./probes.js";
import { isBad, type Result, type Row } from "./result.js";
import { deviceMs, isShare, verdicts } from "./verdicts.js";

export interface Report {
  /** adapter and driver */
  device: string;
  /** `Node 20.19 with Dawn`, `Chrome/147.0` */
  environment: string;
  date: string;
  /** the command line of the run */
  command: string;
  version: string;
  peers: string[];
  probes: Probes | null;
  /** timestamps of single dispatches are finer than 50 µs */
  fineTimestamps: boolean;
  /** the machine's load average before and after the run, which shows other work; null where unknown */
  load: [number, number] | null;
  rounds: number;
  results: Result[];
}

const HEAD = [
  "case",
  "",
  "ms a step",
  "quartiles",
  "÷ ours",
  "GFLOP/s",
  "of FMA",
  "GB/s",
  "of copy",
  "kernels",
  "first run",
  "error",
  "reads, dispatches, submits, readbacks, peak",
];

const NOTES = [
  "ms a step: median wall time of the rounds; ÷ ours: this row ÷ tenfold, median of the same rounds (above 1: tenfold is faster)",
  "GFLOP/s, of FMA, GB/s, of copy: by the wall, or by the kernels' time where that is shorter; shares of what register-only multiply-adds and a plain copy reach on this adapter",
  "kernels: sum of their times on the GPU by timestamps, a pass a dispatch; first run: upload, compile, run; error: largest, relative, against f64",
  "reads: of the tensor in one run; dispatches, submits, readbacks: a step; peak: bytes of GPU buffers",
];

/** The table's lines, one a party; a case's name stands in its first line, its shapes in the second. */
function lines({ results, probes }: Report): string[][] {
  return results.flatMap(({ name, shapes, steps, flops, bytes, rows }) =>
    rows.map((row, index) => [
      index === 0 ? name : index === 1 ? `  ${shapes}` : "",
      row.way ? `${row.party}: ${row.way}` : row.party,
      ...cells(row, flops, bytes, probes),
      ...[row.firstMs === null ? "" : time(row.firstMs), row.error === null ? "" : row.error.toExponential(0)],
      counts(row, steps),
    ]),
  );
}

function cells(row: Row, flops: number, bytes: number, probes: Probes | null) {
  const { state, message, ms, ratio, kernels } = row;
  if (!ms)
    return [
      state === "measured" ? "correct" : state === "cannot" ? "–" : state,
      shorten(message),
      "",
      "",
      "",
      "",
      "",
      "",
    ];
  // work that is told by its error has no count of multiplications
  const isCounted = flops > 0;
  const [flopRate, byteRate] = [flops, bytes].map((work) => work / (deviceMs(row) / 1000)) as [number, number];
  return [
    time(ms.median),
    `${time(ms.quartiles[0])}–${time(ms.quartiles[1])}`,
    ratio ? digits(ratio.median, 3) : "",
    isCounted ? digits(flopRate / 1e9, 3) : "",
    isCounted && probes ? shareText(flopRate / probes.flops) : "",
    isCounted ? digits(byteRate / 1e9, 3) : "",
    isCounted && probes ? shareText(byteRate / probes.bytes) : "",
    kernels ? time(kernels.median) : "",
  ];
}

function counts({ counts: rowCounts }: Row, steps: number): string {
  if (!rowCounts) return "";
  const a = (value: number): string =>
    Number.isInteger(value) ? String(value) : `${Math.round(value * steps)}/${steps}`;
  const { reads, dispatches, submits, readbacks, peakBytes } = rowCounts;
  return [reads ?? "–", a(dispatches), a(submits), a(readbacks), `${digits(peakBytes / 2 ** 20, 3)} MiB`].join(", ");
}

/** The goals that the run could judge, one line each. */
const goals = (report: Report): string[][] =>
  report.results.flatMap((result) =>
    verdicts(result, report).map(({ goal, by, value, quartiles, reached }) => [
      result.name,
      by,
      digits(value, 3),
      quartiles ? quartiles.map((quartile) => digits(quartile, 3)).join("–") : "",
      `${isShare(goal.against) ? "≥" : "≤"} ${Number(goal.limit.toPrecision(3))}`,
      reached ? "reached" : "not reached",
    ]),
  );
const GOALS_HEAD = ["case", "ours ÷", "", "quartiles", "goal", ""];

function heading(report: Report): string[] {
  const { device, environment, date, command, peers, probes, load, rounds } = report;
  return [
    `${device}, ${environment}, ${date}`,
    `${command} (up to ${rounds} rounds; tenfold ${report.version}${peers.map((peer) => `, ${peer}`).join("")})`,
    ...(probes
      ? [`FMA probe ${digits(probes.flops / 1e9, 3)} GFLOP/s, copy probe ${digits(probes.bytes / 1e9, 3)} GB/s`]
      : []),
    ...(load ? [`load of the machine before and after: ${load.map((value) => value.toFixed(1)).join(", ")}`] : []),
  ];
}

/** A table without rules. The first two columns and the last are aligned left, the others right. */
export const plainGrid = (head: string[], rows: string[][]): string =>
  table(rows, {
    head,
    align: head.map((_, column) => (column < 2 || column === head.length - 1 ? "left" : "right")),
    width: Number.POSITIVE_INFINITY,
  }).trimEnd();

export function plainText(report: Report): string {
  const asked = goals(report);
  return [
    ...heading(report),
    "",
    plainGrid(HEAD, lines(report)),
    "",
    ...NOTES,
    ...(asked.length ? ["", plainGrid(GOALS_HEAD, asked)] : []),
    ...faults(report),
    "",
  ].join("\n");
}

/** A report whose results are held to what their cases ask for today, not to what they asked for as it was made. */
export function heldToday(report: Report, cases: readonly { name: string; goals?: readonly Goal[] }[]): Report {
  const goals = new Map(cases.map((of) => [of.name, of.goals ?? []]));
  return { ...report, results: report.results.map((result) => ({ ...result, goals: goals.get(result.name) ?? [] })) };
}

/** The goals of several reports of one machine, one line each, and how many are reached. */
export function judgedText(reports: readonly Report[]): string {
  const rows = reports.flatMap(goals);
  const reached = rows.filter((row) => row.at(-1) === "reached").length;
  return rows.length
    ? `${plainGrid(GOALS_HEAD, rows)}\n${reached} of ${rows.length} goals reached`
    : "no goal could be judged: nothing was timed, or what goals are held to did not take part";
}

/** The same with Markdown's rules; `left` columns, the first ones, are aligned left. */
export const markdownGrid = (head: readonly string[], rows: readonly string[][], left = 2): string[] => [
  `| ${head.join(" | ")} |`,
  `|${head.map((_, column) => (column < left ? "---" : "---:")).join("|")}|`,
  ...rows.map((row) => `| ${row.map((cell) => cell.trim()).join(" | ")} |`),
];

/** The table of goals, as README.md shows it; no line where none can be judged. */
export function goalsMarkdown(report: Report): string[] {
  const asked = goals(report);
  return asked.length ? markdownGrid(GOALS_HEAD, asked) : [];
}

export function markdown(report: Report): string {
  const asked = goalsMarkdown(report);
  return [
    ...heading(report)
      .map((line, index) => (index === 1 ? `\`${line}\`` : line))
      .flatMap((line) => [line, ""]),
    ...(asked.length ? [...asked, ""] : []),
    ...markdownGrid(HEAD, lines(report)),
    "",
    ...NOTES.map((note) => `- ${note}`),
    ...faults(report),
    "",
  ].join("\n");
}

/** `matmul 512: tenfold 20.1 ms, jax-js 41.5 ms (2.06)` */
export function oneLine({ name, rows }: Result): string {
  const parts = rows.map(({ party, state, message, ms, ratio, error }) => {
    if (ms)
      return `${party} ${time(ms.median)} ms${ratio && party !== "tenfold" ? ` (${digits(ratio.median, 3)})` : ""}`;
    if (state === "cannot") return `${party} –`;
    return state === "measured"
      ? `${party} correct (${error?.toExponential(0)})`
      : `${party} ${state}: ${shorten(message)}`;
  });
  return `${name}: ${parts.join(", ")}`;
}

/** The rows that are wrong or failed, with the entire message. */
function faults({ results }: Report): string[] {
  const lines = results.flatMap(({ name, rows }) =>
    rows
      .filter(({ state }) => state === "WRONG" || state === "failed" || state === "not reached")
      .map((row) => `${isBad(row) ? "✗" : "–"} ${name}, ${row.party}: ${row.state}: ${row.message}`),
  );
  return lines.length ? ["", ...lines] : [];
}

const shorten = (message = ""): string =>
  (message.length > 40 ? `${message.slice(0, 39)}…` : message).replace(/\s+/g, " ");
const shareText = (share: number): string => `${digits(100 * share, 2)} %`;
const time = (ms: number): string => digits(ms, 3);

/** A number with `count` significant digits, without exponents. */
export function digits(value: number, count: number): string {
  if (!Number.isFinite(value)) return "–";
  const beforePoint = Math.floor(Math.log10(Math.abs(value) || 1)) + 1;
  return value.toFixed(Math.min(6, Math.max(0, count - beforePoint)));
}

/** Kernels, as values: which cases are asked for, and what was measured here and elsewhere. */
import { isSoftware } from "../../../src/index.js";
import { count } from "../../../src/report/elements.js";
import type { Report } from "../../report.js";
import type { Result, Row } from "../../result.js";
import type { Opened } from "../../session.js";
import type { Change, Moved } from "../part.js";
import { parseInteger } from "../settings.js";
import { IDLE, type Task, type TaskEvent, updateTask } from "../task.js";
import type { Adapter, CaseInfo } from "./worker.js";

const OPS: Record<CaseInfo["op"], string> = {
  matmul: "products",
  gram: "products",
  modeProduct: "products",
  mttkrp: "mttkrp",
  cpSweep: "sweeps",
  cpToError: "sweeps",
  gaussNewton: "sweeps",
  hooiSweep: "sweeps",
  eigen: "linear",
  svd: "linear",
  cholesky: "linear",
  orthogonalise: "linear",
  conv2d: "convolutions",
  tucker2: "convolutions",
  lowRank: "products",
  training: "training",
  lenet: "training",
};
export const GROUPS = [
  ["few", "a few of each"],
  ["products", "matrix and mode products"],
  ["mttkrp", "MTTKRP"],
  ["sweeps", "sweeps of CP and Tucker"],
  ["linear", "linear algebra"],
  ["convolutions", "convolutions"],
  ["training", "training"],
  ["all", "all"],
  ["own", "my own choice"],
] as const;
export type Group = (typeof GROUPS)[number][0];
const FEW =
  /^(matmul 512|matmul 30000×784×16|gram 4096×256|mode product 60×50×40×30 × 16, mode 1|MTTKRP 128³ R16, mode [012]|CP-ALS sweep 6000.*|HOOI sweep 6000.*|eigen 64|SVD 64|Cholesky solve 64|conv2d 5×5.*|epoch 784-3-3.*|epoch 3-5-3.*)$/;
/** name of tenfold among the libraries that were timed */
const OURS = "tenfold";
export const ROUNDS = { min: 1, max: 50 } as const;

/** Names of the reports that were committed. */
export type Committed = readonly string[];

export interface Settings {
  group: Group;
  /** the chosen cases of group `own`, by their places in the list of cases */
  picked: readonly number[];
  rounds: number;
  /** name of the recorded report that stands beside the measurements, empty for none; null: of the adapter most like this one */
  recorded: string | null;
}

export interface State {
  committed: Committed;
  settings: Settings;
  /** all cases, once the worker has told them */
  cases: readonly CaseInfo[];
  adapter: Adapter | null;
  /** the worker has told the cases, and which adapter there is */
  isListed: boolean;
  opened: Opened | null;
  /** the kernel in force of every family */
  choices: Readonly<Record<string, string>>;
  results: ReadonlyMap<string, Result>;
  /** the case that is being measured */
  current: string;
  /** the recorded report that stands beside the measurements */
  report: Report | null;
  task: Task;
}

export type Event =
  | Change<Settings>
  | Moved
  | { type: "listed"; cases: readonly CaseInfo[]; adapter: Adapter | null }
  | { type: "opened"; opened: Opened; adapter: Adapter; choices: Readonly<Record<string, string>> }
  | { type: "began" }
  | { type: "measuring"; name: string }
  | { type: "measured"; result: Result }
  | { type: "rested" }
  | { type: "report"; report: Report | null }
  | { type: "task"; task: TaskEvent };

export function parse(query: URLSearchParams, names: Committed): Settings {
  const cases = query.get("cases") ?? "few";
  const group = GROUPS.find(([id]) => id === cases)?.[0];
  const valid = /^\d{1,4}(\.\d{1,4})*$/.test(cases);
  const recorded = query.get("with");
  return {
    group: group ?? (valid ? "own" : "few"),
    picked: !group && valid ? cases.split(".").map(Number) : [],
    rounds: parseInteger(query.get("rounds"), ROUNDS.min, ROUNDS.max, 5),
    recorded: recorded !== null && (recorded === "" || names.includes(recorded)) ? recorded : null,
  };
}

export const written = ({ settings }: State): Record<string, string> => {
  const { group, picked, rounds, recorded } = settings;
  return {
    cases: group === "own" ? picked.join(".") || group : group,
    ...(rounds === 5 ? {} : { rounds: String(rounds) }),
    ...(recorded === null ? {} : { with: recorded }),
  };
};

export const initial = (query: URLSearchParams, committed: Committed): State => ({
  committed,
  settings: parse(query, committed),
  cases: [],
  adapter: null,
  isListed: false,
  opened: null,
  choices: {},
  results: new Map(),
  current: "",
  report: null,
  task: IDLE,
});

export function update(state: State, event: Event): State {
  switch (event.type) {
    case "change": {
      const settings = { ...state.settings, ...event.values };
      // group `own` begins with the cases of the group that was chosen before
      if (event.values.group === "own" && !event.values.picked) settings.picked = chosenCases(state);
      return { ...state, settings };
    }
    case "moved":
      return { ...state, settings: parse(event.query, state.committed) };
    case "listed":
      return { ...state, isListed: true, cases: event.cases, adapter: state.opened ? state.adapter : event.adapter };
    case "opened":
      return { ...state, opened: event.opened, adapter: event.adapter, choices: event.choices };
    case "began":
      return { ...state, results: new Map() };
    case "measuring":
      return { ...state, current: event.name };
    case "measured":
      return { ...state, results: new Map(state.results).set(event.result.name, event.result) };
    case "rested":
      return { ...state, current: "" };
    case "report":
      return { ...state, report: event.report };
    case "task":
      return { ...state, task: updateTask(state.task, event.task) };
  }
}

/** The places of the chosen cases in the list. */
export function chosenCases({ cases, settings: { group, picked } }: Pick<State, "cases" | "settings">): number[] {
  return cases.flatMap(({ name, op }, index) => {
    const taken =
      group === "own"
        ? picked.includes(index)
        : group === "all" || (group === "few" ? FEW.test(name) : OPS[op] === group);
    return taken ? [index] : [];
  });
}

/** The choice with a case added, or removed where it was chosen. */
export function togglePicked(of: Pick<State, "cases" | "settings">, index: number): number[] {
  const picked = new Set(chosenCases(of));
  if (!picked.delete(index)) picked.add(index);
  return [...picked].sort((a, b) => a - b);
}

/** Making a format takes longer than using it. */
const formats = new Map<string, Intl.NumberFormat>();

/** A number with this many significant digits, without an exponent. */
export function digits(value: number, significant = 3): string {
  const useGrouping = value >= 1e4;
  const key = `${significant} ${useGrouping}`;
  let format = formats.get(key);
  if (!format) {
    format = new Intl.NumberFormat("en-US", { maximumSignificantDigits: significant, useGrouping });
    formats.set(key, format);
  }
  return format.format(value);
}

/** What people call an adapter, by what the name of its results holds. */
const ADAPTERS: readonly (readonly [part: RegExp, name: string])[] = [
  [/swiftshader/, "SwiftShader (software)"],
  [/^mesa-software/, "lavapipe (software)"],
  [/nvidia-h200/, "an NVIDIA H200"],
];
const ENVIRONMENTS: readonly (readonly [part: RegExp, words: string])[] = [
  [/-chromium$/, "in Chromium"],
  [/-node$/, "in Node"],
];
/** Runs beside which other things were measured; they have a part of the cases. */
const PARTS: readonly (readonly [part: RegExp, words: string])[] = [
  [/-peers-/, "beside other libraries"],
  [/-variants-/, "every variant"],
];
const wordsOf = (table: readonly (readonly [RegExp, string])[], text: string): string =>
  table.find(([part]) => part.test(text))?.[1] ?? "";
const stem = (name: string): string => /^(.*)-\d{4}-\d\d-\d\d-\d\d-\d\d$/.exec(name)?.[1] ?? name;
const dateOf = (name: string): string => /(\d{4}-\d\d-\d\d)-\d\d-\d\d$/.exec(name)?.[1] ?? "";

/** The adapter of a recorded report, as people name it: `an NVIDIA H200`. */
export const adapterOf = (name: string): string =>
  wordsOf(ADAPTERS, name) ||
  stem(name)
    .replace(/-(chromium|node)$/, "")
    .replaceAll("-", " ");

/** A recorded report in a list: `NVIDIA H200 in Node, 2026-11-26`. */
export const titleOf = (name: string): string =>
  [
    [adapterOf(name).replace(/^an? /, ""), wordsOf(ENVIRONMENTS, stem(name))].filter(Boolean).join(" "),
    wordsOf(PARTS, name),
    dateOf(name),
  ]
    .filter(Boolean)
    .join(", ");

/**
 * The report of the adapter most like this one: in software or not, then by the words of its name, in a browser, with all cases, the
 * latest. A GPU's where no adapter is known, because software tells little about kernels.
 */
export function likest(names: Committed, adapter: Adapter | null): string {
  const text = adapter ? Object.values(adapter.info).join(" ").toLowerCase() : "";
  const words = new Set(text.split(/[^a-z0-9]+/).filter((word) => word.length > 2));
  const score = (name: string): number =>
    100 * Number(isSoftware(name) === isSoftware(text)) +
    10 *
      stem(name)
        .split("-")
        .filter((word) => words.has(word)).length +
    2 * Number(!wordsOf(PARTS, name)) +
    Number(/-chromium$/.test(stem(name)));
  const sorted = [...names].sort((a, b) => score(b) - score(a) || dateOf(b).localeCompare(dateOf(a)));
  return sorted[0] ?? "";
}

/** The report that stands beside the measurements; empty for none. Not before it is known which adapter there is. */
export const shownReport = ({ settings, committed, adapter, isListed }: State): string =>
  settings.recorded ?? (isListed ? likest(committed, adapter) : "");

/** Rough costs in seconds, by which a run is told in advance: of compiling a kernel and its first run, and flop/s of a run. */
const COSTS = { software: { compile: 4, rate: 4e9 }, gpu: { compile: 0.15, rate: 1e12 } };
/** kernels that take turns in a case of a group; 1 of others */
const KERNELS: Readonly<Partial<Record<string, number>>> = { products: 4, mttkrp: 4, sweeps: 2 };
/** flop/s of the references, which JavaScript computes in f64; seconds of a turn */
const [REFERENCE_RATE, TURN] = [4e8, 0.05];

/** About how many seconds the chosen cases take here; null where there is no adapter. */
export function secondsOf(state: Pick<State, "cases" | "settings" | "adapter">): number | null {
  const { cases, settings, adapter } = state;
  if (!adapter) return null;
  const { compile, rate } = COSTS[isSoftware(Object.values(adapter.info).join(" ")) ? "software" : "gpu"];
  return chosenCases(state).reduce((sum, index) => {
    const { flops, steps, op } = cases[index]!;
    const turn = Math.max(TURN, (flops * steps) / rate);
    return sum + (flops * steps) / REFERENCE_RATE + (KERNELS[OPS[op]] ?? 1) * (compile + settings.rounds * turn);
  }, compile);
}

/** `about 3 minutes` */
export function durationWords(seconds: number): string {
  if (seconds < 15) return "some seconds";
  if (seconds < 50) return `about ${10 * Math.round(seconds / 10)} seconds`;
  if (seconds < 90) return "about a minute";
  return `about ${Math.round(seconds / 60)} minutes`;
}

const oursOf = (result: Result | undefined): Row | undefined => result?.rows.find(({ party }) => party === OURS);

/** Recorded results of what was measured here, or else of what is chosen. */
function recordedResults({ cases, settings, results, report }: Measured): Result[] {
  const names = new Set(results.size ? results.keys() : chosenCases({ cases, settings }).map((i) => cases[i]!.name));
  return (report?.results ?? []).filter(({ name }) => names.has(name));
}

/** What the table and the charts are made of. */
export type Measured = Pick<State, "cases" | "settings" | "results" | "report" | "opened"> & {
  /** the adapter of the report, as people name it */
  beside: string;
};

const HEADS = ["case", "ms", "GFLOP/s", "of FMA", "GB/s", "of copy", "error", "variants"];
export const headsOf = ({ report, beside }: Measured): string[] =>
  report ? [...HEADS, `ms on ${beside}`, "here, beside it"] : HEADS;

export interface TableRow {
  name: string;
  shapes: string;
  state: string;
  /** the cells, in the order of the column heads after the first */
  cells: string[];
}

/** `1,750 times slower`, from how many times as long it takes here. */
function besideWords(ratio: number): string {
  if (ratio >= 0.95 && ratio <= 1.05) return "as fast";
  const times = ratio > 1 ? ratio : 1 / ratio;
  return `${digits(times, times < 10 ? 2 : 3)} times ${ratio > 1 ? "slower" : "faster"}`;
}

/** A row for every chosen case; `current` is the one that is being measured. */
export function rowsOf(measured: Measured, current: string): TableRow[] {
  const { cases, results, report, opened } = measured;
  return chosenCases(measured).map((index) => {
    const { name, shapes } = cases[index]!;
    const result = results.get(name);
    const ours = oursOf(result);
    const running = name === current;
    const words = ours ? `${ours.state} ${ours.message ?? ""}` : running ? "running…" : "";
    const cells = ours?.ms ? figuresOf(result!, ours, opened) : [words, "", "", "", "", "", ""];
    if (report) {
      const there = oursOf(report.results.find((other) => other.name === name))?.ms?.median;
      const here = ours?.ms?.median;
      cells.push(there ? digits(there) : "", there && here ? besideWords(here / there) : "");
    }
    return { name, shapes, state: ours?.state ?? (running ? "running" : "waiting"), cells };
  });
}

function figuresOf(result: Result, ours: Row, opened: Opened | null): string[] {
  const probes = opened?.probes;
  const { median } = ours.ms!;
  const [flops, bytes] = [(1000 * result.flops) / median, (1000 * result.bytes) / median];
  return [
    digits(median),
    digits(flops / 1e9),
    probes ? `${digits((100 * flops) / probes.flops, 2)} %` : "",
    digits(bytes / 1e9),
    probes ? `${digits((100 * bytes) / probes.bytes, 2)} %` : "",
    ours.error?.toExponential(0) ?? "",
    variantsOf(result),
  ];
}

const variantsOf = ({ rows }: Result): string =>
  rows
    .filter(({ party }) => party.startsWith(`${OURS} (`))
    .map(({ party, ratio, state }) => `${party.slice(OURS.length + 2, -1)} ${ratio ? digits(ratio.median, 2) : state}`)
    .join(", ");

export interface Bar {
  name: string;
  party: string;
  ms: number;
}

/** The bars of the time chart, and the parties in the order of their colours. */
export function barsOf(measured: Measured): { bars: Bar[]; parties: string[] } {
  const of = ({ name, rows }: Result, where: string): Bar[] =>
    rows.flatMap(({ party, ms }) => (ms ? [{ name, party: `${party}, ${where}`, ms: ms.median }] : []));
  const here = [...measured.results.values()].flatMap((result) => of(result, "here"));
  const there = recordedResults(measured)
    .flatMap((result) => of(result, "recorded"))
    // another device's variants say nothing about this one's
    .filter(({ party }) => !party.startsWith(`${OURS} (`));
  const bars = [...here, ...there];
  // the colours of the roofline first
  const parties = [`${OURS}, here`, `${OURS}, recorded`, ...bars.map(({ party }) => party).sort()];
  return { bars, parties: [...new Set(parties)] };
}

export interface RoofPoint {
  name: string;
  /** flop a byte */
  intensity: number;
  /** GFLOP/s */
  rate: number;
  where: "here" | "recorded";
}

/** The points of the roofline, and the limits that the probes measured. */
export function roofOf(measured: Measured): {
  points: RoofPoint[];
  roofs: { x: number; rate: number; where: string }[];
} {
  const { results, report, opened } = measured;
  const pointsOf = (list: Iterable<Result>, where: RoofPoint["where"]): RoofPoint[] =>
    [...list].flatMap((result) => {
      const ms = oursOf(result)?.ms?.median;
      const intensity = result.flops / result.bytes;
      return ms ? [{ name: result.name, intensity, rate: result.flops / ms / 1e6, where }] : [];
    });
  const points = [...pointsOf(results.values(), "here"), ...pointsOf(recordedResults(measured), "recorded")];
  const [least, most] = roofDomain(points);
  const roofs = [
    { where: "here", probes: results.size ? opened?.probes : null },
    { where: "recorded", probes: report?.probes },
  ].flatMap(({ where, probes }) => {
    if (!probes || typeof probes === "string") return [];
    const knee = probes.flops / probes.bytes;
    return [least, knee, most]
      .filter((x) => x >= least && x <= most)
      .map((x) => ({ x, rate: Math.min(probes.flops, probes.bytes * x) / 1e9, where }));
  });
  return { points, roofs };
}

/** The left and the right end of the roofline, in flop a byte. */
export function roofDomain(points: readonly RoofPoint[]): [least: number, most: number] {
  const intensities = points.map(({ intensity }) => intensity);
  return [Math.min(...intensities) / 2, Math.max(...intensities) * 2];
}

/** What the adapter reaches, and which kernels were chosen for it. */
export function choiceWords({ opened, choices }: State): string {
  if (!opened) return "";
  const { device, probes } = opened;
  const reach = probes
    ? `Multiply-adds reach ${digits(probes.flops / 1e9)} GFLOP/s, a copy ${digits(probes.bytes / 1e9)} GB/s. `
    : "";
  const inForce = Object.entries(choices).map(([family, kernel]) => `${family} “${kernel}”`);
  return `${device}. ${reach}In force: ${inForce.join(", ")}.`;
}

export const reportWords = ({ report }: State): string =>
  report ? `Recorded: ${report.device}, ${report.environment}, ${report.date}.` : "";

/** The text of the status line when a run has ended. */
export function endWords({ results }: State): string {
  const wrong = [...results.values()].filter((result) => oursOf(result)?.state !== "measured").length;
  const cases = `${count(results.size)} case${results.size === 1 ? "" : "s"} measured`;
  return `${cases}, ${wrong ? `${wrong} not right` : "all correct"}.`;
}

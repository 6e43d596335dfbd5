/** What `bench/methods.ts` measured, as tables: one row a method and data set, tenfold beside TensorLy. */
import { digits, markdownGrid, plainGrid } from "./report.js";
import type { Summary } from "./statistics.js";

/** One of each library's. */
export interface Both<T> {
  ours: T;
  theirs: T;
}

export interface MethodRow {
  /** the method and its data, as both sides name the case */
  name: string;
  /** what is called, and how: the fastest of some ways */
  calls: Both<string>;
  ways: Both<string>;
  /** of TensorLy's linear algebra: the faster number */
  threads: number;
  /** `not reached`: tenfold's error stays above the goal; `not measured`: one side failed, or its library is not there */
  state: "reached" | "not reached" | "not measured";
  message?: string;
  /** the error that both are timed to: the least that a run of TensorLy's ends at, and a thousandth more */
  goal: number | null;
  /** of what was timed, relative, in f64 */
  errors: Both<number> | null;
  /** that were timed; null for methods without iterations */
  iterations: Both<number> | null;
  /** from a tensor in memory to that error */
  ms: Both<Summary> | null;
  /** tenfold's time ÷ TensorLy's, of the rounds' own ratios: by the clock, and of the processors' time */
  ratio: Summary | null;
  cpuRatio: Summary | null;
  /** milliseconds an iteration, and their ratio */
  iteration: (Both<Summary> & { ratio: Summary }) | null;
  rounds: number;
}

export interface MethodsReport {
  adapter: string;
  /** `Node 20.19.0 with Dawn` */
  environment: string;
  machine: { processor: string; cores: number };
  date: string;
  command: string;
  /** of tenfold, with its commit */
  version: string;
  /** Python, NumPy, TensorLy, … */
  peers: Record<string, string>;
  /** the machine's load average before and after */
  load: [number, number];
  rounds: number;
  rows: MethodRow[];
}

const range = ({ quartiles }: Summary): string => quartiles.map((value) => digits(value, 3)).join("–");
const timeOf = ({ median }: Summary, iterations?: number): string =>
  `${digits(median, 3)}${iterations === undefined ? "" : ` (${iterations})`}`;

/** The verdict of a row: the ratio, or why there is none. */
function verdict({ state, message, ratio, errors, iterations }: MethodRow): string {
  if (state === "not measured") return `not measured: ${message}`;
  if (state === "not reached")
    return `not reached: ${digits(errors!.ours, 4)}${iterations ? ` after ${iterations.ours}` : ""}`;
  return digits(ratio!.median, 3);
}

const callOf = (call: string, way: string): string => {
  const [name, ...options] = call.split(", ");
  return [`\`${name}\``, ...options, ...(way ? [way] : [])].join(", ");
};

function cellsOf(row: MethodRow): string[] {
  const { name, calls, ways, threads, goal, iterations, ms, ratio, cpuRatio, iteration } = row;
  return [
    name,
    callOf(calls.ours, ways.ours),
    callOf(calls.theirs, threads > 1 ? `${ways.theirs}, ${threads} threads` : ways.theirs),
    goal === null ? "" : digits(goal, 4),
    ms ? timeOf(ms.ours, iterations?.ours) : "",
    ms ? timeOf(ms.theirs, iterations?.theirs) : "",
    verdict(row),
    ratio ? range(ratio) : "",
    cpuRatio ? digits(cpuRatio.median, 3) : "",
    iteration ? `${digits(iteration.ours.median, 3)}, ${digits(iteration.theirs.median, 3)}` : "",
  ];
}

const HEAD = [
  "method and data",
  "tenfold",
  "TensorLy",
  "to error",
  "ours, ms",
  "theirs, ms",
  "ours ÷",
  "quartiles",
  "processors",
  "ms an iteration",
];

/** The table that docs/benchmarks.md shows. */
export const methodsMarkdown = ({ rows }: MethodsReport): string[] => markdownGrid(HEAD, rows.map(cellsOf), 3);

/** What docs/benchmarks.md says of a run: its command, the table, and how many rows are what. */
export function methodsSection(report: MethodsReport): string {
  const { adapter, machine, date, command, version, peers, load, rows } = report;
  const named = Object.entries(peers).map(([name, of]) => `${name} ${of}`);
  const least = Math.min(...rows.filter(({ rounds }) => rounds).map(({ rounds }) => rounds));
  const remarks = rows.flatMap(({ name, calls, state, message }) =>
    message && state !== "not measured" ? [`- ${name}, \`${calls.ours}\`: ${message}`] : [],
  );
  return [
    `    ${command}`,
    "",
    `${adapter}; ${machine.processor}, ${machine.cores} cores; ${date}; tenfold ${version}, ${named.join(", ")}; ${least} rounds or more; load of the machine before and after ${load.map((value) => value.toFixed(1)).join(" and ")}.`,
    "",
    ...methodsMarkdown(report),
    "",
    `${methodsSummary(report).replace(/^./, (first) => first.toUpperCase())}.`,
    ...(remarks.length ? ["", ...remarks] : []),
  ].join("\n");
}

/** In how many rows tenfold is faster, slower, and does not get there; for the text beside the table. */
export function methodsSummary({ rows }: MethodsReport): string {
  const timed = rows.filter(({ state }) => state === "reached");
  const faster = timed.filter(({ ratio }) => ratio!.median < 1);
  const [missed, absent] = (["not reached", "not measured"] as const).map(
    (state) => rows.filter((row) => row.state === state).length,
  ) as [number, number];
  const counts = [
    `tenfold is faster in ${faster.length} of ${timed.length} rows`,
    `${missed} ${missed === 1 ? "does" : "do"} not reach TensorLy's error`,
    `${absent} ${absent === 1 ? "is" : "are"} not measured`,
  ];
  return counts.join("; ");
}

export function methodsText(report: MethodsReport): string {
  const { adapter, environment, machine, date, command, version, peers, load, rounds, rows } = report;
  const named = Object.entries(peers).map(([name, of]) => `${name} ${of}`);
  return [
    `${adapter}, ${environment}, ${machine.processor}, ${machine.cores} cores, ${date}`,
    `${command} (up to ${rounds} rounds; tenfold ${version}, ${named.join(", ")})`,
    `load of the machine before and after: ${load.map((value) => value.toFixed(1)).join(", ")}`,
    "",
    plainGrid(
      HEAD,
      rows.map((row) => cellsOf(row).map((cell) => cell.replaceAll("`", ""))),
    ),
    "",
    "to error: the least that TensorLy ends at in any of its ways, and a thousandth more; ms: from a tensor in memory to that error (iterations); ours ÷:",
    "tenfold's time ÷ TensorLy's, the median of the rounds' own ratios (below 1: tenfold is faster); processors: the same of the processors' time",
    methodsSummary(report),
  ].join("\n");
}

/** The cases of a regular expression; where none matches, or it is none, an error that lists them. */
export function chosenCases(names: readonly string[], pattern: string | undefined): string[] {
  if (pattern === undefined) return [...names];
  const list = `; the cases are\n${names.map((name) => `  ${name}`).join("\n")}`;
  let expression: RegExp;
  try {
    expression = new RegExp(pattern, "i");
  } catch (error) {
    throw new Error(`--cases: ${(error as Error).message}${list}`);
  }
  const chosen = names.filter((name) => expression.test(name));
  if (!chosen.length) throw new Error(`--cases: no case matches ${pattern}${list}`);
  return chosen;
}

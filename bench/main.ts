/** `npm run bench`: parses options, runs cases in Chromium or in Node, prints and writes the results. */
import { mkdirSync, readFileSync } from "node:fs";
import { loadavg } from "node:os";
import { join, resolve } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { isSoftware } from "../src/gpu/index.js";
import { writeAtomic } from "../src/node/files.js";
import { barOf, StatusLine } from "../src/report/terminal.js";
import type { Case } from "./case.js";
import { cases } from "./cases/index.js";
import { compileAll, compiledByChild, compiledTable, isChild } from "./compiled.js";
import { DEFAULTS, type MeasureOptions } from "./measure.js";
import { openInNode, peersInstalled } from "./node.js";
import { quoted, version } from "./provenance.js";
import { heldToday, judgedText, markdown, oneLine, plainText, type Report } from "./report.js";
import { isBad, type Result } from "./result.js";
import type { Opened } from "./session.js";
import { measureTensorly } from "./tensorly.js";

const root = resolve(import.meta.dirname, "..");

interface Options {
  node?: boolean;
  adapter: "swiftshader" | "default";
  cases?: RegExp;
  rounds: number;
  budget: number;
  sample: number;
  peers?: true | string[];
  variants: boolean;
  tensorly?: string;
  slim?: boolean;
  list?: boolean;
  judge?: string[];
  compiled?: boolean;
  json?: string;
  markdown?: string;
}

const count = (text: string): number => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError("needs a whole number from 1");
  return value;
};
const seconds = (text: string): number => {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError("needs a number above 0");
  return value;
};
const pattern = (text: string): RegExp => {
  try {
    return new RegExp(text, "i");
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
};
const adapterOf = (text: string): "swiftshader" | "default" => {
  if (text !== "swiftshader" && text !== "default") throw new InvalidArgumentError("needs swiftshader or default");
  return text;
};

const names = (text: string): string[] => {
  const known = ["jax-js", "tfjs", "ort", "ml-matrix"];
  const chosen = text.split(",");
  for (const name of chosen)
    if (!known.includes(name)) throw new InvalidArgumentError(`there are ${known.join(", ")}, separated by commas`);
  return chosen;
};

const program = new Command("npm run bench --")
  .description(
    "Measures tenfold's kernels, sweeps and training on this machine's adapter, and other libraries beside them.",
  )
  .option("--node", "run in this process under Dawn, instead of headless Chromium")
  .option(
    "--adapter <which>",
    "Chromium's adapter: swiftshader, or default for the browser's choice",
    adapterOf,
    "swiftshader",
  )
  .option("--cases <regex>", "only cases whose name matches; without it, all but the large ones", pattern)
  .option("--rounds <n>", "the most rounds of a case", count, DEFAULTS.rounds)
  .option(
    "--budget <seconds>",
    "start no round of a case after this time, if it has three rounds or one that took longer",
    seconds,
    DEFAULTS.budget,
  )
  .option("--sample <ms>", "the shortest time of one turn", seconds, DEFAULTS.sampleMs)
  .option(
    "--peers [names]",
    "measure jax-js, tfjs, ort and ml-matrix too, or the named ones (npm ci --prefix bench/peers)",
    names,
  )
  .option("--no-variants", "measure only the kernels that are chosen for the adapter")
  .option("--tensorly <python>", "measure TensorLy and torch.linalg too, with this Python interpreter")
  .option("--slim", "small sizes, checked and counted but not timed")
  .option("--list", "print the cases and stop")
  .option("--judge <reports...>", "print which goals these reports (--json) reach, and stop")
  .option("--compiled", "print what a GPU's compiler makes of the kernels, without a GPU (needs Mesa's RADV), and stop")
  .option("--json <file>", "also write the report to this file")
  .option("--markdown <file>", "also write the tables to this file");

/** Seconds in a readable unit: `40 s`, `12 min`, `1.5 h`. */
const formatLeft = (value: number): string =>
  value < 90
    ? `${Math.ceil(value)} s`
    : value < 5400
      ? `${Math.ceil(value / 60)} min`
      : `${(value / 3600).toFixed(1)} h`;

/** Estimated work of a case for the progress bar: flops and bytes, and 1 for compiling. */
const weightOf = ({ flops, bytes }: Case): number => 1 + (flops + 10 * bytes) / 1e9;

async function run(options: Options): Promise<number> {
  if (options.judge) {
    const reports = options.judge.map((file) => heldToday(JSON.parse(readFileSync(file, "utf8")) as Report, cases()));
    console.log(judgedText(reports));
    return 0;
  }
  const all = cases({ slim: Boolean(options.slim) });
  const isChosen = ({ name, large }: Case): boolean => (options.cases ? options.cases.test(name) : !large);
  const chosen = cases().flatMap((candidate, index) => (isChosen(candidate) ? [index] : []));
  if (chosen.length === 0) throw new Error(`no case matches ${options.cases?.source}; --list shows them`);
  if (options.list) {
    for (const index of chosen) console.log(`${cases()[index]!.name.padEnd(36)} ${cases()[index]!.shapes}`);
    return 0;
  }
  if (options.compiled) {
    const wanted = chosen.map((index) => all[index]!);
    if (isChild()) await compileAll(wanted);
    else {
      process.stderr.write("compiling…\n");
      console.log(compiledTable(compiledByChild()));
    }
    return 0;
  }
  const peers = options.peers === true ? null : (options.peers ?? []);
  if (options.peers && !peersInstalled()) throw new Error("the peers are not installed: npm ci --prefix bench/peers");
  const slim = Boolean(options.slim);
  const load = (): number => loadavg()[0]!;
  const before = load();
  process.stderr.write("opening the adapter, choosing kernels, probing…\n");
  let opened: Opened;
  let environment: string;
  let measure: (index: number, options: MeasureOptions) => Promise<Result>;
  let close = async (): Promise<void> => {};
  if (options.node) {
    const inNode = await openInNode({ peers, slim });
    [opened, environment] = [inNode.session.opened, inNode.environment];
    measure = (index, measureOptions) => inNode.session.measure(index, measureOptions);
  } else {
    // imported here, so that --node does not load the browser's driver (Puppeteer)
    const { openInPage } = await import("./headless.js");
    const page = await openInPage({ peers, slim, adapter: options.adapter });
    ({ opened, environment, measure, close } = page);
  }
  if (!options.node && options.adapter === "default" && isSoftware(opened.device))
    process.stderr.write(
      `the browser gives a software adapter, ${opened.device}; PUPPETEER_EXECUTABLE_PATH names another browser\n`,
    );
  const report: Report = {
    device: opened.device,
    environment,
    date: new Date().toISOString().slice(0, 16).replace("T", " "),
    command: `npm run bench -- ${process.argv.slice(2).map(quoted).join(" ")}`.replace(/ -- $/, ""),
    version: version(),
    peers: opened.peers,
    probes: opened.probes,
    fineTimestamps: opened.fineTimestamps,
    load: null,
    rounds: slim ? 0 : options.rounds,
    results: [],
  };
  const tensorly =
    options.tensorly && !slim
      ? measureTensorly(
          options.tensorly,
          chosen.map((index) => all[index]!),
          { rounds: options.rounds, budget: options.budget },
        )
      : null;
  const weights = chosen.map((index) => weightOf(all[index]!));
  const total = weights.reduce((a, b) => a + b, 0);
  const status = process.stderr.isTTY ? new StatusLine(process.stderr) : null;
  const started = performance.now();
  let done = 0;
  let broken: Error | null = null;
  // after the first Ctrl-C the current case is finished and the results are written; a second one stops at once
  let stopped = false;
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.once(signal, () => {
      stopped = true;
      process.stderr.write("\nstopping after this case; once more to stop at once\n");
    });
  try {
    for (const [at, index] of chosen.entries()) {
      if (stopped) throw new Error("interrupted");
      const { name } = cases()[index]!;
      const left = done ? formatLeft(((performance.now() - started) / 1000 / done) * (total - done)) : "…";
      const result = await measure(index, {
        rounds: slim ? 0 : options.rounds,
        sampleMs: options.sample,
        budget: options.budget,
        variants: options.variants,
        onStep: (step) =>
          status?.show(`${barOf(done / total)} ${at}/${chosen.length} cases, ${left} left  ${name}: ${step}`),
      });
      result.name = name;
      tensorly?.join(result);
      report.results.push(result);
      done += weights[at]!;
      status?.clear();
      console.log(`${oneLine(result)}${status ? "" : `  [${at + 1}/${chosen.length}]`}`);
    }
  } catch (error) {
    // where a page crashed or a device was lost, the results so far are reported
    broken = error as Error;
    if (report.results.length === 0) throw error;
  } finally {
    status?.end();
    await close();
  }
  report.load = [before, load()];
  console.log(`\n${plainText(report)}`);
  const write = (file: string, text: string): void => {
    writeAtomic(file, text);
    console.log(`wrote ${file}`);
  };
  if (!slim) {
    const folder = join(root, "bench/results");
    mkdirSync(folder, { recursive: true });
    const slug = `${report.device} ${options.node ? "node" : "chromium"}`
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, "-")
      .slice(0, 80);
    const name = `${slug}-${new Date().toISOString().slice(0, 16).replace(/[T:]/g, "-")}`;
    write(join("bench/results", `${name}.json`), `${JSON.stringify(report, null, 1)}\n`);
    write(join("bench/results", `${name}.md`), markdown(report));
  }
  if (options.json) write(options.json, `${JSON.stringify(report, null, 1)}\n`);
  if (options.markdown) write(options.markdown, markdown(report));
  const bad = report.results.flatMap(({ rows }) => rows.filter(isBad)).length;
  if (bad) console.error(`${bad} rows are wrong or failed`);
  if (broken) throw new Error(`stopped after ${report.results.length} of ${chosen.length} cases: ${broken.message}`);
  return bad ? 1 : 0;
}

program.parse();
try {
  process.exitCode = await run(program.opts<Options>());
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 2;
}
// once peers have used WebGPU on navigator, Node would never end by itself
process.exit();

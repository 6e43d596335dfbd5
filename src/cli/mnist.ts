import { resolve } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import { ALL_DIGITS } from "../experiments/digits.js";
import { percent } from "../experiments/figures.js";
import {
  runCase,
  runSweep,
  type StudyCase,
  type Progress as StudyProgress,
  SWEEP_RANKS,
  THESIS_CASES,
} from "../experiments/mnist.js";
import type { ReportCase, ReportNetwork, ReportSweep } from "../experiments/results.js";
import type { ReportData } from "../report/data.js";
import { renderReport } from "../report/render.js";
import { table } from "../report/terminal.js";
import { type Context, InterruptedError } from "./context.js";
import { DATA_SOURCES, makeFolder, openOutputs, quoteWord, readDigits, reportTemplate } from "./files.js";
import { wholeFrom } from "./options.js";
import { startProgress } from "./progress.js";
import { formatCount, formatSeconds, widthOf } from "./table.js";

interface Options {
  data: string;
  digits?: number[];
  rank?: number;
  epochs?: number;
  seed: number;
  json?: string;
  report: string | false;
}

interface StudyOptions extends Options {
  recipe: "default" | "slides";
  seeds: number;
  sweep: boolean;
}

interface SweepOptions extends Options {
  ranks: number[];
  hidden: number;
}

/** Ranks of the sweep that `tenfold mnist` adds to its report. */
const QUICK_RANKS = [2, 5, 10, 15, 20, 30];

function digitList(text: string): number[] {
  if (text === "all") return [...ALL_DIGITS];
  const digits = text.split(",").map(Number);
  if (
    digits.length < 2 ||
    new Set(digits).size !== digits.length ||
    digits.some((digit) => !ALL_DIGITS.includes(digit))
  )
    throw new InvalidArgumentError('Needs "all", or at least two different digits as in 3,4,7.');
  return digits;
}

function rankList(text: string): number[] {
  const ranks = text.split(",").map(Number);
  if (!ranks.length || ranks.some((rank) => !Number.isInteger(rank) || rank < 1 || rank > 700))
    throw new InvalidArgumentError("Needs whole numbers from 1 to 700, as in 2,5,10.");
  return [...new Set(ranks)].sort((a, b) => a - b);
}

/** Adds the options that `tenfold mnist` and `tenfold mnist sweep` share. */
const shared = (command: Command): Command =>
  command
    .option("--data <source>", DATA_SOURCES, "mnist")
    .option("--digits <list>", 'which digits: "all" or a list as in 3,4,7', digitList)
    .option("--epochs <n>", "epochs of the default recipe; 45, or more where there are few images", wholeFrom(1))
    .option("--seed <n>", "seed of start values, shuffling and the decomposition", wholeFrom(0), 1)
    .option("--json <file>", "also write the figures as JSON; - to standard output");

/** Adds `tenfold mnist` and `tenfold mnist sweep` to the program. */
export function addMnist(program: Command, context: Context): void {
  const mnist = shared(program.command("mnist"))
    .description("decompose the MNIST digits, train small networks on the loadings, compare (Rasmussen 2020)")
    .option("--rank <r>", "columns of the loadings, in place of the thesis' 3 and 15", wholeFrom(1))
    .addOption(
      new Option(
        "--recipe <name>",
        "slides: also train as the thesis did, over several seeds, to see how often it fails",
      )
        .choices(["default", "slides"])
        .default("default"),
    )
    .option("--seeds <n>", "number of seeds of the slides' recipe", wholeFrom(1), 5)
    .option("--report <dir>", "folder of the HTML report", "report")
    .option("--no-report", "write no report")
    .option("--no-sweep", "leave the rank sweep out of the report")
    .addHelpText(
      "after",
      [
        "",
        "Without --digits all three tables of the thesis are run: 3,4,7; 3,4,9; all.",
        "",
        "Examples:",
        "  tenfold mnist",
        "  tenfold mnist --digits 3,4,7 --rank 5",
        "  tenfold mnist --data mnist-data --json study.json",
        "  tenfold mnist --recipe slides --seeds 3 --digits 3,4,9",
        "  tenfold mnist sweep --ranks 5,15,30",
      ].join("\n"),
    )
    .action((_, command: Command) => study(command.opts() as StudyOptions, context));
  shared(mnist.command("sweep"))
    .description("accuracy and multiplications against rank, with the network on pixels as the line to reach")
    .option("--ranks <list>", "which ranks", rankList, [...SWEEP_RANKS])
    .option("--hidden <n>", "hidden neurons", wholeFrom(1), 20)
    .action((_, command: Command) => sweep(command.opts() as SweepOptions, context));
}

/** The cases that the options ask for: the thesis' three, or the chosen digits, with ranks and layers that suit their number. */
function casesOf({ digits, rank }: StudyOptions): StudyCase[] {
  const chosen = digits
    ? [
        THESIS_CASES.find((one) => one.digits.join() === digits.join()) ??
          (digits.length > 5
            ? { digits, rank: 15, fullHidden: 10, hidden: 15 }
            : { digits, rank: 3, fullHidden: 3, hidden: 5 }),
      ]
    : THESIS_CASES;
  return chosen.map((one) => ({ ...one, rank: rank ?? one.rank }));
}

/** Shows a progress bar for every stage, a new one whenever the stage's name changes. */
function watch(context: Context): { onProgress: (progress: StudyProgress) => void; stop: () => void } {
  let stage = "";
  let bar: ReturnType<typeof startProgress> | null = null;
  return {
    onProgress(progress) {
      if (progress.stage !== stage) {
        bar?.stop();
        stage = progress.stage;
        bar = startProgress(context, { label: stage, total: 100, unit: "%" });
      }
      bar!.update(Math.round(100 * progress.done), progress.detail);
    },
    stop: () => bar?.stop(),
  };
}

const nameOf = (digits: readonly number[]): string => (digits.length === 10 ? "all" : digits.join(","));

async function study(options: StudyOptions, context: Context): Promise<void> {
  const started = performance.now();
  const { recipe, epochs, seed, seeds, json } = options;
  const cases = casesOf(options);
  const template = options.report ? reportTemplate() : null;
  if (options.report) makeFolder(options.report);
  const outputs = openOutputs(context, { json });
  const source = readDigits(options.data);
  const progress = watch(context);
  const { signal } = context;
  const data: ReportData = await context.withEngine(async (engine) => {
    context.stderr.write(`${engine.adapterName}\n${source.source}\n`);
    const common = { ...(epochs === undefined ? {} : { epochs }), seed, signal, onProgress: progress.onProgress };
    const results: ReportCase[] = [];
    try {
      for (const spec of cases) {
        results.push(await runCase(engine, source, spec, { ...common, recipe, seeds }));
        assertGoing(signal);
      }
      const base = { adapter: engine.adapterName, data: source.source, command: commandOf(options) };
      const result: ReportData = { ...base, date: new Date().toISOString(), recipe, seed, cases: results };
      const everything = !options.digits || options.digits.length === 10;
      if (options.report && options.sweep && everything && options.rank === undefined) {
        result.sweep = await runSweep(engine, source, { ...common, ranks: QUICK_RANKS });
        assertGoing(signal);
      }
      return result;
    } finally {
      progress.stop();
    }
  });
  const out = outputs.print;
  out.write(`\n${studyTable(data, widthOf(out))}`);
  out.write("accuracies in %, time in s; slides': weights as the thesis' slides count them\n");
  for (const one of data.cases) out.write(caseNotes(one));
  if (data.sweep) out.write(`\n${sweepTable(data.sweep, widthOf(out))}`);
  if (json) outputs.write(json, `${JSON.stringify(toJson(data), null, 2)}\n`);
  if (template && options.report) {
    const file = resolve(options.report, "index.html");
    outputs.write(file, renderReport(template, data));
    out.write(`\nreport: ${file}\n`);
  }
  out.write(`${formatSeconds((performance.now() - started) / 1000)} in all\n`);
}

async function sweep(options: SweepOptions, context: Context): Promise<void> {
  const { epochs, seed, ranks, hidden, digits = ALL_DIGITS, json } = options;
  const outputs = openOutputs(context, { json });
  const source = readDigits(options.data);
  const progress = watch(context);
  const { signal } = context;
  const result = await context.withEngine(async (engine) => {
    context.stderr.write(`${engine.adapterName}\n${source.source}\n`);
    try {
      const swept = await runSweep(engine, source, {
        digits,
        ranks,
        hidden,
        ...(epochs === undefined ? {} : { epochs }),
        seed,
        signal,
        onProgress: progress.onProgress,
      });
      assertGoing(signal);
      return { adapter: engine.adapterName, data: source.source, ...swept };
    } finally {
      progress.stop();
    }
  });
  outputs.print.write(`\n${sweepTable(result, widthOf(outputs.print))}`);
  if (json) outputs.write(json, `${JSON.stringify(result, null, 2)}\n`);
}

/** Throws an InterruptedError once the user has pressed Ctrl-C. */
function assertGoing(signal: AbortSignal): void {
  if (signal.aborted) throw new InterruptedError("stopped; no table and no report were written");
}

/** The command that gives the same figures again. */
function commandOf(options: StudyOptions): string {
  const words = ["tenfold mnist"];
  if (options.data !== "mnist") words.push(`--data ${quoteWord(options.data)}`);
  if (options.digits) words.push(`--digits ${nameOf(options.digits)}`);
  if (options.rank !== undefined) words.push(`--rank ${options.rank}`);
  if (options.recipe !== "default") words.push(`--recipe ${options.recipe} --seeds ${options.seeds}`);
  if (options.epochs !== undefined) words.push(`--epochs ${options.epochs}`);
  if (options.seed !== 1) words.push(`--seed ${options.seed}`);
  return words.join(" ");
}

function studyTable({ cases }: ReportData, width: number): string {
  const t10k = cases.some(({ full }) => full.t10kAccuracy !== undefined);
  const head = [
    "digits",
    "on",
    "layout",
    "slides'",
    "weights",
    "train",
    "test",
    ...(t10k ? ["t10k"] : []),
    "error",
    "time",
  ];
  const share = (value: number | undefined): string => (value === undefined ? "" : (100 * value).toFixed(1));
  const rows = cases.flatMap((one) => {
    const row = (name: string, network: ReportNetwork, error: string, time: string, digits = ""): string[] => [
      digits,
      name,
      network.layout,
      formatCount(network.slideParameters),
      formatCount(network.parameters),
      share(network.curve.at(-1)?.train),
      share(network.testAccuracy),
      ...(t10k ? [share(network.t10kAccuracy)] : []),
      error,
      time,
    ];
    const { full, decomposed, centred, seconds } = one;
    return [
      row("pixels", full, "", seconds.trainFull.toFixed(1), nameOf(one.digits)),
      row(
        "loadings",
        decomposed,
        one.decompositionError.toFixed(4),
        (seconds.decompose + seconds.trainDecomposed).toFixed(1),
      ),
      row("centred", centred, "", ""),
    ];
  });
  const right = "right" as const;
  return table(rows, { head, align: ["left", "left", "left", ...new Array(head.length - 3).fill(right)], width });
}

function caseNotes({ digits, fused, images, slides }: ReportCase): string {
  const lines = [
    `${nameOf(digits)}: ${formatCount(images.train)} images to train on, ${formatCount(images.validation)} to watch, ${formatCount(images.test)} held out;`,
    `  folded into one layer it predicts the same on ${percent(fused.agreement)} of these`,
    `  (logits within ${fused.largestDifference.toExponential(0)})`,
  ];
  for (const [name, runs] of Object.entries(slides ?? {})) {
    const on = name === "full" ? "pixels" : "loadings";
    const all = runs.accuracies.map((accuracy: number) => percent(accuracy));
    lines.push(`  the slides' recipe on ${on}: ${runs.failures} of ${all.length} seeds learnt nothing`);
    for (let at = 0; at < all.length; at += 8) lines.push(`    ${all.slice(at, at + 8).join(", ")}`);
  }
  return `\n${lines.join("\n")}\n`;
}

function sweepTable({ points, full, hidden, digits }: ReportSweep, width: number): string {
  const rows = points.map(({ rank, accuracy, decompositionError, parameters, multiplications }) => [
    rank,
    accuracy === undefined ? "" : percent(accuracy),
    decompositionError.toFixed(4),
    formatCount(parameters),
    formatCount(multiplications),
  ]);
  const last = ["pixels", percent(full.accuracy), "", formatCount(full.parameters), formatCount(full.multiplications)];
  const head = ["rank", "accuracy", "error", "weights", "multiplications"];
  const right = "right" as const;
  const title = `Rank sweep, ${digits.length === 10 ? "all digits" : `digits ${digits.join(",")}`}, ${hidden} hidden:\n`;
  return title + table([...rows, last], { head, align: [right, right, right, right, right], width });
}

/** The content of the JSON file that `--json` writes: the figures without the report's images. */
export function toJson({ adapter, data, command, date, recipe, seed, cases, sweep }: ReportData) {
  const network = ({
    inputs,
    hidden,
    parameters,
    slideParameters,
    testAccuracy,
    t10kAccuracy,
    curve,
  }: ReportNetwork) => ({
    inputs,
    hidden,
    parameters,
    slideParameters,
    trainAccuracy: curve.at(-1)?.train,
    testAccuracy,
    ...(t10kAccuracy === undefined ? {} : { t10kAccuracy }),
  });
  return {
    adapter,
    data,
    command,
    date,
    recipe,
    seed,
    cases: cases.map((one) => {
      const { testAccuracy, t10kAccuracy } = one.centred;
      return {
        digits: one.digits,
        rank: one.rank,
        decompositionError: one.decompositionError,
        ...(one.t10kDecompositionError === undefined ? {} : { t10kDecompositionError: one.t10kDecompositionError }),
        images: one.images,
        full: network(one.full),
        decomposed: {
          ...network(one.decomposed),
          centred: { testAccuracy, ...(t10kAccuracy === undefined ? {} : { t10kAccuracy }) },
          fused: one.fused,
        },
        ...(one.slides ? { slides: one.slides } : {}),
        seconds: one.seconds,
      };
    }),
    ...(sweep ? { sweep } : {}),
  };
}

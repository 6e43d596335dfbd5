import { basename, join } from "node:path";
import { type Command, CommanderError, Option } from "commander";
import type { CpStarts } from "../decompositions/index.js";
import { secondsSince } from "../experiments/figures.js";
import { dispose, type Engine, formatShape, type Tensor } from "../gpu/index.js";
import { writeNpz } from "../io/index.js";
import {
  type Algorithm,
  type Asked,
  DEFAULT_TOLERANCE,
  METHODS,
  type Method,
  type Solution,
  type Task,
} from "../methods/index.js";
import { listed } from "../node/arrayFile.js";
import { arrayPath } from "../node/arrays.js";
import { checkpointFile } from "../node/checkpointFile.js";
import { table } from "../report/terminal.js";
import { countReads, type Source } from "../sources/index.js";
import { throughPython } from "./cluster/throughPython.js";
import { type Context, InputError, InterruptedError } from "./context.js";
import { imageOption, labelsOption, readShown, reportFiles } from "./decomposeReport.js";
import { makeFolder, openOutputs, quoteWord } from "./files.js";
import { isStandardInput } from "./input.js";
import { askedOf, chooseMethod, type MethodOptions, methodOptions, OPTION_NAMES } from "./methodOptions.js";
import { poolFor, wholeFrom } from "./options.js";
import { startProgress } from "./progress.js";
import { type Saved, savedArrays } from "./saved.js";
import { formatCount, formatSeconds, widthOf } from "./table.js";
import { entriesOf, inputOf, openSlices, openTensor, SliceList, sizeOfInput, TENSOR_FILE } from "./tensorFile.js";

interface Options extends MethodOptions {
  out?: string;
  json?: string;
  report?: string;
  labels?: Map<number, string>;
  image?: [number, number];
  compare?: string;
  scheduler?: string;
  workers?: number;
}

/** The content of the JSON file that `--json` writes. */
export interface DecomposeReport {
  file: string;
  adapter: string;
  /** of slices of several lengths: their number, the most rows, columns */
  shape: number[];
  /** slices that are matrices of a file, in their order; null where X is one tensor */
  slices: { name: string; rows: number }[] | null;
  method: string;
  algorithm: string;
  /** as the method counts them: R of cp and svd, one a mode of tucker, those between the cores of a train */
  ranks: number[];
  seed: number;
  parameters: number;
  /** entries / parameters */
  compression: number;
  /** ‖X − X̂‖ / ‖X‖, of known entries where others are missing */
  relativeError: number;
  /** how many entries are known; null where none is missing */
  known: number | null;
  /** 1 − relative error, iteration by iteration or sweep by sweep; empty where a method has none */
  fits: number[];
  /** iterations of Gauss-Newton on the whole tensor, sweeps of the others; 0 where a method has none */
  sweeps: number;
  /**
   * starts of Gauss-Newton: the relative errors that they ended at, how many found the best one's model, and what generalised eigenvalues told where
   * the first is by them; null for the others
   */
  starts: CpStarts | null;
  converged: boolean;
  /** the error stopped changing in f32, although its last change was larger than the tolerance */
  stalled: boolean;
  /** passes over the tensor, or over what a model leaves of it, of all starts and of everything before and after the sweeps */
  reads: number;
  /** kernels run for it */
  dispatches: number;
  /** wall time: opening the adapter, the decomposition, and everything */
  seconds: { open: number; decompose: number; total: number };
  /** the file of the factors; null without `--out` */
  out: string | null;
  /** shapes of the arrays in `out`, by name */
  members: Record<string, number[]>;
}

/** Adds `tenfold decompose` to the program. */
export function addDecompose(program: Command, context: Context): void {
  const command = program
    .command("decompose")
    .description("decompose a tensor from a file")
    .argument("<X>", TENSOR_FILE)
    .addOption(
      new Option("-m, --method <method>", "see below (default: cp, or tucker where there are --ranks)").choices(
        METHODS.map(({ name }) => name),
      ),
    );
  for (const option of methodOptions()) command.addOption(option);
  command
    .option("-o, --out <result.npz>", "where to write the factors, for numpy.load; nowhere if not given")
    .option("--json <file>", "also write the figures and the fit after every iteration as JSON; - to standard output")
    .option("--report <folder>", "also write a page with figures of the components, the fit and the residual")
    .option("--labels <MODE:names.txt>", "labels of a mode for the report, a line each", labelsOption)
    .option("--image <MODE,MODE>", "two modes that are rows and columns of images, for the report", imageOption)
    .option("--compare <other.npz>", "a CP model that --out wrote, to draw beside this one in the report")
    .option("--scheduler <address>", "read the tensor on the workers of a Dask cluster, as in tcp://host:8786")
    .option("--workers <N>", "read it on so many workers of this machine", wholeFrom(1))
    .addHelpText("after", helpText())
    .action((file: string, options: Options) => {
      const isAsked = options.scheduler !== undefined || options.workers !== undefined;
      if (isAsked && !context.openShards) return onCluster(file, command, options, context);
      return decompose(file, options, context);
    });
}

/** Has workers of a cluster read the tensor. The command that Python starts for it has the same options. */
async function onCluster(file: string, command: Command, options: Options, context: Context): Promise<void> {
  chooseMethod(options);
  if (isStandardInput(file))
    throw new InputError("workers cannot read standard input: give the name of a file that each of them can open");
  if (options.report) throw new InputError("--report shows all entries of the tensor: give it without a cluster");
  const argv = (command.parent as Command & { rawArgs: string[] }).rawArgs;
  const code = await throughPython(file, argv, options, context);
  if (code) throw new CommanderError(code, "tenfold.reported", "the command that asks the workers has failed");
}

function helpText(): string {
  const lines = ["", "Methods, and what the .npz of --out holds:"];
  for (const { name, summary, saves, algorithms } of METHODS) {
    lines.push(`  ${name}: ${summary}`, ...saves.map((line) => `    ${line}`));
    const names = algorithms.map((algorithm) => algorithm.name);
    if (names.length > 1) lines.push(`    --algorithm ${[`${names[0]} (default)`, ...names.slice(1)].join(", ")}`);
  }
  lines.push(
    "",
    "The table says how it ended: converged, stalled (f32 sees no further change)",
    "or stopped (out of sweeps); how many starts agree; and how often the tensor",
    "was read, by which methods can be compared on any machine.",
    "tenfold rank X.npy tells how many terms to ask for.",
    "Ctrl-C stops after the iterations in flight, and writes nothing but the state",
    "of --checkpoint.",
    "",
    "--report writes a page: components mode by mode, weights or core, how the error",
    "fell, starts, residuals and outliers; and each figure as SVG and CSV beside it.",
    "",
    "Examples:",
    "  tenfold decompose X.npy --rank 3 --report result --labels 0:names.txt",
    "  tenfold decompose faces.npy --rank 8 --report result --image 1,2",
    "  tenfold decompose X.npy --rank 3 --seed 2 --report second --compare first.npz",
    ...METHODS.flatMap(({ examples }) => examples.map((example) => `  tenfold decompose ${example}`)),
  );
  return lines.join("\n");
}

async function decompose(file: string, options: Options, context: Context): Promise<void> {
  const started = performance.now();
  const { out, json, report: folder } = options;
  const { method, algorithm } = chooseMethod(options);
  const outputs = openOutputs(context, { out, json, checkpoint: options.checkpoint }, arrayPath(file).file);
  // what other programs would not open under such a name
  if (out && /\.(?:npy|mat|h5|hdf5|zarr|safetensors|csv|tsv|txt|tns|json)$/i.test(out))
    throw new InputError(`--out ${out}: factors are written as .npz; give a name that ends so`);
  if (!folder && (options.labels || options.image || options.compare !== undefined))
    throw new InputError("--labels, --image and --compare are for --report");
  if (options.compare !== undefined && method.name !== "cp")
    throw new InputError("--compare draws CP models beside each other: give --method cp");
  if (folder) makeFolder(folder);
  const { memory, missing } = options;
  const input = context.openShards
    ? inputOf(await context.openShards(), context.signal)
    : ((method.runSlices && (await openSlices(file, options.rank, missing ?? false))) ??
      (await openTensor(file, context, { ...(memory !== undefined && { memory }), ...(missing && { missing }) })));
  const { shape, exponent, slices = null } = input;
  const naming = readShown(file, { ...input.read, shape }, options);
  const entries = entriesOf(input);
  const asked = await askedOf(file, slices ? null : shape, method, algorithm, options);

  const opening = performance.now();
  await context.withEngine(async (engine) => {
    const open = secondsSince(opening);
    using opened = { x: await input.open(engine), [dispose]: () => input.close() };
    using x = opened.x;
    const reads = countReads(x);
    const { dispatches } = engine.counters;
    const working = performance.now();
    const solution = await solve(engine, x, { method, algorithm, asked }, options.checkpoint, context);
    const { tensor, course, starts } = solution;
    try {
      const spent = secondsSince(working);
      const counted = { reads: reads.passes, dispatches: engine.counters.dispatches - dispatches };
      const { arrays, notes }: Saved = out ? await savedArrays(solution, method, exponent) : { arrays: [], notes: [] };
      if (out) outputs.write(out, writeNpz(arrays));
      const report: DecomposeReport = {
        file,
        adapter: engine.adapterName,
        shape,
        slices,
        method: method.name,
        algorithm: algorithm.name,
        ranks: [...solution.ranks],
        seed: options.seed ?? 0,
        parameters: tensor.parameterCount,
        compression: entries / tensor.parameterCount,
        relativeError: solution.relativeError,
        known: ("known" in x && x.known) || null,
        fits: (course?.errors ?? []).map((error) => 1 - error),
        sweeps: course?.sweeps ?? 0,
        starts: starts ?? null,
        converged: course?.converged ?? true,
        stalled: course?.stalled ?? false,
        ...counted,
        seconds: { open, decompose: spent, total: secondsSince(started) },
        out: out ?? null,
        members: Object.fromEntries(arrays.map(([name, { shape }]) => [name, [...shape]])),
      };
      if (json) outputs.write(json, `${JSON.stringify(report, null, 2)}\n`);
      const { print } = outputs;
      const lines = describe(report, algorithm, solution, options, notes);
      if (folder) {
        const files = await reportFiles(engine, input, x, solution, naming, {
          data: basename(file),
          options: commandLine(file, options),
          ending: course
            ? `${course.sweeps} ${algorithm.steps}, ${endOf(report, options.tolerance ?? DEFAULT_TOLERANCE)}`
            : "direct",
          seconds: spent,
          adapter: report.adapter,
          date: new Date().toISOString(),
        });
        for (const [name, content] of files) outputs.write(join(folder, name), content);
        lines.push(["report", `${join(folder, "index.html")}, and ${(files.length - 1) / 2} figures as SVG and CSV`]);
      }
      print.write(table(lines, { width: widthOf(print) }));
    } finally {
      tensor.destroy();
    }
  }, poolFor(memory));
}

/** What is run. */
interface Work {
  method: Method;
  algorithm: Algorithm;
  asked: Asked;
}

/** `cp, rank 3`: names the progress bar */
const labelOf = ({ method, asked: { rank, ranks, error, blocks } }: Work): string =>
  [
    method.name,
    ...(blocks === undefined ? [] : [`${blocks} blocks`]),
    ...(rank === undefined ? [] : [`rank ${rank}`]),
    ...(ranks ? [`ranks ${ranks.join(",")}`] : []),
    ...(error === undefined ? [] : [`error ${error}`]),
  ].join(", ");

async function solve(
  engine: Engine,
  x: Tensor | Source | SliceList,
  work: Work,
  checkpoint: string | undefined,
  { stderr, signal }: Context,
): Promise<Solution> {
  const state = checkpoint === undefined ? null : stateIn(checkpoint);
  const { method, algorithm, asked } = work;
  const { steps, defaults } = algorithm;
  const { tolerance = DEFAULT_TOLERANCE } = asked;
  const progress = startProgress(
    { stderr },
    {
      label: labelOf(work),
      total: steps ? (asked.sweeps ?? defaults.sweeps!) : 100,
      unit: steps ?? "%",
      isOpenEnded: steps !== null && tolerance > 0,
    },
  );
  try {
    const task: Task = {
      algorithm,
      asked,
      watch: {
        signal,
        ...(state && { checkpoint: state }),
        onIteration: ({ sweep, relativeError }) => progress.update(sweep, `fit ${(1 - relativeError).toFixed(6)}`),
        onStarts({ iteration, starts, relativeErrors }) {
          const [first, last] = [starts[0]! + 1, starts.at(-1)! + 1];
          const which = first === last ? `start ${first}` : `starts ${first} to ${last}, best`;
          progress.update(iteration, `${which} fit ${(1 - Math.min(...relativeErrors)).toFixed(6)}`);
        },
        onProgress: (done) => progress.update(100 * done),
      },
    };
    const solution =
      x instanceof SliceList ? await method.runSlices!(engine, x.slices, task) : await method.run(engine, x, task);
    if (!signal.aborted) return solution;
    solution.tensor.destroy();
    const { course } = solution;
    const after = course ? ` after ${course.sweeps} ${steps}` : "";
    throw new InterruptedError(`stopped${after}; ${left(state, checkpoint)}`);
  } catch (error) {
    if (signal.aborted && error === signal.reason)
      throw new InterruptedError(
        `stopped${steps ? ` before the first of the ${steps}` : ""}; ${left(state, checkpoint)}`,
      );
    throw error;
  } finally {
    progress.stop();
  }
}

/** A checkpoint, and whether this run has saved it. */
type SavedState = ReturnType<typeof stateIn>;

function stateIn(file: string) {
  const { every, load, save } = checkpointFile(file);
  const state = {
    every,
    load,
    isSaved: false,
    save(bytes: Uint8Array): void {
      save(bytes);
      state.isSaved = true;
    },
  };
  return state;
}

/** What a run that was stopped leaves. */
const left = (state: SavedState | null, file: string | undefined): string =>
  state?.isSaved ? `${file} has the state, and the same command goes on from it` : "nothing was written";

/** The command that gives the same figures again. */
function commandLine(file: string, options: Options): string {
  const words = ["tenfold decompose", quoteWord(file)];
  for (const name of ["method", "algorithm", ...OPTION_NAMES, "labels", "image", "compare"] as (keyof Options)[]) {
    const value = options[name];
    if (value === true) words.push(`--${name}`);
    if (value === undefined || value === true) continue;
    const texts = value instanceof Map ? [...value].map(([mode, text]) => `${mode}:${text}`) : [String(value)];
    words.push(...texts.map((text) => `--${name} ${quoteWord(text)}`));
  }
  return words.join(" ");
}

// ---- what is told

function describe(
  report: DecomposeReport,
  { steps }: Algorithm,
  { title, course, remarks }: Solution,
  { tolerance = DEFAULT_TOLERANCE, init }: Options,
  notes: readonly string[],
): string[][] {
  const { parameters, compression, relativeError, starts, members } = report;
  const input = { shape: report.shape, ...(report.slices && { slices: report.slices }) };
  const entries = entriesOf(input);
  const list = Object.entries(members).map(([name, extents]) => `${name} ${formatShape(extents)}`);
  return [
    ["tensor", `${report.file}: ${sizeOfInput(input)}, ${formatCount(entries)} entries`],
    ...(report.slices ? [["slices", listed(report.slices.map(({ name }) => name))]] : []),
    ...(report.known
      ? [
          [
            "known",
            `${formatCount(report.known)} entries, ${((100 * report.known) / entries).toFixed(1)} %; errors are of these`,
          ],
        ]
      : []),
    ["method", title],
    ["parameters", formatCount(parameters)],
    ["compression", `${compression.toPrecision(3)} times`],
    ["relative error", `${relativeError.toPrecision(5)} (fit ${(1 - relativeError).toFixed(6)})`],
    ...(course ? [[steps!, `${course.sweeps}, ${endOf(report, tolerance)}`]] : []),
    ...(starts ? [["starts", startsOf(starts, init)]] : []),
    ...remarks.map((line) => [...line]),
    // slices of a list are not read as one tensor
    report.reads
      ? ["reads", `${formatPasses(report.reads)} of the tensor, in ${formatCount(report.dispatches)} dispatches`]
      : ["dispatches", formatCount(report.dispatches)],
    ["time", `${formatSeconds(report.seconds.decompose)} of ${formatSeconds(report.seconds.total)} in all`],
    ["adapter", report.adapter],
    ["written", report.out ? [report.out, ...list, ...notes].join("\n") : "no factors: --out result.npz keeps them"],
  ];
}

/** `312`, `2.5`: passes that took a part of the tensor count as that part */
const formatPasses = (passes: number): string =>
  formatCount(passes < 100 ? Math.round(passes * 10) / 10 : Math.round(passes));

function endOf({ converged, stalled }: DecomposeReport, tolerance: number): string {
  if (converged) return `converged to ${tolerance.toExponential()}`;
  if (stalled) return "stalled: f32 sees no further change, and --tolerance asks for less";
  return "stopped: more --sweeps may do better";
}

/** `3 of 4 ended at this model` */
function startsOf({ errors, agreeing, gevd }: NonNullable<DecomposeReport["starts"]>, init?: string): string {
  const other =
    init === "gevd" && !gevd ? "; none by generalised eigenvalues, which this tensor or rank has none of" : "";
  if (errors.length === 1) return `1${other}`;
  const said = `${agreeing} of ${errors.length} ended at this model${other}`;
  if (agreeing * 2 >= errors.length) return said;
  return `${said}: another start or rank may do better`;
}

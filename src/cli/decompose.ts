import { type Command, InvalidArgumentError, Option } from "commander";
import { type CpStarts, cp, cpALS, type Decomposition, tuckerHOOI } from "../decompositions/index.js";
import { type Engine, formatShape, type Tensor } from "../gpu/index.js";
import { type Numeric, type NumericArray, writeNpz } from "../io/index.js";
import type { KruskalTensor, TuckerTensor } from "../tensors/index.js";
import { type Context, InputError, InterruptedError } from "./context.js";
import { openOutputs } from "./files.js";
import { wholeFrom } from "./options.js";
import { startProgress } from "./progress.js";
import { formatCount, formatSeconds, table, widthOf } from "./table.js";
import { LARGEST_F32, readFactor, readFactors, readTensor, TENSOR_FILE } from "./tensorFile.js";

interface Options {
  method?: "cp" | "tucker";
  rank?: number;
  ranks?: number[];
  out?: string;
  algorithm?: Exclude<Algorithm, "hooi">;
  starts?: number;
  sweeps?: number;
  tolerance: number;
  init?: string;
  fixed?: Map<number, string>;
  seed: number;
  json?: string;
}

/** How a decomposition is computed: CP by damped Gauss-Newton or by alternating least squares, Tucker by HOOI. */
type Algorithm = "gauss-newton" | "als" | "hooi";

/** What is asked for, once the options are known to fit together. */
interface Task {
  method: "cp" | "tucker";
  algorithm: Algorithm;
  ranks: number[];
  /** most of them: iterations of Gauss-Newton, sweeps of the others */
  sweeps: number;
  /** starts of cp, of which the best is kept */
  starts: number;
  /** of the first start of cp: a word, or factors */
  initialize: "random" | "hosvd" | Float32Array[];
  /** factors of cp that stay as they are, by mode */
  fixed: Record<number, Float32Array>;
}

const SWEEPS: Record<Algorithm, number> = { "gauss-newton": 500, als: 100, hooi: 100 };
const STARTS: Record<Algorithm, number> = { "gauss-newton": 4, als: 1, hooi: 1 };

type Result = (Decomposition<KruskalTensor> | Decomposition<TuckerTensor>) & { starts?: CpStarts };

/** The largest extent of a mode without a Tucker factor for which an identity matrix is written. */
const LARGEST_IDENTITY = 4096;
/** The smallest normal f32: smaller ones have fewer than 24 bits. */
const SMALLEST_F32 = 2 ** -126;

/** The content of the JSON file that `--json` writes. */
export interface DecomposeReport {
  file: string;
  adapter: string;
  shape: number[];
  method: "cp" | "tucker";
  algorithm: Algorithm;
  ranks: number[];
  seed: number;
  parameters: number;
  /** entries / parameters */
  compression: number;
  /** ‖X − X̂‖ / ‖X‖ */
  relativeError: number;
  /** 1 − relative error, iteration by iteration or sweep by sweep */
  fits: number[];
  /** iterations of Gauss-Newton on the whole tensor, sweeps of the others */
  sweeps: number;
  /** random starts of Gauss-Newton: the relative errors that they ended at, and how many found the best one's model; null for the others */
  starts: { errors: number[]; agreeing: number } | null;
  converged: boolean;
  /** the error stopped changing in f32, although its last change was larger than the tolerance */
  stalled: boolean;
  /** wall time: opening the adapter, the decomposition, and everything */
  seconds: { open: number; decompose: number; total: number };
  /** the file of the factors; null without `--out` */
  out: string | null;
  /** shapes of the arrays in `out`, by name */
  members: Record<string, number[]>;
}

/** Adds `tenfold decompose` to the program. */
export function addDecompose(program: Command, context: Context): void {
  program
    .command("decompose")
    .description("decompose a tensor from a NumPy file by CP or Tucker")
    .argument("<X.npy>", TENSOR_FILE)
    .addOption(
      new Option("-m, --method <method>", "cp: a sum of rank-one terms; tucker: a core and a factor a mode").choices([
        "cp",
        "tucker",
      ]),
    )
    .option("-r, --rank <R>", "number of rank-one terms (cp)", wholeFrom(1))
    .option(
      "--ranks <R,R,…>",
      "one rank a mode, or one for all; a full rank leaves its mode alone (tucker)",
      wholeNumbers,
    )
    .option("-o, --out <result.npz>", "where to write the factors, for numpy.load; nowhere if not given")
    .addOption(
      new Option(
        "--algorithm <name>",
        "of cp: damped Gauss-Newton, or alternating least squares (default: gauss-newton)",
      ).choices(["gauss-newton", "als"]),
    )
    .option(
      "--starts <K>",
      `starts of cp, of which the best is kept (default: ${STARTS["gauss-newton"]}; als: ${STARTS.als})`,
      wholeFrom(1),
    )
    .option(
      "--sweeps <n>",
      `most iterations of gauss-newton (default: ${SWEEPS["gauss-newton"]}), most sweeps of als and tucker (default: ${SWEEPS.als})`,
      wholeFrom(1),
    )
    .addOption(
      new Option(
        "--tolerance <t>",
        "converged when the relative error changes by less in a sweep; for gauss-newton, when it would fall by less than this part of it; 0 never",
      )
        .argParser(tolerance)
        .default(1e-6, "1e-6"),
    )
    .option(
      "--init <how>",
      "first start of cp: random (default), hosvd, or the .npz of an earlier result (gauss-newton, which then has 1 start)",
    )
    .option(
      "--fixed <MODE:F.npy>",
      "a factor of gauss-newton that stays as it is; once for each such mode",
      fixedFactor,
    )
    .option("--seed <n>", "seed of the random starts", wholeFrom(0), 0)
    .option("--json <file>", "also write the figures and the fit after every iteration as JSON; - to standard output")
    .addHelpText(
      "after",
      [
        "",
        "For cp the .npz holds weights (R) and factor_0, factor_1, … (extent×R) with",
        "columns of length 1; for tucker core (R0×R1×…) and factor_0, … (extent×rank)",
        "with orthonormal columns. For three modes the tensor is about",
        "  numpy.einsum('r,ir,jr,kr->ijk', weights, factor_0, factor_1, factor_2)",
        "  numpy.einsum('abc,ia,jb,kc->ijk', core, factor_0, factor_1, factor_2)",
        "",
        "tenfold rank X.npy tells how many terms to ask for.",
        "Ctrl-C stops after the iterations in flight and writes nothing.",
        "",
        "Examples:",
        "  tenfold decompose X.npy --rank 10",
        "  tenfold decompose X.npy --method cp --rank 10 --out result.npz",
        "  tenfold decompose X.npy --rank 10 --starts 16",
        "  tenfold decompose X.npy --rank 10 --init result.npz --out better.npz",
        "  tenfold decompose X.npy --rank 3 --fixed 0:spectra.npy",
        "  tenfold decompose X.npy --rank 10 --algorithm als --init hosvd --tolerance 0",
        "  tenfold decompose X.npy --method tucker --ranks 15,10,10 --out result.npz",
      ].join("\n"),
    )
    .action((file: string, options: Options) => decompose(file, options, context));
}

async function decompose(file: string, options: Options, context: Context): Promise<void> {
  const started = performance.now();
  const { out, json } = options;
  const method = chooseMethod(options);
  const algorithm = chooseAlgorithm(method, options);
  const outputs = openOutputs(context, { out, json }, file);
  const { shape, values, exponent } = readTensor(file);
  const ranks = checkRanks(file, shape, method, options);
  const initialize = startOf(shape, ranks[0]!, options);
  const fixed = method === "cp" ? fixedOf(file, shape, ranks[0]!, options) : {};
  const starts = options.starts ?? (typeof initialize === "string" ? STARTS[algorithm] : 1);
  const task: Task = {
    method,
    algorithm,
    ranks,
    sweeps: options.sweeps ?? SWEEPS[algorithm],
    starts,
    initialize,
    fixed,
  };

  const opening = performance.now();
  await context.withEngine(async (engine) => {
    const open = seconds(opening);
    using x = engine.tensor(shape, values, { label: file });
    const working = performance.now();
    const result = await solve(engine, x, task, options, context);
    using tensor = result.tensor;
    const spent = seconds(working);
    const { arrays, notes } = out ? await collect(engine, tensor, exponent) : { arrays: [], notes: [] };
    if (out) outputs.write(out, writeNpz(arrays));
    const entries = values.length;
    const report: DecomposeReport = {
      file,
      adapter: engine.adapterName,
      shape,
      method,
      algorithm,
      ranks: "core" in tensor ? [...tensor.core.shape] : ranks,
      seed: options.seed,
      parameters: tensor.parameterCount,
      compression: entries / tensor.parameterCount,
      relativeError: result.relativeError,
      fits: result.fits,
      sweeps: result.sweeps,
      starts: result.starts ?? null,
      converged: result.converged,
      stalled: result.stalled,
      seconds: { open, decompose: spent, total: seconds(started) },
      out: out ?? null,
      members: Object.fromEntries(arrays.map(([name, { shape }]) => [name, [...shape]])),
    };
    if (json) outputs.write(json, `${JSON.stringify(report, null, 2)}\n`);
    const { print } = outputs;
    print.write(table(describe(report, options, notes), { width: widthOf(print) }));
  });
}

function solve(
  engine: Engine,
  x: Tensor,
  { method, algorithm, ranks, sweeps, starts, initialize, fixed }: Task,
  { tolerance, seed }: Options,
  { stderr, signal }: Context,
): Promise<Result> {
  const label = method === "cp" ? `cp, rank ${ranks[0]}` : `tucker, ranks ${ranks.join(",")}`;
  const unit = unitOf(algorithm);
  const progress = startProgress({ stderr }, { label, total: sweeps, unit });
  const stopping = {
    sweeps,
    tolerance,
    signal,
    onIteration: ({ sweep, relativeError }: { sweep: number; relativeError: number }) =>
      progress.update(sweep, `fit ${(1 - relativeError).toFixed(6)}`),
  };
  const work = async (): Promise<Result> => {
    const rank = ranks[0]!;
    if (algorithm === "gauss-newton")
      return await cp(engine, x, { rank, initialize, fixed, starts, seed, ...stopping });
    if (algorithm === "als")
      return await cpALS(engine, x, { rank, initialize: initialize as "random" | "hosvd", starts, seed, ...stopping });
    return await tuckerHOOI(engine, x, { ranks: ranks.length === 1 ? rank : ranks, seed, ...stopping });
  };
  return work()
    .finally(() => progress.stop())
    .then(
      (result) => {
        if (!signal.aborted) return result;
        result.tensor.destroy();
        throw new InterruptedError(`stopped after ${result.sweeps} ${unit}; nothing was written`);
      },
      (error) => {
        if (signal.aborted && error === signal.reason)
          throw new InterruptedError(`stopped before the first of the ${unit}; nothing was written`);
        throw error;
      },
    );
}

// ---- what is asked

function chooseMethod({ method = undefined, rank, ranks, init }: Options): "cp" | "tucker" {
  const chosen = method ?? (ranks ? "tucker" : "cp");
  if (rank !== undefined && ranks) throw new InputError("--rank is for cp and --ranks for tucker: give one of them");
  if (chosen === "cp" && rank === undefined)
    throw new InputError(
      ranks ? "--method cp needs --rank R, one number" : "--rank R (cp) or --ranks R,R,… (tucker) is needed",
    );
  if (chosen === "tucker" && !ranks) throw new InputError("--method tucker needs --ranks, one number a mode");
  if (chosen === "tucker" && init) throw new InputError("--init is for cp; tucker starts from the truncated HOSVD");
  return chosen;
}

function chooseAlgorithm(method: "cp" | "tucker", { algorithm, init, fixed, starts }: Options): Algorithm {
  if (method === "tucker") {
    if (algorithm) throw new InputError("--algorithm is for cp; tucker is computed by HOOI");
    if (starts) throw new InputError("--starts is for cp; tucker starts from the truncated HOSVD");
    if (fixed) throw new InputError("--fixed is for cp");
    return "hooi";
  }
  if (algorithm !== "als") return "gauss-newton";
  if (fixed) throw new InputError("--fixed is for --algorithm gauss-newton");
  if (init && !isWord(init))
    throw new InputError(`--init ${init} is for --algorithm gauss-newton; als takes random or hosvd`);
  return "als";
}

const isWord = (init: string): init is "random" | "hosvd" => init === "random" || init === "hosvd";

/** What `--init` says: a word, or the factors of an earlier result. */
function startOf(shape: readonly number[], rank: number, { init = "random" }: Options): Task["initialize"] {
  return isWord(init) ? init : readFactors(init, shape, rank);
}

/** The factors that `--fixed` names, by mode. */
function fixedOf(
  file: string,
  shape: readonly number[],
  rank: number,
  { fixed = new Map() }: Options,
): Record<number, Float32Array> {
  for (const mode of fixed.keys())
    if (mode >= shape.length)
      throw new InputError(
        `--fixed ${mode}:${fixed.get(mode)}: ${file} has modes 0 to ${shape.length - 1} (shape ${formatShape(shape)})`,
      );
  if (fixed.size === shape.length) throw new InputError("--fixed names every mode; at least one must be free");
  return Object.fromEntries([...fixed].map(([mode, name]) => [mode, readFactor(name, [shape[mode]!, rank])]));
}

const unitOf = (algorithm: Algorithm): string => (algorithm === "gauss-newton" ? "iterations" : "sweeps");

function checkRanks(
  file: string,
  shape: readonly number[],
  method: "cp" | "tucker",
  { rank, ranks }: Options,
): number[] {
  if (method === "tucker") {
    // one rank stands for all modes; tuckerHOOI lowers it to the extent of a smaller mode
    if (ranks!.length === 1) return ranks!;
    if (ranks!.length !== shape.length)
      throw new InputError(`${file}: ${ranks!.length} ranks for ${shape.length} modes (shape ${formatShape(shape)})`);
    shape.forEach((extent, mode) => {
      if (ranks![mode]! > extent)
        throw new InputError(
          `${file}: rank ${ranks![mode]} is larger than mode ${mode}, which has ${extent} (shape ${formatShape(shape)})`,
        );
    });
    return ranks!;
  }
  // any tensor is a sum of as many rank-one terms as it has fibres along its longest mode
  const most = shape.reduce((product, extent) => product * extent, 1) / Math.max(...shape);
  if (rank! > most)
    throw new InputError(
      `${file}: rank ${rank} is larger than ${most}, which is enough for any tensor of shape ${formatShape(shape)}`,
    );
  return [rank!];
}

// ---- what is written

async function collect(
  engine: Engine,
  tensor: KruskalTensor | TuckerTensor,
  exponent: number,
): Promise<{ arrays: [string, NumericArray][]; notes: string[] }> {
  const notes: string[] = [];
  const name = "core" in tensor ? "core" : "weights";
  const scaled = "core" in tensor ? tensor.core : tensor.weights;
  const factors: readonly (Tensor | null)[] = tensor.factors;
  const present = factors.filter((factor) => factor !== null);
  const [head, ...read] = await engine.read([scaled, ...present]);
  const arrays: [string, NumericArray][] = [[name, { shape: scaled.shape, data: rescale(head!, exponent) }]];
  factors.forEach((factor, mode) => {
    if (factor) arrays.push([`factor_${mode}`, { shape: factor.shape, data: read.shift()! }]);
    else if (tensor.shape[mode]! <= LARGEST_IDENTITY) arrays.push([`factor_${mode}`, identity(tensor.shape[mode]!)]);
    else notes.push(`factor_${mode} is the identity of ${tensor.shape[mode]} and left out`);
  });
  return { arrays, notes };
}

/** The values times 2^exponent: as f64 if a result is outside of f32's normal range, otherwise as f32. */
function rescale(values: Float32Array, exponent: number): Numeric {
  const exact = Float64Array.from(values, (value) => value * 2 ** exponent);
  const fits = (value: number): boolean =>
    value === 0 || (Math.abs(value) >= SMALLEST_F32 && Math.abs(value) <= LARGEST_F32);
  return exact.every(fits) ? Float32Array.from(exact) : exact;
}

function identity(extent: number): NumericArray {
  const data = new Float32Array(extent * extent);
  for (let i = 0; i < extent; i++) data[i * (extent + 1)] = 1;
  return { shape: [extent, extent], data };
}

function describe(report: DecomposeReport, { tolerance }: Options, notes: readonly string[]): string[][] {
  const { shape, method, ranks, parameters, compression, relativeError, sweeps, members } = report;
  const entries = shape.reduce((product, extent) => product * extent, 1);
  const list = Object.entries(members).map(([name, extents]) => `${name} ${formatShape(extents)}`);
  return [
    ["tensor", `${report.file}: ${formatShape(shape)}, ${formatCount(entries)} entries`],
    ["method", method === "cp" ? `CP, rank ${ranks[0]}` : `Tucker, ranks ${ranks.join(", ")}`],
    ["parameters", formatCount(parameters)],
    ["compression", `${compression.toPrecision(3)} times`],
    ["relative error", `${relativeError.toPrecision(5)} (fit ${(1 - relativeError).toFixed(6)})`],
    [unitOf(report.algorithm), `${sweeps}, ${endOf(report, tolerance)}`],
    ...(report.starts ? [["starts", startsOf(report.starts)]] : []),
    ["time", `${formatSeconds(report.seconds.decompose)} of ${formatSeconds(report.seconds.total)} in all`],
    ["adapter", report.adapter],
    ["written", report.out ? [report.out, ...list, ...notes].join("\n") : "no factors: --out result.npz keeps them"],
  ];
}

function endOf({ converged, stalled }: DecomposeReport, tolerance: number): string {
  if (converged) return `converged to ${tolerance.toExponential()}`;
  if (stalled) return "stalled: f32 sees no further change, and --tolerance asks for less";
  return "stopped: more --sweeps may do better";
}

/** `3 of 4 ended at this model` */
function startsOf({ errors, agreeing }: NonNullable<DecomposeReport["starts"]>): string {
  if (errors.length === 1) return "1";
  const said = `${agreeing} of ${errors.length} ended at this model`;
  if (agreeing * 2 >= errors.length) return said;
  return `${said}: another start or rank may do better`;
}

const seconds = (since: number): number => (performance.now() - since) / 1000;

// ---- option values

function wholeNumbers(text: string): number[] {
  const parse = wholeFrom(1);
  try {
    return text.split(",").map((part) => parse(part.trim()));
  } catch {
    throw new InvalidArgumentError("It needs whole numbers of 1 or more with commas between, as in 15,10,10.");
  }
}

function tolerance(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= 0 && value < 1))
    throw new InvalidArgumentError("It needs a number from 0 to below 1, as in 1e-6.");
  return value;
}

function fixedFactor(text: string, before: Map<number, string> = new Map()): Map<number, string> {
  const [, mode, name] = /^(\d+):(.+)$/.exec(text) ?? [];
  if (mode === undefined || name === undefined)
    throw new InvalidArgumentError("It needs a mode and a file with a colon between, as in 0:spectra.npy.");
  if (before.has(Number(mode))) throw new InvalidArgumentError(`Mode ${mode} has a factor already.`);
  return new Map([...before, [Number(mode), name]]);
}

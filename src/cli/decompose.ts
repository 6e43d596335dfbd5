import { type Command, InvalidArgumentError, Option } from "commander";
import { cpALS, type Decomposition, tuckerHOOI } from "../decompositions/index.js";
import { type Engine, formatShape, type Tensor } from "../gpu/index.js";
import { type Numeric, type NumericArray, readNpy, unravel, writeNpz } from "../io/index.js";
import { readBytes } from "../node/files.js";
import type { KruskalTensor, TuckerTensor } from "../tensors/index.js";
import { type Context, InputError, InterruptedError } from "./context.js";
import { openOutputs } from "./files.js";
import { wholeFrom } from "./options.js";
import { startProgress } from "./progress.js";
import { formatCount, formatSeconds, table, widthOf } from "./table.js";

interface Options {
  method?: "cp" | "tucker";
  rank?: number;
  ranks?: number[];
  out?: string;
  sweeps: number;
  tolerance: number;
  init?: "random" | "hosvd";
  seed: number;
  json?: string;
}

/** The largest extent of a mode without a Tucker factor for which an identity matrix is written. */
const LARGEST_IDENTITY = 4096;
const LARGEST_F32 = 3.4028234663852886e38;
/** The smallest normal f32: smaller ones have fewer than 24 bits. */
const SMALLEST_F32 = 2 ** -126;

/** The content of the JSON file that `--json` writes. */
export interface DecomposeReport {
  file: string;
  adapter: string;
  shape: number[];
  method: "cp" | "tucker";
  ranks: number[];
  seed: number;
  parameters: number;
  /** entries / parameters */
  compression: number;
  /** ‖X − X̂‖ / ‖X‖ */
  relativeError: number;
  /** 1 − relative error, sweep by sweep */
  fits: number[];
  sweeps: number;
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
    .argument("<X.npy>", "the tensor: f2, f4, f8, integers or booleans, C or Fortran order")
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
    .option("--sweeps <n>", "most sweeps over all modes", wholeFrom(1), 100)
    .addOption(
      new Option("--tolerance <t>", "stop when the relative error changes by less in a sweep; 0 never")
        .argParser(tolerance)
        .default(1e-6, "1e-6"),
    )
    .addOption(new Option("--init <how>", "start of cp, random where not given").choices(["random", "hosvd"]))
    .option("--seed <n>", "seed of the random start", wholeFrom(0), 0)
    .option("--json <file>", "also write the figures and the fit after every sweep as JSON; - to standard output")
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
        "Ctrl-C stops after the sweeps in flight and writes nothing.",
        "",
        "Examples:",
        "  tenfold decompose X.npy --rank 10",
        "  tenfold decompose X.npy --method cp --rank 10 --out result.npz",
        "  tenfold decompose X.npy --rank 10 --init hosvd --tolerance 0 --out result.npz",
        "  tenfold decompose X.npy --method tucker --ranks 15,10,10 --out result.npz",
      ].join("\n"),
    )
    .action((file: string, options: Options) => decompose(file, options, context));
}

async function decompose(file: string, options: Options, context: Context): Promise<void> {
  const started = performance.now();
  const { out, json } = options;
  const method = chooseMethod(options);
  const outputs = openOutputs(context, { out, json }, file);
  const array = readNpy(readBytes(file), file);
  const shape = [...array.shape];
  checkShape(file, shape);
  const ranks = checkRanks(file, shape, method, options);
  const { values, exponent } = toF32(file, array);

  const opening = performance.now();
  await context.withEngine(async (engine) => {
    const open = seconds(opening);
    using x = engine.tensor(shape, values, { label: file });
    const working = performance.now();
    const result = await solve(engine, x, method, ranks, options, context);
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
      ranks: "core" in tensor ? [...tensor.core.shape] : ranks,
      seed: options.seed,
      parameters: tensor.parameterCount,
      compression: entries / tensor.parameterCount,
      relativeError: result.relativeError,
      fits: result.fits,
      sweeps: result.sweeps,
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
  method: "cp" | "tucker",
  ranks: number[],
  { sweeps, tolerance, init, seed }: Options,
  { stderr, signal }: Context,
): Promise<Decomposition<KruskalTensor> | Decomposition<TuckerTensor>> {
  const label = method === "cp" ? `cp, rank ${ranks[0]}` : `tucker, ranks ${ranks.join(",")}`;
  const progress = startProgress({ stderr }, { label, total: sweeps, unit: "sweeps" });
  const stopping = {
    sweeps,
    tolerance,
    signal,
    onIteration: ({ sweep, relativeError }: { sweep: number; relativeError: number }) =>
      progress.update(sweep, `fit ${(1 - relativeError).toFixed(6)}`),
  };
  const work: Promise<Decomposition<KruskalTensor> | Decomposition<TuckerTensor>> =
    method === "cp"
      ? cpALS(engine, x, { rank: ranks[0]!, initialize: init ?? "random", seed, ...stopping })
      : tuckerHOOI(engine, x, { ranks: ranks.length === 1 ? ranks[0]! : ranks, seed, ...stopping });
  return work
    .finally(() => progress.stop())
    .then(
      (result) => {
        if (!signal.aborted) return result;
        result.tensor.destroy();
        throw new InterruptedError(`stopped after ${result.sweeps} sweeps; nothing was written`);
      },
      (error) => {
        if (signal.aborted && error === signal.reason)
          throw new InterruptedError("stopped before the first sweep; nothing was written");
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

function checkShape(file: string, shape: readonly number[]): void {
  if (shape.length < 2) throw new InputError(`${file}: shape ${formatShape(shape)}, needs at least two modes`);
  const empty = shape.indexOf(0);
  if (empty >= 0) throw new InputError(`${file}: shape ${formatShape(shape)} has no entries, mode ${empty} is empty`);
}

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

/**
 * The entries as f32, divided by 2^exponent so that the largest is between 1/2 and 1. Then squares neither overflow nor vanish,
 * and scaling by a power of two changes no digit.
 */
function toF32(file: string, { shape, data }: NumericArray): { values: Float32Array; exponent: number } {
  let largest = 0;
  let first = -1;
  let wrong = 0;
  for (let i = 0; i < data.length; i++) {
    const size = Math.abs(data[i]!);
    if (size <= LARGEST_F32) {
      if (size > largest) largest = size;
      continue;
    }
    if (!wrong++) first = i;
  }
  if (wrong) {
    const value = data[first]!;
    const others = wrong > 1 ? ` and ${formatCount(wrong - 1)} more are like it` : "";
    const problem = Number.isFinite(value) ? "beyond 3.4e38, the largest f32" : "not finite";
    throw new InputError(`${file}: entry [${unravel(first, shape).join(", ")}] is ${value}, ${problem}${others}`);
  }
  if (largest === 0) throw new InputError(`${file}: every entry is 0, there is nothing to decompose`);
  const exponent = Math.floor(Math.log2(largest)) + 1;
  // in two steps, because 2^-exponent may be too large for f64
  const half = Math.trunc(exponent / 2);
  const [one, two] = [2 ** -half, 2 ** -(exponent - half)];
  const values = new Float32Array(data.length);
  for (let i = 0; i < data.length; i++) values[i] = data[i]! * one * two;
  return { values, exponent };
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
    ["sweeps", `${sweeps}, ${endOf(report, tolerance)}`],
    ["time", `${formatSeconds(report.seconds.decompose)} of ${formatSeconds(report.seconds.total)} in all`],
    ["adapter", report.adapter],
    ["written", report.out ? [report.out, ...list, ...notes].join("\n") : "no factors: --out result.npz keeps them"],
  ];
}

function endOf({ converged, stalled }: DecomposeReport, tolerance: number): string {
  if (converged) return `converged to ${tolerance.toExponential()}`;
  if (stalled) return "stalled: f32 sees no further change, and --tolerance asks for less";
  return "not converged: more --sweeps may do better";
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

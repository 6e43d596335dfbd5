import { basename } from "node:path";
import type { Command } from "commander";
import { stHosvd } from "../decompositions/index.js";
import { percent } from "../experiments/figures.js";
import { bytesOf, type Engine, formatBytes, formatShape, sizeOf, TenfoldError } from "../gpu/index.js";
import type { NumericArray } from "../io/index.js";
import type { ArrayFile } from "../node/arrays.js";
import { table } from "../report/terminal.js";
import type { Context } from "./context.js";
import { quoteWord } from "./files.js";
import { formatCount, widthOf } from "./table.js";
import { sizeOfInput, slabsOf, TENSOR_FILE, tensorOf, withArray, withSlices } from "./tensorFile.js";

interface Options {
  json?: boolean;
  quick?: boolean;
}

/** What is in an array, of the entries that are finite where nothing else is said. */
export interface Statistics {
  entries: number;
  /** NaN, and both infinities */
  missing: number;
  infinite: number;
  zeros: number;
  negative: number;
  /** null where no entry is finite */
  least: number | null;
  largest: number | null;
  mean: number | null;
  /** √Σx² */
  norm: number;
}

/** What `tenfold info --json` prints. */
export interface Info extends Statistics {
  file: string;
  /** of slices: their number, the most rows, columns */
  shape: number[];
  /** the arrays of a file of several, where they are matrices of as many columns; null of one array */
  slices: { name: string; rows: number }[] | null;
  /** the type of the elements in the file */
  dtype: string;
  /** of each mode, what the file calls it and its indices, where it does */
  modes: { name: string | null; extent: number; labels: string[] | null }[];
  /** entries that the file gives, where the others are 0 for want of them; null where it gives all */
  stored: number | null;
  /**
   * bytes that it takes on the GPU as f32; as the numbers that they are, where `--memory` leaves them so (null where it does not), and what one
   * binding of the adapter holds (null without a GPU)
   */
  bytes: { gpu: number; packed: number | null; binding: number | null };
  /** Tucker ranks that keep a relative error; none where there was no GPU, or it would take long */
  ranks: { relativeError: number; ranks: number[] }[];
  /** why there are no ranks */
  note: string | null;
  /** names of the other arrays in the file */
  others: string[];
  /** commands to begin with */
  suggestions: string[];
}

/** Errors for which Tucker ranks are told. */
const ERRORS = [0.1, 0.01];
/** Entries and extents up to which they are: some seconds on a software adapter. */
const MOST_ENTRIES = 2 ** 22;
const MOST_EXTENT = 512;
/** Names of other arrays that are listed. */
const MOST_OTHERS = 8;

/** Adds `tenfold info` to the program. */
export function addInfo(program: Command, context: Context): void {
  program
    .command("info")
    .description("say what is in a file: shape, range, what is missing, and how to begin")
    .argument("<X>", TENSOR_FILE)
    .option("--json", "print the findings as JSON")
    .option("--quick", "without the ranks, which need a GPU")
    .addHelpText(
      "after",
      [
        "",
        "Tucker ranks say how much structure each mode has: a rank far below its extent",
        "means that few patterns make up the mode. They are those of the sequentially",
        "truncated HOSVD at that relative error.",
        "",
        "Examples:",
        "  tenfold info X.npy",
        "  tenfold info data.mat:X --json",
        "  tenfold info store.zarr:temperature --quick",
        "  cat X.npy | tenfold info -",
      ].join("\n"),
    )
    .action((file: string, options: Options) => info(file, options, context));
}

async function info(file: string, { json, quick }: Options, context: Context): Promise<void> {
  const { stdout } = context;
  const ofSlices = await withSlices(file, async ({ shape, slices, arrays }): Promise<Info> => {
    const statistics = await statisticsOf(arrays);
    const labels = slices.map(({ name }) => name);
    return {
      ...{ file, shape, slices },
      dtype: [...new Set(arrays.map(({ dtype }) => dtype))].join(", "),
      ...statistics,
      modes: shape.map((extent, mode) => ({ name: null, extent, labels: mode ? null : labels })),
      bytes: { gpu: 4 * statistics.entries, packed: null, binding: null },
      ...{ stored: null, others: [], ranks: [], note: null },
      suggestions: suggestionsOf({ file, shape, slices, ...statistics }),
    };
  });
  const ofArray = async (array: ArrayFile): Promise<Info> => {
    const statistics = await statisticsOf([array]);
    const { name, shape, dtype, text, others } = array;
    const { ranks, binding, note } = await structure(array, statistics, quick ?? false, context);
    return {
      file: name,
      shape: [...shape],
      slices: null,
      dtype,
      ...statistics,
      modes: shape.map((extent, mode) => ({
        name: text?.modes?.[mode] ?? null,
        extent,
        labels: text?.labels?.[mode] ?? null,
      })),
      stored: text?.entries ?? null,
      bytes: { gpu: 4 * statistics.entries, packed: packedBytes(array), binding },
      others: [...others],
      ranks,
      note,
      suggestions: suggestionsOf({ file: name, shape, slices: null, ...statistics }),
    };
  };
  const report = ofSlices ?? (await withArray(file, context, ofArray));
  if (json) stdout.write(`${JSON.stringify(report, null, 2)}\n`);
  else stdout.write(table(describe(report), { width: widthOf(stdout) }));
}

/** Goes over arrays once. */
async function statisticsOf(arrays: readonly ArrayFile[]): Promise<Statistics> {
  let [entries, missing, infinite, zeros, negative, sum] = [0, 0, 0, 0, 0, 0];
  let [least, largest] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  // ‖x‖ = scale·√squares, so that no square overflows or vanishes
  let [scale, squares] = [0, 1];
  for await (const data of entriesIn(arrays)) {
    entries += data.length;
    for (let i = 0; i < data.length; i++) {
      const value = data[i]!;
      if (!Number.isFinite(value)) {
        if (Number.isNaN(value)) missing++;
        else infinite++;
        continue;
      }
      if (value < least) least = value;
      if (value > largest) largest = value;
      sum += value;
      const size = Math.abs(value);
      if (size === 0) zeros++;
      else if (size > scale) {
        squares = 1 + squares * (scale / size) ** 2;
        scale = size;
      } else squares += (size / scale) ** 2;
      if (value < 0) negative++;
    }
  }
  // the first entry that is not 0 has made `squares` 1 + 1·0²
  const finite = entries - missing - infinite;
  const isAny = finite > 0;
  return {
    ...{ entries, missing, infinite, zeros, negative },
    least: isAny ? least : null,
    largest: isAny ? largest : null,
    mean: isAny ? sum / finite : null,
    norm: scale * Math.sqrt(squares),
  };
}

/** The entries of arrays, some millions at a time. */
async function* entriesIn(arrays: readonly ArrayFile[]): AsyncGenerator<NumericArray["data"]> {
  for (const array of arrays) for await (const [data] of slabsOf(array)) yield data;
}

/** Tucker ranks, where they can be told in some seconds. */
async function structure(
  array: ArrayFile,
  { entries, missing, infinite, norm }: Statistics,
  isQuick: boolean,
  { withEngine, signal }: Context,
): Promise<{ ranks: Info["ranks"]; binding: number | null; note: string | null }> {
  const { shape } = array;
  const none = (note: string | null, binding: number | null = null) => ({ ranks: [], binding, note });
  if (isQuick) return none(null);
  if (shape.length < 2) return none("they need two modes or more");
  if (missing + infinite) return none("they need finite entries");
  if (norm === 0) return none(entries ? "every entry is 0" : null);
  try {
    return await withEngine(async (engine) => {
      const binding = engine.device.limits.maxStorageBufferBindingSize;
      if (entries > MOST_ENTRIES || Math.max(...shape) > MOST_EXTENT)
        return none(`not computed beyond ${formatCount(MOST_ENTRIES)} entries or an extent of ${MOST_EXTENT}`, binding);
      return { ranks: await tuckerRanks(engine, array, signal), binding, note: null };
    });
  } catch (error) {
    if (error instanceof TenfoldError && error.code === "NO_GPU") return none(error.message);
    throw error;
  }
}

async function tuckerRanks(engine: Engine, array: ArrayFile, signal: AbortSignal): Promise<Info["ranks"]> {
  const { shape, values } = await tensorOf(array);
  using x = engine.tensor(shape, values, { label: array.name });
  const ranks: Info["ranks"] = [];
  for (const relativeError of ERRORS) {
    const { tensor } = await stHosvd(engine, x, { relativeError, signal });
    ranks.push({ relativeError, ranks: [...tensor.core.shape] });
    tensor.destroy();
  }
  return ranks;
}

/** Commands to begin with, as they can be pasted. */
function suggestionsOf({
  file,
  shape,
  missing,
  infinite,
  norm,
  slices,
}: Pick<ArrayFile, "shape"> & Pick<Info, "file" | "missing" | "infinite" | "norm" | "slices">): string[] {
  if (shape.length < 2 || infinite || norm === 0) return [];
  const name = quoteWord(file);
  const decompose = `tenfold decompose ${name}`;
  if (slices) {
    const rank = Math.min(3, shape[2]!, ...slices.map(({ rows }) => rows));
    return [`${decompose} --method parafac2 --rank ${rank}${missing ? " --missing" : ""}`];
  }
  if (missing) return [`${decompose} --rank ${Math.min(3, ...shape)} --missing`];
  if (shape.length === 2)
    return [`${decompose} --method svd --rank ${Math.min(5, ...shape)}`, `${decompose} --method svd --error 0.1`];
  const most = Math.min(8, shape.reduce((product, extent) => product * extent, 1) / Math.max(...shape));
  const base = basename(file).replace(/^-|[.:].*$/, "") || "X";
  return [
    `tenfold rank ${name} --max ${most}`,
    `${decompose} --rank ${Math.min(3, most)} --out ${quoteWord(`${base}-cp.npz`)}`,
    `${decompose} --method tucker --error 0.1`,
    ...(shape.length > 3 ? [`${decompose} --method tensor-train --error 0.1`] : []),
  ];
}

// ---- what is told

function describe(report: Info): string[][] {
  const { file, shape, dtype, entries, missing, infinite, zeros, negative, least, largest, mean, norm } = report;
  const { stored, bytes, ranks, note, others, suggestions, modes, slices } = report;
  const share = (count: number): string => (count ? `${formatCount(count)} (${shareText(count / entries)})` : "none");
  const isTensor = shape.length > 1;
  return [
    ["file", file],
    [
      "shape",
      `${shape.length ? sizeOfInput({ shape: [...shape], ...(slices && { slices }) }) : "a scalar"}, ${formatCount(entries)} entries of ${dtype}`,
    ],
    ...(stored === null ? [] : [["stored", `${share(stored)}; the others are 0, or missing with --missing`]]),
    ...modes.flatMap(({ name, labels }, mode) =>
      name || labels
        ? [[slices ? "slices" : `mode ${mode}`, [name, labels && sample(labels)].filter(Boolean).join(": ")]]
        : [],
    ),
    ...(namesRepeat(report)
      ? [["names", `rows have the same ones: where a line is an entry, give ${quoteWord(file)}:entries`]]
      : []),
    ["missing", `${share(missing)}${infinite ? `, and ${formatCount(infinite)} infinite` : ""}`],
    ...(least === null
      ? []
      : [
          ["range", `${short(least)} to ${short(largest!)}`],
          ["mean, norm", `${short(mean!)}, ${short(norm)}`],
          ["zeros", share(zeros)],
          ["negative", share(negative)],
        ]),
    ["on the GPU", gpuOf(bytes)],
    ...(ranks.length
      ? [["Tucker ranks", ranks.map((one) => `${formatShape(one.ranks)} at error ${one.relativeError}`).join("\n")]]
      : []),
    ...(note && isTensor ? [["Tucker ranks", note]] : []),
    ...(others.length ? [["also here", sample(others)]] : []),
    ["to begin", beginning(report, suggestions)],
  ];
}

/** Whether a table has rows of the same names, so that its lines may be entries. */
const namesRepeat = ({ shape, stored, slices, modes: [rows] }: Info): boolean =>
  shape.length === 2 && stored === null && !slices && !!rows?.labels && new Set(rows.labels).size < rows.labels.length;

function beginning({ shape, entries, missing, infinite, norm }: Info, suggestions: readonly string[]): string {
  if (suggestions.length) return suggestions.join("\n");
  if (shape.length < 2) return "nothing: a decomposition needs two modes or more";
  if (!entries) return "nothing: it has no entries";
  if (missing + infinite) return "replace what is not finite: decompositions refuse it";
  return norm === 0 ? "nothing: every entry is 0" : "nothing";
}

/** Bytes of numbers that are read from the file a slab at a time, and stay as they are. */
const packedBytes = ({ reader, shape }: ArrayFile): number | null =>
  reader && reader.format !== "f32" ? bytesOf(reader.format) * sizeOf(shape) : null;

function gpuOf({ gpu, packed, binding }: Info["bytes"]): string {
  const kept = packed === null ? "" : `, or ${formatBytes(packed)} as they are, which --memory reads in slabs`;
  const said = `${formatBytes(gpu)} as f32${kept}; without --memory cp takes ${formatBytes(gpu)} more for X − X̂`;
  return binding !== null && gpu > binding ? `${said}; more than the ${formatBytes(binding)} of a binding here` : said;
}

const sample = (names: readonly string[]): string =>
  names.length > MOST_OTHERS
    ? `${names.slice(0, MOST_OTHERS).join(", ")} and ${names.length - MOST_OTHERS} more`
    : names.join(", ");
const short = (value: number): string => String(Number(value.toPrecision(6)));
const shareText = (part: number): string => (part < 0.001 ? "less than 0.1 %" : percent(part));

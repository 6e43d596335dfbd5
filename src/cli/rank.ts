import type { Command } from "commander";
import { type RankFit, type RankProfile, rankProfile } from "../decompositions/index.js";
import { secondsSince } from "../experiments/figures.js";
import { dispose, formatShape } from "../gpu/index.js";
import { OPTIONS } from "../methods/index.js";
import { arrayPath } from "../node/arrays.js";
import { renderReport } from "../report/render.js";
import { table } from "../report/terminal.js";
import { type Context, InterruptedError } from "./context.js";
import { openOutputs, quoteWord, reportTemplate } from "./files.js";
import { bytes, fraction, poolFor, wholeFrom } from "./options.js";
import { startProgress } from "./progress.js";
import { formatCount, formatSeconds, widthOf } from "./table.js";
import { entriesOf, openTensor, TENSOR_FILE } from "./tensorFile.js";

interface Options {
  max: number;
  starts: number;
  seed: number;
  sweeps?: number;
  holdout?: number;
  missing?: boolean;
  memory?: number;
  json?: string;
  report?: string;
}

/** The content of the JSON file that `--json` writes. */
export interface RankReport extends RankProfile {
  file: string;
  adapter: string;
  shape: number[];
  starts: number;
  /** wall time: the models alone, and everything */
  seconds: { profile: number; total: number };
}

const MOST = 8;
const STARTS = 4;

/** Adds `tenfold rank` to the program. */
export function addRank(program: Command, context: Context): void {
  program
    .command("rank")
    .description("tell how many components (CP terms) a tensor has")
    .argument("<X>", TENSOR_FILE)
    .option("--max <R>", "the highest rank that is tried", wholeFrom(1), MOST)
    .option("--starts <K>", "random starts of each model; their agreement is told", wholeFrom(1), STARTS)
    .option("--sweeps <n>", "most iterations of a model (default: 500)", wholeFrom(1))
    .option("--holdout <share>", "hold out a share of the entries, as 0.1, and predict them", fraction)
    .option("--missing", "entries that are NaN, or that no line of a .csv or .tns names, are missing")
    .option("--memory <size>", OPTIONS.memory.text, bytes)
    .option("--seed <n>", "seed of the random starts", wholeFrom(0), 0)
    .option("--json <file>", "also write the figures as JSON; - to standard output")
    .option("--report <file>", "also write a page with the figures and plots: report.html")
    .addHelpText(
      "after",
      [
        "",
        "For each rank from 1 the table tells, of the best of the starts:",
        "  error       ‖X − X̂‖ / ‖X‖, and the explained variance, 1 − error²",
        "  core        core consistency (CORCONDIA): 100 % where CP suits the data,",
        "              around 0 and below where there are too many terms",
        "  starts      how many of the starts ended at this model",
        "  halves      how alike the terms of two models are, of the even and of the",
        "              odd indices of the longest mode: 0 to 1",
        "  degeneracy  Σ‖terms‖² / ‖X̂‖²: 1 where terms are orthogonal, large where",
        "              they cancel each other",
        "  held out    with --holdout: the error of a model of the other entries, at",
        "              the entries that were held out",
        "The suggestion is the highest rank with a core consistency of 80 % or more,",
        "half of the starts or more at one model, halves that agree to 0.9 or more,",
        "no two terms that cancel, and held-out entries that it predicts better than",
        "any lower rank. It is a suggestion: look at the terms, too.",
        "",
        "Ctrl-C stops after the iterations in flight and writes nothing.",
        "",
        "Examples:",
        "  tenfold rank X.npy",
        "  tenfold rank X.npy --max 5 --starts 10 --seed 1",
        "  tenfold rank X.npy --holdout 0.1",
        "  tenfold rank X.npy --holdout 0.1 --memory 512MB",
        "  tenfold rank X.npy --max 6 --report rank.html --json rank.json",
      ].join("\n"),
    )
    .action((file: string, options: Options) => rank(file, options, context));
}

async function rank(file: string, options: Options, context: Context): Promise<void> {
  const started = performance.now();
  const { max, starts, seed, sweeps, holdout, missing = false, json, report } = options;
  const outputs = openOutputs(context, { json, report }, arrayPath(file).file);
  const template = report ? reportTemplate() : null;
  const { memory } = options;
  // what is held out takes the memory of a slab beside the three that are planned for
  const planned = memory === undefined ? {} : { memory: holdout === undefined ? memory : (3 / 4) * memory };
  const input = await openTensor(file, context, { ...planned, missing });
  const { shape } = input;
  const { stderr, signal } = context;
  await context.withEngine(async (engine) => {
    using opened = { x: await input.open(engine), [dispose]: () => input.close() };
    using x = opened.x;
    const working = performance.now();
    const progress = startProgress({ stderr }, { label: "rank", total: 100, unit: "%" });
    let profile: RankProfile;
    let trying = 1;
    try {
      profile = await rankProfile(engine, x, {
        most: max,
        starts,
        seed,
        ...(sweeps && { sweeps }),
        ...(holdout !== undefined && { holdout }),
        signal,
        onProgress: ({ done, rank, of }) => {
          trying = rank;
          progress.update(
            100 * done,
            done < 1 ? `rank ${rank}${{ all: "", half: ", halves", holdout: ", held out" }[of]}` : "",
          );
        },
      });
    } catch (error) {
      if (signal.aborted && error === signal.reason)
        throw new InterruptedError(`stopped at rank ${trying}; nothing was written`);
      throw error;
    } finally {
      progress.stop();
    }
    const seconds = { profile: secondsSince(working), total: secondsSince(started) };
    const { adapterName: adapter } = engine;
    if (json) {
      const content: RankReport = { file, adapter, shape, starts, ...profile, seconds };
      outputs.write(json, `${JSON.stringify(content, null, 2)}\n`);
    }
    const about = `${file}: ${formatShape(shape)}, ${formatCount(entriesOf(input))} entries`;
    if (report && template) {
      const date = new Date().toISOString();
      const command = commandOf(file, options);
      outputs.write(report, renderReport(template, { kind: "ranks", adapter, data: about, command, date, ...profile }));
    }
    const { print } = outputs;
    const width = widthOf(print);
    const wrapped = (line: string): string => table([[line]], { width });
    print.write(wrapped(about));
    print.write(wrapped(`${adapter}, ${formatSeconds(seconds.profile)} of ${formatSeconds(seconds.total)} in all`));
    print.write("\n");
    if (profile.ranks.length) print.write(`${rankTable(profile, width)}\n`);
    if (report) print.write(wrapped(`report: ${report}`));
    print.write(wrapped(conclusion(profile)));
  }, poolFor(memory));
}

/** The command that gives the same figures again. */
function commandOf(file: string, { max, starts, sweeps, holdout, missing, memory }: Options): string {
  const words = ["tenfold rank", quoteWord(file)];
  if (max !== MOST) words.push(`--max ${max}`);
  if (starts !== STARTS) words.push(`--starts ${starts}`);
  if (sweeps) words.push(`--sweeps ${sweeps}`);
  if (holdout !== undefined) words.push(`--holdout ${holdout}`);
  if (missing) words.push("--missing");
  if (memory !== undefined) words.push(`--memory ${memory}`);
  return words.join(" ");
}

function rankTable({ ranks, suggestion }: RankProfile, width: number): string {
  const isHeldOut = ranks.some(({ heldOut }) => heldOut !== null);
  const column = isHeldOut ? ["held out"] : [];
  const head = ["", "rank", "error", "explained", "core", "starts", "halves", ...column, "degeneracy"];
  const rows = ranks.map((fit) => [
    fit.rank === suggestion ? ">" : "",
    String(fit.rank),
    fit.relativeError.toPrecision(4),
    `${(100 * fit.explained).toFixed(2)} %`,
    fit.coreConsistency === null ? "–" : consistency(fit.coreConsistency),
    startsOf(fit),
    fit.splitHalf === null ? "–" : fit.splitHalf.toFixed(2),
    ...(isHeldOut ? [fit.heldOut === null ? "–" : fit.heldOut.toPrecision(3)] : []),
    short(fit.degeneracy),
  ]);
  const align = head.map(() => "right" as const);
  const unfinished = ranks.filter(({ converged }) => !converged).map(({ rank }) => rank);
  const note = unfinished.length ? `not converged: rank ${unfinished.join(", ")}; more --sweeps may do better\n` : "";
  return `${table(rows, { head, align, width })}${note}`;
}

const consistency = (value: number): string => (value < -999 ? "< -999 %" : `${value.toFixed(0)} %`);
const startsOf = ({ agreeing, starts }: RankFit): string => (starts > 1 ? `${agreeing} of ${starts}` : "1");
const short = (value: number): string => (value < 1e4 ? value.toPrecision(3) : value.toExponential(1));

/** The last line: `3 components: rank 3 is the highest …` */
function conclusion({ suggestion, reason }: RankProfile): string {
  if (suggestion === null) return `no number of components is suggested: ${reason}`;
  return `${suggestion} component${suggestion === 1 ? "" : "s"}: ${reason}`;
}

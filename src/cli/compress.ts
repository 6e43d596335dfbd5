import { statSync } from "node:fs";
import { basename, dirname, extname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { CompressedOnnx, CompressOnnxOptions, OnnxFeeds, OnnxTarget } from "../compress/onnx/index.js";
import { percent } from "../experiments/figures.js";
import { formatShape } from "../gpu/errors.js";
import { readNpy, readNpz } from "../io/index.js";
import { externalFiles } from "../node/external.js";
import { FileError, readBytes, writeAtomic } from "../node/files.js";
import type { OnnxModel } from "../onnx/index.js";
import type { CompressionData } from "../report/compressionPage.js";
import { table } from "../report/terminal.js";
import { int8Words, versionTable } from "../report/versions.js";
import { type Context, InputError, InterruptedError } from "./context.js";
import { makeFolder, openOutputs, quoteWord } from "./files.js";
import { channelsOption, IMAGE_OPTIONS, type ImageWords, readImages } from "./images.js";
import { readInput } from "./input.js";
import { wholeFrom } from "./options.js";
import { planText, readPlan } from "./plans.js";
import { startProgress } from "./progress.js";
import { type OpenRuntime, openRuntime, RUNTIMES, type RuntimeName, runtimeOption } from "./runtime.js";
import { shapeOption } from "./shapeOption.js";
import { formatCount, formatSeconds, widthOf } from "./table.js";

interface Options extends ImageWords {
  calibration?: string;
  verify?: string;
  evaluate?: string;
  target?: OnnxTarget;
  maxLoss?: number;
  int8?: boolean;
  out?: string;
  json?: string;
  fixedInputs?: boolean;
  refit: boolean;
  tune?: number;
  ablation?: boolean;
  report?: string;
  plan?: string;
  multiple?: number;
  patches?: number;
  runtime: RuntimeName;
  threads: number;
  seed: number;
}

/** Options of a command line, each with its value where it takes one. */
type Written = string[][];

/** The content of the JSON file that `--json` writes: `bytes` is the size of the file with its external data, and null where none is given. */
export interface CompressReport extends Omit<CompressedOnnx, "bytes"> {
  file: string;
  out: string | null;
  /** what the model ran in; null without samples */
  runtime: RuntimeName | null;
  bytes: { before: number; after: number | null };
}

/** divisors of the cost that a report tells of */
const BUDGETS = [1.15, 1.3, 1.5, 2, 2.5, 3, 4];
const KINDS = { mult: "multiplications", size: "weights", time: "time" } as const;

/** Adds `tenfold compress` to the program. */
export function addCompress(program: Command, context: Context): void {
  /** options as they were written, in their order */
  const written: Written = [];
  const command = program
    .command("compress")
    .description("make an ONNX model smaller and faster by low-rank layers")
    .argument("<model.onnx>", "the trained model; - is standard input")
    .option("--calibration <file>", "samples: .npz, .npy, a folder of images, or a module that yields feeds")
    .option("--target <what>", "mult/2, size/2 or time/2; or error=0.05", targetOption)
    .option("--max-loss <number>", "the most that may be lost on samples not seen; alone: the smallest model", fraction)
    .option("--int8", "also quantise to int8; alone, nothing else")
    .option("--out <file>", "where the compressed model goes; written whole or not at all")
    .option("--verify <file>", "samples for the last word, instead of a fifth of the calibration")
    .option("--evaluate <metric.mjs>", "a module with your metric: export default (run) => number; larger is better")
    .option("--mean <numbers>", "of images, (byte ÷ 255 − mean) ÷ std: one or three", channelsOption())
    .option("--std <numbers>", "of images; 1/255 gives values from 0 to 255", channelsOption(0))
    .addOption(new Option("--resize <how>", "of images (default: crop)").choices(["crop", "stretch"]))
    .option("--bgr", "of images: blue first")
    .option("--shape <name=extents>", "extents of an open input, for images or without samples", shapeOption)
    .option("--fixed-inputs", "take weights that are listed as inputs as they are")
    .option("--no-refit", "do not fit layers again in order")
    .option("--tune <steps>", "then learn the original's outputs on the samples; Ctrl-C keeps the best", wholeFrom(1))
    .option("--plan <file>", "keeps what was found, also on Ctrl-C: the same command then goes on from there")
    .option("--report <folder>", "also write a page: layers, other budgets, and the samples that change most")
    .option("--ablation", "also measure what each step brings, from the weights alone on")
    .option("--multiple <number>", "ranks are multiples of this", wholeFrom(1), 8)
    .option("--patches <number>", "the most patches of a layer that moments are taken of", wholeFrom(1), 32_000)
    .addOption(runtimeOption())
    .option("--threads <number>", "of the runtime; 0: as node likes, 1 in wasm", wholeFrom(0), 0)
    .option("--seed <number>", "of the order of samples", wholeFrom(0), 0)
    .option("--json <file>", "also write everything as JSON; - to standard output")
    .addHelpText(
      "after",
      [
        "",
        "Convolutions and products become chains of smaller ones, with the least error of",
        "their outputs on the calibration samples. The file has the same inputs and",
        "outputs, and plain operators that every runtime has. It needs onnxruntime-node",
        "(npm install onnxruntime-node), or onnxruntime-web for --runtime wasm.",
        "",
        "Calibration samples must hold every kind of input that the model will meet: 32",
        "or more. What they lack is lost, and nothing in them shows it. A .npz file has",
        "an array for each input, samples along the first axis; samples of other shapes",
        "go into NAME.0, NAME.1, … A module exports an array or a generator of feeds by",
        "default: { x: { dtype: 'float32', shape: [1, 3, 224, 224], data } }.",
        "",
        "Images of a folder (.jpg, .png, .webp, .avif, .gif) become as large as the",
        "model's input: the shorter side fits, and the middle is taken. They need sharp:",
        "npm install sharp. --mean and --std are in the model's order of channels.",
        "",
        "--tune 1500 wins back some of what was lost, where the network, or a part of it,",
        "is made of layers that tenfold has. It needs hundreds of samples and minutes.",
        "",
        "Large convolutions gain most. Compact networks of 1×1 convolutions have little",
        "to give: quantise those instead, by --int8. Both together multiply.",
        "",
        "Examples:",
        "  tenfold compress model.onnx --calibration samples.npz --target mult/2 \\",
        "    --out small.onnx",
        "  tenfold compress model.onnx --calibration samples.npz --max-loss 0.01 \\",
        "    --out small.onnx",
        "  tenfold compress model.onnx --calibration feeds.mjs --target time/2",
        "  tenfold compress model.onnx --calibration photos/ --target mult/2 \\",
        "    --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --out small.onnx",
        "  tenfold compress model.onnx --calibration samples.npz --int8 --out small.onnx",
        "  tenfold compress model.onnx --target size/2 --shape x=1x3x224x224",
      ].join("\n"),
    )
    .action((file: string, options: Options) => compress(file, options, context, written));
  for (const option of command.options)
    command.on(`option:${option.name()}`, (value?: string) =>
      written.push(value === undefined ? [option.long!] : [option.long!, value]),
    );
}

function targetOption(text: string): OnnxTarget {
  const [, kind, number] = /^(mult|size|time)\/(\d+(?:\.\d+)?)$/.exec(text) ?? [];
  if (kind && Number(number) >= 1) return { [KINDS[kind as keyof typeof KINDS]]: Number(number) };
  const [, error] = /^error[= ](\d*\.?\d+)$/.exec(text) ?? [];
  if (error && Number(error) > 0) return { error: Number(error) };
  throw new InvalidArgumentError("It needs mult/2, size/2 or time/2, with a number of 1 or more, or error=0.05.");
}

function fraction(text: string): number {
  const value = Number(text);
  if (!/^\d*\.?\d+$/.test(text) || value > 1) throw new InvalidArgumentError("It needs a number from 0 to 1.");
  return value;
}

async function compress(file: string, options: Options, context: Context, written: Written): Promise<void> {
  const {
    calibration,
    verify,
    evaluate,
    target,
    maxLoss,
    int8,
    out,
    json,
    shape,
    fixedInputs,
    seed,
    threads,
    runtime,
  } = options;
  if (!target && maxLoss === undefined && !int8)
    throw new InputError(
      "compress: needs --target, as in --target mult/2, or --max-loss, as in --max-loss 0.01, or --int8",
    );
  if (!calibration && int8) throw new InputError("compress: --int8 needs --calibration");
  if (!calibration && (verify || evaluate || maxLoss !== undefined || target?.time || target?.error))
    throw new InputError(
      `compress: ${verify ? "--verify" : evaluate ? "--evaluate" : maxLoss !== undefined ? "--max-loss" : "this target"} needs --calibration`,
    );
  if (options.tune && (!calibration || (!target && maxLoss === undefined)))
    throw new InputError("compress: --tune needs --calibration, and --target or --max-loss");
  if (options.ablation && (!calibration || !target || target.error))
    throw new InputError("compress: --ablation needs --calibration, and a --target of mult, size or time");
  const outputs = openOutputs(context, { out, json, plan: options.plan }, file);
  if (options.report) makeFolder(options.report);
  const bytes = await readInput(file, context);
  // no other command needs it
  const { compressOnnx, runtimeSessions, samplesOf } = await import("../compress/onnx/index.js");
  const { readOnnx } = await import("../onnx/index.js");
  const { externalSize } = await import("../onnx/tensors.js");
  const external = externalFiles(dirname(file));
  const model = readOnnx(bytes, { file, external });
  const size = bytes.length + externalSize(model);
  const folders = [calibration, verify].filter((name) => name && isFolder(name));
  const word = IMAGE_OPTIONS.find((name) => options[name] !== undefined);
  if (word && !folders.length) throw new InputError(`compress: --${word} is of images, and there is no folder of them`);
  const read = (name: string): Promise<OnnxFeeds[]> =>
    isFolder(name) ? readImages(name, model, options, context) : readSamples(name, model, samplesOf);
  const more: Partial<CompressOnnxOptions> = {
    ...(target && { target }),
    ...(maxLoss !== undefined && { maxLoss }),
    ...(int8 && { int8 }),
    ...(shape && { shapes: shape }),
    ...(fixedInputs && { fixedInputs }),
    ...(options.multiple && { multiple: options.multiple }),
    ...(options.patches && { patches: options.patches }),
    ...(options.ablation && { ablation: true }),
    ...(options.tune && { tune: options.tune }),
    ...(options.report && calibration && { curve: BUDGETS }),
  };
  const { plan } = options;
  if (plan !== undefined) {
    const before = readPlan(plan, runtime);
    if (before) more.plan = before;
    more.onPlan = (now) => outputs.write(plan, planText(now, runtime));
  }
  if (calibration) {
    more.calibration = await read(calibration);
    more.beside = true;
    if (verify) more.verification = await read(verify);
    if (evaluate) more.evaluate = await metricOf(evaluate);
    let opened: OpenRuntime;
    try {
      opened = await openRuntime(runtime, threads, context.loadRuntime);
    } catch (error) {
      throw new InputError(
        `compress: calibration runs the model in ${RUNTIMES[runtime]}: npm install ${RUNTIMES[runtime]} (${firstLine(error)})`,
      );
    }
    more.session = runtimeSessions(opened.runtime as Parameters<typeof runtimeSessions>[0], opened.settings);
  }
  const start = performance.now();
  let adapter = "";
  const result = await context.withEngine(async (engine) => {
    adapter = engine.adapterName;
    const progress = startProgress(context, { label: "compress", total: 100, unit: "%" });
    try {
      return await compressOnnx(bytes, {
        ...{ engine, file, external, seed, refit: options.refit, signal: context.signal, ...more },
        onProgress: (done, doing) => progress.update(100 * done, doing),
      });
    } catch (error) {
      if (context.signal.aborted)
        throw new InterruptedError(
          plan === undefined
            ? "compress: stopped; nothing was written"
            : `compress: stopped; no model was written; the same command goes on from ${plan}`,
          { cause: error },
        );
      throw error;
    } finally {
      progress.stop();
    }
  });
  const seconds = (performance.now() - start) / 1000;
  if (out && result.bytes) outputs.write(out, result.bytes);
  if (json) {
    const report: CompressReport = {
      ...result,
      ...{ file, out: result.bytes ? (out ?? null) : null, runtime: calibration ? runtime : null },
      bytes: { before: size, after: result.bytes?.length ?? null },
    };
    outputs.write(json, `${JSON.stringify(report, null, 2)}\n`);
  }
  if (options.report) {
    const { compressionFiles } = await import("../report/compressionPage.js");
    const { sampleImage } = await import("../report/sampleImage.js");
    const samples = more.verification ?? more.calibration ?? [];
    const imageOf = (sample: number): string | null =>
      Object.values(samples[sample]!)
        .map(sampleImage)
        .find((image) => image) ?? null;
    // as the curve has it
    const isSize = target?.weights || (!target?.multiplications && result.multiplications.before === null);
    const kind = target?.time ? "time" : isSize ? "size" : "mult";
    const data: CompressionData = {
      ...result,
      ...{ file: basename(file), out: result.bytes ? (out ?? null) : null, adapter, date: new Date().toISOString() },
      bytes: { before: size, after: result.bytes?.length ?? null },
      worst: result.worst?.map((one) => ({ ...one, image: imageOf(one.sample) })) ?? null,
      chosen: target?.multiplications ?? target?.weights ?? target?.time ?? null,
      command: (ratio) => commandFor(file, written, `${kind}/${ratio}`),
    };
    for (const [name, content] of compressionFiles(data)) writeAtomic(join(options.report, name), content);
  }
  const width = widthOf(outputs.print);
  outputs.print.write(describe(result, { file, out, before: size, seconds, width }));
  // a wish that was not fulfilled is a failure for scripts
  if (!result.bytes) throw new InputError(`compress: nothing was written: ${result.reason}`);
}

const isFolder = (name: string): boolean => statSync(name, { throwIfNoEntry: false })?.isDirectory() ?? false;

/** The same command with another target. */
function commandFor(file: string, written: Written, target: string): string {
  const others = written.filter(([flag]) => flag !== "--target");
  const out: Written = others.some(([flag]) => flag === "--out") ? [] : [["--out", "small.onnx"]];
  const options: Written = [["--target", target], ...others, ...out];
  return ["tenfold compress", ...[[file], ...options].flat().map(quoteWord)].join(" ");
}

/** Samples of a file or of a module. */
async function readSamples(
  file: string,
  model: OnnxModel,
  samplesOf: typeof import("../compress/onnx/index.js").samplesOf,
): Promise<OnnxFeeds[]> {
  switch (extname(file).toLowerCase()) {
    case ".npz":
      return samplesOf(model, readNpz(readBytes(file), file), file);
    case ".npy":
      return samplesOf(model, new Map([[model.inputs[0]?.name ?? "", readNpy(readBytes(file), file)]]), file);
    case ".js":
    case ".mjs":
    case ".cjs": {
      const value = await importDefault(file);
      const feeds = typeof value === "function" ? await value() : value;
      const samples: OnnxFeeds[] = [];
      if (typeof feeds === "object" && feeds && (Symbol.asyncIterator in feeds || Symbol.iterator in feeds))
        for await (const one of feeds as AsyncIterable<OnnxFeeds>) samples.push(one);
      if (!samples.length)
        throw new InputError(
          `${file}: yields no feeds; it needs a default export that is an array or a generator of them`,
        );
      return samples;
    }
    default:
      throw new InputError(`${file}: samples are read from .npz, .npy, .mjs, .js, or a folder of images`);
  }
}

async function metricOf(file: string): Promise<NonNullable<CompressOnnxOptions["evaluate"]>> {
  const value = await importDefault(file);
  if (typeof value !== "function")
    throw new InputError(`${file}: needs a default export that is a function: (run) => number`);
  return value as NonNullable<CompressOnnxOptions["evaluate"]>;
}

async function importDefault(file: string): Promise<unknown> {
  try {
    return ((await import(pathToFileURL(resolve(file)).href)) as { default?: unknown }).default;
  } catch (error) {
    throw new FileError(file, `cannot be loaded: ${firstLine(error)}`, { cause: error });
  }
}

/** nodes that were folded, as they are told */
const MOST_FOLDED = 3;

const firstLine = (error: unknown): string => ((error as Error)?.message ?? String(error)).split("\n")[0]!;

/** `÷2.04` */
const divided = (before: number, after: number): string => `÷${(before === after ? 1 : before / after).toFixed(2)}`;

function describe(
  result: CompressedOnnx,
  {
    file,
    out,
    before,
    seconds,
    width,
  }: { file: string; out: string | undefined; before: number; seconds: number; width: number },
): string {
  const {
    layers,
    weights,
    multiplications,
    verified,
    samples,
    warnings,
    steps,
    bytes,
    leftAlone,
    reason,
    int8,
    tuning,
    folded,
    versions,
  } = result;
  const line = (text: string): string => table([[text]], { width });
  let text = "";
  const changed = layers.filter(({ scheme }) => scheme);
  if (changed.length) {
    const rows = layers.map((layer) => [
      layer.name,
      formatShape(layer.shape),
      layer.scheme ? `${layer.scheme}${layer.refitted ? "*" : ""}` : "as it is",
      layer.ranks.join(", "),
      share(layer.multiplications),
      share(layer.weights),
      layer.scheme ? percent(layer.error) : "",
    ]);
    const head = ["layer", "shape", "method", "ranks", "mult.", "weights", "error"];
    text += table(rows, { head, align: ["left", "left", "left", "right", "right", "right", "right"], width });
    if (layers.some(({ refitted }) => refitted))
      text += line("* fitted again to what compressed layers before it give");
    text += "\n";
  }
  if (folded.length) {
    const rest = folded.length - MOST_FOLDED;
    text += line(`folded first: ${folded.slice(0, MOST_FOLDED).join(", ")}${rest > 0 ? ` and ${rest} more` : ""}`);
  }
  if (leftAlone.length)
    text += line(
      `${leftAlone.length} layer${leftAlone.length === 1 ? "" : "s"} left alone (tenfold inspect ${file} says why)`,
    );
  const tried = steps.filter(({ name }) => name.startsWith("÷"));
  for (const { name, error, kept } of tried.length > 8 ? tried.filter(({ kept }) => kept) : tried)
    text += line(`${name}: error ${error.toFixed(4)}${kept ? "" : ", not kept"}`);
  const refits = steps.filter(({ name }) => name.startsWith("refit"));
  if (refits.length) {
    const improvements = refits.filter((step) => step.kept);
    text += line(
      `refitted in order: ${improvements.length} of ${refits.length} steps kept${improvements.length ? `, error ${improvements.at(-1)!.error.toFixed(4)}` : ""}`,
    );
  }
  for (const { from, to, samples, steps, best, error } of tuning?.stretches ?? []) {
    const told = best
      ? `error ${error.before.toFixed(4)} to ${error.after.toFixed(4)} after ${best}`
      : `no better than error ${error.before.toFixed(4)}, so not kept`;
    text += line(`tuned ${from} to ${to}, ${steps} steps on ${samples} samples: ${told}`);
  }
  if (tuning?.stopped) text += line("tuning was stopped: the best weights until then are kept");
  const { ablation } = result;
  if (ablation) {
    const rows = ablation.map(({ name, error, agreement }) => [
      name,
      error.toFixed(4),
      agreement === null ? "" : percent(agreement),
    ]);
    const head = ["step", "error", "same class"];
    text += `\n${table(rows, { head, align: ["left", "right", "right"], width })}\n`;
  }
  if (int8) {
    const floats = int8.inFloat.length ? `, ${int8.inFloat.length} left in float` : "";
    const opset = int8.raised ? `, operator set ${int8.raised.from} raised to ${int8.raised.to}` : "";
    const alone = int8.quantised.filter(({ weightsOnly }) => weightsOnly).length;
    const products = alone ? `, ${alone} of them by their weights alone` : "";
    text += line(`int8: ${int8.quantised.length} layers${products}${floats}${opset}`);
    for (const { name, error, kept } of steps)
      if (name.startsWith("int8: ")) text += line(`${name}: error ${error.toFixed(4)}${kept ? "" : ", not kept"}`);
  }
  text += line(
    [
      `${formatCount(weights.before)} weights to ${formatCount(weights.after)} (${divided(weights.before, weights.after)})`,
      multiplications.before !== null && multiplications.after !== null
        ? `${formatCount(multiplications.before)} multiplications to ${formatCount(multiplications.after)} (${divided(multiplications.before, multiplications.after)})`
        : "",
    ]
      .filter(Boolean)
      .join(", "),
  );
  if (verified) {
    const { error, cosine, agreement, metric } = verified;
    text += line(
      `verified on ${samples.verify} sample${samples.verify === 1 ? "" : "s"} that nothing was fitted to: relative error ${error.toFixed(4)}, cosine ${cosine.toFixed(5)}${agreement === null ? "" : `, the same class in ${percent(agreement)}`}`,
    );
    if (metric) text += line(`metric ${metric.before} before, ${metric.after} after`);
  }
  if (versions) {
    const { head, rows } = versionTable(versions);
    const align = head.map((name) => (name ? "right" : "left"));
    text += `\n${table(rows, { head, align, width })}\n`;
    const words = int8Words(versions);
    if (words) text += line(words);
  }
  for (const warning of warnings) text += line(`warning: ${warning}`);
  if (bytes)
    text += line(
      `${out ? `${out}: ` : ""}${formatCount(bytes.length)} bytes for ${formatCount(before)}, after ${formatSeconds(seconds)}${out ? "" : "; --out writes the file"}`,
    );
  else if (reason) text += line(`no file: ${reason}`);
  return text;
}

const share = ({ before, after }: { before: number | null; after: number | null }): string =>
  before === null || after === null ? "–" : percent(after / before);

import { dirname } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { formatShape } from "../gpu/errors.js";
import { externalFiles } from "../node/external.js";
import type { LeftAlone, OnnxModel, OnnxSite, OnnxSites } from "../onnx/index.js";
import { table } from "../report/terminal.js";
import { type Context, InputError } from "./context.js";
import { openOutputs } from "./files.js";
import { isStandardInput, readInput } from "./input.js";
import { type MeasuredTimes, measureTimes } from "./inspectTimes.js";
import { RUNTIMES, type RuntimeName, runtimeOption } from "./runtime.js";
import { shapeOption } from "./shapeOption.js";
import { formatCount, widthOf } from "./table.js";

interface Options {
  shape?: Record<string, number[]>;
  smallest: number;
  fixedInputs?: boolean;
  time?: boolean;
  runtime: RuntimeName;
  json?: string;
}

/** The content of the JSON file that `--json` writes. */
export interface InspectReport {
  file: string;
  producer: string;
  irVersion: number;
  opset: number | null;
  inputs: OnnxModel["inputs"];
  outputs: OnnxModel["outputs"];
  totals: OnnxSites["totals"];
  /** `time` is the share of the runtime's time, null where it was not measured */
  sites: (Pick<OnnxSite, "id" | "name" | "op" | "kind" | "groups" | "shape" | "dtype" | "counts"> & {
    time: number | null;
  })[];
  leftAlone: LeftAlone[];
  /** what times are of; null where they were not measured */
  runtime: RuntimeName | null;
  /** why times are missing; null where they were measured */
  timesMissing: string | null;
}

const SMALLEST = 0.5;

/** Adds `tenfold inspect` to the program. */
export function addInspect(program: Command, context: Context): void {
  program
    .command("inspect")
    .description("list what of an ONNX model can be factorised, and what it costs now")
    .argument("<model.onnx>", "the model, - is standard input; weights in files beside it are not read")
    .option(
      "--shape <name=extents>",
      "extents of an input that the model leaves open, as in x=1x3x224x224; once for each input",
      shapeOption,
    )
    .option(
      "--smallest <percent>",
      "smaller shares of weights and multiplications are left alone",
      parsePercent,
      SMALLEST,
    )
    .option("--fixed-inputs", "take weights that are listed as inputs as they are")
    .option("--time", "also measure each layer's share of time, on one thread")
    .addOption(runtimeOption())
    .option("--json <file>", "also write everything as JSON; - to standard output")
    .addHelpText(
      "after",
      [
        "",
        "For each layer: its operator, its weights as outputs×inputs×kernel, and its",
        "share of the model's weights and multiplications. Multiplications need the",
        "extents of the inputs; an open first extent, the batch, is taken as 1.",
        "Nothing is calibrated and no GPU is used.",
        "--time needs onnxruntime-node, or onnxruntime-web for --runtime wasm.",
        "",
        "Examples:",
        "  tenfold inspect model.onnx",
        "  tenfold inspect model.onnx --shape x=1x3x48x320",
        "  tenfold inspect model.onnx --time --runtime wasm",
        "  tenfold inspect model.onnx --json - | jq '.sites[].name'",
      ].join("\n"),
    )
    .action((file: string, options: Options) => inspect(file, options, context));
}

function parsePercent(text: string): number {
  const value = Number(text);
  if (!/^\d+(\.\d+)?$/.test(text) || value > 100) throw new InvalidArgumentError("It needs a number from 0 to 100.");
  return value;
}

async function inspect(file: string, options: Options, context: Context): Promise<void> {
  const { smallest, fixedInputs = false, json, time = false, runtime } = options;
  const outputs = openOutputs(context, { json }, file);
  const bytes = await readInput(file, context);
  // no other command needs it
  const { onnxSites, readOnnx } = await import("../onnx/index.js");
  const { foldTransposes } = await import("../onnx/passes.js");
  const { externalSize } = await import("../onnx/tensors.js");
  const read = readOnnx(bytes, { file, external: externalFiles(dirname(file)) });
  const { model } = await foldTransposes(read, { fixedInputs }, false);
  const { shapes, assumed, open } = inputShapes(model, options.shape ?? {});
  const report = onnxSites(model, { shapes, smallest: smallest / 100, fixedInputs });
  const times = time
    ? await measureTimes(
        runtime,
        { file: isStandardInput(file) ? bytes : file, model, sites: report.sites, shapes },
        context.loadRuntime,
      )
    : "pass --time to measure it";
  const measured = typeof times === "string" ? null : times;
  if (json) outputs.write(json, `${JSON.stringify(reportOf(model, report, times, runtime), null, 2)}\n`);
  const { print } = outputs;
  const width = widthOf(print);
  const line = (text: string): unknown => print.write(table([[text]], { width }));
  const { weights, multiplications } = report.totals;
  const version = `opset ${model.opsets.get("") ?? "unknown"}`;
  line(`${file}: ${[version, model.producer].filter(Boolean).join(", ")}`);
  const inputs = model.inputs.map(({ name, dtype, shape }) => `${name} ${dtype} ${said(shapes[name] ?? shape)}`);
  line(`inputs: ${inputs.join("; ") || "none"}${assumed ? " (open batches taken as 1)" : ""}`);
  line(
    `${formatCount(weights)} weights, ${multiplications === null ? "unknown" : formatCount(multiplications)} multiplications`,
  );
  print.write("\n");
  print.write(
    report.sites.length ? siteTable(report, measured, width) : table([["nothing here can be factorised"]], { width }),
  );
  if (report.leftAlone.length) print.write(`\nleft alone\n${leftTable(report, width)}`);
  const notes = [
    ...outlook(report, measured, bytes.length + externalSize(model)),
    ...(multiplications === null && open.length
      ? [`multiplications need extents: ${open.map((name) => shapeHint(model, name)).join(" ")}`]
      : []),
    ...(multiplications === null && !open.length
      ? ["some shapes could not be inferred, so some multiplications are unknown"]
      : []),
    ...(report.leftAlone.some(({ reason }) => reason.startsWith("its weights are an input of the graph"))
      ? ["--fixed-inputs takes weights that are inputs as they are"]
      : []),
    ...(time && !measured ? [`time was not measured: ${times as string}`] : []),
    ...(measured
      ? [
          `time: ${measured.total.toPrecision(3)} ms a run in ${RUNTIMES[runtime]}${runtime === "node" ? " on the CPU" : ""}, one thread`,
        ]
      : []),
    ...(model.proto.functions.length
      ? [`${model.proto.functions.length} functions of the model were not looked into`]
      : []),
  ];
  if (notes.length) print.write("\n");
  for (const note of notes) line(note);
}

const said = (shape: readonly (number | string | null)[] | null): string =>
  shape ? shape.map((extent) => extent ?? "?").join("×") || "scalar" : "of unknown rank";

/** Extents of the inputs, and which stay open. */
function inputShapes(
  model: OnnxModel,
  asked: Readonly<Record<string, number[]>>,
): { shapes: Record<string, number[]>; assumed: boolean; open: string[] } {
  const { inputs } = model;
  for (const name of Object.keys(asked))
    if (!inputs.some((input) => input.name === name))
      throw new InputError(`--shape ${name}: the inputs are ${inputs.map((input) => input.name).join(", ") || "none"}`);
  const shapes: Record<string, number[]> = { ...asked };
  const open: string[] = [];
  let assumed = false;
  for (const { name, shape } of inputs) {
    if (shapes[name]) continue;
    if (shape?.slice(1).every((extent) => typeof extent === "number")) {
      assumed ||= shape.length > 0 && typeof shape[0] !== "number";
      shapes[name] = shape.map((extent) => (typeof extent === "number" ? extent : 1));
    } else open.push(name);
  }
  return { shapes, assumed, open };
}

/** `--shape x=1x3x48x…`, with the extents that are known */
function shapeHint({ inputs }: OnnxModel, name: string): string {
  const shape = inputs.find((input) => input.name === name)?.shape ?? null;
  const extents = shape?.map((extent, axis) => (typeof extent === "number" ? extent : axis === 0 ? 1 : "…"));
  return `--shape ${name}=${extents?.join("x") ?? "…"}`;
}

/** What could be won, as far as it is seen without samples. */
function outlook({ sites, leftAlone, totals }: OnnxSites, times: MeasuredTimes | null, bytes: number): string[] {
  const [what, total, of]: [string, number, (site: OnnxSite) => number] = times
    ? ["time", times.total, (site) => timeOf(site, times) ?? 0]
    : totals.multiplications
      ? ["multiplications", totals.multiplications, (site) => site.counts.multiplications ?? 0]
      : ["weights", totals.weights, (site) => site.counts.weights];
  const spatial = (site: OnnxSite): boolean =>
    site.kind !== "dense" && site.shape.slice(2).reduce((a, b) => a * b, 1) > 1;
  const sum = (list: readonly OnnxSite[]): number => list.reduce((all, site) => all + of(site), 0);
  const lines: string[] = [];
  if (sites.length && total)
    lines.push(
      `low rank wins most where kernels have several taps: ${share(sum(sites.filter(spatial)), total)} of ${what} here; 1×1 convolutions and dense layers, ${share(sum(sites.filter((site) => !spatial(site))), total)}, have less to give`,
    );
  const quantisable = ["Conv", "Gemm", "MatMul"];
  const entries =
    sites
      .filter(({ op, dtype }) => quantisable.includes(op) && dtype === "float32")
      .reduce((n, { counts }) => n + counts.weights, 0) +
    leftAlone
      .filter(({ op, reason }) => quantisable.includes(op) && /^(small|depthwise)/.test(reason))
      .reduce((n, { weights }) => n + weights, 0);
  // a byte for four
  const saved = 3 * entries;
  if (saved >= 0.02 * bytes)
    lines.push(`int8 would save some ${kilobytes(saved)} of ${kilobytes(bytes)}: tenfold compress --int8`);
  return lines;
}

const kilobytes = (bytes: number): string => `${formatCount(Math.max(1, Math.round(bytes / 1000)))} kB`;

const share = (part: number | null, total: number | null): string =>
  part === null || !total ? "–" : `${((100 * part) / total).toFixed(1)} %`;

/** `1.23 M` */
function short(count: number | null): string {
  if (count === null) return "–";
  const [unit, name] = count >= 1e9 ? [1e9, " G"] : count >= 1e6 ? [1e6, " M"] : count >= 1e3 ? [1e3, " k"] : [1, ""];
  return `${unit === 1 ? count : (count / unit).toPrecision(3)}${name}`;
}

function siteTable({ sites, totals }: OnnxSites, times: MeasuredTimes | null, width: number): string {
  const counted = totals.multiplications !== null || sites.some(({ counts }) => counts.multiplications !== null);
  const head = [
    ...["layer", "operator", "shape", "weights", "share"],
    ...(counted ? ["mult.", "share"] : []),
    ...(times ? ["time"] : []),
  ];
  const rows = sites.map((site) => [
    site.name,
    `${site.op}${site.parts.length > 1 ? ` ×${site.parts.length}` : ""}${site.groups > 1 ? `, ${site.groups} groups` : ""}`,
    formatShape(site.shape),
    short(site.counts.weights),
    share(site.counts.weights, totals.weights),
    ...(counted
      ? [short(site.counts.multiplications), share(site.counts.multiplications, totals.multiplications)]
      : []),
    ...(times ? [share(timeOf(site, times), times.total)] : []),
  ]);
  const align = head.map((_, column) => (column < 3 ? ("left" as const) : ("right" as const)));
  return table(rows, { head, align, width });
}

/** Milliseconds of a site's nodes. */
const timeOf = (site: OnnxSite, { nodes }: MeasuredTimes): number | null => {
  const parts = site.name.split("+").map((name) => nodes.get(name));
  return parts.every((part) => part === undefined) ? null : parts.reduce<number>((sum, part) => sum + (part ?? 0), 0);
};

/** One line for each operator and reason. */
function leftTable({ leftAlone, totals }: OnnxSites, width: number): string {
  const groups = new Map<string, LeftAlone[]>();
  for (const one of leftAlone) {
    const key = JSON.stringify([one.op, one.reason]);
    groups.set(key, [...(groups.get(key) ?? []), one]);
  }
  const sum = (list: readonly (number | null)[]): number | null =>
    list.reduce<number | null>((a, b) => (a === null || b === null ? null : a + b), 0);
  const rows = [...groups.values()].map((list) => {
    const [weights, multiplications] = [
      sum(list.map((one) => one.weights)),
      sum(list.map((one) => one.multiplications)),
    ];
    const { op, reason } = list[0]!;
    return [
      `${list.length} ${op}`,
      ...[share(weights, totals.weights), share(multiplications, totals.multiplications), reason],
    ];
  });
  return table(rows, {
    head: ["layers", "weights", "mult.", "why"],
    align: ["left", "right", "right", "left"],
    width,
  });
}

function reportOf(
  model: OnnxModel,
  { sites, leftAlone, totals }: OnnxSites,
  times: MeasuredTimes | string,
  runtime: RuntimeName,
): InspectReport {
  const measured = typeof times === "string" ? null : times;
  return {
    ...{ file: model.file, producer: model.producer, irVersion: model.irVersion, opset: model.opsets.get("") ?? null },
    ...{ inputs: model.inputs, outputs: model.outputs, totals },
    sites: sites.map((site) => {
      const { id, name, op, kind, groups, shape, dtype, counts } = site;
      const milliseconds = measured && timeOf(site, measured);
      return {
        ...{ id, name, op, kind, groups, shape, dtype, counts },
        time: milliseconds === null || !measured ? null : milliseconds / measured.total,
      };
    }),
    leftAlone,
    runtime: measured && runtime,
    timesMissing: measured ? null : (times as string),
  };
}

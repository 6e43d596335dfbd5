/** The page of `tenfold decompose --report`, and its figures as files. */
import { InvalidArgumentError } from "commander";
import { type Engine, formatShape } from "../gpu/index.js";
import type { Solution } from "../methods/index.js";
import { readBytes } from "../node/files.js";
import { csvFile, type FigureOptions, figuresOf, svgFile } from "../report/decomposition.js";
import { decompositionPage } from "../report/decompositionPage.js";
import { hostModelOf } from "../report/hostModel.js";
import type { DecompositionData, SliceSquares } from "../report/model.js";
import { Parafac2Tensor } from "../tensors/index.js";
import { InputError } from "./context.js";
import { formatCount } from "./table.js";
import type { TensorFile } from "./tensorFile.js";

/** Entries up to which slices are compared with the model: it is read back whole. */
const MOST_COMPARED = 2 ** 24;

/** What the options of the report ask for. */
export interface Shown {
  labels?: Map<number, string>;
  image?: [number, number];
}

/** Names of modes, labels of their indices, and the two modes that are an image, as they suit the tensor. */
export type Naming = Required<Pick<DecompositionData, "modes" | "labels">> & { image: [number, number] | null };

/** Reads labels of modes, a line each, and checks that everything suits the tensor. */
export function readShown(
  file: string,
  { shape, text }: Pick<TensorFile, "shape" | "text">,
  { labels = new Map(), image }: Shown,
): Naming {
  const place = `${file} has modes 0 to ${shape.length - 1} (shape ${formatShape(shape)})`;
  const names = shape.map((_, mode): string[] | null => text?.labels?.[mode] ?? null);
  for (const [mode, name] of labels) {
    if (mode >= shape.length) throw new InputError(`--labels ${mode}:${name}: ${place}`);
    const lines = new TextDecoder().decode(readBytes(name)).split(/\r?\n/);
    if (lines.at(-1) === "") lines.pop();
    if (lines.length !== shape[mode])
      throw new InputError(`${name}: ${lines.length} lines, mode ${mode} of ${file} needs ${shape[mode]} labels`);
    names[mode] = lines;
  }
  if (image?.some((mode) => mode >= shape.length)) throw new InputError(`--image ${image.join(",")}: ${place}`);
  return { modes: shape.map((_, mode) => text?.modes?.[mode] ?? `mode ${mode}`), labels: names, image: image ?? null };
}

/** What is known of the result beside the solution. */
export type Circumstances = Pick<DecompositionData, "data" | "options" | "ending" | "seconds" | "adapter" | "date">;

/** The files of a report by name: the page, and each figure as SVG and its numbers as CSV. */
export async function reportFiles(
  engine: Engine,
  x: TensorFile,
  solution: Solution,
  naming: Naming,
  circumstances: Circumstances,
): Promise<[name: string, content: string][]> {
  const { shape, values } = x;
  const { course, starts, tensor } = solution;
  const { model, isDivided } = await hostModelOf(tensor, x.exponent);
  const missing = values.reduce((count, value) => count + (Number.isNaN(value) ? 1 : 0), 0);
  const notes = [
    ...(isDivided ? [`all numbers are those of the tensor ÷ 2^${x.exponent}`] : []),
    ...(missing ? [`${formatCount(missing)} entries are missing: errors and norms are of the others`] : []),
  ];
  const data: DecompositionData = {
    ...circumstances,
    options: [circumstances.options, ...notes].join("; "),
    shape,
    modes: naming.modes,
    labels: naming.labels,
    method: solution.title,
    model,
    errors: course?.errors ?? [],
    relativeError: solution.relativeError,
    parameters: tensor.parameterCount,
    starts: starts ?? null,
    // what the model is without a component is not known where entries are missing
    squaredNorm: missing ? Number.NaN : values.reduce((sum, value) => sum + value * value, 0),
    slices: await slicesOf(engine, x, solution),
    products: null,
    match: null,
  };
  const options: FigureOptions = naming.image ? { image: { kind: "pair", modes: naming.image } } : {};
  return [
    ["index.html", decompositionPage(data, options)],
    ...figuresOf(data, options).flatMap((figure): [string, string][] => [
      [`${figure.id}.svg`, svgFile(figure)],
      [`${figure.id}.csv`, csvFile(figure)!],
    ]),
  ];
}

/** The squares of every mode's slices; null where the tensor is large. */
async function slicesOf(
  engine: Engine,
  { shape, values }: TensorFile,
  { tensor }: Solution,
): Promise<SliceSquares[] | null> {
  if (tensor instanceof Parafac2Tensor || values.length > MOST_COMPARED) return null;
  using full = engine.tensor(shape, null, { label: "model" });
  await engine.run((s) => void tensor.full(s, full), "model");
  const modelled = await engine.read(full);
  const sums = shape.map((extent) => ({ residual: new Float64Array(extent), data: new Float64Array(extent) }));
  const index = new Array<number>(shape.length).fill(0);
  for (const [at, entry] of values.entries()) {
    const [value, difference] = Number.isNaN(entry) ? [0, 0] : [entry, entry - modelled[at]!];
    const squared = difference ** 2;
    for (const [mode, { residual, data }] of sums.entries()) {
      residual[index[mode]!]! += squared;
      data[index[mode]!]! += value * value;
    }
    for (let mode = shape.length - 1; mode >= 0 && ++index[mode]! === shape[mode]; mode--) index[mode] = 0;
  }
  return sums.map(({ residual, data }) => ({ residual: Float32Array.from(residual), data: Float32Array.from(data) }));
}

// ---- option values

export function labelsOption(text: string, before: Map<number, string> = new Map()): Map<number, string> {
  const [, mode, name] = /^(\d+):(.+)$/.exec(text) ?? [];
  if (mode === undefined || name === undefined)
    throw new InvalidArgumentError("It needs a mode and a file with a colon between, as in 0:names.txt.");
  return new Map([...before, [Number(mode), name]]);
}

export function imageOption(text: string): [number, number] {
  const [, rows, columns] = /^(\d+),(\d+)$/.exec(text) ?? [];
  if (rows === undefined || columns === undefined || rows === columns)
    throw new InvalidArgumentError("It needs two modes with a comma between, as in 1,2.");
  return [Number(rows), Number(columns)];
}

/** The page of `tenfold decompose --report`, and its figures as files. */
import { basename } from "node:path";
import { InvalidArgumentError } from "commander";
import { type Engine, formatShape, sizeOf, type Tensor } from "../gpu/index.js";
import { type NumericArray, readNpz } from "../io/index.js";
import type { Solution } from "../methods/index.js";
import { readBytes } from "../node/files.js";
import { type FigureOptions, figuresOf } from "../report/decomposition.js";
import { decompositionPage } from "../report/decompositionPage.js";
import { csvFile, svgFile } from "../report/figure.js";
import { hostModelOf } from "../report/hostModel.js";
import { type DecompositionData, scaledBins, type Values } from "../report/model.js";
import { type Measured, measureResiduals, measureSliceResiduals } from "../report/residuals.js";
import { Masked, Resident, type Slabs } from "../sources/index.js";
import type { Parafac2Tensor } from "../tensors/index.js";
import { InputError } from "./context.js";
import { formatCount } from "./table.js";
import { type Input, SliceList, type TensorFile } from "./tensorFile.js";

type Opened = Awaited<ReturnType<Input["open"]>> | SliceList;

/** What the options of the report ask for. */
export interface Shown {
  labels?: Map<number, string>;
  image?: [number, number];
  /** the .npz file of a CP model to compare with */
  compare?: string;
}

/** Names of modes, labels of their indices, and the two modes that are an image, as they suit the tensor. */
export type Naming = Required<Pick<DecompositionData, "modes" | "labels" | "other">> & {
  image: [number, number] | null;
};

/** Reads labels of modes, a line each, and checks that everything suits the tensor. */
export function readShown(
  file: string,
  { shape, text }: Pick<TensorFile, "shape" | "text">,
  { labels = new Map(), image, compare }: Shown,
): Naming {
  const place = `${file} has modes 0 to ${shape.length - 1} (shape ${formatShape(shape)})`;
  const names = shape.map((_, mode): string[] | null => text?.labels?.[mode] ?? null);
  for (const [mode, name] of labels) {
    if (mode >= shape.length) throw new InputError(`--labels ${mode}:${name}: ${place}`);
    const lines = new TextDecoder().decode(readBytes(name)).split(/\r?\n/);
    if (lines.at(-1) === "") lines.pop();
    if (lines.length !== shape[mode])
      throw new InputError(
        `${name}: ${lines.length} line${lines.length === 1 ? "" : "s"}, mode ${mode} of ${file} needs ${shape[mode]} labels`,
      );
    names[mode] = lines;
  }
  if (image?.some((mode) => mode >= shape.length)) throw new InputError(`--image ${image.join(",")}: ${place}`);
  return {
    modes: shape.map((_, mode) => text?.modes?.[mode] ?? `mode ${mode}`),
    labels: names,
    image: image ?? null,
    other: compare === undefined ? null : readOther(compare, file, shape),
  };
}

/** The CP model in a file that `--out` wrote. */
function readOther(name: string, file: string, shape: readonly number[]): NonNullable<DecompositionData["other"]> {
  const arrays = readNpz(readBytes(name), name);
  const floats = (array: NumericArray): Values => ({
    shape: [...array.shape],
    data: Float32Array.from(array.data, Number),
  });
  const weights = arrays.get("weights");
  const factors = shape.map((_, mode) => arrays.get(`factor_${mode}`));
  if (!weights || factors.includes(undefined) || arrays.has(`factor_${shape.length}`))
    throw new InputError(
      `--compare ${name}: has ${[...arrays.keys()].join(", ")}, needs weights and factor_0 to factor_${shape.length - 1}, as tenfold decompose --method cp --out writes them`,
    );
  const [rank] = weights.shape;
  for (const [mode, factor] of factors.entries())
    if (factor!.shape.join() !== `${shape[mode]},${rank}`)
      throw new InputError(
        `--compare ${name}: factor_${mode} is ${formatShape(factor!.shape)}, ${file} needs ${shape[mode]}×${rank}`,
      );
  const model = {
    kind: "kruskal" as const,
    weights: floats(weights).data,
    factors: factors.map((factor) => floats(factor!)),
  };
  return { name: basename(name), model };
}

/** What is known of the result beside the solution. */
export type Circumstances = Pick<DecompositionData, "data" | "options" | "ending" | "seconds" | "adapter" | "date">;

/** The files of a report by name: the page, and each figure as SVG and its numbers as CSV. */
export async function reportFiles(
  engine: Engine,
  { shape, slices: parts, exponent, read }: Input | Input<SliceList>,
  x: Opened,
  solution: Solution,
  naming: Naming,
  circumstances: Circumstances,
): Promise<[name: string, content: string][]> {
  const { course, starts, tensor } = solution;
  const { model, isDivided } = await hostModelOf(tensor, exponent);
  const { slices, residuals, squaredNorm } =
    x instanceof SliceList
      ? await sliceResidualsOf(engine, read!, tensor as Parafac2Tensor)
      : await residualsOf(engine, x, read, tensor);
  const entries = parts ? sizeOf(read!.shape) : sizeOf(shape);
  const missing = "known" in x && x.known !== undefined ? entries - x.known : 0;
  // of numbers that the report shows, beside those on the GPU
  const scale = isDivided ? 1 : 2 ** exponent;
  const notes = [
    ...(isDivided ? [`all numbers are those of the tensor ÷ 2^${exponent}`] : []),
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
    // of the tensor that the model is of
    squaredNorm: missing ? Number.NaN : squaredNorm * scale ** 2,
    slices,
    residuals: residuals && scaledBins(residuals, scale),
    products: null,
    match: null,
    other: naming.other,
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

/** What X − X̂ is like, of slices of several lengths, which were read one below the other. */
async function sliceResidualsOf(
  engine: Engine,
  read: TensorFile,
  tensor: Parafac2Tensor,
): ReturnType<typeof measureResiduals> {
  const { known, ...measured } = read.values.some(Number.isNaN)
    ? knownOf(engine, read)
    : { x: engine.tensor(read.shape, read.values, { label: "X" }), known: null };
  try {
    return await measureSliceResiduals(engine, { ...measured, known }, tensor);
  } finally {
    measured.x.destroy();
    known?.destroy();
  }
}

/** The entries of a file, those that are missing as 0, and which are known. */
function knownOf(engine: Engine, { shape, values }: TensorFile): { x: Tensor; known: Tensor } {
  const isKnown = values.map((value) => (Number.isNaN(value) ? 0 : 1));
  const known = engine.tensor(shape, isKnown, { label: "known entries" });
  const x = engine.tensor(
    shape,
    values.map((value) => (Number.isNaN(value) ? 0 : value)),
    { label: "X" },
  );
  return { x, known };
}

/** What X − X̂ is like. */
async function residualsOf(
  engine: Engine,
  x: Exclude<Opened, SliceList>,
  read: TensorFile | undefined,
  tensor: Solution["tensor"],
): ReturnType<typeof measureResiduals> {
  const measured = await measuredOf(engine, x, read);
  return await measureResiduals(engine, measured, tensor).finally(() => measured.destroy());
}

/** The tensor that was decomposed, and where entries are missing those that are known. */
async function measuredOf(
  engine: Engine,
  opened: Exclude<Opened, SliceList>,
  read: TensorFile | undefined,
): Promise<Measured & { destroy(): void }> {
  if (!(opened instanceof Masked)) {
    const x = opened instanceof Resident ? opened.x : opened;
    return { x: x as Tensor | Slabs, destroy() {} };
  }
  const { x, known } = knownOf(engine, read!);
  return {
    ...{ x, known },
    destroy() {
      x.destroy();
      known.destroy();
    },
  };
}

// ---- option values

export function labelsOption(text: string, before: Map<number, string> = new Map()): Map<number, string> {
  const [, mode, name] = /^(\d+):(.+)$/.exec(text) ?? [];
  if (mode === undefined || name === undefined)
    throw new InvalidArgumentError("It needs a mode and a file with a colon between, as in 0:names.txt.");
  if (before.has(Number(mode))) throw new InvalidArgumentError(`Mode ${mode} has labels already.`);
  return new Map([...before, [Number(mode), name]]);
}

export function imageOption(text: string): [number, number] {
  const [, rows, columns] = /^(\d+),(\d+)$/.exec(text) ?? [];
  if (rows === undefined || columns === undefined || rows === columns)
    throw new InvalidArgumentError("It needs two modes with a comma between, as in 1,2.");
  return [Number(rows), Number(columns)];
}

import {
  type DType,
  dispose,
  type Engine,
  elementsOf,
  formatShape,
  holds,
  Program,
  type Slab as ProgramSlab,
  type Scheduler,
  ShapeError,
  Staging,
  TenfoldError,
  Tensor,
  type TensorData,
} from "../gpu/index.js";
import {
  accumulate,
  copy,
  kruskalDifference,
  type MttkrpOptions,
  paste,
  scaleByPower,
  slice,
  sumOfSquares,
  toFloat,
} from "../ops/index.js";
import { KruskalTensor, TuckerTensor } from "../tensors/index.js";
import { exponentOf, look } from "./facts.js";
import { Feed } from "./feed.js";
import { ModelCopy } from "./modelCopy.js";
import { overModes } from "./overModes.js";
import { TensorReader } from "./resident.js";
import { timesPower } from "./scale.js";
import type { Difference, Model, ProjectOptions, Reader, Source } from "./source.js";

/** Rows of mode 0 that the host holds, or reads whenever they are needed. */
export interface HostSlab {
  /** of the slab: its rows, then the other modes of X */
  shape: readonly number[];
  /** its numbers, row by row */
  read(signal: AbortSignal | undefined): TensorData | Promise<TensorData>;
}

/** A slab and where it lies when it is read. */
export interface Placed extends ProgramSlab {
  /** its first row */
  start: number;
  data: Tensor<DType>;
}

/** A place for a slab's numbers, at the beginning of a tensor that has room for them. */
export const placeIn = (
  { engine, storage, dtype, offset, label }: Tensor<DType>,
  shape: readonly number[],
): Tensor<DType> => new Tensor(engine, storage, shape, dtype, offset, label);

/** A slab whose numbers products read as they lie. For whatever else reads them they become f32, once. */
class PackedReader extends TensorReader {
  #floats: Tensor | null = null;

  constructor(
    readonly s: Scheduler,
    numbers: Tensor<DType>,
  ) {
    super(numbers);
  }

  override get x(): Tensor {
    return (this.#floats ??= toFloat(this.s, this.numbers));
  }

  release(): void {
    if (this.#floats) this.s.release(this.#floats);
  }
}

/**
 * Verbs over slabs of mode 0, one after the other, as the verbs of a tensor: what keeps mode 0 lines up, and what contracts it adds up.
 * Temporaries of a slab's size are used again for the next one.
 */
export abstract class SlabReader implements Reader {
  abstract readonly engine: Engine;
  abstract readonly shape: readonly number[];

  get order(): number {
    return this.shape.length;
  }

  get size(): number {
    return this.shape.reduce((product, extent) => product * extent, 1);
  }

  /** Records `body` for each slab, scaled, with its first row: one pass over x. */
  abstract eachSlab(p: Program, body: (slab: TensorReader, start: number) => void): void;

  mttkrp(p: Program, factors: readonly Tensor[], mode: number, { out }: MttkrpOptions = {}): Tensor {
    return this.#contract(p, [mode, mode + 1], factors, out, (slab, rows) => slab.mttkrp(p, rows, mode));
  }

  partialMttkrp(p: Program, factors: readonly Tensor[], keep: readonly [start: number, stop: number]): Tensor {
    return this.#contract(p, keep, factors, undefined, (slab, rows) => slab.partialMttkrp(p, rows, keep));
  }

  #contract(
    p: Program,
    [start, stop]: readonly [start: number, stop: number],
    factors: readonly Tensor[],
    out: Tensor | undefined,
    contract: (slab: TensorReader, factors: readonly Tensor[]) => Tensor,
  ): Tensor {
    const columns = factors[0]!.shape[1]!;
    const result = new SlabResult(p, [...this.shape.slice(start, stop), columns], out);
    this.eachSlab(p, (slab, row) => {
      if (start === 0) return result.put(contract(slab, factors), row);
      const rows = rowsOf(p, factors[0]!, row, slab.shape[0]!);
      result.add(contract(slab, [rows, ...factors.slice(1)]));
      p.s.release(rows);
    });
    return result.tensor;
  }

  project(p: Program, factors: readonly (Tensor | null)[], { skip, out }: ProjectOptions = {}): Tensor {
    const isProjected = (mode: number) => Boolean(factors[mode]) && mode !== skip;
    const shape = this.shape.map((extent, mode) => (isProjected(mode) ? factors[mode]!.shape[1]! : extent));
    const options = skip === undefined ? {} : { skip };
    const result = new SlabResult(p, shape, out);
    this.eachSlab(p, (slab, row) => {
      if (!isProjected(0)) return result.put(slab.project(p, [null, ...factors.slice(1)], options), row);
      const rows = rowsOf(p, factors[0]!, row, slab.shape[0]!);
      result.add(slab.project(p, [rows, ...factors.slice(1)], options));
      p.s.release(rows);
    });
    return result.tensor;
  }

  unfoldedProduct(p: Program, y: Tensor, mode: number): Tensor {
    const result = new SlabResult(p, [this.shape[mode]!, y.shape[mode]!]);
    this.eachSlab(p, (slab, row) => {
      if (mode === 0) return result.put(slab.unfoldedProduct(p, y, mode), row);
      const rows = rowsOf(p, y, row, slab.shape[0]!);
      result.add(slab.unfoldedProduct(p, rows, mode));
      p.s.release(rows);
    });
    return result.tensor;
  }

  residual(p: Program, model: Model, { out }: { out?: Tensor } = {}): Tensor {
    const result = new SlabResult(p, [1], out);
    this.eachSlab(p, (slab, row) => {
      const { part, rows } = modelRows(p, model, row, slab.shape[0]!);
      result.add(slab.residual(p, part));
      p.s.release(rows);
    });
    return result.tensor;
  }

  tensor(operation: string): Tensor {
    throw new TenfoldError(
      `${operation}: ${this} lies in slabs, and this takes one tensor of the GPU's; take cp, cpALS, or tuckerHOOI, stHosvd or hosvd by ranks`,
    );
  }
}

/** What slabs line up in, or add up to. */
export class SlabResult {
  readonly tensor: Tensor;
  #isEmpty = true;

  constructor(
    readonly p: Program,
    shape: readonly number[],
    out?: Tensor,
  ) {
    this.tensor = out ?? p.s.tensor(shape, { label: "product of slabs" });
  }

  /** Records rows from `row` on; they are released, unless they are kept. */
  put(rows: Tensor, row: number, { keep = false } = {}): void {
    paste(this.p.s, rows, this.tensor, [row, ...rows.shape.slice(1).map(() => 0)]);
    if (!keep) this.p.s.release(rows);
  }

  /** Records a term of the sum; it is released, unless it is kept. */
  add(term: Tensor, { keep = false } = {}): void {
    if (this.#isEmpty) copy(this.p.s, term, { out: this.tensor });
    else accumulate(this.p.s, term, this.tensor);
    this.#isEmpty = false;
    if (!keep) this.p.s.release(term);
  }
}

/** Records a copy of some rows: a view would have to begin where a binding may. */
export const rowsOf = ({ s }: Program, x: Tensor, start: number, count: number): Tensor =>
  slice(s, x, [start, ...x.shape.slice(1).map(() => 0)], [count, ...x.shape.slice(1)]);

/** The part of a model that approximates some rows of X, and the temporary that it holds. */
export function modelRows(p: Program, model: Model, start: number, count: number): { part: Model; rows: Tensor } {
  if (model instanceof KruskalTensor) {
    const rows = rowsOf(p, model.factors[0]!, start, count);
    return { part: new KruskalTensor(model.weights, [rows, ...model.factors.slice(1)]), rows };
  }
  if (model instanceof TuckerTensor) {
    const [first, ...factors] = model.factors as [Tensor | null, ...(Tensor | null)[]];
    const rows = rowsOf(p, first ?? model.core, start, count);
    const part = first ? new TuckerTensor(model.core, [rows, ...factors]) : new TuckerTensor(rows, model.factors);
    return { part, rows };
  }
  throw new TenfoldError("a tensor in slabs is compared with Kruskal and Tucker tensors only");
}

/** A tensor in slabs of mode 0: larger than a binding, or than the GPU's memory. */
export class Slabs extends SlabReader implements Source {
  exponent = 0;
  squaredNorm = 0;
  largest = 0;

  /** @internal */
  constructor(
    readonly engine: Engine,
    readonly shape: readonly number[],
    readonly parts: readonly Placed[],
    /** what is freed with the source: where slabs of the host are read to, and slabs that were made for it */
    readonly buffers: readonly { destroy(): void }[],
  ) {
    super();
  }

  get isZero(): boolean {
    return this.largest === 0;
  }

  /** entries of the largest slab */
  get slabSize(): number {
    return Math.max(...this.parts.map(({ data }) => data.size));
  }

  override eachSlab(p: Program, body: (slab: TensorReader, start: number) => void): void {
    const { s } = p;
    p.each(this.parts, ({ data, start }) => {
      if (holds(data, "f32") && !this.exponent) return body(new TensorReader(data), start);
      const slab = new PackedReader(s, data);
      if (!this.exponent) body(slab, start);
      else {
        const scaled = scaleByPower(s, holds(data, "f32") ? data : slab.x, -this.exponent);
        body(new TensorReader(scaled), start);
        s.release(scaled);
      }
      slab.release();
    });
  }

  /** @internal Reads every slab once, to know the facts. */
  async look(operation: string): Promise<void> {
    const { engine, parts } = this;
    const seen = { name: String(this), shape: this.shape, starts: parts.map(({ start }) => start) };
    const { largest, squaredNorm } = await look(engine, operation, seen, (p, see) =>
      this.eachSlab(p, ({ numbers }, start) => see(numbers, seen.starts.indexOf(start))),
    );
    this.largest = largest;
    this.squaredNorm = squaredNorm;
    this.exponent = exponentOf(largest);
    if (!this.exponent) return;
    this.largest = timesPower(largest, -this.exponent);
    using norms = engine.tensor([parts.length, 64], null, { label: "squared norms" });
    const record = (p: Program): void =>
      this.eachSlab(p, ({ numbers }, start) => {
        const slab = seen.starts.indexOf(start);
        sumOfSquares(p.s, numbers, {
          out: norms
            .rows(slab, slab + 1)
            .reshape([64])
            .rows(0, 1),
        });
      });
    await Program.run(engine, record, `${operation} scaling`);
    const squares = await engine.read(norms);
    this.squaredNorm = parts.reduce((sum, _, slab) => sum + squares[64 * slab]!, 0);
  }

  difference(): Difference {
    return new SlabDifference(this);
  }

  [dispose](): void {
    for (const buffer of this.buffers) buffer.destroy();
  }

  override toString(): string {
    return `a tensor ${formatShape(this.shape)} in ${this.parts.length} slabs`;
  }
}

/** x − x̂ of a Kruskal tensor, made anew a slab at a time from a copy of the model: it takes no memory of x's size. */
export class SlabDifference<S extends SlabReader = Slabs> extends SlabReader implements Difference {
  protected readonly copy = new ModelCopy("a tensor in slabs");

  constructor(readonly source: S) {
    super();
  }

  get engine(): Engine {
    return this.source.engine;
  }

  get shape(): readonly number[] {
    return this.source.shape;
  }

  override eachSlab(p: Program, body: (slab: TensorReader, start: number) => void): void {
    const { model } = this.copy;
    this.source.eachSlab(p, (slab, start) => {
      const { rows } = modelRows(p, model, start, slab.shape[0]!);
      const factors = [rows, ...model.factors.slice(1)];
      const difference = kruskalDifference(p.s, slab.numbers, model.weights, factors);
      body(new TensorReader(difference), start);
      p.s.release(difference, rows);
    });
  }

  refresh({ s }: Program, model: Model): void {
    this.copy.refresh(this.engine, s, model);
  }

  squaredNorm(p: Program, { out }: { out?: Tensor } = {}): Tensor {
    return this.source.residual(p, this.copy.model, out ? { out } : {});
  }

  evaluate(p: Program, model: KruskalTensor, out: { squaredNorm: Tensor; product: (mode: number) => Tensor }): void {
    const squared = new SlabResult(p, [1], out.squaredNorm);
    const products = model.factors.map(({ shape }, mode) => new SlabResult(p, shape, out.product(mode)));
    this.source.eachSlab(p, (slab, start) => {
      const { rows } = modelRows(p, model, start, slab.shape[0]!);
      const factors = [rows, ...model.factors.slice(1)];
      const squaredNorm = p.s.tensor([1], { label: "squared norm of a slab" });
      const difference = kruskalDifference(p.s, slab.numbers, model.weights, factors, { squaredNorm });
      squared.add(squaredNorm);
      overModes(p, new TensorReader(difference), factors, {}, (product, mode) => {
        if (mode === 0) products[0]!.put(product, start, { keep: true });
        else products[mode]!.add(product, { keep: true });
      });
      p.s.release(difference, rows);
    });
  }

  destroy(): void {
    this.copy.destroy();
  }

  override toString(): string {
    return `the difference of ${this.source}`;
  }
}

/**
 * A tensor in slabs of mode 0, in order, for decompositions to read in place of one tensor: larger than a binding, or than the GPU's
 * memory. A slab is a tensor of the GPU's, which remains the caller's, or a {@link HostSlab}, which is read whenever a solver goes over X
 * (as f32), by way of one buffer of the largest slab's size; the next one is read while the GPU works. Integers and bytes stay as they are.
 * Reads every slab once to look at its entries, and once more where they are to be scaled.
 *
 * @example A tensor of 4000×512×512 in files of 400 rows, which `cpALS` decomposes in a buffer of 400 MiB:
 * ```ts
 * const files = Array.from({ length: 10 }, (_, part) => `rows-${part}.npy`);
 * using x = await slabs(
 *   engine,
 *   files.map((file) => ({ shape: [400, 512, 512], read: async () => Float32Array.from(readNpy(await readFile(file)).data, Number) })),
 * );
 * const { tensor } = await cpALS(engine, x, { rank: 10 });
 * ```
 * @param operation names the caller in errors
 * @throws ShapeError where slabs differ in another mode than the first
 * @throws TenfoldError for NaN and infinity: how many, and where the first is
 */
export async function slabs(
  engine: Engine,
  parts: readonly (Tensor | HostSlab)[],
  operation = "slabs",
): Promise<Slabs> {
  const [first] = parts;
  if (!first) throw new ShapeError(`${operation}: no slabs, needs at least one`);
  const rest = first.shape.slice(1);
  for (const [index, { shape }] of parts.entries())
    if (shape.length < 2 || formatShape(shape.slice(1)) !== formatShape(rest))
      throw new ShapeError(
        `${operation}: slab ${index} is ${formatShape(shape)}, needs two modes or more, all but the first as ${formatShape(first.shape)} has them`,
      );
  const ofHost = parts.filter((part) => !(part instanceof Tensor));
  const mostRows = Math.max(0, ...ofHost.map(({ shape }) => shape[0]!));
  const buffer = mostRows ? engine.tensor([mostRows, ...rest], null, { label: "slab" }) : null;
  const staging = new Staging(engine, buffer?.bytes ?? 0);
  const feed = new Feed(async (index, place, signal) => {
    const { shape, read } = ofHost[index]!;
    const data = elementsOf(operation, await read.call(ofHost[index]!, signal), shape, "f32", `slab ${index}`);
    await staging.write(place, 0, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  });
  let start = 0;
  const placed = parts.map((part): Placed => {
    const { shape } = part;
    const first = start;
    start += shape[0]!;
    if (part instanceof Tensor) return { start: first, data: part };
    const data = placeIn(buffer!, shape);
    const index = ofHost.indexOf(part);
    return { start: first, data, load: (signal) => feed.load(index, data, signal) };
  });
  return await looked(new Slabs(engine, [start, ...rest], placed, buffer ? [buffer, staging] : []), operation);
}

/** The source, once its facts are known; it is freed where they cannot be. */
export async function looked(source: Slabs, operation: string): Promise<Slabs> {
  try {
    await source.look(operation);
    return source;
  } catch (error) {
    source[dispose]();
    throw error;
  }
}

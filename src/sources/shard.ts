/** A machine's part of a tensor: it answers what a `Sharded` source asks, about the blocks that it is given. */
import {
  bytesOf,
  type DType,
  dispose,
  type Engine,
  formatBytes,
  formatShape,
  OutOfLimitsError,
  Program,
  STAGED,
  Staging,
  sizeOf,
  TenfoldError,
  type Tensor,
} from "../gpu/index.js";
import {
  accumulateKnown,
  copy,
  fill,
  inspect,
  inspection,
  kruskalDifference,
  markMissing,
  mttkrp,
  mttkrpFromPartial,
  scale,
  sumOfSquares,
} from "../ops/index.js";
import { KruskalTensor, TuckerTensor } from "../tensors/index.js";
import { Feed, type NumberFormat } from "./feed.js";
import { overModes } from "./overModes.js";
import { SlabPasses } from "./passes.js";
import { TensorReader } from "./resident.js";
import type { HostArray, Joining, ShardAnswer, ShardRequest } from "./shards.js";
import { modelRows, type Placed, placeIn, SlabReader, SlabResult, Slabs } from "./slabs.js";
import type { Model } from "./source.js";

/** bytes of blocks that may wait for the GPU */
const STAGING = 16 * STAGED;

/** What a shard is told of X. */
export interface ShardTensor {
  shape: readonly number[];
  format: NumberFormat;
  /** whether entries that are NaN are missing */
  missing: boolean;
}

/** Rows of X that a question is about. */
export interface Block {
  start: number;
  rows: number;
  /** gives the numbers, row by row, little-endian; null where the shard has them from an earlier question */
  read: (() => Promise<Uint8Array>) | null;
  /** whether they stay on the GPU for the next questions */
  keep: boolean;
}

/** x contracted with the last mode's factor, which the MTTKRPs of the other modes share. */
interface Contracted {
  /** first rows of the blocks */
  starts: readonly number[];
  exponent: number;
  factor: HostArray["data"];
  /** the blocks' rows, the other modes but the last, the rank */
  tensor: Tensor;
}

/** numbers of a row of what is seen lie so far apart, where views may begin */
const APART = 64;

/** Blocks of a tensor on one GPU. */
export class Shard {
  readonly #kept = new Map<number, Tensor<DType>>();
  /** where blocks that are not kept are read to */
  #place: Tensor<DType> | null = null;
  #contracted: Contracted | null = null;
  readonly #staging: Staging;

  constructor(
    readonly engine: Engine,
    readonly x: ShardTensor,
  ) {
    this.#staging = new Staging(engine, STAGING);
    if (x.missing && x.format !== "f32")
      throw new TenfoldError(`shard: entries that are NaN are missing, and ${x.format} has no NaN; give f32`);
  }

  /** bytes of blocks on the GPU */
  get bytes(): number {
    const others = (this.#place?.bytes ?? 0) + (this.#contracted?.tensor.bytes ?? 0);
    return [...this.#kept.values()].reduce((sum, { bytes }) => sum + bytes, others);
  }

  /** Answers a question about some blocks, which lie in the order of their rows. Of blocks that are not among them nothing is kept. */
  async answer(request: ShardRequest, blocks: readonly Block[], signal?: AbortSignal): Promise<ShardAnswer> {
    const { engine, x } = this;
    const starts = new Set(blocks.map(({ start }) => start));
    for (const [start, tensor] of this.#kept)
      if (!starts.has(start)) {
        tensor.destroy();
        this.#kept.delete(start);
      }
    if (blocks.some(({ start, read }) => read || !this.#kept.has(start))) this.#forget();
    const slabs = this.#slabs(blocks, request.exponent);
    const ranges = blocks.map(({ start, rows }) => [start, rows] as const);
    const inputs = new Map<string, Tensor>();
    const outputs: { name: string; tensor: Tensor; joining: Joining }[] = [];
    try {
      for (const [name, array] of Object.entries(request.arrays)) {
        const { shape, data } = name.startsWith("rows of ") ? this.#rowsOf(name, array, ranges) : array;
        inputs.set(name.replace("rows of ", ""), engine.tensor(shape, data, { label: name }));
      }
      const output = (name: string, shape: readonly number[], joining: Joining): Tensor => {
        const tensor = engine.tensor(shape, null, { label: name });
        outputs.push({ name, tensor, joining });
        return tensor;
      };
      if (request.verb === "facts") return { ranges, arrays: await this.#facts(slabs, ranges, signal) };
      const contracted = this.#contractedFor(request, blocks);
      const record = (p: Program): void => new Work(slabs, x, request, inputs, output, contracted).record(p);
      await Program.run(engine, record, request.verb, { signal });
      const values = await engine.read(outputs.map(({ tensor }) => tensor));
      const arrays = outputs.map(
        ({ name, tensor: { shape }, joining }, index) => [name, { shape, data: values[index]!, joining }] as const,
      );
      return { ranges, arrays: Object.fromEntries(arrays) };
    } catch (error) {
      // it may not have been computed
      this.#forget();
      throw error;
    } finally {
      for (const tensor of inputs.values()) tensor.destroy();
      for (const { tensor } of outputs) tensor.destroy();
    }
  }

  /**
   * Where the MTTKRP of a mode takes X contracted with the last mode's factor, and whether that is there from the question about another mode: so a
   * sweep reads X twice. Only of blocks that are all on the GPU, and where it takes no more memory than the largest of them.
   */
  #contractedFor(
    { verb, mode = 0, isDifference, exponent, arrays }: ShardRequest,
    blocks: readonly Block[],
  ): { tensor: Tensor; isThere: boolean } | null {
    const { engine, x } = this;
    const last = x.shape.length - 1;
    const factor = arrays[`factor ${last}`];
    if (verb !== "mttkrp" || isDifference || x.missing || last < 2 || !factor) return null;
    if (mode === last || blocks.some(({ start, read }) => read || !this.#kept.has(start))) return null;
    const rows = blocks.reduce((sum, block) => sum + block.rows, 0);
    const rank = factor.shape[1]!;
    if (rows * rank > Math.max(...blocks.map((block) => block.rows)) * x.shape[last]!) return null;
    const starts = blocks.map(({ start }) => start);
    const there = this.#contracted;
    const isSame = (one: ArrayLike<number>, other: ArrayLike<number>): boolean =>
      one.length === other.length && Array.prototype.every.call(one, (value, at) => value === other[at]);
    if (there && there.exponent === exponent && isSame(there.starts, starts) && isSame(there.factor, factor.data))
      return { tensor: there.tensor, isThere: true };
    this.#forget();
    const tensor = engine.tensor([rows, ...x.shape.slice(1, last), rank], null, { label: "contracted" });
    this.#contracted = { starts, exponent, factor: factor.data.slice(), tensor };
    return { tensor, isThere: false };
  }

  #forget(): void {
    this.#contracted?.tensor.destroy();
    this.#contracted = null;
  }

  /** The rows of the blocks, of an array that has those of all of X or these alone. */
  #rowsOf(name: string, array: HostArray, ranges: ShardAnswer["ranges"]): HostArray {
    const needed = array.isCut ? ranges.reduce((sum, [, count]) => sum + count, 0) : this.x.shape[0]!;
    if (array.shape[0] !== needed)
      throw new TenfoldError(`shard: ${name} is ${formatShape(array.shape)}, needs ${needed} rows`);
    return array.isCut ? array : someRows(array, ranges);
  }

  /** The blocks as slabs of one tensor. */
  #slabs(blocks: readonly Block[], exponent: number): Slabs {
    const { engine, x } = this;
    const rest = x.shape.slice(1);
    const largest = [Math.max(...blocks.map(({ rows }) => rows)), ...rest];
    this.#check(largest);
    const incoming = blocks.filter(({ read }) => read);
    const feed = new Feed(async (index, place) => {
      const { read, rows } = incoming[index]!;
      const bytes = await read!();
      const size = sizeOf([rows, ...rest]);
      if (bytes.length !== size * bytesOf(x.format))
        throw new TenfoldError(`shard: a block has ${bytes.length} bytes, ${size} numbers of ${x.format} need others`);
      await this.#staging.write(place, 0, bytes);
    });
    let start = 0;
    const parts = blocks.map((block): Placed => {
      const shape = [block.rows, ...rest];
      const place = block.keep || !block.read ? this.#keptAt(block, shape) : this.#placeFor(largest);
      const data = placeIn(place, shape);
      const index = incoming.indexOf(block);
      const part = { start, data };
      start += block.rows;
      return index < 0 ? part : { ...part, load: (signal) => feed.load(index, data, signal) };
    });
    const slabs = new Slabs(engine, [start, ...rest], parts, []);
    slabs.exponent = exponent;
    return slabs;
  }

  #keptAt({ start, read }: Block, shape: readonly number[]): Tensor<DType> {
    let tensor = this.#kept.get(start);
    if (tensor && tensor.bytes < sizeOf(shape) * bytesOf(this.x.format)) {
      tensor.destroy();
      this.#kept.delete(start);
      tensor = undefined;
    }
    if (!tensor) {
      if (!read) throw new TenfoldError(`shard: rows from ${start} on are not here, needs them sent`);
      tensor = this.#made(shape);
      this.#kept.set(start, tensor);
    }
    return tensor;
  }

  #placeFor(shape: readonly number[]): Tensor<DType> {
    if (this.#place && this.#place.bytes < sizeOf(shape) * bytesOf(this.x.format)) {
      this.#place.destroy();
      this.#place = null;
    }
    return (this.#place ??= this.#made(shape));
  }

  #made(shape: readonly number[]): Tensor<DType> {
    return this.engine.tensor(shape, null, { dtype: this.x.format, label: "block" });
  }

  #check(shape: readonly number[]): void {
    const { maxStorageBufferBindingSize, maxBufferSize } = this.engine.device.limits;
    const most = Math.min(maxStorageBufferBindingSize, maxBufferSize);
    if (4 * sizeOf(shape) > most)
      throw new OutOfLimitsError(
        `shard: a block ${formatShape(shape)} takes ${formatBytes(4 * sizeOf(shape))} as f32, a binding of this device holds ${formatBytes(most)}; take chunks of fewer rows, or permute the modes so that a longer one comes first`,
      );
  }

  /** What is not finite, the largest magnitude, the sum of squares; of known entries, and how many each slice has, where others are missing. */
  async #facts(
    slabs: Slabs,
    ranges: ShardAnswer["ranges"],
    signal: AbortSignal | undefined,
  ): Promise<ShardAnswer["arrays"]> {
    const { engine, x } = this;
    const count = ranges.length;
    using seen = engine.tensor([count, APART], new Uint32Array(count * APART), { label: "inspection" });
    using norms = engine.tensor([count, APART], null, { label: "squared norms" });
    const shape = slabs.shape;
    const counts = x.missing ? shape.map((extent) => engine.tensor([extent, 1], null, { label: "known" })) : [];
    try {
      const record = (p: Program): void => {
        const { s } = p;
        const sums = counts.map(({ shape }, mode) => new SlabResult(p, shape, counts[mode]));
        let slab = 0;
        slabs.eachSlab(p, (reader, start) => {
          const marked = x.missing ? markMissing(s, reader.x) : null;
          const known = marked ? knownOf(p, marked) : reader.numbers;
          const at = <D extends DType>(tensor: Tensor<D>, length: number): Tensor<D> =>
            tensor
              .rows(slab, slab + 1)
              .reshape([APART])
              .rows(0, length);
          inspect(s, known, at(seen, 4), { squaredNorm: at(norms, 1) });
          if (marked) {
            const ones = fill(s, s.tensor(reader.shape, { label: "known" }), 1);
            accumulateKnown(s, marked, ones, { alpha: 0, beta: 1, gamma: 0 });
            const vectors = reader.shape.map((extent) => fill(s, s.tensor([extent, 1], { label: "ones" }), 1));
            for (const mode of reader.shape.keys()) {
              const counted = mttkrp(s, ones, vectors, mode);
              if (mode === 0) sums[0]!.put(counted, start);
              else sums[mode]!.add(counted);
            }
            s.release(ones, known, marked, ...vectors);
          }
          slab++;
        });
      };
      await Program.run(engine, record, "facts", { signal });
      const [words, squares] = await engine.read([seen, norms]);
      const numbers = await Promise.all(counts.map((count) => engine.read(count)));
      const inspections = ranges.map((_, slab) => inspection(words.subarray(slab * APART, slab * APART + 4)));
      const width = sizeOf(shape.slice(1));
      const firsts = inspections.map(({ first }, slab) =>
        first ? [ranges[slab]![0] * width + first.index, Number(first.kind !== "NaN")] : [Number.POSITIVE_INFINITY, 0],
      );
      const first = firsts.reduce((least, other) => (other[0]! < least[0]! ? other : least));
      const scalar = (value: number, joining: Joining) => ({ shape: [1], data: Float64Array.of(value), joining });
      return {
        notFinite: scalar(
          inspections.reduce((sum, { notFinite }) => sum + notFinite, 0),
          "sum",
        ),
        first: { shape: [2], data: Float64Array.from(first), joining: "least" },
        largest: scalar(
          inspections.reduce((most, { largest }) => Math.max(most, largest), 0),
          "max",
        ),
        squaredNorm: scalar(
          inspections.reduce((sum, _, slab) => sum + squares[slab * APART]!, 0),
          "sum",
        ),
        ...Object.fromEntries(
          numbers.map((data, mode) => [
            `known ${mode}`,
            { shape: [shape[mode]!], data, joining: mode === 0 ? ("rows" as const) : ("sum" as const) },
          ]),
        ),
      };
    } finally {
      for (const tensor of counts) tensor.destroy();
    }
  }

  [dispose](): void {
    this.#staging.destroy();
    for (const tensor of this.#kept.values()) tensor.destroy();
    this.#kept.clear();
    this.#place?.destroy();
    this.#place = null;
    this.#forget();
  }
}

/** Records the known entries of a block, and 0 in place of the others. */
const knownOf = ({ s }: Program, marked: Tensor): Tensor =>
  accumulateKnown(s, marked, s.tensor(marked.shape, { label: "known" }), { alpha: 1, beta: 0, gamma: 0 });

/** Records a block with the model's entries where others are missing. */
function filledOf(p: Program, marked: Tensor, model: Model, start: number): Tensor {
  const { part, rows } = modelRows(p, model, start, marked.shape[0]!);
  const full = part.full(p.s, p.s.tensor(marked.shape, { label: "filled" }));
  p.s.release(rows);
  return accumulateKnown(p.s, marked, full, { alpha: 1, beta: 0, gamma: 1 });
}

/** x, or x − x̂, of slabs with missing entries; or x − x̂ of slabs without. */
class View extends SlabReader {
  constructor(
    readonly slabs: Slabs,
    /** Records what is read of a slab: a temporary. */
    readonly of: (p: Program, slab: TensorReader, start: number) => Tensor,
  ) {
    super();
  }

  get engine(): Engine {
    return this.slabs.engine;
  }

  get shape(): readonly number[] {
    return this.slabs.shape;
  }

  override eachSlab(p: Program, body: (slab: TensorReader, start: number) => void): void {
    this.slabs.eachSlab(p, (slab, start) => {
      const read = this.of(p, slab, start);
      body(new TensorReader(read), start);
      p.s.release(read);
    });
  }
}

/** What a question asks, recorded over the slabs. */
class Work {
  constructor(
    readonly slabs: Slabs,
    readonly x: ShardTensor,
    readonly request: ShardRequest,
    readonly inputs: ReadonlyMap<string, Tensor>,
    readonly output: (name: string, shape: readonly number[], joining: Joining) => Tensor,
    /** x contracted with the last mode's factor, or where that goes */
    readonly contracted: { tensor: Tensor; isThere: boolean } | null,
  ) {}

  record(p: Program): void {
    const { slabs, request, output } = this;
    const { verb, mode = 0 } = request;
    const { shape } = slabs;
    const reader = this.#reader();
    switch (verb) {
      case "mttkrp": {
        const factors = this.#factorsAnd(p, mode);
        const columns = factors[0]!.shape[1]!;
        const out = output("product", [shape[mode]!, columns], joiningOf(mode === 0));
        if (this.contracted) this.#fromContracted(p, this.contracted, factors, mode, out);
        else reader.mttkrp(p, factors, mode, { out });
        return;
      }
      case "partialMttkrp": {
        const [start, stop] = request.keep!;
        const factors = this.#factorsAnd(p, start, stop);
        const product = reader.partialMttkrp(p, factors, [start, stop]);
        new SlabResult(p, product.shape, output("product", product.shape, joiningOf(start === 0))).add(product);
        return;
      }
      case "project": {
        const factors = this.#factors("factor");
        const extents = shape.map((extent, k) => factors[k]?.shape[1] ?? extent);
        reader.project(p, factors, { out: output("product", extents, joiningOf(!factors[0])) });
        return;
      }
      case "unfoldedProduct": {
        const product = reader.unfoldedProduct(p, this.#input("y"), mode);
        new SlabResult(p, product.shape, output("product", product.shape, joiningOf(mode === 0))).add(product);
        return;
      }
      case "residual": {
        const out = output("squared", [1], "sum");
        const model = this.#model("model");
        if (this.x.missing) this.#squares(p, this.#difference(model), out);
        else slabs.residual(p, model, { out });
        return;
      }
      case "evaluate":
        this.#evaluate(p, this.#model("model") as KruskalTensor);
        return;
      case "products": {
        const factors = this.#factors("factor") as Tensor[];
        const outs = factors.map((factor, k) => output(`product ${k}`, factor.shape, joiningOf(k === 0)));
        new SlabPasses(reader).products(p, factors, (k) => outs[k]!);
        return;
      }
      case "projections": {
        const bases = this.#factors("factor");
        const outs = request.modes!.map((unprojected) => {
          const extents = shape.map((extent, k) => (k === unprojected ? extent : (bases[k]?.shape[1] ?? extent)));
          const isLined = unprojected === 0 || !bases[0];
          return [unprojected, output(`projected ${unprojected}`, extents, joiningOf(isLined))] as const;
        });
        new SlabPasses(reader).projections(p, bases, new Map(outs));
        return;
      }
      case "core": {
        const bases = this.#factors("factor");
        const extents = shape.map((extent, k) => bases[k]?.shape[1] ?? extent);
        const out = { core: output("core", extents, "rows"), lost: output("lost", [1], "sum") };
        new SlabPasses(reader).core(p, bases, out);
        return;
      }
      default:
        throw new TenfoldError(`shard: ${verb} is no verb of this version of tenfold`);
    }
  }

  #fromContracted(
    p: Program,
    { tensor, isThere }: { tensor: Tensor; isThere: boolean },
    factors: readonly Tensor[],
    mode: number,
    out: Tensor,
  ): void {
    const others = [0, factors.length - 1] as const;
    if (!isThere) {
      const partial = this.slabs.partialMttkrp(p, factors, others);
      copy(p.s, partial, { out: tensor });
      p.s.release(partial);
    }
    mttkrpFromPartial(p.s, tensor, factors.slice(...others), others, mode, { out });
  }

  /** x, with the model's entries (or zeros) where others are missing; or x − x̂ where the question is about that. */
  #reader(): SlabReader {
    if (this.request.isDifference) return this.#difference(this.#model("minus") as KruskalTensor);
    if (!this.x.missing) return this.slabs;
    const isFilled = this.inputs.has("fill weights") || this.inputs.has("fill core");
    const model = isFilled ? this.#model("fill") : null;
    return new View(this.slabs, (p, slab, start) => {
      const marked = markMissing(p.s, slab.x);
      const filled = model ? filledOf(p, marked, model, start) : knownOf(p, marked);
      p.s.release(marked);
      return filled;
    });
  }

  /** x − x̂: at known entries alone, times their weight, where others are missing. */
  #difference(model: Model): SlabReader {
    const { weight } = this.request;
    return new View(this.slabs, (p, slab, start) => {
      const { part, rows } = modelRows(p, model, start, slab.shape[0]!);
      const marked = this.x.missing ? markMissing(p.s, slab.x) : null;
      let difference: Tensor;
      if (part instanceof KruskalTensor) {
        const missing = marked ? { scale: weight } : undefined;
        difference = kruskalDifference(p.s, marked ?? slab.numbers, part.weights, part.factors, { missing });
      } else {
        difference = part.full(p.s, p.s.tensor(slab.shape, { label: "difference" }));
        accumulateKnown(p.s, marked!, difference, { alpha: weight, beta: -weight, gamma: 0 });
      }
      if (marked) p.s.release(marked);
      p.s.release(rows);
      return difference;
    });
  }

  /** Records Σ of the weighted squares of a difference. */
  #squares(p: Program, difference: SlabReader, out: Tensor): void {
    const sum = new SlabResult(p, [1], out);
    difference.eachSlab(p, ({ x }) => sum.add(this.#squaresOf(p, x)));
  }

  #squaresOf({ s }: Program, difference: Tensor): Tensor {
    const squares = sumOfSquares(s, difference);
    if (this.request.weight === 1) return squares;
    const weighted = scale(s, squares, { alpha: 1 / this.request.weight });
    s.release(squares);
    return weighted;
  }

  #evaluate(p: Program, model: KruskalTensor): void {
    const squared = new SlabResult(p, [1], this.output("squared", [1], "sum"));
    const products = model.factors.map(
      ({ shape }, mode) => new SlabResult(p, shape, this.output(`product ${mode}`, shape, joiningOf(mode === 0))),
    );
    this.#difference(model).eachSlab(p, (slab, start) => {
      const { part, rows } = modelRows(p, model, start, slab.shape[0]!);
      squared.add(this.#squaresOf(p, slab.x));
      overModes(p, slab, (part as KruskalTensor).factors, {}, (product, mode) => {
        if (mode === 0) products[0]!.put(product, start, { keep: true });
        else products[mode]!.add(product, { keep: true });
      });
      p.s.release(rows);
    });
  }

  #input(name: string): Tensor {
    const tensor = this.inputs.get(name);
    if (!tensor) throw new TenfoldError(`shard: ${this.request.verb} came without ${name}`);
    return tensor;
  }

  #factors(prefix: string): (Tensor | null)[] {
    return this.slabs.shape.map((_, mode) => this.inputs.get(`${prefix} ${mode}`) ?? null);
  }

  /** All factors; those of the modes that are kept, which nothing reads, are not sent. */
  #factorsAnd({ s }: Program, start: number, stop = start + 1): Tensor[] {
    const factors = this.#factors("factor");
    const columns = factors.find((factor) => factor)!.shape[1]!;
    return factors.map((factor, mode) => {
      if (mode < start || mode >= stop) return factor ?? this.#input(`factor ${mode}`);
      return s.tensor([this.slabs.shape[mode]!, columns], { label: `factor ${mode}` });
    });
  }

  #model(prefix: string): Model {
    const factors = this.#factors(prefix);
    const weights = this.inputs.get(`${prefix} weights`);
    if (weights) return new KruskalTensor(weights, factors as Tensor[]);
    return new TuckerTensor(this.#input(`${prefix} core`), factors);
  }
}

const joiningOf = (isLined: boolean): Joining => (isLined ? "rows" : "sum");

/** The rows of these ranges, one after the other. */
function someRows({ shape, data }: HostArray, ranges: ShardAnswer["ranges"]): HostArray {
  const width = data.length / shape[0]!;
  const rows = ranges.reduce((sum, [, count]) => sum + count, 0);
  const some = new Float32Array(rows * width);
  let at = 0;
  for (const [start, count] of ranges) {
    some.set(data.subarray(start * width, (start + count) * width), at);
    at += count * width;
  }
  return { shape: [rows, ...shape.slice(1)], data: some };
}

/** What the slices are to PARAFAC2. */
import {
  type DType,
  dispose,
  type Engine,
  holds,
  isList,
  Program,
  type Scheduler,
  ShapeError,
  sizeOf,
  Tensor,
  type Transfer,
  transfer,
} from "../gpu/index.js";
import {
  accumulate,
  accumulateKnown,
  batchMatmul,
  copy,
  EachQr,
  gatherRows,
  kruskalToTensor,
  scaleByPower,
  squaredDistance,
  sum,
  sumOfSquares,
  toFloat,
} from "../ops/index.js";
import { exponentOf, knownEntries, Masked, Resident, resident, scaleMarked, see } from "../sources/index.js";
import type { Parafac2Tensor } from "../tensors/index.js";
import { TensorScope } from "./tensorScope.js";

/** A slice, or all of them in one: a tensor, or a source of one with missing entries, as `masked` makes it. */
export type Parafac2Slice = Tensor<DType> | Masked;

/** entries of a group of several slices at most, with the rows of zeros that fill them up */
const TOGETHER = 2 ** 22;
/** how many times the rows of its slices a group may have, at most */
const FILLED = 1.5;

/** The projected slices' source: a tensor of which some entries may be missing, which it does not say itself. */
class SlicesSource extends Resident {
  constructor(
    x: Tensor,
    facts: ConstructorParameters<typeof Resident>[1],
    readonly known?: number,
  ) {
    super(x, facts);
  }
}

/** A slice where it lies: rows of a tensor or of a source. */
interface Part {
  of: Parafac2Slice;
  /** its first element there */
  start: number;
  rows: number;
}

/** Slices of alike heights. They lie in one tensor, filled up with rows of zeros, so that a dispatch takes all of them. */
interface Group {
  /** which slices they are, rising */
  readonly places: readonly number[];
  /** X_k·2^−exponent, n×H×J; missing entries are marked */
  readonly stack: Tensor;
  /** by which slices are reduced to J rows; null where they are not */
  readonly qr: EachQr | null;
  /** the places on the GPU; null where they are all slices, in order */
  readonly indices: Tensor<"u32"> | null;
  /** ‖X_k·2^−exponent − X̂_k‖² of the model that was judged last, [n] */
  readonly squares: Tensor;
}

/** What the slices are to the solver: checked, scaled by one power of two, and reduced to at most J rows each where no entry is missing. */
export class Slices {
  /** the model whose errors the groups hold */
  #judged: Parts | null = null;

  private constructor(
    readonly engine: Engine,
    /** I_k */
    readonly rows: readonly number[],
    readonly groups: readonly Group[],
    /** ‖X_k·2^−exponent‖², of known entries */
    readonly squaredNorms: readonly number[],
    /** Y_k, with rows of zeros up to the most rows of all: K×D×J. It is Q_kᵀ·X_k, or X_k with its missing entries as a model has them */
    readonly reduced: SlicesSource,
    /** rows of Y_k that are in use, [K] */
    readonly heights: Tensor<"u32">,
    /** where entries are missing: the X_k as the Y_k lie, missing entries marked */
    readonly marked: Tensor | null,
  ) {}

  /** @throws ShapeError where slices differ in J, or one has fewer rows or columns than the rank */
  static async create(
    name: string,
    engine: Engine,
    slices: readonly Parafac2Slice[] | Parafac2Slice,
    rank: number,
    tensorScope: TensorScope,
  ): Promise<Slices> {
    const parts = partsOf(name, slices, rank);
    const columns = (isList(slices) ? slices[0]! : slices).shape.at(-1)!;
    const rows = parts.map((part) => part.rows);
    const hasHoles = parts.some(({ of }) => of instanceof Masked);
    const places = hasHoles ? [parts.map((_, k) => k)] : groupsOf(rows, columns);
    const { stacks, exponent } = await stacked(name, engine, parts, places, tensorScope);
    const groups = stacks.map((stack, index): Group => {
      const isAll = places.length === 1;
      const indices = isAll
        ? null
        : tensorScope.keep(engine.tensor([places[index]!.length], Uint32Array.from(places[index]!)));
      const isTall = !hasHoles && stack.shape[1]! > columns;
      const heights = (): Tensor<"u32"> =>
        engine.tensor(
          [stack.shape[0]!],
          Uint32Array.from(places[index]!, (k) => rows[k]!),
          { label: "heights" },
        );
      const qr = isTall ? new EachQr(stack, tensorScope.keep(heights()), tensorScope.allocate) : null;
      const squares = tensorScope.allocate([stack.shape[0]!], "squared errors");
      return { places: places[index]!, stack, qr, indices, squares };
    });
    const most = Math.max(...groups.map(({ stack, qr }) => (qr ? columns : stack.shape[1]!)));
    const shape = [parts.length, most, columns] as const;
    const marked = hasHoles ? groups[0]!.stack : null;
    using norms = engine.tensor([parts.length], null, { label: "squared norms" });
    const whole = marked ? tensorScope.allocate(shape, "slices with missing entries") : null;
    const reduced = await reducedOf(engine, groups, shape, tensorScope, (s, triangles) => {
      if (marked) knownEntries(s, marked, whole!);
      sumOfSquares(s, (whole ?? triangles).reshape([parts.length, most * columns]), { axis: 1, out: norms });
    });
    const squaredNorms = [...(await engine.read(norms))];
    const squaredNorm = squaredNorms.reduce((total, square) => total + square, 0);
    const facts = { exponent, squaredNorm, largest: 1, isZero: squaredNorm === 0 };
    const source = new SlicesSource(whole ?? reduced, facts, hasHoles ? knownOf(parts) : undefined);
    const used = rows.map((count) => Math.min(count, most));
    const heights = tensorScope.keep(engine.tensor([parts.length], Uint32Array.from(used), { label: "heights" }));
    return new Slices(engine, rows, groups, squaredNorms, source, heights, marked);
  }

  get columns(): number {
    return this.reduced.shape[2]!;
  }

  /** Records Σ of the squares of x − x̂ at known entries, over all or one axis. What is known of x̂ is lost where entries are missing. */
  squaredError(s: Scheduler, x: Tensor, model: Tensor, options: { axis?: number; out?: Tensor } = {}): Tensor {
    if (!this.marked) return squaredDistance(s, x, model, options);
    accumulateKnown(s, x, model, { alpha: 1, beta: -1, gamma: 0 });
    return sumOfSquares(s, model, options);
  }

  /** The projections P_k of the slices themselves, I_k×R each, of those of the Y_k, K×D×R. */
  async expanded(projections: Tensor, result: TensorScope): Promise<Tensor[]> {
    const { engine, columns } = this;
    const [, most, rank] = projections.shape as [number, number, number];
    using tensorScope = new TensorScope(engine);
    const parts = this.groups.map((group) => {
      const [count, height] = group.stack.shape as [number, number];
      if (!group.indices) return projections;
      const part = tensorScope.allocate([count, group.qr ? columns : height, rank], "projections");
      transfer(
        engine,
        group.places.map((k, at) => ({
          ...{ from: projections, start: k * most * rank, to: part },
          ...{ at: (at * part.size) / count, size: part.size / count },
        })),
      );
      return part;
    });
    const all = this.groups.map(({ stack, qr }, index) =>
      qr ? tensorScope.allocate([...stack.shape.slice(0, 2), rank], "projections") : parts[index]!,
    );
    await engine.run((s) => {
      for (const [index, { qr }] of this.groups.entries()) qr?.apply(s, parts[index]!, { out: all[index]! });
    }, "PARAFAC2 projections");
    const own = this.rows.map((rows, k) => result.allocate([rows, rank], `projection ${k}`));
    transfer(
      engine,
      this.groups.flatMap(({ places }, index) => {
        const from = all[index]!;
        return places.map((k, at) => ({
          ...{ from, start: (at * from.size) / places.length, to: own[k]!, size: own[k]!.size },
        }));
      }),
    );
    return own;
  }

  /** Records ‖X_k·2^−exponent − X̂_k‖² of a model of the scaled slices, those of a group in one tensor. */
  #recordSquares(p: Program, { weights, factors, projections }: Parts): void {
    const { s } = p;
    const [a, b, c] = factors;
    for (const { places, stack, indices, squares } of this.groups) {
      const [count, height] = stack.shape as [number, number];
      const length = height * weights.size;
      const own = p.tensor([count, height, weights.size], { label: "projections" });
      p.step(() =>
        transfer(
          this.engine,
          places.map((k, at) => ({ from: projections[k]!, to: own, at: at * length, size: projections[k]!.size })),
        ),
      );
      const rows = indices ? gatherRows(s, a, indices) : a;
      const products = kruskalToTensor(s, weights, [rows, b, c]);
      const full = batchMatmul(s, own, products);
      const shape = [count, stack.size / count];
      this.squaredError(s, stack.reshape(shape), full.reshape(shape), { axis: 1, out: squares });
      s.release(products, full);
      if (indices) s.release(rows);
    }
  }

  /** Records ‖X − X̂‖² of all slices for a model of the scaled ones. */
  squared(p: Program, model: Parts, out: Tensor): void {
    const { s } = p;
    this.#judged = model;
    this.#recordSquares(p, model);
    for (const [index, { squares }] of this.groups.entries()) {
      const total = sum(s, squares, index ? {} : { out });
      if (!index) continue;
      accumulate(s, total, out);
      s.release(total);
    }
  }

  /** ‖X_k − X̂_k‖ / ‖X_k‖ of a model of the X_k themselves. */
  async errorsOf(model: Parts): Promise<number[]> {
    const { engine, groups, squaredNorms, reduced } = this;
    if (this.#judged !== model)
      await Program.run(
        engine,
        (p) => {
          const { weights, factors, projections } = model;
          const scaled = reduced.exponent ? scaleByPower(p.s, weights, -reduced.exponent) : weights;
          this.#recordSquares(p, { weights: scaled, factors, projections });
        },
        "PARAFAC2 errors",
      );
    const errors = new Array<number>(squaredNorms.length).fill(0);
    for (const [index, squares] of (await engine.read(groups.map((group) => group.squares))).entries())
      for (const [at, k] of groups[index]!.places.entries())
        if (squaredNorms[k]) errors[k] = Math.sqrt(squares[at]! / squaredNorms[k]!);
    return errors;
  }
}

type Parts = Pick<Parafac2Tensor, "weights" | "factors" | "projections">;

/** The slices, each where it lies, checked. */
function partsOf(name: string, slices: readonly Parafac2Slice[] | Parafac2Slice, rank: number): Part[] {
  let parts: Part[];
  if (isList(slices)) {
    const columns = slices[0]!.shape[1];
    for (const [k, slice] of slices.entries())
      if (slice.order !== 2 || slice.shape[1] !== columns)
        throw new ShapeError(`${name}: slice ${k} is ${slice}, slice 0 has ${columns} columns; all need as many`);
    parts = slices.map((of) => ({ of, start: 0, rows: of.shape[0]! }));
  } else {
    if (slices.order !== 3)
      throw new ShapeError(`${name}: ${slices} has order ${slices.order}, needs K×I×J or a list of matrices`);
    const [count, rows, columns] = slices.shape as [number, number, number];
    parts = Array.from({ length: count }, (_, k) => ({ of: slices, start: k * rows * columns, rows }));
  }
  for (const [k, { rows }] of parts.entries())
    if (rows < rank)
      throw new ShapeError(
        `${name}: slice ${k} has ${rows} rows, needs at least the rank ${rank}; leave it out or take a smaller rank`,
      );
  const columns = parts[0]!.of.shape.at(-1)!;
  if (columns < rank)
    throw new ShapeError(`${name}: rank ${rank} of slices with ${columns} columns, needs 1 to ${columns}`);
  return parts;
}

/** How many entries are known. */
const knownOf = (parts: readonly Part[]): number =>
  parts.reduce((sum, { of, start }) => sum + (start ? 0 : of instanceof Masked ? of.known : of.size), 0);

/**
 * Slices of these heights in groups: the tallest first, as long as the rows of zeros that fill up the others are few, and the group has few entries. So
 * there are about as many groups as there are orders of magnitude of heights, however many slices there are.
 */
function groupsOf(rows: readonly number[], columns: number): number[][] {
  const falling = [...rows.keys()].sort((one, other) => rows[other]! - rows[one]! || one - other);
  const groups: number[][] = [];
  let sum = 0;
  for (const k of falling) {
    const group = groups.at(-1);
    const filled = group ? (group.length + 1) * rows[group[0]!]! : 0;
    sum += rows[k]!;
    if (group && filled <= FILLED * sum && filled * columns <= TOGETHER) group.push(k);
    else {
      groups.push([k]);
      sum = rows[k]!;
    }
  }
  return groups.map((group) => group.sort((one, other) => one - other));
}

/** X_k·2^−exponent in groups of these places, each in one tensor with rows of zeros below slices that are not as tall as others. */
async function stacked(
  name: string,
  engine: Engine,
  parts: readonly Part[],
  groups: readonly (readonly number[])[],
  tensorScope: TensorScope,
): Promise<{ stacks: Tensor[]; exponent: number }> {
  const columns = parts[0]!.of.shape.at(-1)!;
  const tensors = new Set<Tensor<DType>>();
  const sources = new Set<Masked>();
  for (const { of } of parts) of instanceof Masked ? sources.add(of) : tensors.add(of);
  const floats = await floatsOf(engine, tensors, tensorScope);
  /** the stacks, with those slices in it that have values, and zeros in place of the others; what is all of a tensor stays as it lies */
  const stack = (values: ReadonlyMap<Parafac2Slice, Tensor>, stacks?: readonly Tensor[]): Tensor[] => {
    const transfers: Transfer[] = [];
    const filled = groups.map((group, index) => {
      const shape = [group.length, Math.max(...group.map((k) => parts[k]!.rows)), columns];
      const whole = values.get(parts[group[0]!]!.of);
      if (whole?.size === sizeOf(shape)) return whole.reshape(shape);
      const to = stacks?.[index] ?? tensorScope.allocate(shape, "slices");
      for (const [at, k] of group.entries()) {
        const { of, start, rows } = parts[k]!;
        const from = values.get(of);
        if (from) transfers.push({ from, start, to, at: at * shape[1]! * columns, size: rows * columns });
      }
      return to;
    });
    transfer(engine, transfers);
    return filled;
  };
  let stacks: readonly Tensor[] | undefined;
  let largest = Math.max(0, ...[...sources].map((source) => source.largest * 2 ** source.exponent));
  if (floats.size) {
    const plain = stack(floats);
    const seen = await see(engine, name, plain.length, (_, look) => {
      for (const [index, x] of plain.entries()) look(x, index);
    });
    // which entry is not finite is looked for where one is
    if (seen.some(({ notFinite }) => notFinite))
      for (const [k, { of, start }] of parts.entries())
        if (of instanceof Tensor && !start)
          (await resident(engine, of.order === 2 ? `${name} (slice ${k})` : name, of))[dispose]();
    largest = Math.max(largest, ...seen.map((part) => part.largest));
    stacks = plain;
  }
  const exponent = exponentOf(largest);
  if (stacks && exponent) {
    const scaled = stacks.map(({ shape }) => tensorScope.allocate(shape, "slices"));
    await engine.run((s) => {
      for (const [index, x] of stacks!.entries()) scaleByPower(s, x, -exponent, { out: scaled[index]! });
    }, "PARAFAC2 slices");
    stacks = scaled;
  }
  if (!sources.size) return { stacks: [...stacks!], exponent };
  const marked = new Map<Parafac2Slice, Tensor>();
  await engine.run((s) => {
    for (const source of sources) {
      const { x } = source;
      const out = source.exponent === exponent ? x : tensorScope.allocate(x.shape, "known entries");
      if (out !== x) scaleMarked(s, x, source.exponent - exponent, out);
      marked.set(source, out);
    }
  }, "PARAFAC2 slices");
  return { stacks: stack(marked, stacks), exponent };
}

/** Tensors as f32 that can be copied from. */
async function floatsOf(
  engine: Engine,
  tensors: ReadonlySet<Tensor<DType>>,
  tensorScope: TensorScope,
): Promise<Map<Parafac2Slice, Tensor>> {
  const floats = new Map<Parafac2Slice, Tensor>();
  const copies: ((s: Scheduler) => void)[] = [];
  for (const x of tensors) {
    // a buffer of the host's need not allow copies
    if (holds(x, "f32") && x.storage.owner !== "host") {
      floats.set(x, x);
      continue;
    }
    const out = tensorScope.allocate(x.shape, x.label);
    floats.set(x, out);
    copies.push((s) => void (holds(x, "f32") ? copy(s, x, { out }) : toFloat(s, x, { out })));
  }
  if (copies.length)
    await engine.run((s) => {
      for (const record of copies) record(s);
    }, "PARAFAC2 slices");
  return floats;
}

/**
 * R_k with X_k = Q_k·R_k where slices are reduced, and X_k elsewhere, in the order of the slices: K×D×J, filled up with rows of zeros. `use` is recorded
 * with it.
 */
async function reducedOf(
  engine: Engine,
  groups: readonly Group[],
  shape: readonly [count: number, most: number, columns: number],
  tensorScope: TensorScope,
  use: (s: Scheduler, reduced: Tensor) => void,
): Promise<Tensor> {
  const [, most, columns] = shape;
  const label = "PARAFAC2 slices";
  const [first] = groups;
  if (groups.length === 1) {
    const only = first!.qr ? tensorScope.allocate(shape, "reduced slices") : first!.stack;
    await engine.run((s) => {
      first!.qr?.triangles(s, { out: only });
      use(s, only);
    }, label);
    return only;
  }
  const reduced = tensorScope.allocate(shape, "reduced slices");
  using temporary = new TensorScope(engine);
  const parts = groups.map(({ stack, qr }) =>
    qr ? temporary.allocate([stack.shape[0]!, columns, columns], "reduced slices") : stack,
  );
  await engine.run((s) => {
    for (const [index, { qr }] of groups.entries()) qr?.triangles(s, { out: parts[index]! });
  }, label);
  transfer(
    engine,
    groups.flatMap(({ places }, index) => {
      const from = parts[index]!;
      const size = from.size / places.length;
      return places.map((k, at) => ({ from, start: at * size, to: reduced, at: k * most * columns, size }));
    }),
  );
  await engine.run((s) => use(s, reduced), label);
  return reduced;
}

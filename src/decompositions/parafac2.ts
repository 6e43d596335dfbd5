import {
  checkOptions,
  type DType,
  dispose,
  type Engine,
  isList,
  type OptionRules,
  optionRules,
  type Program,
  type Scheduler,
  ShapeError,
  shown,
  TenfoldError,
  Tensor,
  type TensorData,
} from "../gpu/index.js";
import {
  accumulate,
  accumulateKnown,
  appendRow,
  batchMatmul,
  copy,
  fill,
  hadamard,
  kruskalToTensor,
  LINE_SEARCH_ERROR,
  LINE_SEARCH_START,
  lineSearchChoice,
  lineSearchSteps,
  lineSearchTake,
  matmul,
  multiply,
  normalizeColumns,
  orthogonalise,
  paste,
  polar,
  scale,
  scaleByPower,
  slice,
  squaredDistance,
  sum,
  sumOfSquares,
  uniform,
} from "../ops/index.js";
import { checkCall, exponentOf, knownEntries, Masked, Resident, resident, scaleMarked } from "../sources/index.js";
import { KruskalTensor, Parafac2Tensor } from "../tensors/index.js";
import { CpProblem } from "./cp.js";
import { canonicalKruskal, restoreKruskal, withStartFactor, zeroKruskal } from "./cpModels.js";
import { type CpUpdate, leastSquares } from "./cpUpdates.js";
import { Held } from "./held.js";
import { identityColumns } from "./identityColumns.js";
import {
  type Decomposition,
  iterate,
  type Scope,
  type StoppingOptions,
  type SweepMethod,
  seedAt,
  stoppingRules,
  type Told,
  type Trace,
} from "./iterate.js";
import { Stack } from "./stack.js";

const NAME = "parafac2";

export interface Parafac2Options extends StoppingOptions {
  /** R, the number of components: at most J, and at most the rows of every slice */
  rank: number;
  /**
   * `svd`, the default: C begins at the leading right singular vectors of all slices together, B at the identity, A at ones (Kiers, ten Berge &
   * Bro 1999); `random`: uniform random factors; or A (K×R), B (R×R) and C (J×R), row-major, as those of an earlier result
   */
  initialize?: "svd" | "random" | readonly TensorData[];
  /** runs this many starts, all but the first of them random, and keeps the best; 1 by default */
  starts?: number;
  seed?: number;
  /**
   * factors without a negative entry: A (mode 0), C (mode 2), or both (`true`). The evolving factors P_k·B cannot be held so by this method:
   * mode 1 is refused
   */
  nonnegative?: boolean | readonly number[];
}

const rules: OptionRules<Parafac2Options> = {
  rank: { ...optionRules.positive, required: true },
  initialize: {
    needs: 'one of "svd", "random", or a list of A, B and C',
    is: (value) => value === "svd" || value === "random" || (isList(value) && value.length === 3),
  },
  starts: optionRules.positive,
  seed: optionRules.seed,
  nonnegative: {
    needs: "true, or a list of 0 (A) and 2 (C)",
    is: (value) =>
      typeof value === "boolean" || (isList(value) && [...value].every((mode) => mode === 0 || mode === 2)),
  },
  ...stoppingRules,
};

/** A slice, or all of them in one: a tensor, or a source of one with missing entries, as `masked` makes it. */
export type Parafac2Slice = Tensor<DType> | Masked;

/** A PARAFAC2 model and how it was reached. */
export interface Parafac2Decomposition extends Decomposition<Parafac2Tensor> {
  /** ‖X_k − X̂_k‖ / ‖X_k‖ of every slice, 0 of a slice of zeros */
  sliceErrors: number[];
}

/** those of A, B and C */
const MODES = [0, 1, 2];
/** sweeps over A, B and C for one set of projections */
const INNER_SWEEPS = 5;
/** slices whose results are recorded together */
const TOGETHER = 32;

/**
 * PARAFAC2 of slices X_k (I_k×J), which need not have as many rows: X_k ≈ P_k·B·diag(λ ∘ a_k)·Cᵀ, by the direct fitting algorithm (Kiers, ten
 * Berge & Bro 1999). Slices of more rows than columns are first reduced to J×J, which loses nothing. An iteration sweeps over A, B and C for the
 * projected slices, and then searches along the line on which iterations move them: it goes further, with new projections, which are polar factors;
 * where the sweeps ended, with the present ones, if that has the smaller error; or nowhere, where both make the error larger.
 *
 * `slices` is a list of matrices, or one tensor K×I×J. Where entries are missing, they are sources that `masked` makes, or one of a tensor K×I×J; a list
 * may have both. Missing entries are the model's after every iteration (expectation maximisation, Kiers 1997), errors are of the others, and slices
 * are not reduced then.
 *
 * @throws ShapeError where slices differ in J, or one has fewer rows or columns than the rank
 */
export async function parafac2(
  engine: Engine,
  slices: readonly Parafac2Slice[] | Parafac2Slice,
  options: Parafac2Options,
): Promise<Parafac2Decomposition> {
  for (const slice of isList(slices) ? slices : [slices]) checkCall(engine, NAME, slice as Tensor);
  const isTaken = (slice: unknown): boolean => slice instanceof Tensor || slice instanceof Masked;
  if (isList(slices) ? !(slices.length && slices.every(isTaken)) : !isTaken(slices))
    throw new TenfoldError(`${NAME}: slices are ${shown(slices)}, needs a list of matrices or one tensor K×I×J`);
  checkOptions(NAME, options, rules);
  using held = new Held(engine);
  const data = await Slices.create(engine, slices, options.rank, held);
  const { seed = 0, starts, sweeps, tolerance, onIteration, signal, sweepsPerSubmit } = options;
  const update = await updateOf(options.nonnegative, options.rank);
  const result = await iterate<Parafac2Tensor>(data.reduced, {
    name: NAME,
    stopping: { sweeps, tolerance, onIteration, signal, sweepsPerSubmit },
    starts,
    seed,
    zero: () => zeroModel(data, options.rank),
    begin: (scope) => new Parafac2Method(scope, data, options, update),
  });
  using results = new Held(engine);
  results.keep(result.tensor);
  const sliceErrors = await data.errorsOf(result.tensor);
  return results.handOut({ ...result, sliceErrors });
}

async function updateOf(nonnegative: Parafac2Options["nonnegative"], rank: number): Promise<CpUpdate> {
  const modes = nonnegative === true ? [0, 2] : nonnegative || [];
  if (!modes.length) return leastSquares();
  const { constrained } = await import("./cpConstraints.js");
  const constraints = new Map(modes.map((mode) => [mode, "nonnegative"] as const));
  return constrained(NAME, { shape: [0, 0, 0] }, rank, constraints, leastSquares());
}

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

/** A slice as a tensor of floats, times 2^−exponent; missing entries are marked where `known` counts the others. */
interface Part {
  x: Tensor;
  exponent: number;
  largest: number;
  known?: number;
}

/** What the slices are to the solver: checked, scaled by one power of two, and reduced to at most J rows each where no entry is missing. */
class Slices {
  private constructor(
    readonly engine: Engine,
    /** X_k·2^−exponent, I_k×J; missing entries are marked */
    readonly scaled: readonly Tensor[],
    /** ‖X_k·2^−exponent‖², of known entries */
    readonly squaredNorms: readonly number[],
    /** Y_k, with rows of zeros up to the most rows of all: K×D×J. It is Q_kᵀ·X_k, or X_k with its missing entries as a model has them */
    readonly reduced: SlicesSource,
    /** rows of Y_k that are in use, [K] */
    readonly heights: Tensor<"u32">,
    /** where entries are missing: the X_k as the Y_k lie, missing entries marked */
    readonly marked: Tensor | null,
  ) {}

  static async create(
    engine: Engine,
    slices: readonly Parafac2Slice[] | Parafac2Slice,
    rank: number,
    held: Held,
  ): Promise<Slices> {
    const list = isList(slices) ? slices : null;
    for (const [k, slice] of (list ?? []).entries()) checkSlice(slice, k, list![0]!, rank);
    const parts = list ? await partsOf(engine, list, held) : await partsOfTensor(engine, slices as Parafac2Slice, held);
    if (!list) checkSlice(parts[0]!.x, 0, parts[0]!.x, rank);
    const columns = parts[0]!.x.shape[1]!;
    if (columns < rank)
      throw new ShapeError(`${NAME}: rank ${rank} of slices with ${columns} columns, needs 1 to ${columns}`);
    const exponent = exponentOf(Math.max(...parts.map((slice) => slice.largest * 2 ** slice.exponent)));
    const hasHoles = parts.some((part) => part.known !== undefined);
    const scaled = parts.map((part, k) =>
      part.exponent === exponent ? part.x : held.allocate(part.x.shape, `slice ${k}`),
    );
    const heights = scaled.map(({ shape }) => (hasHoles ? shape[0]! : Math.min(shape[0]!, columns)));
    const most = Math.max(...heights);
    const shape = [parts.length, most, columns];
    const reduced = held.allocate(shape, "reduced slices");
    const marked = hasHoles ? held.allocate(shape, "known entries") : null;
    const norms = held.allocate([parts.length], "squared norms");
    await inBatches(parts.length, async (first, stop) => {
      await engine.run((s) => {
        for (let k = first; k < stop; k++) {
          const { x, exponent: present, known } = parts[k]!;
          if (present !== exponent && known !== undefined) scaleMarked(s, x, present - exponent, scaled[k]!);
          else if (present !== exponent) scaleByPower(s, x, present - exponent, { out: scaled[k]! });
          const low = scaled[k]!.shape[0]! > columns && !hasHoles ? orthogonalise(s, scaled[k]!) : null;
          const part = low?.r ?? scaled[k]!;
          paste(s, part.reshape([1, ...part.shape]), marked ?? reduced, [k, 0, 0]);
          if (low) s.release(low.q, low.r);
        }
      }, "PARAFAC2 slices");
    });
    await engine.run((s) => {
      if (marked) knownEntries(s, marked, reduced);
      const squares = multiply(s, reduced, reduced).reshape([parts.length, most * columns]);
      sum(s, squares, { axis: 1, out: norms });
    }, "PARAFAC2 norms");
    const squaredNorms = [...(await engine.read(norms))];
    const squaredNorm = squaredNorms.reduce((total, square) => total + square, 0);
    const facts = { exponent, squaredNorm, largest: 1, isZero: squaredNorm === 0 };
    const known = parts.reduce((total, part) => total + (part.known ?? part.x.size), 0);
    const source = new SlicesSource(reduced, facts, hasHoles ? known : undefined);
    const counts = held.keep(engine.tensor([parts.length], Uint32Array.from(heights), { label: "heights" }));
    return new Slices(engine, scaled, squaredNorms, source, counts, marked);
  }

  get columns(): number {
    return this.reduced.shape[2]!;
  }

  /** Whether slice k was reduced to J rows. */
  isReduced(k: number): boolean {
    return !this.marked && this.scaled[k]!.shape[0]! > this.columns;
  }

  /** Records Σ of the squares of x − x̂ at known entries. What is known of x̂ is lost where entries are missing. */
  squaredError(s: Scheduler, x: Tensor, model: Tensor, out: Tensor): void {
    if (!this.marked) return void squaredDistance(s, x, model, { out });
    accumulateKnown(s, x, model, { alpha: 1, beta: -1, gamma: 0 });
    sumOfSquares(s, model, { out });
  }

  /** ‖X_k − X̂_k‖ / ‖X_k‖ of a model of the X_k themselves. */
  async errorsOf(model: Parafac2Tensor): Promise<number[]> {
    const { engine, scaled, reduced, squaredNorms } = this;
    const squares = scaled.map((_, k) => engine.tensor([1], null, { label: `error ${k}` }));
    using held = new Held(engine);
    for (const square of squares) held.keep(square);
    await inBatches(scaled.length, async (first, stop) => {
      await engine.run((s) => {
        for (let k = first; k < stop; k++) {
          const full = model.full(s, k);
          const down = reduced.exponent ? scaleByPower(s, full, -reduced.exponent) : full;
          this.squaredError(s, scaled[k]!, down, squares[k]!);
          s.release(full);
          if (down !== full) s.release(down);
        }
      }, "PARAFAC2 errors");
    });
    const read = await engine.read(squares);
    return read.map((square, k) => (squaredNorms[k] ? Math.sqrt(square[0]! / squaredNorms[k]!) : 0));
  }
}

function checkSlice(slice: Parafac2Slice, k: number, first: Parafac2Slice, rank: number): void {
  const columns = first.shape[1];
  if (slice.order !== 2 || slice.shape[1] !== columns)
    throw new ShapeError(`${NAME}: slice ${k} is ${slice}, slice 0 has ${columns} columns; all need as many`);
  if (slice.shape[0]! < rank)
    throw new ShapeError(
      `${NAME}: slice ${k} has ${slice.shape[0]} rows, needs at least the rank ${rank}; leave it out or take a smaller rank`,
    );
}

async function partsOf(engine: Engine, slices: readonly Parafac2Slice[], held: Held): Promise<Part[]> {
  const parts: Part[] = [];
  for (const [k, slice] of slices.entries()) parts.push(await partOf(engine, `${NAME} (slice ${k})`, slice, held));
  return parts;
}

async function partOf(engine: Engine, name: string, slice: Parafac2Slice, held: Held): Promise<Part> {
  if (slice instanceof Masked) return slice;
  const source = await resident(engine, name, slice);
  held.keep({ destroy: () => source[dispose]() });
  return { x: source.x, exponent: source.exponent, largest: source.largest };
}

/** The slices of a tensor K×I×J as matrices. */
async function partsOfTensor(engine: Engine, x: Parafac2Slice, held: Held): Promise<Part[]> {
  if (x.order !== 3) throw new ShapeError(`${NAME}: ${x} has order ${x.order}, needs K×I×J or a list of matrices`);
  const [count, rows, columns] = x.shape as [number, number, number];
  const all = await partOf(engine, NAME, x, held);
  const matrices = Array.from({ length: count }, (_, k) => held.allocate([rows, columns], `slice ${k}`));
  await inBatches(count, async (first, stop) => {
    await engine.run((s) => {
      for (let k = first; k < stop; k++)
        slice(s, all.x, [k, 0, 0], [1, rows, columns], { out: matrices[k]!.reshape([1, rows, columns]) });
    }, "PARAFAC2 slices");
  });
  const { exponent, largest, known } = all;
  // how many entries are known is counted once: by the first slice
  return matrices.map((matrix, k) => ({
    ...{ x: matrix, exponent, largest },
    ...(known !== undefined && { known: k ? 0 : known }),
  }));
}

async function inBatches(count: number, record: (first: number, stop: number) => Promise<void>): Promise<void> {
  for (let first = 0; first < count; first += TOGETHER) await record(first, Math.min(count, first + TOGETHER));
}

/** PARAFAC2 as a method of `iterate`. The K×R×J tensor of projected slices is what a `CpProblem` sweeps over. */
class Parafac2Method implements SweepMethod<Parafac2Tensor> {
  readonly columns = LINE_SEARCH_START.length;
  readonly advice: string;
  readonly #cp: CpProblem;
  readonly #stack: Stack;
  /** the factors as the sweeps of an iteration leave them: columns of norm 1 */
  readonly #fresh: Tensor;
  /** the best factors, λ in A, and their P_k one below the other, K×D×R */
  readonly #factors: Tensor;
  readonly #projections: Tensor;
  /** the two steps of the line search: λ is in A. The plain one has the best projections, the further one its own */
  readonly #plain: Tensor;
  readonly #further: Tensor;
  readonly #furtherProjections: Tensor;
  /** what `polar` goes on from, K×R×R */
  readonly #rotation: Tensor;
  readonly #errors: { plain: Tensor; further: Tensor };
  readonly #state: Tensor;
  /** P_kᵀ·Y_k of the best factors */
  readonly #projected: Tensor;

  constructor(
    readonly scope: Scope,
    readonly data: Slices,
    readonly options: Parafac2Options,
    readonly update: CpUpdate,
  ) {
    const { allocate, engine } = scope;
    const { rank } = options;
    const [count, most, columns] = data.reduced.shape as [number, number, number];
    this.advice = update.advice;
    this.#projected = allocate([count, rank, columns], "projected slices");
    const { squaredNorm } = data.reduced;
    const inner = new Resident(this.#projected, { exponent: 0, squaredNorm, largest: 1, isZero: false });
    this.#stack = new Stack(
      [
        [count, rank],
        [rank, rank],
        [columns, rank],
      ],
      [0, 2, 1],
    );
    const { size } = this.#stack;
    this.#plain = allocate([size], "plain step");
    this.#further = allocate([size], "further step");
    this.#furtherProjections = allocate([count, most, rank], "projections of the further step");
    this.#rotation = allocate([count, rank, rank], "rotations");
    this.#errors = { plain: allocate([1], "plain error"), further: allocate([1], "further error") };
    this.#fresh = allocate([size], "new factors");
    this.#factors = allocate([size], "best factors");
    this.#projections = allocate([count, most, rank], "best projections");
    this.#state = allocate([LINE_SEARCH_START.length], "line search");
    const stacked = { stack: this.#stack, tensor: this.#fresh };
    this.#cp = new CpProblem(NAME, { ...scope, engine, source: inner }, rank, update, stacked);
  }

  async start(index: number): Promise<undefined> {
    const { engine } = this.scope;
    const { rank, initialize = "svd", seed = 0, signal } = this.options;
    const startSeed = seedAt(seed, index);
    const { reduced } = this.data;
    const begin = (mode: number) => this.#stack.of(this.#factors, mode);
    engine.write(this.#state, [...LINE_SEARCH_START]);
    engine.write(this.#rotation, new Float32Array(this.#rotation.size));
    const isBySvd = index === 0 && initialize === "svd";
    const known = index === 0 && typeof initialize !== "string" ? initialize : null;
    await engine.run((s) => {
      // missing entries are 0 until there is a model
      if (this.data.marked) knownEntries(s, this.data.marked, reduced.x);
      fill(s, this.#factors, 0);
      for (const mode of [0, 1, 2])
        if (isBySvd && mode === 0) fill(s, begin(mode), 1);
        else uniform(s, begin(mode).shape, { seed: startSeed, stream: mode, out: begin(mode) });
    }, "PARAFAC2 start");
    if (isBySvd) {
      const unit = new Float32Array(rank * rank);
      for (let r = 0; r < rank; r++) unit[r * rank + r] = 1;
      engine.write(begin(1), unit);
      await withStartFactor(reduced, "hosvd", { mode: 2, rank, seed: startSeed, signal }, (s, start) => {
        copy(s, start, { out: begin(2) });
      });
    }
    for (const [mode, factor] of (known ?? []).entries()) engine.write(begin(mode), factor);
    const { prepare } = this.update;
    if (prepare) {
      const values = await engine.read([0, 1, 2].map(begin));
      for (const [mode, factor] of values.entries()) {
        prepare(factor, rank, mode);
        engine.write(begin(mode), factor);
      }
    }
    // as large as X, so that results scale with X: updates hold on a little to where they begin
    const unit = 2 ** Math.round(Math.log2(reduced.squaredNorm) / 2);
    await engine.run((s) => {
      const scaled = scale(s, begin(0), { alpha: unit });
      copy(s, scaled, { out: begin(0) });
      copy(s, this.#factors, { out: this.#plain });
      const products = this.#products(s, this.#factors);
      this.#project(s, products, this.#projections);
      s.release(scaled, products);
      this.#begin(s);
    }, "PARAFAC2 start");
    return undefined;
  }

  record(p: Program, { rows, counter }: Trace): void {
    const { s } = p;
    for (let sweep = 0; sweep < INNER_SWEEPS; sweep++) this.#cp.record(p, null, false);
    const [plain, further] = [this.#plain, this.#further];
    const state = this.#state;
    lineSearchSteps(s, {
      fresh: this.#fresh,
      scaled: { weights: this.#cp.model.weights, range: this.#stack.rangeOf([0]) },
      clip: this.#stack.rangeOf([...(this.update.oneSigned ?? [])]),
      state,
      plain,
      further,
    });
    const plainProducts = this.#products(s, plain);
    this.#recordError(s, this.#projections, plainProducts, this.#errors.plain);
    s.release(plainProducts);
    const furtherProducts = this.#products(s, further);
    this.#project(s, furtherProducts, this.#furtherProjections);
    this.#recordError(s, this.#furtherProjections, furtherProducts, this.#errors.further);
    s.release(furtherProducts);
    lineSearchChoice(s, this.#errors, state);
    lineSearchTake(s, "plain", plain, state, this.#factors);
    lineSearchTake(s, "further", further, state, this.#factors);
    lineSearchTake(s, "further", this.#furtherProjections, state, this.#projections);
    this.#fillMissing(s);
    this.#begin(s);
    appendRow(s, this.#state, rows, counter);
  }

  /** Records the missing entries of the Y_k as the best factors have them. */
  #fillMissing(s: Scheduler): void {
    const { marked, reduced } = this.data;
    if (!marked) return;
    const products = this.#products(s, this.#factors);
    batchMatmul(s, this.#projections, products, { out: reduced.x });
    accumulateKnown(s, marked, reduced.x, { alpha: 1, beta: 0, gamma: 1 });
    s.release(products);
  }

  /** Records what sweeps begin from: the projected slices, and the best factors in place of those of the `CpProblem`. */
  #begin(s: Scheduler): void {
    batchMatmul(s, this.#projections, this.data.reduced.x, { transposeA: true, out: this.#projected });
    this.#cp.placeAll(s, this.#factors, MODES);
  }

  /** Records M_k = B·diag(a_k)·Cᵀ of a step, K×R×J. */
  #products(s: Scheduler, step: Tensor): Tensor {
    const factors = MODES.map((mode) => this.#stack.of(step, mode));
    return kruskalToTensor(s, null, factors);
  }

  /** Records the P_k that are best for M_k: the polar factors of Y_k·M_kᵀ. */
  #project(s: Scheduler, products: Tensor, out: Tensor): void {
    const { reduced, heights } = this.data;
    const z = batchMatmul(s, reduced.x, products, { transposeB: true });
    polar(s, z, heights, { rotation: this.#rotation, out });
    s.release(z);
  }

  /** Records Σ‖X_k − P_k·M_k‖² of known entries. */
  #recordError(s: Scheduler, projections: Tensor, products: Tensor, out: Tensor): void {
    const full = batchMatmul(s, projections, products);
    this.data.squaredError(s, this.data.marked ?? this.data.reduced.x, full, out);
    s.release(full);
  }

  errorOf(row: Float32Array): Told {
    return { fromResidual: Math.sqrt(row[LINE_SEARCH_ERROR]! / this.data.reduced.squaredNorm) };
  }

  /** The best factors in canonical order and signs, and their projections, of the slices themselves. */
  async finish(): Promise<Parafac2Tensor> {
    const { engine } = this.scope;
    const { scaled } = this.data;
    const { rank } = this.options;
    using held = new Held(engine);
    const weights = held.allocate([rank], "weights");
    const factors = [0, 1, 2].map((mode) => held.allocate([...this.#stack.shapes[mode]!], `factor ${mode}`));
    await engine.run((s) => {
      const norms = factors.map(
        (factor, mode) => normalizeColumns(s, this.#stack.of(this.#factors, mode), { out: factor }).norms,
      );
      hadamard(s, hadamard(s, norms[0]!, norms[1]!), norms[2]!, { out: weights });
    }, "PARAFAC2 result");
    using result = new Held(engine);
    const model = result.keep(
      await canonicalKruskal(new KruskalTensor(weights, factors), { oneSigned: this.#oneSigned }),
    );
    const [a, b, c] = model.factors as [Tensor, Tensor, Tensor];
    const [count, most, columns] = this.data.reduced.shape as [number, number, number];
    const all = this.#projections.reshape([count * most, rank]);
    const projections = scaled.map((x, k) => result.allocate([x.shape[0]!, rank], `projection ${k}`));
    await inBatches(scaled.length, async (first, stop) => {
      await engine.run((s) => {
        for (let k = first; k < stop; k++) {
          const isReduced = this.data.isReduced(k);
          const height = isReduced ? columns : scaled[k]!.shape[0]!;
          const part = slice(s, all, [k * most, 0], [height, rank]);
          const low = isReduced ? orthogonalise(s, scaled[k]!) : null;
          // terms in another order, or of another sign, are columns of B in another order, or of another sign: P_k stays
          if (low) {
            matmul(s, low.q, part, { out: projections[k]! });
            s.release(low.q, low.r);
          } else copy(s, part, { out: projections[k]! });
          s.release(part);
        }
      }, "PARAFAC2 projections");
    });
    return result.handOut(new Parafac2Tensor(model.weights, [a, b, c], projections));
  }

  /** A column of B makes up for signs where A and C may have none. */
  get #oneSigned(): ReadonlySet<number> {
    return this.update.oneSigned ?? new Set([2]);
  }

  residual({ s }: Program, tensor: Parafac2Tensor, out: Tensor): void {
    const { scaled } = this.data;
    fill(s, out, 0);
    for (const [k, x] of scaled.entries()) {
      const full = tensor.full(s, k);
      const squared = s.tensor([1], { label: "squared error" });
      this.data.squaredError(s, x, full, squared);
      accumulate(s, squared, out);
      s.release(full, squared);
    }
  }

  async restore(tensor: Parafac2Tensor, exponent: number): Promise<Parafac2Tensor> {
    const { weights } = await restoreKruskal(NAME, new KruskalTensor(tensor.weights, tensor.factors), exponent);
    return new Parafac2Tensor(weights, tensor.factors, tensor.projections);
  }
}

/** The model of slices of zeros. */
function zeroModel({ engine, scaled, columns }: Slices, rank: number): Parafac2Tensor {
  const model = zeroKruskal(engine, [scaled.length, rank, columns], rank);
  const projections = scaled.map((x, k) => identityColumns(engine, x.shape[0]!, rank, `projection ${k}`));
  return new Parafac2Tensor(model.weights, model.factors as unknown as [Tensor, Tensor, Tensor], projections);
}

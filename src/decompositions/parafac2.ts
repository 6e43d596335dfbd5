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
  appendRow,
  batchMatmul,
  copy,
  fill,
  hadamard,
  kruskalToTensor,
  MOMENTUM_START,
  matmul,
  momentum,
  multiply,
  normalizeColumns,
  orthogonalise,
  paste,
  polar,
  scale,
  scaleByPower,
  scaleColumns,
  slice,
  squaredDistance,
  sum,
  uniform,
} from "../ops/index.js";
import { checkCall, exponentOf, Resident, resident } from "../sources/index.js";
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
 * Berge & Bro 1999). Slices of more rows than columns are first reduced to J×J, which loses nothing. An iteration takes the projections P_k from
 * polar factors, sweeps over A, B and C for the projected slices, and extrapolates, taking back what made the error larger (Ang & Gillis 2019).
 *
 * `slices` is a list of matrices, or one tensor K×I×J.
 *
 * @throws ShapeError where slices differ in J, or one has fewer rows or columns than the rank
 */
export async function parafac2(
  engine: Engine,
  slices: readonly Tensor<DType>[] | Tensor<DType>,
  options: Parafac2Options,
): Promise<Parafac2Decomposition> {
  for (const slice of isList(slices) ? slices : [slices]) checkCall(engine, NAME, slice as Tensor);
  if (isList(slices) ? !slices.length : !(slices instanceof Tensor))
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

/** What the slices are to the solver: checked, scaled by one power of two, and reduced to at most J rows each. */
class Slices {
  private constructor(
    readonly engine: Engine,
    /** X_k·2^−exponent, I_k×J */
    readonly scaled: readonly Tensor[],
    /** ‖X_k·2^−exponent‖² */
    readonly squaredNorms: readonly number[],
    /** Y_k = Q_kᵀ·X_k, with rows of zeros up to the most rows of all: K×D×J */
    readonly reduced: Resident,
    /** rows of Y_k that are in use, [K] */
    readonly heights: Tensor<"u32">,
  ) {}

  static async create(
    engine: Engine,
    slices: readonly Tensor<DType>[] | Tensor<DType>,
    rank: number,
    held: Held,
  ): Promise<Slices> {
    const { parts, power } =
      slices instanceof Tensor ? await partsOf(engine, slices, held) : { parts: slices, power: 0 };
    const columns = parts[0]!.shape[1]!;
    for (const [k, part] of parts.entries()) {
      if (part.order !== 2 || part.shape[1] !== columns)
        throw new ShapeError(`${NAME}: slice ${k} is ${part}, slice 0 has ${columns} columns; all need as many`);
      if (part.shape[0]! < rank)
        throw new ShapeError(
          `${NAME}: slice ${k} has ${part.shape[0]} rows, needs at least the rank ${rank}; leave it out or take a smaller rank`,
        );
    }
    if (columns < rank)
      throw new ShapeError(`${NAME}: rank ${rank} of slices with ${columns} columns, needs 1 to ${columns}`);
    const floats: { x: Tensor; exponent: number; largest: number; squaredNorm: number }[] = [];
    for (const [k, part] of parts.entries()) {
      const source = await resident(engine, `${NAME} (slice ${k})`, part);
      held.keep({ destroy: () => source[dispose]() });
      floats.push(source);
    }
    // of the parts: those of one tensor were divided by 2^power together
    const exponent = exponentOf(Math.max(...floats.map((slice) => slice.largest * 2 ** slice.exponent)));
    const scaled = floats.map((slice, k) =>
      slice.exponent === exponent ? slice.x : held.allocate(slice.x.shape, `slice ${k}`),
    );
    const heights = parts.map((part) => Math.min(part.shape[0]!, columns));
    const most = Math.max(...heights);
    const reduced = held.allocate([parts.length, most, columns], "reduced slices");
    const norms = held.allocate([parts.length], "squared norms");
    await inBatches(parts.length, async (first, stop) => {
      await engine.run((s) => {
        for (let k = first; k < stop; k++) {
          const { x, exponent: present } = floats[k]!;
          if (present !== exponent) scaleByPower(s, x, present - exponent, { out: scaled[k]! });
          const low = scaled[k]!.shape[0]! > columns ? orthogonalise(s, scaled[k]!) : null;
          const part = low?.r ?? scaled[k]!;
          paste(s, part.reshape([1, ...part.shape]), reduced, [k, 0, 0]);
          if (low) s.release(low.q, low.r);
        }
      }, "PARAFAC2 slices");
    });
    await engine.run((s) => {
      const squares = multiply(s, reduced, reduced).reshape([parts.length, most * columns]);
      sum(s, squares, { axis: 1, out: norms });
    }, "PARAFAC2 norms");
    const squaredNorms = [...(await engine.read(norms))];
    const squaredNorm = squaredNorms.reduce((total, square) => total + square, 0);
    const facts = { exponent: exponent + power, squaredNorm, largest: 1, isZero: squaredNorm === 0 };
    const counts = held.keep(engine.tensor([parts.length], Uint32Array.from(heights), { label: "heights" }));
    return new Slices(engine, scaled, squaredNorms, new Resident(reduced, facts), counts);
  }

  get columns(): number {
    return this.reduced.shape[2]!;
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
          squaredDistance(s, scaled[k]!, down, { out: squares[k]! });
          s.release(full);
          if (down !== full) s.release(down);
        }
      }, "PARAFAC2 errors");
    });
    const read = await engine.read(squares);
    return read.map((square, k) => (squaredNorms[k] ? Math.sqrt(square[0]! / squaredNorms[k]!) : 0));
  }
}

/** The slices of a tensor K×I×J as matrices, all of them divided by 2^power. */
async function partsOf(
  engine: Engine,
  x: Tensor<DType>,
  held: Held,
): Promise<{ parts: readonly Tensor[]; power: number }> {
  if (x.order !== 3) throw new ShapeError(`${NAME}: ${x} has order ${x.order}, needs K×I×J or a list of matrices`);
  const [count, rows, columns] = x.shape as [number, number, number];
  const source = await resident(engine, NAME, x);
  held.keep({ destroy: () => source[dispose]() });
  const parts = Array.from({ length: count }, (_, k) => held.allocate([rows, columns], `slice ${k}`));
  await inBatches(count, async (first, stop) => {
    await engine.run((s) => {
      for (let k = first; k < stop; k++) {
        slice(s, source.x, [k, 0, 0], [1, rows, columns], { out: parts[k]!.reshape([1, rows, columns]) });
      }
    }, "PARAFAC2 slices");
  });
  return { parts, power: source.exponent };
}

async function inBatches(count: number, record: (first: number, stop: number) => Promise<void>): Promise<void> {
  for (let first = 0; first < count; first += TOGETHER) await record(first, Math.min(count, first + TOGETHER));
}

/** PARAFAC2 as a method of `iterate`. The K×R×J tensor of projected slices is what a `CpProblem` sweeps over. */
class Parafac2Method implements SweepMethod<Parafac2Tensor> {
  readonly columns = MOMENTUM_START.length;
  readonly advice: string;
  readonly #cp: CpProblem;
  readonly #stack: Stack;
  /** the factors after the last sweeps, the best ones, and those from which the next sweeps begin: λ is in A */
  readonly #fresh: Tensor;
  readonly #accepted: Tensor;
  readonly #next: Tensor;
  readonly #momentum: Tensor;
  readonly #error: Tensor;
  /** P_k of the last sweeps, and those of the best factors one below the other: behind the factors */
  readonly #projections: Tensor;
  readonly #best: Tensor;
  readonly #rotation: Tensor;
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
    this.#rotation = allocate([count, rank, rank], "rotations");
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
    const length = size + count * most * rank;
    [this.#fresh, this.#accepted] = [allocate([length], "new model"), allocate([length], "best model")];
    this.#next = allocate([size], "next factors");
    const stacked = { stack: this.#stack, tensor: this.#fresh };
    this.#cp = new CpProblem(NAME, { ...scope, engine, source: inner }, rank, update, stacked);
    this.#projections = this.#fresh.rows(size, length).reshape([count, most, rank]);
    this.#best = this.#accepted.rows(size, length).reshape([count * most, rank]);
    this.#momentum = allocate([MOMENTUM_START.length], "momentum");
    this.#error = allocate([1], "error");
  }

  async start(index: number): Promise<undefined> {
    const { engine } = this.scope;
    const { rank, initialize = "svd", seed = 0, signal } = this.options;
    const startSeed = seedAt(seed, index);
    const { reduced } = this.data;
    const next = (mode: number) => this.#stack.of(this.#next, mode);
    engine.write(this.#momentum, [...MOMENTUM_START]);
    engine.write(this.#rotation, new Float32Array(this.#rotation.size));
    const isBySvd = index === 0 && initialize === "svd";
    const known = index === 0 && typeof initialize !== "string" ? initialize : null;
    await engine.run((s) => {
      fill(s, this.#next, 0);
      for (const mode of [0, 1, 2])
        if (isBySvd && mode === 0) fill(s, next(mode), 1);
        else uniform(s, next(mode).shape, { seed: startSeed, stream: mode, out: next(mode) });
    }, "PARAFAC2 start");
    if (isBySvd) {
      const unit = new Float32Array(rank * rank);
      for (let r = 0; r < rank; r++) unit[r * rank + r] = 1;
      engine.write(next(1), unit);
      await withStartFactor(reduced, "hosvd", { mode: 2, rank, seed: startSeed, signal }, (s, start) => {
        copy(s, start, { out: next(2) });
      });
    }
    for (const [mode, factor] of (known ?? []).entries()) engine.write(next(mode), factor);
    const { prepare } = this.update;
    if (prepare) {
      const values = await engine.read([0, 1, 2].map(next));
      for (const [mode, factor] of values.entries()) {
        prepare(factor, rank, mode);
        engine.write(next(mode), factor);
      }
    }
    // as large as X, so that results scale with X: updates hold on a little to where they begin
    const unit = 2 ** Math.round(Math.log2(reduced.squaredNorm) / 2);
    await engine.run((s) => {
      this.#cp.placeAll(s, this.#next, MODES);
      const { weights } = this.#cp.model;
      const scaled = scale(s, weights, { alpha: unit });
      copy(s, scaled, { out: weights });
      s.release(scaled);
    }, "PARAFAC2 start");
    return undefined;
  }

  record(p: Program, { rows, counter }: Trace): void {
    const { s } = p;
    const { weights, factors } = this.#cp.model;
    this.#project(s);
    for (let sweep = 0; sweep < INNER_SWEEPS; sweep++) this.#cp.record(p, null, false);
    const model = kruskalToTensor(s, weights, factors);
    const full = batchMatmul(s, this.#projections, model);
    squaredDistance(s, this.data.reduced.x, full, { out: this.#error });
    s.release(model, full);
    momentum(s, {
      fresh: this.#fresh,
      error: this.#error,
      accepted: this.#accepted,
      next: this.#next,
      state: this.#momentum,
      clip: this.#stack.rangeOf([...(this.update.oneSigned ?? [])]),
      scaled: { weights, range: this.#stack.rangeOf([0]) },
    });
    this.#cp.placeAll(s, this.#next, MODES);
    appendRow(s, this.#momentum, rows, counter);
  }

  /** Records P_k, the polar factors of Y_k·C·diag(λ ∘ a_k)·Bᵀ, and P_kᵀ·Y_k. */
  #project(s: Scheduler): void {
    const { weights, factors } = this.#cp.model;
    const { x } = this.data.reduced;
    const [count, most, columns] = x.shape as [number, number, number];
    const rank = weights.size;
    const [a, b, c] = factors as [Tensor, Tensor, Tensor];
    const scaled = scaleColumns(s, c, weights);
    const along = matmul(s, x.reshape([count * most, columns]), scaled);
    const weighted = multiply(s, along.reshape([count, most, rank]), a.reshape([count, 1, rank]));
    const z = matmul(s, weighted.reshape([count * most, rank]), b, { transposeB: true });
    polar(s, z.reshape([count, most, rank]), this.data.heights, { rotation: this.#rotation, out: this.#projections });
    batchMatmul(s, this.#projections, x, { transposeA: true, out: this.#projected });
    s.release(scaled, along, weighted, z);
  }

  errorOf(row: Float32Array): Told {
    return { fromResidual: Math.sqrt(row[2]! / this.data.reduced.squaredNorm) };
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
        (factor, mode) => normalizeColumns(s, this.#stack.of(this.#accepted, mode), { out: factor }).norms,
      );
      hadamard(s, hadamard(s, norms[0]!, norms[1]!), norms[2]!, { out: weights });
    }, "PARAFAC2 result");
    using result = new Held(engine);
    const model = result.keep(await canonicalKruskal(new KruskalTensor(weights, factors), new Set(), this.#oneSigned));
    const [a, b, c] = model.factors as [Tensor, Tensor, Tensor];
    const [, most, columns] = this.data.reduced.shape as [number, number, number];
    const projections = scaled.map((x, k) => result.allocate([x.shape[0]!, rank], `projection ${k}`));
    await inBatches(scaled.length, async (first, stop) => {
      await engine.run((s) => {
        for (let k = first; k < stop; k++) {
          const height = Math.min(scaled[k]!.shape[0]!, columns);
          const part = slice(s, this.#best, [k * most, 0], [height, rank]);
          const low = scaled[k]!.shape[0]! > columns ? orthogonalise(s, scaled[k]!) : null;
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
      const squared = squaredDistance(s, x, full);
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

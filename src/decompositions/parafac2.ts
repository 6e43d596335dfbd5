import {
  checkOptions,
  type Engine,
  elementsOf,
  isList,
  type OptionRules,
  optionRules,
  type Program,
  type Scheduler,
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
  cpSweeps,
  fill,
  fusesSweeps,
  hadamard,
  kruskalResidual,
  kruskalToTensor,
  LINE_SEARCH_ERROR,
  LINE_SEARCH_START,
  lineSearchChoice,
  lineSearchSteps,
  lineSearchTake,
  normalizeColumns,
  polar,
  scale,
  squaredDistance,
  uniform,
} from "../ops/index.js";
import { checkCall, knownEntries, Masked, Resident } from "../sources/index.js";
import { KruskalTensor, Parafac2Tensor } from "../tensors/index.js";
import { canonicalKruskal } from "./canonicalKruskal.js";
import { type CheckpointOptions, checkpointRules } from "./checkpointOptions.js";
import { CpProblem } from "./cp.js";
import { restoreKruskal } from "./cpModels.js";
import { type CpUpdate, leastSquares, PROXIMAL } from "./cpUpdates.js";
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
  takesMasked,
} from "./iterate.js";
import { type Parafac2Slice, Slices } from "./parafac2Slices.js";
import { Stack } from "./stack.js";
import { withStartFactor } from "./startFactor.js";
import { TensorScope } from "./tensorScope.js";
import { zeroKruskal } from "./zeroKruskal.js";

const NAME = "parafac2";

export interface Parafac2Options extends StoppingOptions, CheckpointOptions {
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
  ...checkpointRules,
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
  checkOptions(NAME, options, rules, takesMasked);
  using tensorScope = new TensorScope(engine);
  const data = await Slices.create(NAME, engine, slices, options.rank, tensorScope);
  const { seed = 0, starts, sweeps, tolerance, onIteration, signal, sweepsPerSubmit, checkpoint } = options;
  const update = await updateOf(options.nonnegative, options.rank);
  const result = await iterate<Parafac2Tensor>(data.reduced, {
    name: NAME,
    stopping: { sweeps, tolerance, onIteration, signal, sweepsPerSubmit },
    starts,
    seed,
    saving: checkpoint && { checkpoint, options: await savedOptions(options, data) },
    zero: () => zeroModel(data, options.rank),
    begin: (scope) => new Parafac2Method(scope, data, options, update),
  });
  using results = new TensorScope(engine);
  results.keep(result.tensor);
  const sliceErrors = await data.errorsOf(result.tensor);
  return results.handOut({ ...result, sliceErrors });
}

/** What a checkpoint has to agree in. */
async function savedOptions(
  { rank, initialize = "svd", seed = 0, nonnegative }: Parafac2Options,
  { heights, columns }: Slices,
): Promise<Record<string, unknown>> {
  let begun: unknown = initialize;
  if (typeof initialize !== "string") {
    const shapes = [
      [heights.size, rank],
      [rank, rank],
      [columns, rank],
    ];
    const factors = shapes.map(
      (shape, mode) => elementsOf(NAME, initialize[mode]!, shape, "f32", `factor ${"ABC"[mode]}`) as Float32Array,
    );
    begun = `factors ${(await import("./checkpoint.js")).digestOfArrays(factors)}`;
  }
  return { rank, initialize: begun, seed, nonnegative: nonnegative === true ? [0, 2] : nonnegative || [] };
}

async function updateOf(nonnegative: Parafac2Options["nonnegative"], rank: number): Promise<CpUpdate> {
  const modes = nonnegative === true ? [0, 2] : nonnegative || [];
  if (!modes.length) return leastSquares();
  const { constrained } = await import("./cpConstraints.js");
  const constraints = new Map(modes.map((mode) => [mode, "nonnegative"] as const));
  return constrained(NAME, { shape: [0, 0, 0] }, rank, constraints, leastSquares());
}

/** One of the states that a line search chooses between. What is not made of each other lies in one tensor, which a dispatch takes as a whole. */
class State {
  readonly tensor: Tensor;
  /** P_k one below the other, K×D×R */
  readonly projections: Tensor;

  constructor(
    allocate: Scope["allocate"],
    readonly parts: Stack,
    projections: readonly number[],
    label: string,
  ) {
    this.tensor = allocate([parts.size], label);
    this.projections = allocate(projections, `projections of the ${label}`);
  }

  /** A, B and C; λ is in A */
  get factors(): Tensor[] {
    return MODES.map((mode) => this.parts.of(this.tensor, mode));
  }

  /** the stack of factors alone, which comes first */
  stack({ size }: Stack): Tensor {
    return this.tensor.rows(0, size);
  }

  /** T_k = P_kᵀ·Y_k, K×R×J */
  get projected(): Tensor {
    return this.parts.of(this.tensor, 3);
  }

  /** Σ‖Y_k − P_k·T_k‖², [1]: what is left whatever the factors are */
  get apart(): Tensor {
    return this.parts.of(this.tensor, 4);
  }
}

/**
 * PARAFAC2 as a method of `iterate`. The K×R×J tensor of projected slices is what sweeps go over: those of a `CpProblem`, or all of an iteration in one
 * dispatch where that tensor is small.
 */
class Parafac2Method implements SweepMethod<Parafac2Tensor> {
  readonly columns = LINE_SEARCH_START.length;
  readonly advice: string;
  readonly state: readonly Tensor[];
  /** what sweeps where they are not one dispatch */
  readonly #cp: CpProblem | null;
  readonly #stack: Stack;
  /** the factors as the sweeps of an iteration leave them: columns of norm 1, and their weights */
  readonly #fresh: Tensor;
  readonly #weights: Tensor;
  /** the best state */
  readonly #best: State;
  /** the two steps of the line search. The plain one has factors alone, λ in A, and the best projections; the further one its own */
  readonly #plain: Tensor;
  readonly #further: State;
  /** what `polar` goes on from, K×R×R */
  readonly #rotation: Tensor;
  readonly #errors: { plain: Tensor; further: Tensor };
  readonly #search: Tensor;

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
    const shapes = [
      [count, rank],
      [rank, rank],
      [columns, rank],
    ];
    const order = [0, 2, 1];
    this.#stack = new Stack(shapes, order);
    const { size } = this.#stack;
    const parts = new Stack([...shapes, [count, rank, columns], [1]], [...order, 3, 4]);
    const stateOf = (label: string): State => new State(allocate, parts, [count, most, rank], label);
    this.#best = stateOf("best state");
    this.#further = stateOf("further step");
    this.#plain = allocate([size], "plain step");
    this.#rotation = allocate([count, rank, rank], "rotations");
    this.#errors = { plain: allocate([1], "plain error"), further: allocate([1], "further error") };
    this.#fresh = allocate([size], "new factors");
    this.#search = allocate([LINE_SEARCH_START.length], "line search");
    const { projected } = this.#best;
    if (!update.oneSigned && fusesSweeps(engine, projected.shape, rank)) {
      this.#cp = null;
      this.#weights = allocate([rank], "weights");
    } else {
      const facts = { exponent: 0, squaredNorm: data.reduced.squaredNorm, largest: 1, isZero: false };
      const inner = new Resident(projected, facts);
      const stacked = { stack: this.#stack, tensor: this.#fresh };
      this.#cp = new CpProblem(NAME, { ...scope, engine, source: inner }, rank, update, stacked);
      this.#weights = this.#cp.model.weights;
    }
    const { tensor, projections } = this.#best;
    this.state = [
      ...[tensor, projections, this.#plain, this.#rotation, this.#search, ...(this.#cp?.state ?? [])],
      ...(data.marked ? [data.reduced.x] : []),
    ];
  }

  async start(index: number): Promise<undefined> {
    const { engine } = this.scope;
    const { rank, initialize = "svd", seed = 0, signal } = this.options;
    const startSeed = seedAt(seed, index);
    const { reduced } = this.data;
    const { factors } = this.#best;
    engine.write(this.#search, [...LINE_SEARCH_START]);
    engine.write(this.#rotation, new Float32Array(this.#rotation.size));
    const isBySvd = index === 0 && initialize === "svd";
    const known = index === 0 && typeof initialize !== "string" ? initialize : null;
    await engine.run((s) => {
      // missing entries are 0 until there is a model
      if (this.data.marked) knownEntries(s, this.data.marked, reduced.x);
      fill(s, this.#best.tensor, 0);
      for (const [mode, factor] of factors.entries())
        if (isBySvd && mode === 0) fill(s, factor, 1);
        else uniform(s, factor.shape, { seed: startSeed, stream: mode, out: factor });
    }, "PARAFAC2 start");
    if (isBySvd) {
      const unit = new Float32Array(rank * rank);
      for (let r = 0; r < rank; r++) unit[r * rank + r] = 1;
      engine.write(factors[1]!, unit);
      await withStartFactor(reduced, "hosvd", { mode: 2, rank, seed: startSeed, signal }, (s, start) => {
        copy(s, start, { out: factors[2]! });
      });
    }
    for (const [mode, factor] of (known ?? []).entries()) engine.write(factors[mode]!, factor);
    const { prepare } = this.update;
    if (prepare) {
      const values = await engine.read(factors);
      for (const [mode, factor] of values.entries()) {
        prepare(factor, rank, mode);
        engine.write(factors[mode]!, factor);
      }
    }
    // as large as X, so that results scale with X: updates hold on a little to where they begin
    const unit = 2 ** Math.round(Math.log2(reduced.squaredNorm) / 2);
    await engine.run((s) => {
      const scaled = scale(s, factors[0]!, { alpha: unit });
      copy(s, scaled, { out: factors[0]! });
      s.release(scaled);
      copy(s, this.#best.stack(this.#stack), { out: this.#plain });
      s.release(this.#project(s, this.#best));
      this.#begin(s);
    }, "PARAFAC2 start");
    return undefined;
  }

  record(p: Program, { rows, counter }: Trace): void {
    const { s } = p;
    const best = this.#best.stack(this.#stack);
    const starts = MODES.map((mode) => this.#stack.rangeOf([mode])[0]) as [number, number, number];
    if (this.#cp) for (let sweep = 0; sweep < INNER_SWEEPS; sweep++) this.#cp.record(p, null, false);
    else
      cpSweeps(s, {
        ...{ x: this.#best.projected, begin: best, starts, factors: this.#fresh, weights: this.#weights },
        ...{ sweeps: INNER_SWEEPS, proximal: PROXIMAL },
      });
    const [plain, further, state] = [this.#plain, this.#further, this.#search];
    lineSearchSteps(s, {
      fresh: this.#fresh,
      scaled: { weights: this.#weights, range: this.#stack.rangeOf([0]) },
      clip: this.#stack.rangeOf([...(this.update.oneSigned ?? [])]),
      state,
      plain,
      further: further.stack(this.#stack),
    });
    this.#plainError(s, this.#errors.plain);
    const products = this.#project(s, further);
    this.#furtherError(s, products, this.#errors.further);
    s.release(products);
    lineSearchChoice(s, this.#errors, state);
    lineSearchTake(s, "plain", plain, state, best);
    lineSearchTake(s, "further", further.tensor, state, this.#best.tensor);
    lineSearchTake(s, "further", further.projections, state, this.#best.projections);
    this.#fillMissing(s);
    this.#begin(s);
    appendRow(s, state, rows, counter);
  }

  /** Records the missing entries of the Y_k as the best factors have them, and what is projected of that. */
  #fillMissing(s: Scheduler): void {
    const { marked, reduced } = this.data;
    if (!marked) return;
    const { factors, projections, projected } = this.#best;
    const products = kruskalToTensor(s, null, factors);
    batchMatmul(s, projections, products, { out: reduced.x });
    accumulateKnown(s, marked, reduced.x, { alpha: 1, beta: 0, gamma: 1 });
    batchMatmul(s, projections, reduced.x, { transposeA: true, out: projected });
    s.release(products);
  }

  /** Records what sweeps begin from, where they are not one dispatch: the best factors in place of those of the `CpProblem`. */
  #begin(s: Scheduler): void {
    this.#cp?.placeAll(s, this.#best.stack(this.#stack), MODES);
  }

  /**
   * Records the P_k that are best for a state's factors, the polar factors of Y_k·M_kᵀ with M_k = B·diag(a_k)·Cᵀ; what they project; and, where no entry
   * is missing, what is left. Returns the M_k, a temporary.
   */
  #project(s: Scheduler, { factors, projections, projected, apart }: State): Tensor {
    const { reduced, heights, marked } = this.data;
    const products = kruskalToTensor(s, null, factors);
    const z = batchMatmul(s, reduced.x, products, { transposeB: true });
    polar(s, z, heights, { rotation: this.#rotation, out: projections });
    s.release(z);
    batchMatmul(s, projections, reduced.x, { transposeA: true, out: projected });
    if (!marked) this.#recordError(s, projections, projected, apart);
    return products;
  }

  /** Records Σ‖X_k − P_k·M_k‖² of known entries, with the best projections and the factors of the plain step. */
  #plainError(s: Scheduler, out: Tensor): void {
    const { projections, projected, apart } = this.#best;
    const factors = MODES.map((mode) => this.#stack.of(this.#plain, mode));
    if (this.data.marked) {
      const products = kruskalToTensor(s, null, factors);
      this.#recordError(s, projections, products, out);
      s.release(products);
      return;
    }
    // P_k has orthonormal columns: ‖Y_k − P_k·M_k‖² = ‖Y_k − P_k·T_k‖² + ‖T_k − M_k‖²
    kruskalResidual(s, projected, null, factors, { out });
    accumulate(s, apart, out);
  }

  /** Records the same of the further step, whose M_k these are. */
  #furtherError(s: Scheduler, products: Tensor, out: Tensor): void {
    const { projections, projected, apart } = this.#further;
    if (this.data.marked) this.#recordError(s, projections, products, out);
    else {
      squaredDistance(s, projected, products, { out });
      accumulate(s, apart, out);
    }
  }

  /** Records Σ‖X_k − P_k·M_k‖² of known entries. */
  #recordError(s: Scheduler, projections: Tensor, products: Tensor, out: Tensor): void {
    const full = batchMatmul(s, projections, products);
    this.data.squaredError(s, this.data.marked ?? this.data.reduced.x, full, { out });
    s.release(full);
  }

  errorOf(row: Float32Array): Told {
    return { fromResidual: Math.sqrt(row[LINE_SEARCH_ERROR]! / this.data.reduced.squaredNorm) };
  }

  /** The best factors in canonical order and signs, and their projections, of the slices themselves. */
  async finish(): Promise<Parafac2Tensor> {
    const { engine } = this.scope;
    const { rank } = this.options;
    using tensorScope = new TensorScope(engine);
    const weights = tensorScope.allocate([rank], "weights");
    const factors = [0, 1, 2].map((mode) => tensorScope.allocate([...this.#stack.shapes[mode]!], `factor ${mode}`));
    await engine.run((s) => {
      const norms = factors.map(
        (factor, mode) => normalizeColumns(s, this.#best.factors[mode]!, { out: factor }).norms,
      );
      hadamard(s, hadamard(s, norms[0]!, norms[1]!), norms[2]!, { out: weights });
    }, "PARAFAC2 result");
    using result = new TensorScope(engine);
    const model = result.keep(
      await canonicalKruskal(new KruskalTensor(weights, factors), { oneSigned: this.#oneSigned }),
    );
    const [a, b, c] = model.factors as [Tensor, Tensor, Tensor];
    // terms in another order, or of another sign, are columns of B in another order, or of another sign: P_k stays
    const projections = await this.data.expanded(this.#best.projections, result);
    return result.handOut(new Parafac2Tensor(model.weights, [a, b, c], projections));
  }

  /** A column of B makes up for signs where A and C may have none. */
  get #oneSigned(): ReadonlySet<number> {
    return this.update.oneSigned ?? new Set([2]);
  }

  residual(p: Program, tensor: Parafac2Tensor, out: Tensor): void {
    this.data.squared(p, tensor, out);
  }

  async restore(tensor: Parafac2Tensor, exponent: number): Promise<Parafac2Tensor> {
    const { weights } = await restoreKruskal(NAME, new KruskalTensor(tensor.weights, tensor.factors), exponent);
    return new Parafac2Tensor(weights, tensor.factors, tensor.projections);
  }
}

/** The model of slices of zeros. */
function zeroModel({ engine, rows, columns }: Slices, rank: number): Parafac2Tensor {
  const model = zeroKruskal(engine, [rows.length, rank, columns], rank);
  const projections = rows.map((count, k) => identityColumns(engine, count, rank, `projection ${k}`));
  return new Parafac2Tensor(model.weights, model.factors as unknown as [Tensor, Tensor, Tensor], projections);
}

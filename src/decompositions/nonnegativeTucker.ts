import {
  checkOptions,
  type DType,
  type Engine,
  isList,
  type OptionRules,
  oneOf,
  optionRules,
  Program,
  type Scheduler,
  ShapeError,
  type Tensor,
} from "../gpu/index.js";
import {
  add,
  appendRow,
  copy,
  coreSteps,
  fusesCoreSteps,
  fusesHals,
  gram,
  hals,
  halsUpdate,
  innerProduct,
  kruskalToTensor,
  MOMENTUM_START,
  map,
  modeProduct,
  momentum,
  multiply,
  normalizeColumns,
  scale,
  scaleColumns,
  solvePseudoInverse,
  subtract,
  sumOfMagnitudes,
  unfoldedProduct,
  unitColumns,
} from "../ops/index.js";
import { checkCall, restore, type Source, TensorReader, withSource } from "../sources/index.js";
import { TuckerTensor } from "../tensors/index.js";
import { makeNonnegative, negativePart, nonnegativeModes, ONE_DIFFERENCE } from "./cpNonnegative.js";
import { identityColumns } from "./identityColumns.js";
import {
  type Decomposition,
  iterate,
  type Scope,
  type StoppingOptions,
  type SweepKind,
  type SweepMethod,
  seedAt,
  stoppingRules,
  type Told,
  type Trace,
} from "./iterate.js";
import { Stack } from "./stack.js";
import { withStartFactor } from "./startFactor.js";
import { TensorScope } from "./tensorScope.js";
import { multilinearRanks } from "./tucker.js";

const NAME = "nonnegativeTucker";

export interface NonnegativeTuckerOptions extends StoppingOptions {
  /** R_1…R_N; one number stands for all modes, lowered where a mode has no room for it */
  ranks: number | readonly number[];
  /** modes whose factors have no negative entry; all of them by default */
  nonnegative?: boolean | readonly number[];
  /** whether the core has no negative entry; true by default */
  nonnegativeCore?: boolean;
  /** `svd`, the default: the larger parts of one sign of the unfoldings' leading singular vectors; `random`: uniform random factors */
  initialize?: "svd" | "random";
  /** runs this many starts, all but the first of them random, and keeps the best; 1 by default */
  starts?: number;
  seed?: number;
}

const rules: OptionRules<NonnegativeTuckerOptions> = {
  ranks: { ...optionRules.ranks, required: true },
  nonnegative: {
    needs: "true, or a list of modes",
    is: (value) =>
      typeof value === "boolean" || (isList(value) && [...value].every((mode) => typeof mode === "number")),
  },
  nonnegativeCore: { needs: "true or false", is: (value) => typeof value === "boolean" },
  initialize: oneOf("svd", "random"),
  starts: optionRules.positive,
  seed: optionRules.seed,
  ...stoppingRules,
};

/** gradient steps for the core in a sweep */
const CORE_STEPS = 10;
/** the trace of a sweep begins with `momentum`'s four numbers */
const ACCEPTED = 2;

/**
 * Tucker decomposition without negative entries (Mørup, Hansen & Arnfred 2008; Phan & Cichocki 2011): X ≈ ⟦G; A⁽¹⁾, …, A⁽ᴺ⁾⟧, the factors by
 * accelerated hierarchical alternating least squares, the core by accelerated projected gradients (FISTA, Beck & Teboulle 2009). Sweeps are
 * extrapolated, and what made the error larger is taken back (Ang & Gillis 2019). A sweep reads X twice. Columns have norm 1, not right
 * angles. X may have negative entries: `negativePart` tells how much of ‖X‖ they are, where all of the model is to have none.
 *
 * @throws ShapeError where a rank is larger than its mode, or than the others leave to it
 */
export async function nonnegativeTucker(
  engine: Engine,
  x: Tensor<DType> | Source,
  options: NonnegativeTuckerOptions,
): Promise<Decomposition<TuckerTensor>> {
  checkCall(engine, NAME, x);
  checkOptions(NAME, options, rules);
  if (x.order < 2) throw new ShapeError(`${NAME}: ${x} has order ${x.order}, needs at least 2`);
  const ranks = multilinearRanks(NAME, x, options.ranks);
  const modes = nonnegativeModes(NAME, x, options.nonnegative ?? true);
  const { seed = 0, starts, sweeps, tolerance, onIteration, signal, sweepsPerSubmit, nonnegativeCore = true } = options;
  return await withSource(
    engine,
    NAME,
    x,
    async (source) => {
      const result = await iterate<TuckerTensor>(source, {
        name: NAME,
        stopping: { sweeps, tolerance, onIteration, signal, sweepsPerSubmit },
        starts,
        seed,
        zero: () => zeroModel(source, ranks),
        begin: (scope) => new NonnegativeTuckerMethod(scope, ranks, modes, options),
      });
      if (modes.size < source.order || !nonnegativeCore) return result;
      using tensorScope = new TensorScope(engine);
      tensorScope.keep(result.tensor);
      const part = await negativePart(source);
      return tensorScope.handOut(part === undefined ? result : { ...result, negativePart: part });
    },
    { byVerbs: true },
  );
}

const zeroModel = ({ engine, shape }: Source, ranks: readonly number[]): TuckerTensor =>
  new TuckerTensor(
    engine.tensor(ranks, null, { label: "core" }),
    shape.map((extent, mode) => identityColumns(engine, extent, ranks[mode]!, `factor ${mode}`)),
  );

/** Non-negative Tucker as a method of `iterate`. Part 0 of a stack is the core, part n + 1 the factor of mode n. */
class NonnegativeTuckerMethod implements SweepMethod<TuckerTensor> {
  readonly columns = MOMENTUM_START.length;
  readonly hasCheap = true;
  readonly advice = "another start";
  readonly state: readonly Tensor[];
  readonly model: TuckerTensor;
  readonly #stack: Stack;
  /** the model that a sweep changes, the best one, and that from which the next sweep begins */
  readonly #fresh: Tensor;
  readonly #accepted: Tensor;
  readonly #next: Tensor;
  readonly #momentum: Tensor;
  readonly #error: Tensor;
  /** a row a mode, which begins with the Gram matrix of its factor */
  readonly #grams: Tensor;
  /** of modes that may have negative entries, and of a free core: identity matrices */
  readonly #units: readonly Tensor[];
  readonly #clipped: readonly number[];

  constructor(
    readonly scope: Scope,
    readonly ranks: readonly number[],
    readonly modes: ReadonlySet<number>,
    readonly options: NonnegativeTuckerOptions,
  ) {
    const { allocate, source, engine, keep } = scope;
    const parts = [0, ...source.shape.map((_, mode) => mode + 1)];
    const isClipped = (part: number) => (part ? modes.has(part - 1) : this.#isCoreClipped);
    this.#clipped = parts.filter(isClipped);
    const shapes = [ranks, ...source.shape.map((extent, mode) => [extent, ranks[mode]!])];
    this.#stack = new Stack(shapes, [...this.#clipped, ...parts.filter((part) => !isClipped(part))]);
    const stack = (label: string) => allocate([this.#stack.size], label);
    [this.#fresh, this.#accepted, this.#next] = [stack("model"), stack("best model"), stack("next model")];
    this.#momentum = allocate([MOMENTUM_START.length], "momentum");
    this.#error = allocate([1], "error");
    this.#grams = allocate([ranks.length, 64 * Math.ceil(Math.max(...ranks) ** 2 / 64)], "grams");
    this.#units = ranks.map((rank, mode) => keep(identityColumns(engine, rank, rank, `unit ${mode}`)));
    this.state = [this.#accepted, this.#next, this.#momentum];
    this.model = new TuckerTensor(
      this.#core,
      source.shape.map((_, mode) => this.#factor(mode)),
    );
  }

  get #isCoreClipped(): boolean {
    return this.options.nonnegativeCore ?? true;
  }

  get #core(): Tensor {
    return this.#stack.of(this.#fresh, 0);
  }

  #factor(mode: number): Tensor {
    return this.#stack.of(this.#fresh, mode + 1);
  }

  #gram(mode: number): Tensor {
    const rank = this.ranks[mode]!;
    const [modes, stride] = this.#grams.shape as [number, number];
    return this.#grams
      .reshape([modes * stride])
      .rows(mode * stride, mode * stride + rank ** 2)
      .reshape([rank, rank]);
  }

  async start(index: number): Promise<undefined> {
    const { engine, source } = this.scope;
    const { initialize = "svd", seed = 0, signal } = this.options;
    const how = index || initialize === "random" ? "random" : "hosvd";
    engine.write(this.#momentum, [...MOMENTUM_START]);
    for (const [mode, rank] of this.ranks.entries()) {
      const factor = this.#factor(mode);
      const task = { mode, rank, seed: seedAt(seed, index), signal };
      await withStartFactor(source, how, task, (s, start) => void copy(s, start, { out: factor }));
      if (!this.modes.has(mode)) continue;
      const values = await engine.read(factor);
      makeNonnegative(values, rank);
      engine.write(factor, values);
    }
    await Program.run(
      engine,
      (p) => {
        const { s } = p;
        for (const mode of this.ranks.keys()) {
          const { out, norms } = normalizeColumns(s, this.#factor(mode));
          copy(s, out, { out: this.#factor(mode) });
          gram(s, this.#factor(mode), { out: this.#gram(mode) });
          s.release(out, norms);
        }
        const product = source.project(p, this.model.factors);
        if (this.#isCoreClipped) {
          // |X ×ₙ Aₙᵀ|: one that is fitted to factors that were not fitted yet is 0 for most of them where X is noise, and stays so
          const twice = map(s, product, "relu", { alpha: 2 });
          subtract(s, twice, product, { out: this.#core });
          s.release(twice);
        } else this.#updateCore(s, product);
        copy(s, this.#fresh, { out: this.#next });
        s.release(product);
      },
      "non-negative Tucker start",
    );
  }

  record(p: Program, { rows, counter }: Trace, isPrecise: boolean): void {
    const { s } = p;
    const { source } = this.scope;
    copy(s, this.#next, { out: this.#fresh });
    for (const mode of this.ranks.keys()) gram(s, this.#factor(mode), { out: this.#gram(mode) });
    const split = Math.ceil(source.order / 2);
    let product: Tensor | undefined;
    for (const [start, stop] of [[0, split] as const, [split, source.order] as const]) {
      const isInside = (mode: number) => mode >= start && mode < stop;
      const others = this.model.factors.map((factor, mode) => (isInside(mode) ? null : factor));
      const shared = source.project(p, others);
      const reader = new TensorReader(shared);
      for (let mode = start; mode < stop; mode++) {
        const rest = this.model.factors.map((factor, other) => (isInside(other) && other !== mode ? factor : null));
        const projected = stop - start > 1 ? reader.project(p, rest) : shared;
        this.#updateFactor(s, projected, mode);
        if (mode === source.order - 1)
          product = modeProduct(s, projected, this.#factor(mode), mode, { transpose: true });
        if (projected !== shared) s.release(projected);
      }
      s.release(shared);
    }
    this.#updateCore(s, product!);
    if (isPrecise) source.residual(p, this.model, { out: this.#error });
    else if (!this.#isCoreFused) this.#errorFromNorms(s, product!);
    s.release(product!);
    momentum(s, {
      fresh: this.#fresh,
      error: this.#error,
      accepted: this.#accepted,
      next: this.#next,
      state: this.#momentum,
      clip: this.#stack.rangeOf(this.#clipped),
    });
    appendRow(s, this.#momentum, rows, counter);
  }

  /** Records a mode's new factor from X times the other factors: columns of norm 1, their norms in the core. */
  #updateFactor(s: Scheduler, projected: Tensor, mode: number): void {
    const core = this.#core;
    const right = unfoldedProduct(s, projected, core, mode);
    const turned = this.#timesGrams(s, core, mode);
    const normal = unfoldedProduct(s, turned, core, mode);
    const norms = this.#solve(s, normal, right, mode);
    const weighted = multiply(s, core, norms.reshape(this.ranks.map((rank, axis) => (axis === mode ? rank : 1))));
    copy(s, weighted, { out: core });
    s.release(right, normal, norms, weighted);
    if (turned !== core) s.release(turned);
  }

  /**
   * Records the solution of A·V = B in place of a mode's factor, columns of norm 1, and its Gram matrix. Returns what the norms were. A column that
   * becomes zero keeps its direction, and its part of the core becomes zero.
   */
  #solve(s: Scheduler, normal: Tensor, right: Tensor, mode: number): Tensor {
    const factor = this.#factor(mode);
    const rank = this.ranks[mode]!;
    if (this.modes.has(mode) && fusesHals(rank)) {
      const norms = s.tensor([rank], { label: "norms" });
      const grams = normal.reshape([1, rank ** 2]);
      const { out: stack, parts } = halsUpdate(s, { product: right, grams, mode: -1, factor, weights: null });
      const matrices = [{ rows: factor.shape[0]!, start: 0 }];
      const shared = { grams: this.#grams, modes: [mode], weights: norms, keep: true };
      unitColumns(s, { stack, matrices, parts, factors: factor, ...shared });
      s.release(stack);
      return norms;
    }
    const solved = this.modes.has(mode) ? hals(s, normal, right, { factor }) : solvePseudoInverse(s, normal, right);
    const { out: columns, norms } = normalizeColumns(s, solved);
    const isZero = map(s, norms, "sign", { alpha: -1, beta: 1 });
    const zeroColumns = scaleColumns(s, factor, isZero);
    add(s, columns, zeroColumns, { out: factor });
    gram(s, factor, { out: this.#gram(mode) });
    s.release(solved, columns, isZero, zeroColumns);
    return norms;
  }

  get #isCoreFused(): boolean {
    return this.#isCoreClipped && fusesCoreSteps(this.ranks);
  }

  /** y ×ₙ Aₙᵀ·Aₙ over all modes but `skip`: a temporary, or y itself. */
  #timesGrams(s: Scheduler, y: Tensor, skip = -1): Tensor {
    let product = y;
    for (const mode of this.ranks.keys()) {
      if (mode === skip) continue;
      const next = modeProduct(s, product, this.#gram(mode), mode);
      if (product !== y) s.release(product);
      product = next;
    }
    return product;
  }

  /**
   * Records the new core from `product`, X times all factors: of a free core the least squares one; else steps of accelerated projected
   * gradients. The step of an entry is 1 ÷ the sum of magnitudes in its row of the Kronecker product of the Gram matrices.
   */
  #updateCore(s: Scheduler, product: Tensor): void {
    const core = this.#core;
    if (!this.#isCoreClipped) {
      let solution = product;
      for (const [mode, unit] of this.#units.entries()) {
        const inverse = solvePseudoInverse(s, this.#gram(mode), unit);
        const next = modeProduct(s, solution, inverse, mode);
        s.release(inverse);
        if (solution !== product) s.release(solution);
        solution = next;
      }
      copy(s, solution, { out: core });
      s.release(solution);
      return;
    }
    if (this.#isCoreFused) {
      const { squaredNorm } = this.scope.source;
      coreSteps(s, { core, product, grams: this.#grams, steps: CORE_STEPS, squaredNorm, error: this.#error });
      return;
    }
    const sums = [...this.ranks.keys()].map((mode) => sumOfMagnitudes(s, this.#gram(mode), { axis: 1 }));
    const bounds = kruskalToTensor(
      s,
      null,
      sums.map((rowSums) => rowSums.reshape([rowSums.size, 1])),
    );
    const steplengths = map(s, bounds, "reciprocal");
    s.release(...sums, bounds);
    let before = copy(s, core);
    let ahead = copy(s, core);
    let inertia = 1;
    for (let step = 0; step < CORE_STEPS; step++) {
      const image = this.#timesGrams(s, ahead);
      const gradient = subtract(s, image, product);
      const move = multiply(s, gradient, steplengths);
      const moved = subtract(s, ahead, move);
      const nonnegative = map(s, moved, "relu");
      s.release(image, gradient, move, moved, ahead);
      const next = (1 + Math.sqrt(1 + 4 * inertia ** 2)) / 2;
      const change = subtract(s, nonnegative, before);
      const further = scale(s, change, { alpha: (inertia - 1) / next });
      ahead = add(s, nonnegative, further);
      s.release(change, further, before);
      before = nonnegative;
      inertia = next;
    }
    copy(s, before, { out: core });
    s.release(before, ahead, steplengths);
  }

  /** ‖x‖² + ⟨G, G ×ₙ AₙᵀAₙ − 2·x ×ₙ Aₙᵀ⟩ */
  #errorFromNorms(s: Scheduler, product: Tensor): void {
    const image = this.#timesGrams(s, this.#core);
    const twice = scale(s, product, { alpha: 2 });
    const rest = subtract(s, image, twice);
    const inner = innerProduct(s, rest, this.#core);
    map(s, inner, "identity", { beta: this.scope.source.squaredNorm, out: this.#error });
    s.release(image, twice, rest, inner);
  }

  errorOf(row: Float32Array, kind: SweepKind): Told {
    const error = Math.sqrt(Math.max(0, row[ACCEPTED]!) / this.scope.source.squaredNorm);
    if (kind === "precise") return { fromResidual: error };
    // terms of one sign do not cancel each other
    const isOneDifference = this.#isCoreFused && this.modes.size === this.ranks.length;
    return { fromNorms: error, amplification: isOneDifference ? ONE_DIFFERENCE : 1 };
  }

  async finish(): Promise<TuckerTensor> {
    const { engine, source } = this.scope;
    using tensorScope = new TensorScope(engine);
    const core = tensorScope.allocate(this.ranks, "core");
    const factors = source.shape.map((extent, mode) =>
      tensorScope.allocate([extent, this.ranks[mode]!], `factor ${mode}`),
    );
    await engine.run((s) => {
      for (const [part, out] of [core, ...factors].entries()) copy(s, this.#stack.of(this.#accepted, part), { out });
    }, "non-negative Tucker result");
    return tensorScope.handOut(new TuckerTensor(core, factors));
  }

  residual(p: Program, tensor: TuckerTensor, out: Tensor): void {
    this.scope.source.residual(p, tensor, { out });
  }

  async restore(tensor: TuckerTensor, exponent: number): Promise<TuckerTensor> {
    const core = await restore(this.scope.engine, NAME, "core", tensor.core, exponent);
    return new TuckerTensor(core, tensor.factors);
  }
}

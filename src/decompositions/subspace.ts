import {
  checkOptions,
  type DType,
  dispose,
  type Engine,
  type OptionRules,
  optionRules,
  Program,
  type Scheduler,
  ShapeError,
  sizeOf,
  type Tensor,
} from "../gpu/index.js";
import {
  appendRow,
  copy,
  jacobiSvd,
  map,
  matmul,
  modeProduct,
  normal,
  orthogonalise,
  permute,
  rightSingularVectors,
  type Svd,
  signColumns,
  slice,
  sum,
  sumOfSquares,
  symmetricEigen,
  unfoldedProduct,
} from "../ops/index.js";
import { checkCall, type Reader, type Source, TensorReader, withSource } from "../sources/index.js";
import { TuckerTensor } from "../tensors/index.js";
import { identityColumns } from "./identityColumns.js";
import {
  type Convergence,
  iterate,
  ROW,
  type Scope,
  type StoppingOptions,
  type SweepMethod,
  stoppingRules,
} from "./iterate.js";
import { LinearRule } from "./linearRule.js";
import { TensorScope } from "./tensorScope.js";

/** The largest rank whose iteration has so few columns (128) that one workgroup turns them; beyond, an SVD of the unfolding is faster. */
export const MOST_ITERATED = 85;

/**
 * Columns carried beyond the rank. Subspace iteration converges like (σ_{p+1}/σ_r)² a step, so a few more columns than
 * asked for save most of the steps where singular values decay slowly (Halko, Martinsson & Tropp 2011, section 4.5).
 */
export function basisColumns(shape: readonly number[], mode: number, rank: number): number {
  const rest = sizeOf(shape) / shape[mode]!;
  return Math.min(shape[mode]!, rest, Math.max(rank + 8, Math.min(Math.ceil(1.5 * rank), 128)));
}

/**
 * Records one step of subspace iteration on X₍ₙ₎X₍ₙ₎ᵀ: `basis` (I_n×p, orthonormal columns, overwritten) turns towards the
 * leading left singular vectors, ordered by Ritz value unless `ordered` is false. Neither the unfolding nor an I_n×I_n matrix is formed. Reads `x`
 * twice.
 */
export function subspaceStep(p: Program, x: Reader, basis: Tensor, mode: number, { ordered = true } = {}): void {
  const { s } = p;
  const projected = x.project(p, oneFactor(x, basis, mode));
  const pairs = ordered ? ritzPairs(s, projected, mode) : null;
  powerStep(p, x, basis, projected, pairs?.vectors ?? null, mode);
  s.release(projected);
  if (pairs) s.release(pairs.values, pairs.vectors);
}

/** Ritz values and vectors of x in a basis, from x projected on it. */
function ritzPairs(s: Scheduler, projected: Tensor, mode: number): { values: Tensor; vectors: Tensor } {
  const products = unfoldedProduct(s, projected, projected, mode);
  const pairs = symmetricEigen(s, products);
  s.release(products);
  return pairs;
}

/** A factor for one mode, and none for the others. */
export const oneFactor = ({ shape }: { shape: readonly number[] }, factor: Tensor, mode: number): (Tensor | null)[] =>
  shape.map((_, other) => (other === mode ? factor : null));

/** Records basis ← orthonormal columns of X₍ₙ₎·projected₍ₙ₎ᵀ·vectors; null stands for the identity. */
function powerStep(
  p: Program,
  x: Reader,
  basis: Tensor,
  projected: Tensor,
  vectors: Tensor | null,
  mode: number,
): void {
  const { s } = p;
  const image = x.unfoldedProduct(p, projected, mode);
  const turned = vectors ? matmul(s, image, vectors) : image;
  const { q, r } = orthogonalise(s, turned);
  if (turned !== image) s.release(turned);
  s.release(image, r);
  copy(s, q, { out: basis });
  s.release(q);
}

/** Records ‖Y − Y ×ₙ UUᵀ‖² ([1]) from the difference itself, for orthonormal columns U: what truncating mode n loses of Y. */
export function truncationLoss(
  p: Program,
  y: Reader,
  u: Tensor,
  mode: number,
  /** `reduced`: Y ×ₙ Uᵀ, where there is one already */
  { out, reduced }: { out?: Tensor | undefined; reduced?: Tensor | null } = {},
): Tensor {
  const factors = oneFactor(y, u, mode);
  const core = reduced ?? y.project(p, factors);
  const loss = y.residual(p, new TuckerTensor(core, factors), out ? { out } : {});
  if (!reduced) p.s.release(core);
  return loss;
}

/** What truncating mode n to the first `rank` columns of U loses of Y, as a number. */
export async function measuredLoss(y: Reader, u: Tensor, mode: number, rank: number): Promise<number> {
  using loss = y.engine.tensor([1], null, { label: "loss" });
  const record = (p: Program): void => {
    const leading = slice(p.s, u, [0, 0], [u.shape[0]!, rank]);
    truncationLoss(p, y, leading, mode, { out: loss });
  };
  await Program.run(y.engine, record, "loss");
  return (await y.engine.read(loss))[0]!;
}

/** The result of a subspace iteration: the leading left singular vectors of an unfolding, and its singular values. */
export class Subspace {
  constructor(
    /** I_n×rank, orthonormal columns */
    readonly vectors: Tensor,
    /** [rank], falling */
    readonly values: Tensor,
    /** X ×ₙ Uᵀ, where it was asked for */
    readonly reduced: Tensor | null = null,
  ) {}

  destroy(): void {
    this.vectors.destroy();
    this.values.destroy();
    this.reduced?.destroy();
  }

  [dispose](): void {
    this.destroy();
  }
}

export interface SubspaceTask {
  mode: number;
  rank: number;
  seed: number;
  /** X ×ₖ AₖᵀAₖ over earlier modes, in the small: errors are told of what this mode truncates of it. X itself by default */
  remaining?: Source;
  /** ‖X‖² − ‖remaining‖²: the loss of earlier modes */
  lost?: number;
  /** false where nobody reads the errors */
  isTold?: boolean;
  /** whether the result is to have X ×ₙ Uᵀ */
  reduces?: boolean;
}

/**
 * Randomised subspace iteration for the mode-n unfolding of `source`, as a method of `iterate`: errors are those of X truncated in
 * this mode and in earlier ones.
 */
export function subspaceMethod(
  { engine, allocate, source }: Scope,
  { mode, rank, seed, remaining = source, lost = 0, isTold = true, reduces = false }: SubspaceTask,
): SweepMethod<Subspace> {
  const { shape, squaredNorm } = source;
  const extent = shape[mode]!;
  const columns = basisColumns(shape, mode, rank);
  const basis = allocate([extent, columns], "basis");
  const projected = allocate(withExtent(shape, mode, columns), "projected tensor");
  const turn = allocate([columns, columns], "Ritz vectors");
  const iteration: Iteration = { x: source, mode, basis, projected, turn };
  /** basis times the leading Ritz vectors */
  const leading = (s: Scheduler): Tensor => {
    const first = slice(s, turn, [0, 0], [columns, rank]);
    const factor = matmul(s, basis, first);
    s.release(first);
    return factor;
  };
  return {
    columns: ROW.columns,
    hasCheap: true,
    isTold,
    // a start, of which nobody reads the errors, is of what x is at first
    takesAsIs: !isTold,
    state: [basis, projected, turn],
    // a few sweeps are enough where singular values fall, so none is begun before it is known that the last one was not
    beginsNear: true,
    singleBelow: Number.POSITIVE_INFINITY,
    ruleOf: (tolerance) => new LinearRule(tolerance),
    async start() {
      await Program.run(engine, (p) => begin(p, iteration, seed), "subspace start");
      return undefined;
    },
    record(p, trace, isPrecise) {
      const { s } = p;
      powerStep(p, source, basis, projected, turn, mode);
      const values = ritz(p, iteration);
      const row = s.tensor([ROW.columns], { label: "errors" });
      const norms = row.rows(ROW.norms, ROW.norms + 1);
      const factor = isPrecise || remaining !== source ? leading(s) : null;
      if (remaining === source) {
        const leadingValues = slice(s, values, [0], [rank]);
        sum(s, leadingValues, { out: norms });
        s.release(leadingValues);
      } else {
        const core = remaining.project(p, oneFactor(remaining, factor!, mode));
        sumOfSquares(s, core, { out: norms });
        s.release(core);
      }
      if (isPrecise) truncationLoss(p, remaining, factor!, mode, { out: row.rows(ROW.residual, ROW.residual + 1) });
      if (factor) s.release(factor);
      s.release(values);
      appendRow(s, row, trace.rows, trace.counter);
      s.release(row);
    },
    errorOf: (row, kind) => ({
      fromNorms: Math.sqrt(1 - Math.min(1, row[ROW.norms]! / squaredNorm)),
      ...(kind === "precise" ? { fromResidual: Math.sqrt((lost + row[ROW.residual]!) / squaredNorm) } : {}),
    }),
    async finish() {
      using tensorScope = new TensorScope(engine);
      const vectors = tensorScope.allocate([extent, rank], `factor ${mode}`);
      const values = tensorScope.allocate([rank], "singular values");
      const reduced = reduces ? tensorScope.allocate(withExtent(shape, mode, rank), "truncated tensor") : null;
      await engine.run((s) => turnToLeading(s, iteration, { vectors, values, reduced }), "leading vectors");
      return tensorScope.handOut(new Subspace(vectors, values, reduced));
    },
    residual(p, { vectors, reduced }, out) {
      const squared = truncationLoss(p, remaining, vectors, mode, { reduced: remaining === source ? reduced : null });
      map(p.s, squared, "identity", { beta: lost, out });
      p.s.release(squared);
    },
    async restore(subspace) {
      return subspace; // vectors have no scale, and the values are not handed on
    },
  };
}

/** The tensors of a subspace iteration. */
interface Iteration {
  x: Reader;
  mode: number;
  /** I_n×p, orthonormal columns */
  basis: Tensor;
  /** x ×ₙ basisᵀ */
  projected: Tensor;
  /** p×p, the Ritz vectors in this basis */
  turn: Tensor;
}

const withExtent = (shape: readonly number[], mode: number, extent: number): number[] =>
  shape.map((size, k) => (k === mode ? extent : size));

/** Records a random basis. */
function begin(p: Program, iteration: Iteration, seed: number): void {
  const { s } = p;
  const q = randomBasis(s, iteration.basis.shape, iteration.mode, seed);
  copy(s, q, { out: iteration.basis });
  s.release(q);
  s.release(ritz(p, iteration));
}

/** Random orthonormal columns. */
function randomBasis(s: Scheduler, shape: readonly number[], mode: number, seed: number): Tensor {
  const random = normal(s, shape, { seed, stream: mode });
  const { q, r } = orthogonalise(s, random);
  s.release(random, r);
  return q;
}

/** Records x projected on the basis, and the Ritz vectors; the Ritz values are a temporary. */
function ritz(p: Program, { x, mode, basis, projected, turn }: Iteration): Tensor {
  const { s } = p;
  x.project(p, oneFactor(x, basis, mode), { out: projected });
  const { values, vectors } = ritzPairs(s, projected, mode);
  copy(s, vectors, { out: turn });
  s.release(vectors);
  return values;
}

/**
 * Records the leading vectors of x projected on the basis, their largest entries positive, and x truncated by them: by an SVD of the projected unfolding itself, as a Gram matrix
 * would square its condition number.
 */
function turnToLeading(
  s: Scheduler,
  { mode, basis, projected }: Pick<Iteration, "mode" | "basis" | "projected">,
  { vectors, values, reduced }: { vectors: Tensor; values?: Tensor; reduced: Tensor | null },
): void {
  const rank = vectors.shape[1]!;
  const right = vectorsOf(s, projected, mode);
  const turn = slice(s, right.v, [0, 0], [basis.shape[1]!, rank]);
  matmul(s, basis, turn, { out: vectors });
  signColumns(s, vectors, turn);
  if (values) slice(s, right.values, [0], [rank], { out: values });
  if (reduced) modeProduct(s, projected, turn, mode, { transpose: true, out: reduced });
  s.release(turn, right.values, right.v);
}

/** a basis with more than this part of a mode's extent as columns saves less than it costs */
const NARROW = 0.8;

/**
 * Records the sequentially truncated HOSVD of x: of each truncated mode the leading left singular vectors, the core, and what they lose of x. Each
 * mode in turn is first projected on a basis of a few more columns than its rank, found by `steps` steps of subspace iteration; then each is
 * truncated in the small tensor that is left. For starts: no rule of stopping looks at the steps, and no sign of a column is settled.
 */
export function recordHosvd(
  p: Program,
  x: Reader,
  { modes, seed, steps }: { modes: readonly number[]; seed: number; steps: number },
  { factors, core, loss }: { factors: readonly (Tensor | null)[]; core: Tensor; loss: Tensor },
): void {
  const { s } = p;
  let small: Tensor | null = null;
  const bases = new Map<number, Tensor>();
  for (const mode of modes) {
    const reader: Reader = small ? new TensorReader(small) : x;
    const columns = basisColumns(reader.shape, mode, factors[mode]!.shape[1]!);
    if (reader instanceof TensorReader && columns > NARROW * x.shape[mode]!) continue;
    const { basis, projected } = rangeOf(p, reader, { mode, columns, seed, steps });
    bases.set(mode, basis);
    if (small) s.release(small);
    small = projected;
  }
  for (const mode of modes) {
    const tensor: Tensor = small ?? x.tensor("hosvd", s);
    const factor = factors[mode]!;
    const basis = bases.get(mode);
    const right = vectorsOf(s, tensor, mode);
    const turn = slice(s, right.v, [0, 0], [tensor.shape[mode]!, factor.shape[1]!], basis ? {} : { out: factor });
    s.release(right.values, right.v);
    if (basis) matmul(s, basis, turn, { out: factor });
    const isLast = mode === modes.at(-1);
    const truncated = modeProduct(s, tensor, turn, mode, { transpose: true, ...(isLast && { out: core }) });
    if (basis) s.release(basis, turn);
    if (small) s.release(small);
    small = truncated;
  }
  x.residual(p, new TuckerTensor(core, factors), { out: loss });
}

/** all singular vectors of a matrix of at most so many rows are found together, where a basis would have a third of them as columns, or more */
const FEW_ROWS = 128;

/**
 * Records the leading left singular vectors of a matrix, and the matrix projected on them; where it has many rows, after two steps of subspace iteration.
 * They are eigenvectors of C·Cᵀ, and once more of that of the matrix that these have turned, whose Gram matrix knows small singular values as well as large
 * ones. For starts, as {@link recordHosvd}.
 */
export function recordTruncation(p: Program, c: Tensor, rank: number, seed: number): { core: Tensor; rest: Tensor } {
  const { s } = p;
  const [rows] = c.shape as [number, number];
  const columns = basisColumns(c.shape, 0, rank);
  const isWhole = rows <= Math.min(FEW_ROWS, 3 * columns);
  const range = isWhole ? null : rangeOf(p, new TensorReader(c), { mode: 0, columns, seed, steps: 2 });
  const small = range?.projected ?? c;
  const first = eigenvectorsOf(s, small);
  const turned = matmul(s, first, small, { transposeA: true });
  const second = eigenvectorsOf(s, turned);
  const leading = slice(s, second, [0, 0], [second.shape[0]!, rank]);
  const turn = matmul(s, first, leading);
  const core = range ? matmul(s, range.basis, turn) : turn;
  signColumns(s, core, leading);
  const rest = matmul(s, leading, turned, { transposeA: true });
  s.release(first, turned, second, leading, ...(range ? [turn, range.basis, range.projected] : []));
  return { core, rest };
}

/** Records the eigenvectors of C·Cᵀ. */
function eigenvectorsOf(s: Scheduler, c: Tensor): Tensor {
  const products = unfoldedProduct(s, c, c, 0);
  const { values, vectors } = symmetricEigen(s, products);
  s.release(products, values);
  return vectors;
}

/** Records a basis of the range of x's unfolding, and x projected on it. */
function rangeOf(
  p: Program,
  x: Reader,
  { mode, columns, seed, steps }: { mode: number; columns: number; seed: number; steps: number },
): { basis: Tensor; projected: Tensor } {
  const { s } = p;
  let basis = randomBasis(s, [x.shape[mode]!, columns], mode, seed);
  let projected = x.project(p, oneFactor(x, basis, mode));
  for (let step = 0; step < steps; step++) {
    const image = x.unfoldedProduct(p, projected, mode);
    s.release(basis, projected);
    const { q, r } = orthogonalise(s, image);
    s.release(image, r);
    basis = q;
    projected = x.project(p, oneFactor(x, basis, mode));
  }
  return { basis, projected };
}

/** Records singular values and left singular vectors of a mode-n unfolding, which has one for each of its rows, or of its columns where these are fewer. */
export function vectorsOf(s: Scheduler, x: Tensor, mode: number): Pick<Svd, "values" | "v"> {
  const axes = [...x.shape.keys()].filter((axis) => axis !== mode);
  const isLast = mode === x.order - 1;
  const turned = isLast ? x : permute(s, x, [...axes, mode]);
  const tall = turned.reshape([-1, x.shape[mode]!]);
  const isTall = tall.shape[0]! >= tall.shape[1]!;
  const { values, v } = isTall ? rightSingularVectors(s, tall) : withoutLeft(s, jacobiSvd(s, tall));
  if (!isLast) s.release(turned);
  return { values, v };
}

function withoutLeft(s: Scheduler, { u, ...right }: Svd): Pick<Svd, "values" | "v"> {
  s.release(u);
  return right;
}

/** so many sweeps tell how fast an iteration converges */
const FIRST_SWEEPS = 3;

/** Runs a subspace iteration. */
export const subspaceOf = (source: Source, task: SubspaceTask, stopping: StoppingOptions) =>
  iterate<Subspace>(source, {
    name: "leadingSubspace",
    stopping: { ...stopping, sweepsPerSubmit: Math.min(stopping.sweepsPerSubmit ?? FIRST_SWEEPS, FIRST_SWEEPS) },
    seed: task.seed,
    zero: () => zeroSubspace(source, task),
    begin: (scope) => subspaceMethod(scope, task),
  });

const zeroSubspace = ({ engine, shape }: Source, { mode, rank }: SubspaceTask): Subspace =>
  new Subspace(
    identityColumns(engine, shape[mode]!, rank, `factor ${mode}`),
    engine.tensor([rank], new Float32Array(rank)),
  );

export interface SubspaceOptions extends StoppingOptions {
  /** of the random start */
  seed?: number;
}

const rules: OptionRules<SubspaceOptions> = { ...stoppingRules, seed: optionRules.seed };

/** The leading singular vectors of an unfolding, and how they were reached. */
export interface SubspaceResult extends Convergence {
  /** I_n×rank, orthonormal columns by falling singular value */
  vectors: Tensor;
  /** ‖X − X ×ₙ UUᵀ‖ / ‖X‖ of the result, from the residual itself */
  relativeError: number;
  fits: number[];
  seed?: number;
}

/**
 * The `rank` leading left singular vectors of the mode-n unfolding, I_n×rank, by randomised subspace iteration. `errors` of
 * the convergence are ‖X − X ×ₙ UUᵀ‖ / ‖X‖.
 *
 * @throws ShapeError where the mode or the rank is not one of the unfolding's
 */
export async function leadingSubspace(
  engine: Engine,
  x: Tensor<DType> | Source,
  mode: number,
  rank: number,
  options: SubspaceOptions = {},
): Promise<SubspaceResult> {
  const name = "leadingSubspace";
  checkCall(engine, name, x);
  checkOptions(name, options, rules);
  if (!(Number.isInteger(mode) && mode >= 0 && mode < x.order))
    throw new ShapeError(`${name}: mode ${mode} of ${x}, needs 0 to ${x.order - 1}`);
  const most = Math.min(x.shape[mode]!, x.size / x.shape[mode]!);
  if (!(Number.isInteger(rank) && rank >= 1 && rank <= most))
    throw new ShapeError(`${name}: rank ${rank} for mode ${mode} of ${x}, needs 1 to ${most}`);
  const { seed = 0, ...stopping } = options;
  const { tensor, ...how } = await withSource(engine, name, x, (source) =>
    subspaceOf(source, { mode, rank, seed }, stopping),
  );
  tensor.values.destroy();
  return { vectors: tensor.vectors, ...how };
}

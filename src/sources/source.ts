import { type DType, Engine, type Program, type Scheduler, ShapeError, TenfoldError, Tensor } from "../gpu/index.js";
import type { MttkrpOptions } from "../ops/index.js";
import type { KruskalTensor } from "../tensors/index.js";

/** What is known of X before a solver starts: found in one pass over it. */
export interface Facts {
  /** the verbs read x, with X = 2^exponent · x: no square of an entry of x overflows or vanishes */
  readonly exponent: number;
  /** ‖x‖² */
  readonly squaredNorm: number;
  /** the largest magnitude in x */
  readonly largest: number;
  /** whether every entry is 0 */
  readonly isZero: boolean;
}

/** An approximation of X: one of the results in tensors/, or a part of one. */
export interface Model {
  readonly shape: readonly number[];
  /** Records all of its entries into `out`. */
  full(s: Scheduler, out: Tensor): Tensor;
  /**
   * Records it as a product A·Bᵀ that is not carried out, for a comparison that writes no entry of it: `factors` A and B have a row each for the
   * rows and the columns of x as a matrix. `temporaries` are the caller's to release. Undefined where there is none
   */
  asProduct?(s: Scheduler): { factors: Tensor[]; temporaries: Tensor[] } | undefined;
}

/**
 * How a solver reads x: the products of Kolda & Bader 2009 that contract it with something small. Each of them adds up, or lines up,
 * over slabs of mode 0, so x need not be one tensor. Results are temporaries of `p.s`, for the solver to release.
 */
export interface Reader {
  readonly engine: Engine;
  readonly shape: readonly number[];
  readonly order: number;
  readonly size: number;
  /** @internal whether products travel from other machines: sweeps then ask for MTTKRPs alone, since partial results are larger than factors */
  readonly isRemote?: boolean;
  /** Matricised tensor times Khatri-Rao product, Iₙ×R; as the op `mttkrp`. `unsummed` is leave, not an order. */
  mttkrp(p: Program, factors: readonly Tensor[], mode: number, options?: MttkrpOptions): Tensor;
  /** Contracts the modes outside `keep` = [start, stop): the inner node of a dimension tree; as the op `partialMttkrp`. */
  partialMttkrp(p: Program, factors: readonly Tensor[], keep: readonly [start: number, stop: number]): Tensor;
  /**
   * x ×₁ A⁽¹⁾ᵀ ×₂ A⁽²⁾ᵀ …, over the modes that have a factor I_n×R_n (null: none), without that of `skip`.
   *
   * @throws ShapeError where no mode is left: that would be x itself
   */
  project(p: Program, factors: readonly (Tensor | null)[], options?: ProjectOptions): Tensor;
  /** x₍ₙ₎·y₍ₙ₎ᵀ, Iₙ×Jₙ, for a tensor y of x's shape but for mode n; as the op `unfoldedProduct`. */
  unfoldedProduct(p: Program, y: Tensor, mode: number): Tensor;
  /** ‖x − x̂‖² ([1]), summed from the differences: norms that cancel are known to 1e-7 of ‖x‖² only. */
  residual(p: Program, model: Model, options?: { out?: Tensor }): Tensor;
  /**
   * x as one tensor of the GPU's, for what takes it apart: the singular value decomposition of an unfolding, or a start from one. It is
   * the source's, to be read and not written.
   *
   * @param s takes one that is made in its recording, too, as a temporary that lives as long as the recording
   * @throws TenfoldError where there is none; `operation` names who asks
   */
  tensor(operation: string, s?: Scheduler): Tensor;
}

/** Products that one pass over x gives together. */
export interface Passes {
  /** Records the MTTKRPs of all modes with the same factors. */
  products(p: Program, factors: readonly Tensor[], out: (mode: number) => Tensor): void;
  /** Records x ×ₖ Bₖᵀ over all modes k but n, for each mode n that `out` has. */
  projections(p: Program, bases: readonly (Tensor | null)[], out: ReadonlyMap<number, Tensor>): void;
  /** Records x ×ₙ Bₙᵀ over the modes that have a basis, which mode 0 has not, and what is lost of ‖x‖² by them ([1]). */
  core(p: Program, bases: readonly (Tensor | null)[], out: { core: Tensor; lost: Tensor }): void;
}

/** Rows of x that are one tensor of the GPU's. */
export interface Slab extends Reader {
  /** its entries as f32, scaled */
  readonly x: Tensor;
}

export interface ProjectOptions {
  /** this mode keeps its extent */
  skip?: number;
  out?: Tensor;
}

/**
 * What a solver decomposes. Solvers know of X no more than its {@link Facts} and these verbs, so that they run alike on data that are one
 * tensor of the GPU's (`resident`), or several, or in a file.
 *
 * ‖x‖² is a fact and no verb: whoever makes a source reads all of X once, to find what is not finite, and knows it then.
 */
export interface Source extends Reader, Facts {
  /** x − x̂, of which nothing is known before its first `refresh`. It is the caller's to destroy. */
  difference(): Difference;
  /**
   * What changes of x with the model: the entries that are missing (expectation maximisation), or PARAFAC2's rotations. Every sweep begins
   * with it. A source that has it is told by `residual` alone how far the model is from X: ‖x‖² does not stay as it was.
   */
  refresh?(p: Program, model: Model, options?: { squaredNorm?: Tensor | undefined }): void;
  /** whether `refresh` with a Kruskal tensor also writes what `residual` tells of it, for nothing, into the `squaredNorm` ([1]) of its options */
  readonly refreshTells?: boolean;
  /**
   * how many entries are known, where others are missing: `difference` and `residual` are of the known ones alone then, so that a solver that goes
   * by the difference needs no `refresh`
   */
  readonly known?: number;
  /**
   * Records several products in one pass over x, where it lies in slabs of mode 0: `record` is called with each slab, in order, and its first row.
   * What it keeps of mode 0 lines up, and what contracts it adds up.
   */
  eachSlab?(p: Program, record: (slab: Slab, start: number) => void): void;
  /** @internal several products in one pass over x, where it lies in slabs on other machines */
  readonly passes?: Passes;
  /** entries of the largest slab, where x lies in slabs */
  readonly slabSize?: number;
  /** slices of which nothing is known: their rows of factors are to be 0 */
  readonly unknownSlices?: readonly { mode: number; index: number }[];
  toString(): string;
}

/** x − x̂ for sweeps that go by what is left, in as much memory as x takes. */
export interface Difference extends Reader {
  /** Records x − x̂. */
  refresh(p: Program, model: Model): void;
  /** Σ of its squares, [1] */
  squaredNorm(p: Program, options?: { out?: Tensor }): Tensor;
  /**
   * Records x − x̂, Σ of its squares ([1]) and its MTTKRPs, each to where `out` says. Slabs do all of it in one pass over x. Nothing else is
   * known of x − x̂ afterwards.
   */
  evaluate(p: Program, model: KruskalTensor, out: { squaredNorm: Tensor; product: (mode: number) => Tensor }): void;
  destroy(): void;
}

const isSource = (value: unknown): value is Source =>
  typeof value === "object" && value !== null && "mttkrp" in value && "squaredNorm" in value;

/** Throws where a solver is not called with an engine and one of its tensors (or a source that reads by it). */
export function checkCall(engine: Engine, operation: string, x: Tensor<DType> | Source): void {
  const call = `call ${operation}(engine, tensor, options)`;
  if (!(engine instanceof Engine)) {
    const name = (engine as unknown) instanceof Tensor ? "a tensor" : nameOf(engine);
    throw new TenfoldError(`${operation}: the first argument is ${name}, needs an engine: ${call}`);
  }
  if (!(x instanceof Tensor || isSource(x)))
    throw new TenfoldError(
      `${operation}: the second argument is ${nameOf(x)}, needs a tensor: ${call}, the tensor from engine.tensor(shape, data)`,
    );
  if (x.engine !== engine) throw new TenfoldError(`${operation}: ${x} belongs to another engine`);
  if (x instanceof Tensor && !x.storage.alive) throw new TenfoldError(`${operation}: ${x} was destroyed`);
  if (x.order === 0) throw new ShapeError(`${operation}: ${x} has order 0, needs at least one mode`);
}

function nameOf(value: unknown): string {
  if (typeof value !== "object" || value === null) return String(value);
  return `an object (${value.constructor?.name ?? "Object"})`;
}

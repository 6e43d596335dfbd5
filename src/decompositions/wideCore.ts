/** What slabs of X are reduced to in a few passes over them: in a file that loads with the first tensor in slabs. */
import { type Engine, Program, sizeOf, type Tensor } from "../gpu/index.js";
import { copy, normal, orthogonalise, slice, sumOfSquares } from "../ops/index.js";
import { type InSlabs, passesOf, Resident, TensorReader } from "../sources/index.js";
import { basisColumns, subspaceStep } from "./subspace.js";
import { TensorScope } from "./tensorScope.js";

/** x, which lies in slabs, in bases of a few more columns than the ranks that are asked for. */
export interface WideCore {
  /** x ×ₙ Bₙᵀ over the modes that have a basis; its facts are those of x */
  core: Resident;
  /** I_n×p_n, orthonormal columns; null where the core has all of a mode, as it has of mode 0 */
  bases: readonly (Tensor | null)[];
  /** what is lost of ‖x‖² by them, summed from the differences */
  lost: number;
  destroy(): void;
}

export interface WideCoreOptions {
  seed: number;
  /** the most passes that refine the bases, 1 or more */
  refinements: number;
  signal: AbortSignal | undefined;
}

/** steps of subspace iteration on a projected tensor: they begin at bases that are near, and read little */
const STEPS = 3;
/** refinements where no iterations on all of x follow */
export const REFINEMENTS = 2;
/** sketches that lose no more than this part of ‖x‖², which is about what f32 sums can tell, are refined once */
const NEGLIGIBLE = 1e-5;
/**
 * Bases of modes 1 to N−1 by sketches (Sun, Guo, Luo, Tropp & Udell 2020, with Khatri-Rao products of random factors, so that a sketch is an
 * MTTKRP), refined by steps of higher-order orthogonal iteration for all modes at once; then the core. Each of these is one pass over x, however
 * many modes it has: one for the sketches, one a refinement, one for the core and what is lost.
 *
 * @returns null where the core, or what is projected on the way to it, would be larger than a slab
 */
export async function wideCore(
  source: InSlabs,
  ranks: readonly number[],
  { seed, refinements, signal }: WideCoreOptions,
): Promise<WideCore | null> {
  const { engine, shape, squaredNorm } = source;
  const widths = widthsOf(shape, ranks);
  const hasBasis = (mode: number): boolean => widths[mode]! < shape[mode]!;
  const modes = [...shape.keys()].filter((mode) => mode === 0 || hasBasis(mode));
  /** the shape of x where all modes but one have their widths; that of mode 0 is the core's */
  const leftOf = (mode: number): number[] => shape.map((extent, k) => (k === mode ? extent : widths[k]!));
  if (modes.length < 2 || modes.some((mode) => sizeOf(leftOf(mode)) > source.slabSize)) return null;

  using scope = new TensorScope(engine);
  using scratch = new TensorScope(engine);
  const all = shape.map((extent, mode) =>
    hasBasis(mode) ? (mode ? scope : scratch).allocate([extent, widths[mode]!], `basis ${mode}`) : null,
  );
  const bases = all.map((basis, mode) => (mode ? basis : null));
  await sketch(source, all, seed, signal);
  using left = new TensorScope(engine);
  const projected = new Map(modes.map((mode) => [mode, left.allocate(leftOf(mode), `projected ${mode}`)]));
  for (let pass = 0; pass < refinements; pass++) {
    await Program.run(engine, (p) => passesOf(source).projections(p, all, projected), "projections of slabs", {
      signal,
    });
    const lost = squaredNorm - (await refine(engine, all, projected));
    if (lost < NEGLIGIBLE * squaredNorm) break;
  }
  left.destroy();

  const core = scope.allocate(leftOf(0), "core of slabs");
  using loss = scratch.allocate([1], "loss");
  const record = (p: Program): void => passesOf(source).core(p, bases, { core, lost: loss });
  await Program.run(engine, record, "core of slabs", { signal });
  const [lostOfCore] = await engine.read(loss);
  const facts = { exponent: source.exponent, squaredNorm, largest: source.largest, isZero: false };
  const owner = scope.move();
  return { core: new Resident(core, facts), bases, lost: lostOfCore!, destroy: () => owner.destroy() };
}

/** the rank for which bases are made first where an error is asked for */
const FIRST_RANK = 8;
/** the part of the squared error that is asked for which bases may lose: the ranks of the core have the rest */
const SHARE = 0.5;

/** The core of bases that lose at most half of what a relative error allows in square, of ever higher ranks; null where there is none as small as a slab. */
export async function coreWithin(
  source: InSlabs,
  { relativeError, modes }: { relativeError: number; modes: readonly number[] },
  options: Omit<WideCoreOptions, "refinements">,
): Promise<WideCore | null> {
  const { shape, squaredNorm } = source;
  for (let rank = FIRST_RANK; ; rank *= 2) {
    const ranks = shape.map((extent, mode) => (modes.includes(mode) ? Math.min(rank, extent) : extent));
    const wide = await wideCore(source, ranks, { ...options, refinements: REFINEMENTS });
    if (!wide || wide.lost <= SHARE * relativeError ** 2 * squaredNorm) return wide;
    wide.destroy();
  }
}

/** Columns of the bases; the extent of a mode that has none. */
function widthsOf(shape: readonly number[], ranks: readonly number[]): number[] {
  const widths = shape.map((extent, mode) =>
    ranks[mode]! < extent ? basisColumns(shape, mode, ranks[mode]!) : extent,
  );
  // an unfolding of a core has no more rank than columns
  for (const [mode, width] of widths.entries())
    if (width < shape[mode]!) widths[mode] = Math.min(width, sizeOf(widths) / width);
  return widths;
}

/** Writes orthonormal bases of the ranges of x's unfoldings, as random factors show them: one pass. */
async function sketch(
  source: InSlabs,
  bases: readonly (Tensor | null)[],
  seed: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { shape } = source;
  const columns = Math.max(...bases.map((basis) => basis?.shape[1] ?? 1));
  const record = (p: Program): void => {
    const { s } = p;
    const random = shape.map((extent, mode) => normal(s, [extent, columns], { seed, stream: mode }));
    const products = shape.map((extent) => s.tensor([extent, columns], { label: "product of slabs" }));
    passesOf(source).products(p, random, (mode) => products[mode]!);
    for (const [mode, basis] of bases.entries()) {
      if (!basis) continue;
      const { q, r } = orthogonalise(s, slice(s, products[mode]!, [0, 0], basis.shape));
      copy(s, q, { out: basis });
      s.release(q, r);
    }
  };
  await Program.run(source.engine, record, "sketch of slabs", { signal });
}

/** Turns each basis towards the leading singular vectors of its projected tensor. Tells ‖x ×ₙ Bₙᵀ‖² over all modes but 0, before. */
async function refine(
  engine: Engine,
  bases: readonly (Tensor | null)[],
  projected: ReadonlyMap<number, Tensor>,
): Promise<number> {
  using norm = engine.tensor([1], null, { label: "squared norm" });
  const record = (p: Program): void => {
    sumOfSquares(p.s, projected.get(0)!, { out: norm });
    for (const [mode, tensor] of projected) {
      const basis = bases[mode];
      for (let step = 0; basis && step < STEPS; step++) subspaceStep(p, new TensorReader(tensor), basis, mode);
    }
  };
  await Program.run(engine, record, "bases of slabs");
  return (await engine.read(norm))[0]!;
}

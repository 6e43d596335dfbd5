/** CP where factors are fixed: in a file of its own, so that it loads when there are such. */
import { Program } from "../gpu/index.js";
import { matmul, orthogonalise, sumOfSquares } from "../ops/index.js";
import { Resident, type Source, TensorReader } from "../sources/index.js";
import { KruskalTensor, TuckerTensor } from "../tensors/index.js";
import { normaliseColumns, type StartsProgress } from "./cpStarts.js";
import type { ToldOptions } from "./cpUpdates.js";
import type { Decomposition, Iteration } from "./iterate.js";
import { TensorScope } from "./tensorScope.js";

/** a mode is projected where it has at least so many times as many rows as the fixed factor has columns */
const TALL = 2;

/** Options of CP that speak of X. */
interface Telling extends ToldOptions {
  onStarts?: ((progress: StartsProgress) => void) | undefined;
}

/**
 * Solves for X in the columns of the fixed factors: where A = Q·S is fixed, no model has anything outside of Q, so that ‖X − X̂‖² is what X has outside
 * and ‖X ×ₙ Qᵀ − Ŷ‖², with S fixed in place of A. That is as exact as X itself, and reads R of I_n slices. Errors are told of X. X in slabs, and with
 * missing entries, is solved for as it is.
 *
 * @param fixed I_n×R by mode; their columns are brought to norm 1
 */
export async function inFixedColumns<O extends Telling, D extends Decomposition<KruskalTensor>>(
  source: Source,
  options: O,
  fixed: ReadonlyMap<number, Float32Array>,
  solve: (source: Source, options: O, fixed: ReadonlyMap<number, Float32Array>) => Promise<D>,
): Promise<D> {
  const { engine, shape, exponent, largest } = source;
  const { rank, initialize, onIteration, onStarts } = options;
  const modes = [...fixed.keys()].filter((mode) => shape[mode]! >= TALL * rank);
  if (!modes.length || !(source instanceof TensorReader) || source.isZero) return await solve(source, options, fixed);
  using scope = new TensorScope(engine);
  const narrow = shape.map((extent, mode) => (modes.includes(mode) ? rank : extent));
  const y = scope.allocate(narrow, "X in the columns of fixed factors");
  const sums = [0, 1].map(() => scope.allocate([1], "squared norm"));
  const given = modes.map((mode) =>
    scope.keep(engine.tensor([shape[mode]!, rank], normaliseColumns(fixed.get(mode)!, rank).columns)),
  );
  const inside = modes.map((mode) => scope.allocate([rank, rank], `factor ${mode} in its columns`));
  await Program.run(
    engine,
    (p) => {
      const { s } = p;
      const bases = shape.map((_, mode) => (modes.includes(mode) ? given[modes.indexOf(mode)]! : null));
      for (const [at, factor] of given.entries()) {
        const { q, r } = orthogonalise(s, factor);
        s.release(r);
        matmul(s, q, factor, { transposeA: true, out: inside[at]! });
        bases[modes[at]!] = q;
      }
      source.project(p, bases, { out: y });
      sumOfSquares(s, y, { out: sums[0]! });
      source.residual(p, new TuckerTensor(y, bases), { out: sums[1]! });
      for (const mode of modes) s.release(bases[mode]!);
    },
    "fixed factors",
  );
  const [kept, lost, ...small] = (await engine.read([...sums, ...inside])) as Float32Array[];
  const squaredNorm = kept![0]!;
  const told = (error: number): number =>
    Math.sqrt((error ** 2 * squaredNorm + Math.max(0, lost![0]!)) / source.squaredNorm);
  const columns = new Map([...fixed, ...modes.map((mode, at) => [mode, small[at]!] as const)]);
  const inner = {
    ...options,
    ...(initialize &&
      typeof initialize !== "string" && { initialize: initialize.map((f, mode) => columns.get(mode) ?? f) }),
    ...(onIteration && {
      onIteration: (iteration: Iteration) =>
        onIteration({ ...iteration, relativeError: told(iteration.relativeError) }),
    }),
    ...(onStarts && {
      onStarts: (progress: StartsProgress) =>
        onStarts({ ...progress, relativeErrors: progress.relativeErrors.map(told) }),
    }),
  };
  const facts = { exponent, largest, squaredNorm, isZero: squaredNorm === 0 };
  const result = await solve(new Resident(y, facts), inner, columns);
  const { weights, factors } = result.tensor;
  for (const mode of modes) factors[mode]!.destroy();
  const whole = new KruskalTensor(
    weights,
    factors.map((factor, mode) => (modes.includes(mode) ? given[modes.indexOf(mode)]! : factor)),
  );
  // those of fixed modes are the caller's now
  const rest = [y, ...sums, ...inside];
  scope.handOut(null);
  for (const tensor of rest) tensor.destroy();
  const errors = result.errors.map(told);
  const { starts } = result as { starts?: { errors: number[] } };
  return {
    ...result,
    ...(starts && { starts: { ...starts, errors: starts.errors.map(told) } }),
    tensor: whole,
    errors,
    fits: errors.map((error) => 1 - error),
    relativeError: told(result.relativeError),
  };
}

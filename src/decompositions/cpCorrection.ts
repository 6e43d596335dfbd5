import { type Engine, formatShape, ShapeError, TenfoldError, type Tensor } from "../gpu/index.js";
import {
  appendRow,
  boundedNorm,
  copy,
  gram,
  hadamard,
  kruskalResidual,
  mttkrp,
  multiply,
  normalizeColumns,
  sumOfSquares,
} from "../ops/index.js";
import { KruskalTensor } from "../tensors/index.js";
import { converge, type Decomposition, type StoppingOptions, SWEEPS_A_BATCH } from "./converge.js";
import { squaredNormOf } from "./subspace.js";

/**
 * Σ_r ‖λ_r a_r ∘ b_r ∘ …‖² / ‖X̂‖²: how much the rank-one terms cancel each other. 1 where they are orthogonal; it grows without
 * bound as a CP decomposition degenerates (Krijnen, Dijkstra & Stegeman 2008), and with it what a small change of a factor
 * does to X̂ (Phan et al. 2020).
 */
export async function degeneracy(engine: Engine, tensor: KruskalTensor): Promise<number> {
  using total = engine.tensor([1], null, { label: "squared norm" });
  await engine.run((s) => {
    const full = tensor.full(s);
    sumOfSquares(s, full, { out: total });
    s.release(full);
  }, "degeneracy");
  const [squared, weights, ...factors] = await engine.read([total, tensor.weights, ...tensor.factors]);
  const { rank } = tensor;
  let terms = 0;
  for (let r = 0; r < rank; r++) {
    let product = weights![r]! ** 2;
    for (const factor of factors) {
      let length = 0;
      for (let i = r; i < factor.length; i += rank) length += factor[i]! ** 2;
      product *= length;
    }
    terms += product;
  }
  return terms / squared![0]!;
}

export interface CorrectionOptions extends StoppingOptions {
  /** the error to stay within, ‖X − X̂‖ / ‖X‖; that of the start by default */
  relativeError?: number;
}

export interface Correction extends Decomposition<KruskalTensor> {
  /** √(Σ‖terms‖²) / ‖X‖ after each sweep: falls */
  norms: number[];
}

/**
 * Of all CP decompositions that are as near to X, one whose rank-one terms are small: minimises Σ‖λ_r a_r ∘ b_r ∘ …‖² while
 * ‖X − X̂‖ stays within its bound, a factor at a time with the columns of the others at norm 1 (error preserving correction,
 * Phan, Tichavský & Cichocki 2019). Kernels corrected so keep their accuracy when they are quantised or trained on, where
 * those of plain CP diverge (Phan et al. 2020). Bounds below 1e-2 are at the end of what f32 sums can tell.
 */
export async function cpErrorPreserving(
  engine: Engine,
  x: Tensor,
  start: KruskalTensor,
  { relativeError, ...stopping }: CorrectionOptions = {},
): Promise<Correction> {
  if (formatShape(start.shape) !== formatShape(x.shape))
    throw new ShapeError(`cpErrorPreserving: a start of shape ${formatShape(start.shape)} for ${x}`);
  if (relativeError !== undefined && !(relativeError > 0 && relativeError < 1))
    throw new TenfoldError(`cpErrorPreserving: relativeError ${relativeError}, needs a number between 0 and 1`);
  const squaredNorm = await squaredNormOf(engine, x);
  const owned: { destroy(): void }[] = [];
  const own = <T extends { destroy(): void }>(item: T): T => {
    owned.push(item);
    return item;
  };
  const { rank } = start;
  const factors = start.shape.map((extent, mode) => engine.tensor([extent, rank], null, { label: `factor ${mode}` }));
  const weights = engine.tensor([rank], null, { label: "weights" });
  const tensor = new KruskalTensor(weights, factors);
  try {
    const grams = factors.map(() => own(engine.tensor([rank, rank], null, { label: "gram" })));
    const trace = own(engine.tensor([SWEEPS_A_BATCH, 1], null, { label: "trace" }));
    const counter = own(engine.tensor([1], null, { dtype: "u32", label: "counter" }));
    const residual = own(engine.tensor([1], null, { label: "residual" }));
    await engine.run((s) => {
      let lengths: Tensor = start.weights;
      factors.forEach((factor, mode) => {
        const { norms } = normalizeColumns(s, start.factors[mode]!, { out: factor });
        lengths = multiply(s, lengths, norms);
        gram(s, factor, { out: grams[mode]! });
      });
      copy(s, lengths, { out: weights });
      kruskalResidual(s, x, weights, factors, { out: residual });
    }, "correction start");
    const given = (await engine.read(residual))[0]!;
    const bound = relativeError === undefined ? given * 1.0001 : relativeError ** 2 * squaredNorm;
    if (given > bound * 1.001)
      throw new TenfoldError(
        `cpErrorPreserving: the start has a relative error of ${Math.sqrt(given / squaredNorm)}, more than the ${relativeError} allowed`,
      );
    const s = engine.scheduler("correction sweep");
    let objective: Tensor | null = null;
    factors.forEach((factor, mode) => {
      const others = grams.filter((_, other) => other !== mode);
      let normals = others[0]!;
      for (const next of others.slice(1)) {
        const combined = hadamard(s, normals, next);
        if (normals !== others[0]) s.release(normals);
        normals = combined;
      }
      const product = mttkrp(s, x, factors, mode);
      const solved = boundedNorm(s, normals, product, { squaredNorm, bound });
      s.release(product);
      if (normals !== others[0]) s.release(normals);
      if (mode === factors.length - 1) objective = sumOfSquares(s, solved);
      normalizeColumns(s, solved, { out: factor, norms: weights });
      s.release(solved);
      gram(s, factor, { out: grams[mode]! });
    });
    appendRow(s, objective!, trace, counter);
    const schedule = own(await s.compile());
    const errorOf = (row: Float32Array) => Math.sqrt(row[0]! / squaredNorm);
    const { errors: norms, ...reached } = await converge(
      engine,
      { schedule, trace, errorOf, name: "cpErrorPreserving" },
      stopping,
    );
    await engine.run((r) => void kruskalResidual(r, x, weights, factors, { out: residual }), "correction residual");
    const error = Math.sqrt((await engine.read(residual))[0]! / squaredNorm);
    return { tensor, relativeError: error, norms, errors: [error], fits: [1 - error], ...reached };
  } catch (error) {
    tensor.destroy();
    throw error;
  } finally {
    for (const item of owned) item.destroy();
  }
}

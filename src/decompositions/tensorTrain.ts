import { type Engine, formatShape, ShapeError, TenfoldError, type Tensor } from "../gpu/index.js";
import { copy, jacobiSvd, matmul, orthogonalise, permute, slice, squaredDistance } from "../ops/index.js";
import { TensorTrain, TensorTrainMatrix } from "../tensors/index.js";
import { leadingSubspace, squaredNormOf } from "./subspace.js";

export interface TtOptions {
  /** r_1…r_{d-1}, or one rank for all; each is lowered to what its unfolding has */
  ranks?: number | readonly number[];
  /** instead of ranks: ‖X − X̂‖ ≤ relativeError · ‖X‖ is promised */
  relativeError?: number;
  /** of the random start of the subspace iterations */
  seed?: number;
}

export interface TtResult {
  tensor: TensorTrain;
  /** ‖X − X̂‖ / ‖X‖, from the difference itself */
  relativeError: number;
}

/**
 * The tensor train of X by successive truncated SVDs of its unfoldings (Oseledets 2011, algorithm 1). By ranks, an SVD is
 * a subspace iteration; by relative error ε every SVD may lose ε/√(d−1) of ‖X‖, which together keeps the promise.
 */
export async function ttSVD(
  engine: Engine,
  x: Tensor,
  { ranks, relativeError, seed = 0 }: TtOptions,
): Promise<TtResult> {
  const { shape } = x;
  const d = shape.length;
  if ((ranks === undefined) === (relativeError === undefined))
    throw new TenfoldError("ttSVD: give either ranks or relativeError");
  if (relativeError !== undefined && !(relativeError > 0 && relativeError < 1))
    throw new TenfoldError(`ttSVD: relativeError ${relativeError}, needs a number between 0 and 1`);
  const wanted = typeof ranks === "number" ? new Array<number>(Math.max(d - 1, 0)).fill(ranks) : ranks;
  if (wanted && (wanted.length !== d - 1 || wanted.some((rank) => !Number.isInteger(rank) || rank < 1)))
    throw new ShapeError(`ttSVD: ranks ${wanted.join(", ")} for ${x}, needs ${d - 1} positive whole numbers`);
  const squaredNorm = await squaredNormOf(engine, x);
  // a little is kept back for rounding
  const budget = relativeError === undefined ? 0 : ((0.999 * relativeError) ** 2 * squaredNorm) / Math.max(d - 1, 1);
  const cores: Tensor[] = [];
  let rest = x.reshape([1, x.size]);
  try {
    for (let k = 0; k < d - 1; k++) {
      const rows = (cores.at(-1)?.shape[2] ?? 1) * shape[k]!;
      const unfolded = rest.reshape([rows, -1]);
      const step = wanted
        ? await truncateByRank(engine, unfolded, wanted[k]!, seed + k)
        : await truncateByError(engine, unfolded, budget);
      if (rest.storage !== x.storage) rest.destroy();
      rest = step.rest;
      cores.push(step.core.reshape([rows / shape[k]!, shape[k]!, -1]));
    }
    const last = engine.tensor(rest.shape, null, { label: `core ${d - 1}` });
    await engine.run((s) => void copy(s, rest, { out: last }));
    if (rest.storage !== x.storage) rest.destroy();
    cores.push(last.reshape([-1, shape[d - 1]!, 1]));
  } catch (error) {
    for (const core of cores) core.destroy();
    if (rest.storage !== x.storage) rest.destroy();
    throw error;
  }
  const tensor = new TensorTrain(cores);
  using residual = engine.tensor([1], null, { label: "residual" });
  await engine.run((s) => {
    squaredDistance(s, x, tensor.full(s), { out: residual });
  }, "TT residual");
  const squared = (await engine.read(residual))[0]!;
  return { tensor, relativeError: squaredNorm ? Math.sqrt(squared / squaredNorm) : 0 };
}

export type Step = { core: Tensor; rest: Tensor };

/** @internal C ≈ U·(UᵀC) with U the `rank` leading left singular vectors. */
export async function truncateByRank(engine: Engine, c: Tensor, rank: number, seed: number): Promise<Step> {
  const [rows, columns] = c.shape as [number, number];
  const kept = Math.min(rank, rows, columns);
  let core: Tensor;
  if (kept === Math.min(rows, columns)) {
    // nothing is cut: any orthonormal basis of the column space will do
    core = engine.tensor([rows, kept], rows <= columns ? identity(rows) : null, { label: "core" });
    if (rows > columns) {
      await engine.run((s) => {
        const { q, r } = orthogonalise(s, c);
        copy(s, q, { out: core });
        s.release(q, r);
      });
    }
  } else core = (await leadingSubspace(engine, c, 0, kept, { seed, tolerance: 1e-7, sweeps: 60 })).vectors;
  const rest = engine.tensor([kept, columns], null, { label: "TT rest" });
  await engine.run((s) => void matmul(s, core, c, { transposeA: true, out: rest }));
  return { core, rest };
}

/** @internal The same with the smallest rank whose cut singular values stay within `budget` in square. */
export async function truncateByError(engine: Engine, c: Tensor, budget: number): Promise<Step> {
  const [rows, columns] = c.shape as [number, number];
  const most = Math.min(rows, columns);
  using u = engine.tensor([rows, most], null, { label: "U" });
  using values = engine.tensor([most], null, { label: "singular values" });
  await engine.run((s) => {
    const result = jacobiSvd(s, c);
    copy(s, result.u, { out: u });
    copy(s, result.values, { out: values });
  }, "TT-SVD step");
  const sigma = await engine.read(values);
  let kept = most;
  let cut = 0;
  while (kept > 1 && cut + sigma[kept - 1]! ** 2 <= budget) cut += sigma[--kept]! ** 2;
  const core = engine.tensor([rows, kept], null, { label: "core" });
  const rest = engine.tensor([kept, columns], null, { label: "TT rest" });
  await engine.run((s) => {
    slice(s, u, [0, 0], [rows, kept], { out: core });
    matmul(s, core, c, { transposeA: true, out: rest });
  });
  return { core, rest };
}

const identity = (n: number): Float32Array =>
  Float32Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0));

export interface TtMatrixOptions extends TtOptions {
  /** m_1…m_d, multiplying to the rows */
  rowModes: readonly number[];
  /** n_1…n_d, multiplying to the columns */
  columnModes: readonly number[];
}

export interface TtMatrixResult {
  tensor: TensorTrainMatrix;
  /** ‖W − Ŵ‖ / ‖W‖ */
  relativeError: number;
}

/**
 * A matrix as a TT-matrix (Oseledets 2010; Novikov, Podoprikhin, Osokin & Vetrov 2015): rows and columns are split into d
 * modes each, and the tensor (m_1·n_1)×…×(m_d·n_d) of the same numbers gets a tensor train.
 */
export async function ttMatrix(
  engine: Engine,
  w: Tensor,
  { rowModes, columnModes, ...options }: TtMatrixOptions,
): Promise<TtMatrixResult> {
  const d = rowModes.length;
  const product = (values: readonly number[]) => values.reduce((a, b) => a * b, 1);
  if (
    w.order !== 2 ||
    columnModes.length !== d ||
    product(rowModes) !== w.shape[0] ||
    product(columnModes) !== w.shape[1]
  )
    throw new ShapeError(
      `ttMatrix: ${w} by the modes ${formatShape(rowModes)} and ${formatShape(columnModes)}, which need to be as many and to multiply to its sides`,
    );
  using paired = engine.tensor(
    rowModes.map((extent, k) => extent * columnModes[k]!),
    null,
    { label: "paired modes" },
  );
  await engine.run((s) => {
    // m_k and n_k side by side: one pair after the other is brought to the front
    let current = w;
    for (let k = 0; k < d - 1; k++) {
      const rest = [product(rowModes.slice(k + 1)), product(columnModes.slice(k + 1))] as const;
      const front = w.size / (rest[0] * rest[1] * rowModes[k]! * columnModes[k]!);
      const seen = current.reshape([front * rowModes[k]!, rest[0], columnModes[k]!, rest[1]]);
      const next = permute(
        s,
        seen,
        [0, 2, 1, 3],
        k === d - 2 ? { out: paired.reshape([front * rowModes[k]!, columnModes[k]!, ...rest]) } : {},
      );
      if (current !== w) s.release(current);
      current = next;
    }
    if (d === 1) copy(s, w, { out: paired });
  }, "pair modes");
  const { tensor, relativeError } = await ttSVD(engine, paired, options);
  const cores = tensor.cores.map((core, k) =>
    core.reshape([core.shape[0]!, rowModes[k]!, columnModes[k]!, core.shape[2]!]),
  );
  return { tensor: new TensorTrainMatrix(cores), relativeError };
}

import {
  checkOptions,
  type DType,
  type Engine,
  formatShape,
  type OptionRules,
  optionRules,
  ShapeError,
  TenfoldError,
  type Tensor,
} from "../gpu/index.js";
import { copy, permute } from "../ops/index.js";
import { checkCall, Resident, resident, restore, type Source, withSource } from "../sources/index.js";
import { TensorTrain, TensorTrainMatrix } from "../tensors/index.js";
import { identityColumns } from "./identityColumns.js";
import { relativeResidual, seedAt } from "./iterate.js";
import { type LinalgOptions, linalgRules } from "./linalg.js";
import { Reduced } from "./reduced.js";
import { TensorScope } from "./tensorScope.js";
import { Allowance, keepPromise, truncateByError, truncateByRank } from "./truncation.js";

export interface TtOptions extends LinalgOptions {
  /** r_1…r_{d-1}, or one rank for all; each is lowered to what its unfolding has */
  ranks?: number | readonly number[];
  /** instead of ranks: ‖X − X̂‖ ≤ relativeError · ‖X‖ is promised, and what f32 cannot promise is refused */
  relativeError?: number;
  /** of the random start of the subspace iterations */
  seed?: number;
}

const rules: OptionRules<TtOptions> = {
  ...linalgRules,
  ranks: optionRules.ranks,
  relativeError: optionRules.fraction,
  seed: optionRules.seed,
};

export interface TtResult {
  tensor: TensorTrain;
  /** ‖X − X̂‖ / ‖X‖, from the difference itself */
  relativeError: number;
}

/**
 * The tensor train of X by successive truncated SVDs of its unfoldings (Oseledets 2011, algorithm 1). By ranks, an SVD is
 * a subspace iteration; by relative error ε they may lose ε·‖X‖ together, and each an equal part of what is left of that. X in slabs is read four times or a
 * few times more: it is first projected on bases of its modes, and the train is that of the core. What that loses is in the error that is told.
 *
 * @throws TenfoldError where X holds NaN or infinity, or f32 cannot keep the promised error (the least that it can is said)
 */
export async function ttSVD(engine: Engine, x: Tensor<DType> | Source, options: TtOptions): Promise<TtResult> {
  checkCall(engine, "ttSVD", x);
  checkOptions("ttSVD", options, rules);
  const ranks = ranksOf("ttSVD", x, x.order, options);
  return await withSource(engine, "ttSVD", x, (source) => trainOf("ttSVD", source, ranks, options));
}

/** The d − 1 ranks of the options, or null where these have an error instead. */
function ranksOf(
  name: string,
  x: Tensor<DType> | Source,
  d: number,
  { ranks, relativeError }: TtOptions,
): readonly number[] | null {
  if ((ranks === undefined) === (relativeError === undefined))
    throw new TenfoldError(`${name}: give either ranks or relativeError`);
  const list = typeof ranks === "number" ? new Array<number>(Math.max(d - 1, 0)).fill(ranks) : ranks;
  if (list && list.length !== d - 1)
    throw new ShapeError(`${name}: ranks ${list.join(", ")} for ${x}, needs ${d - 1} positive whole numbers`);
  return list ?? null;
}

async function trainOf(
  name: string,
  source: Source,
  ranks: readonly number[] | null,
  options: TtOptions,
): Promise<TtResult> {
  const { engine, shape } = source;
  if (source.isZero) return { tensor: zeroTrain(engine, shape), relativeError: 0 };
  // a mode's part of a train has no higher rank than its two ranks together
  const wanted = ranks
    ? { ranks: shape.map((extent, k) => Math.min(extent, (ranks[k - 1] ?? 1) * (ranks[k] ?? 1))) }
    : { relativeError: options.relativeError! };
  using reduced = await Reduced.create(name, source, wanted, options);
  const attempt = async (error: number | null) => {
    const left = error === null ? null : reduced.left(error);
    const { tensor, relativeError } = await trainBySvd(name, reduced.source, ranks, left, options);
    return { tensor, relativeError: reduced.told(relativeError), destroy: () => tensor.destroy() };
  };
  const { tensor, relativeError } =
    options.relativeError === undefined ? await attempt(null) : await keepPromise(name, options.relativeError, attempt);
  using scope = new TensorScope(engine);
  const cores = await reduced.cores(engine, tensor.cores);
  for (const core of cores) scope.keep(core);
  const last = await restore(engine, name, "last core", cores.at(-1)!, source.exponent);
  return scope.handOut({ tensor: new TensorTrain([...cores.slice(0, -1), last]), relativeError });
}

/** The train of a tensor of zeros: ranks 1, the last core zero. */
const zeroTrain = (engine: Engine, shape: readonly number[]): TensorTrain =>
  new TensorTrain(
    shape.map((extent, k) =>
      k === shape.length - 1
        ? engine.tensor([1, extent, 1], null, { label: `core ${k}` })
        : identityColumns(engine, extent, 1, `core ${k}`).reshape([1, extent, 1]),
    ),
  );

/** TT-SVD of x, by ranks or by an error. Every SVD takes an unfolding apart, so x has to be one tensor. */
async function trainBySvd(
  name: string,
  source: Source,
  ranks: readonly number[] | null,
  relativeError: number | null,
  { seed = 0, signal, onProgress }: TtOptions,
): Promise<TtResult> {
  const { engine, shape, squaredNorm } = source;
  const x = source.tensor(name);
  const d = shape.length;
  const allowance = new Allowance((relativeError ?? 0) ** 2 * squaredNorm, d - 1);
  using scope = new TensorScope(engine);
  const cores: Tensor[] = [];
  let rest = x.reshape([1, x.size]);
  for (let k = 0; k < d - 1; k++) {
    signal?.throwIfAborted();
    const rows = (cores.at(-1)?.shape[2] ?? 1) * shape[k]!;
    const unfolded = rest.reshape([rows, -1]);
    const step = ranks
      ? await truncateByRank(engine, unfolded, ranks[k]!, seedAt(seed, k), signal)
      : await truncateByError(engine, unfolded, allowance, squaredNorm, { signal });
    scope.keep(step.core);
    if (k > 0) rest.destroy();
    rest = scope.keep(step.rest);
    cores.push(step.core.reshape([rows / shape[k]!, shape[k]!, -1]));
    onProgress?.((k + 1) / (d - 1));
  }
  const last = scope.allocate([rest.size / shape[d - 1]!, shape[d - 1]!, 1], `core ${d - 1}`);
  cores.push(last);
  await engine.run((s) => void copy(s, rest.reshape(last.shape), { out: last }));
  if (d > 1) rest.destroy();
  const tensor = new TensorTrain(cores);
  const error = await relativeResidual(source, (p, out) => void source.residual(p, tensor, { out }));
  return scope.handOut({ tensor, relativeError: error });
}

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
export async function ttMatrix(engine: Engine, w: Tensor<DType>, options: TtMatrixOptions): Promise<TtMatrixResult> {
  checkCall(engine, "ttMatrix", w);
  const modes = { ...optionRules.shape, required: true };
  checkOptions("ttMatrix", options, { ...rules, rowModes: modes, columnModes: modes });
  const { rowModes, columnModes, ...others } = options;
  const d = rowModes.length;
  const product = (values: readonly number[]) => values.reduce((a, b) => a * b, 1);
  if (
    w.order !== 2 ||
    d === 0 ||
    columnModes.length !== d ||
    product(rowModes) !== w.shape[0] ||
    product(columnModes) !== w.shape[1]
  )
    throw new ShapeError(
      `ttMatrix: ${w} by the modes ${formatShape(rowModes)} and ${formatShape(columnModes)}, which need to be as many and to multiply to its sides`,
    );
  const ranks = ranksOf("ttMatrix", w, d, others);
  using source = await resident(engine, "ttMatrix", w);
  using paired = engine.tensor(
    rowModes.map((extent, k) => extent * columnModes[k]!),
    null,
    { label: "paired modes" },
  );
  await engine.run((s) => {
    // m_k and n_k come side by side: in step k, n_k moves in front of the row modes behind m_k
    let current = source.x;
    for (let k = 0; k < d - 1; k++) {
      const rest = [product(rowModes.slice(k + 1)), product(columnModes.slice(k + 1))] as const;
      const front = w.size / (rest[0] * rest[1] * rowModes[k]! * columnModes[k]!);
      const view = current.reshape([front * rowModes[k]!, rest[0], columnModes[k]!, rest[1]]);
      const next = permute(
        s,
        view,
        [0, 2, 1, 3],
        k === d - 2 ? { out: paired.reshape([front * rowModes[k]!, columnModes[k]!, ...rest]) } : {},
      );
      if (current !== source.x) s.release(current);
      current = next;
    }
    if (d === 1) copy(s, source.x, { out: paired });
  }, "pair modes");
  const { tensor, relativeError } = await trainOf("ttMatrix", new Resident(paired, source), ranks, others);
  const cores = tensor.cores.map((core, k) =>
    core.reshape([core.shape[0]!, rowModes[k]!, columnModes[k]!, core.shape[2]!]),
  );
  return { tensor: new TensorTrainMatrix(cores), relativeError };
}

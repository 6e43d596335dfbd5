/** Constraints on the factors of CP, as updates: what `constraints` of cpALS names. */
import {
  checkOption,
  elementsOf,
  isList,
  type OptionRule,
  type Program,
  type Scheduler,
  ShapeError,
  TenfoldError,
  type Tensor,
  type TensorData,
} from "../gpu/index.js";
import { add, fill, map, polar, scaleColumns, unimodalColumns } from "../ops/index.js";
import { makeNonnegative, nonnegative, nonnegativeModes } from "./cpNonnegative.js";
import { besidePenalty, smooth, sparse } from "./cpPenalties.js";
import type { CpStep, CpUpdate } from "./cpUpdates.js";
import type { Scope } from "./iterate.js";

/** A constraint on the factor of one mode. */
export type CpConstraint =
  | "nonnegative"
  | "unimodal"
  | "orthogonal"
  | { readonly fixed: TensorData }
  | { readonly smooth: number; readonly nonnegative?: boolean }
  | { readonly sparse: number; readonly nonnegative?: boolean };

const isFixed = (constraint: CpConstraint): constraint is { fixed: TensorData } =>
  typeof constraint === "object" && "fixed" in constraint;
/** Whether it is a penalty on the factor, beside the squared error. */
const isPenalty = (constraint: CpConstraint) => typeof constraint === "object" && !isFixed(constraint);

/** The weights of the model, and 1 where they are 0: those that a factor's columns of norm 1 stand for. */
function weightsOf(s: Scheduler, weights: Tensor): Tensor {
  const isZero = map(s, weights, "sign", { alpha: -1, beta: 1 });
  const positive = add(s, weights, isZero);
  s.release(isZero);
  return positive;
}

/**
 * Orthonormal columns times the weights: Q·diag(λ) with QᵀQ = I, and Q the polar factor of M·diag(λ), which leaves the least error of all Q
 * (orthogonal Procrustes, Schönemann 1966).
 */
const orthogonal: CpUpdate = {
  advice: "another start",
  record({ s }, { product, weights }) {
    const [rows, rank] = product.shape as [number, number];
    const positive = weightsOf(s, weights);
    const z = scaleColumns(s, product, positive);
    const rotation = s.tensor([1, rank, rank], { label: "rotation" });
    fill(s, rotation, 0);
    const q = polar(s, z.reshape([1, rows, rank]), null, { rotation });
    const next = scaleColumns(s, q.reshape([rows, rank]), positive);
    s.release(positive, z, rotation, q);
    return next;
  },
};

/** Columns that rise to one peak and fall after it, without negative entries (Bro & Sidiropoulos 1998). */
const unimodal: CpUpdate = {
  advice: "another start",
  keepsDirections: true,
  prepare: makeNonnegative,
  record({ s }, { product, normal, factor, weights }) {
    const scaled = scaleColumns(s, factor, weights);
    const next = unimodalColumns(s, normal, product, { factor: scaled });
    s.release(scaled);
    return next;
  },
};

/** A factor that stays as it is, but that its columns have norm 1. */
const fixed = (values: Float32Array): CpUpdate => ({
  advice: "another factor",
  prepare: (start) => start.set(values),
  record: ({ s }, { factor, weights }) => scaleColumns(s, factor, weights),
});

/** What has a shape, and a name for errors. */
type Shaped = { readonly shape: readonly number[]; toString(): string };

/** What `constraints` may be. */
const constraintsRule: OptionRule = {
  needs:
    'an object with "nonnegative", "unimodal", "orthogonal", { fixed: factor }, { smooth: λ } or { sparse: λ } by mode, as in { 0: "unimodal" }; of two constraints on one mode there are { smooth: λ, nonnegative: true } and { sparse: λ, nonnegative: true } alone',
  is: (value) =>
    typeof value === "object" &&
    value !== null &&
    !isList(value) &&
    Object.values(value).every(
      (constraint) =>
        constraint === "nonnegative" ||
        constraint === "unimodal" ||
        constraint === "orthogonal" ||
        (typeof constraint === "object" &&
          constraint !== null &&
          KINDS.includes(Object.keys(constraint).sort().join())),
    ),
};
/** what an object that stands for a constraint has */
const KINDS = ["fixed", "smooth", "sparse", "nonnegative,smooth", "nonnegative,sparse"];

/** What `constraints` and `nonnegative` ask for, of every mode that they name, checked. */
export function constraintsOf(
  name: string,
  x: Shaped,
  rank: number,
  asked: { nonnegative?: boolean | readonly number[]; constraints?: Readonly<Record<number, CpConstraint>> },
): ReadonlyMap<number, CpConstraint> {
  if (asked.constraints) checkOption(name, "constraints", asked.constraints, constraintsRule);
  const all = new Map<number, CpConstraint>();
  for (const mode of nonnegativeModes(name, x, asked.nonnegative ?? false)) all.set(mode, "nonnegative");
  for (const [key, constraint] of Object.entries(asked.constraints ?? {})) {
    const mode = Number(key);
    const extent = x.shape[mode];
    if (!Number.isInteger(mode) || extent === undefined)
      throw new ShapeError(`${name}: constraints has mode ${key}, ${x} has modes 0 to ${x.shape.length - 1}`);
    if (all.has(mode))
      throw new TenfoldError(
        `${name}: mode ${mode} is in nonnegative and in constraints; leave one of them out, or give { smooth: λ, nonnegative: true } or { sparse: λ, nonnegative: true }`,
      );
    if (constraint === "orthogonal" && rank > extent)
      throw new ShapeError(
        `${name}: mode ${mode} of ${x} has no room for ${rank} orthogonal columns; take a rank of at most ${extent}`,
      );
    all.set(mode, constraint);
  }
  const penalised = [...all.keys()].filter((mode) => isPenalty(all.get(mode)!));
  if (penalised.length > 1)
    throw new TenfoldError(
      `${name}: modes ${penalised.join(" and ")} have penalties, needs one at most: they share one set of weights`,
    );
  const unimodalMode = [...all.keys()].find((mode) => all.get(mode) === "unimodal");
  if (penalised.length && unimodalMode !== undefined)
    throw new TenfoldError(
      `${name}: mode ${unimodalMode} is unimodal and mode ${penalised[0]} has a penalty, which do not go together; take nonnegative for mode ${unimodalMode}`,
    );
  for (const mode of penalised) checkPenalty(name, x, mode, all.get(mode)!);
  if ([...all.values()].filter(isFixed).length === x.shape.length)
    throw new TenfoldError(`${name}: all modes are fixed, needs one that is free: leave it out of constraints`);
  return all;
}

/** entries of the matrix of cosines that a smooth mode takes */
const MOST_COSINES = 2 ** 25;

function checkPenalty(name: string, x: Shaped, mode: number, constraint: CpConstraint): void {
  const [kind, lambda] = Object.entries(constraint).find(([key]) => key !== "nonnegative") as [string, unknown];
  if (!(typeof lambda === "number" && lambda >= 0 && Number.isFinite(lambda)))
    throw new TenfoldError(`${name}: ${kind} of mode ${mode} is ${lambda}, needs a number of at least 0`);
  const extent = x.shape[mode]!;
  if (kind === "smooth" && extent ** 2 > MOST_COSINES)
    throw new ShapeError(
      `${name}: mode ${mode} of ${x} has ${extent} rows, smooth takes at most ${Math.floor(Math.sqrt(MOST_COSINES))}: it keeps a square matrix of them`,
    );
}

/** The update of every mode by its constraint, and of modes that have none by `otherwise`. */
export function constrained(
  name: string,
  x: Shaped,
  rank: number,
  constraints: ReadonlyMap<number, CpConstraint>,
  otherwise: CpUpdate,
): CpUpdate {
  const isPenalised = [...constraints.values()].some(isPenalty);
  const updates = x.shape.map((extent, mode): CpUpdate => {
    const constraint = constraints.get(mode);
    if (constraint === undefined) return isPenalised ? besidePenalty(false) : otherwise;
    if (typeof constraint !== "object") {
      if (isPenalised && constraint === "nonnegative") return besidePenalty(true);
      return { nonnegative, unimodal, orthogonal }[constraint];
    }
    if ("fixed" in constraint) return fixed(fixedFactor(name, constraint.fixed, [extent, rank], mode));
    if ("smooth" in constraint) return smooth(constraint.smooth, constraint.nonnegative ?? false, mode);
    return sparse(constraint.sparse, constraint.nonnegative ?? false, mode);
  });
  const update = combined(updates, constraints);
  if (isPenalised || !update.fixed!.size) return update;
  const factors = new Map(
    [...constraints].flatMap(([mode, constraint]) =>
      isFixed(constraint) ? [[mode, fixedFactor(name, constraint.fixed, [x.shape[mode]!, rank], mode)] as const] : [],
    ),
  );
  return {
    ...update,
    within: async (source, options, solve) =>
      await (await import("./cpFixedColumns.js")).inFixedColumns(source, options, factors, (inner, others, columns) =>
        solve(
          inner,
          others,
          combined(
            updates.map((of, mode) => (columns.has(mode) ? fixed(columns.get(mode)!) : of)),
            constraints,
          ),
        ),
      ),
  };
}

/** One update of all modes by those of each. */
function combined(updates: readonly CpUpdate[], constraints: ReadonlyMap<number, CpConstraint>): CpUpdate {
  const modesOf = (holds: (constraint: CpConstraint) => boolean) =>
    new Set([...constraints.keys()].filter((mode) => holds(constraints.get(mode)!)));
  const isOneSigned = (constraint: CpConstraint) =>
    constraint === "nonnegative" ||
    constraint === "unimodal" ||
    (typeof constraint === "object" && "nonnegative" in constraint && constraint.nonnegative === true);
  const penalty = updates.find((update) => update.penalty)?.penalty;
  const correct = (p: Program, step: Omit<CpStep, "squaredNorm"> & { scaled: Tensor }) =>
    updates[step.mode]!.correct!(p, step);
  return {
    advice: [...new Set(updates.map(({ advice }) => advice))].join(", "),
    oneSigned: modesOf(isOneSigned),
    fixed: modesOf(isFixed),
    keepsDirections: true,
    prepare: (start, columns, mode) => updates[mode]!.prepare?.(start, columns, mode),
    record: (p, step) => updates[step.mode]!.record(p, step),
    ...(updates.some((update) => update.begin) && {
      begin: (scope: Scope) =>
        combined(
          updates.map((update) => update.begin?.(scope) ?? update),
          constraints,
        ),
    }),
    hasPenalty: [...constraints.values()].some(isPenalty),
    ...(penalty && { penalty }),
    ...(updates.every((update) => update.correct) && { correct }),
    // one sweep of fused updates for all modes, where they have the same
    ...(updates.every((update) => update === nonnegative) && { fused: nonnegative.fused! }),
  };
}

function fixedFactor(name: string, data: TensorData, shape: [number, number], mode: number): Float32Array {
  const what = `the fixed factor of mode ${mode}`;
  const values = elementsOf(name, data, shape, "f32", what) as Float32Array;
  const at = values.findIndex((value) => !Number.isFinite(value));
  if (at >= 0)
    throw new TenfoldError(
      `${name}: ${what} has ${values[at]} at [${Math.floor(at / shape[1])}, ${at % shape[1]}], needs finite numbers`,
    );
  for (let r = 0; r < shape[1]; r++)
    if (!values.some((value, place) => place % shape[1] === r && value !== 0))
      throw new TenfoldError(`${name}: column ${r} of ${what} is zero, needs an entry that is not`);
  return values;
}

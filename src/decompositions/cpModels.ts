/** What CP by Gauss-Newton and by alternating updates share: starts, results, and the rules for constraints. */
import { type Engine, isList, type OptionRule, type Scheduler, type Tensor } from "../gpu/index.js";
import { canonicalizeColumns, copy, fill, pasteColumns, slice, uniform } from "../ops/index.js";
import type { Source } from "../sources/index.js";
import { KruskalTensor } from "../tensors/index.js";
import { Held } from "./held.js";
import { identityColumns } from "./identityColumns.js";

/** singular values of an unfolding below this part of the largest are taken for rounding errors */
const SEEN = 1e-5;

/** What `nonnegative` may be. */
export const nonnegativeRule: OptionRule = {
  needs: "true, or a list of modes",
  is: (value) => typeof value === "boolean" || (isList(value) && [...value].every((mode) => typeof mode === "number")),
};

/** What `constraints` may be. */
export const constraintsRule: OptionRule = {
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

/** Whether any factor is constrained. */
export const isConstrained = ({
  nonnegative,
  constraints,
}: {
  nonnegative?: boolean | readonly number[] | undefined;
  constraints?: object | undefined;
}): boolean =>
  (isList(nonnegative) ? nonnegative.length > 0 : nonnegative === true) || Object.keys(constraints ?? {}).length > 0;

/** The Kruskal tensor of a tensor of zeros. */
export function zeroKruskal(engine: Engine, shape: readonly number[], rank: number): KruskalTensor {
  const factors = shape.map((extent, mode) => identityColumns(engine, extent, rank, `factor ${mode}`));
  return new KruskalTensor(engine.tensor([rank], new Float32Array(rank), { label: "weights" }), factors);
}

/**
 * Makes a start factor of one mode, and lends it to what `use` records: uniform random, or the leading left singular vectors of the unfolding
 * (random beyond their number). An abort while singular vectors are looked for throws the signal's reason.
 */
export async function withStartFactor(
  source: Source,
  how: "random" | "hosvd",
  { mode, rank, seed, signal }: { mode: number; rank: number; seed: number; signal?: AbortSignal | undefined },
  use: (s: Scheduler, start: Tensor) => void,
): Promise<void> {
  const { engine, shape, size } = source;
  const extent = shape[mode]!;
  const task = { mode, rank: Math.min(rank, extent, size / extent), seed, isTold: false };
  using subspace = how === "hosvd" ? await (await import("./cpHosvd.js")).leadingVectors(source, task, signal) : null;
  if (subspace) signal?.throwIfAborted();
  // vectors beyond the rank of the unfolding are orthogonal to X: their MTTKRP would be 0
  const values = subspace ? await engine.read(subspace.values) : [];
  const count = values.filter((value) => value > SEEN * values[0]!).length;
  await engine.run((s) => {
    const start = uniform(s, [extent, rank], { seed, stream: mode });
    if (subspace) {
      const vectors = slice(s, subspace.vectors, [0, 0], [extent, count]);
      pasteColumns(s, vectors, start);
      s.release(vectors);
    }
    use(s, start);
    s.release(start);
  }, "CP start");
}

/**
 * A copy of a model whose columns have norm 1, in canonical order and signs: weights fall, and in every factor but the last a column's entry of
 * largest magnitude is positive. Only the R weights are looked at by the host. Factors of `fixed` modes stay as they are: where there are some, so do
 * the places of the terms, and the last of the other factors makes up for signs. Columns of `oneSigned` modes have no negative entry.
 */
export async function canonicalKruskal(
  model: KruskalTensor,
  { fixed = new Set(), oneSigned = new Set() }: { fixed?: ReadonlySet<number>; oneSigned?: ReadonlySet<number> } = {},
): Promise<KruskalTensor> {
  const { engine, factors, rank } = model;
  const weights = await engine.read(model.weights);
  const order = Uint32Array.from(weights.keys());
  if (!fixed.size) order.sort((a, b) => weights[b]! - weights[a]! || a - b);
  const free = [...factors.keys()].filter((mode) => !fixed.has(mode));
  const signed = free.filter((mode) => !oneSigned.has(mode));
  const last = Math.max(...(signed.length ? signed : free));
  using held = new Held(engine);
  const sorted = held.allocate([rank], "weights");
  engine.write(
    sorted,
    Float32Array.from(order, (r) => weights[r]!),
  );
  const results = factors.map((factor, mode) => held.allocate(factor.shape, `factor ${mode}`));
  using orderTensor = engine.tensor([rank], order, { label: "order" });
  await engine.run((s) => {
    const flips = s.tensor([rank], { label: "flips" });
    fill(s, flips, 1);
    factors.forEach((factor, mode) => {
      if (fixed.has(mode)) copy(s, factor, { out: results[mode]! });
      else if (mode !== last) canonicalizeColumns(s, factor, orderTensor, flips, { out: results[mode]! });
    });
    canonicalizeColumns(s, factors[last]!, orderTensor, flips, { apply: true, out: results[last]! });
  }, "CP result");
  return held.handOut(new KruskalTensor(sorted, results));
}

/** Gives a Kruskal tensor's weights the scale of X = 2^exponent · x. */
export async function restoreKruskal(
  name: string,
  { engine, weights, factors }: KruskalTensor,
  exponent: number,
): Promise<KruskalTensor> {
  const { restoredWeights } = await import("./cpScale.js");
  const values = await restoredWeights(name, weights, exponent);
  const restored = engine.tensor(weights.shape, values, { label: "weights" });
  weights.destroy();
  return new KruskalTensor(restored, factors);
}

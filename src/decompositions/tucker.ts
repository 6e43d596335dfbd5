import {
  type Engine,
  formatShape,
  type Schedule,
  type Scheduler,
  ShapeError,
  sizeOf,
  type Tensor,
} from "../gpu/index.js";
import {
  appendRow,
  canonicalizeColumns,
  copy,
  fill,
  jacobiSvd,
  matmul,
  modeProduct,
  multiply,
  normal,
  orthogonalise,
  pasteColumns,
  permute,
  slice,
  squaredDistance,
} from "../ops/index.js";
import { TuckerTensor } from "../tensors/index.js";
import { type Convergence, converge, type Decomposition, type StoppingOptions, SWEEPS_A_BATCH } from "./converge.js";
import { basisColumns, leadingSubspace, squaredNormOf, subspaceStep } from "./subspace.js";

export interface TuckerOptions extends StoppingOptions {
  /** R_1…R_N; a full rank (R_n = I_n) leaves that mode alone */
  ranks: readonly number[];
  /** of the random start of the subspace iterations */
  seed?: number;
}

function truncatedModes(name: string, x: Tensor, ranks: readonly number[]): number[] {
  if (ranks.length !== x.order)
    throw new ShapeError(`${name}: ${ranks.length} ranks for ${x}, needs one for each of its ${x.order} modes`);
  ranks.forEach((rank, mode) => {
    if (!Number.isInteger(rank) || rank < 1 || rank > x.shape[mode]!)
      throw new ShapeError(`${name}: rank ${rank} for mode ${mode} of ${x}, needs 1 to ${x.shape[mode]}`);
  });
  const modes = x.shape.map((_, mode) => mode).filter((mode) => ranks[mode]! < x.shape[mode]!);
  for (const mode of modes) {
    const rest = sizeOf(ranks) / ranks[mode]!;
    if (ranks[mode]! > rest)
      throw new ShapeError(
        `${name}: rank ${ranks[mode]} for mode ${mode} is more than the ${rest} that ranks ${formatShape(ranks)} leave to it`,
      );
  }
  return modes;
}

/**
 * The higher-order SVD: the leading left singular vectors of every unfolding of X itself (De Lathauwer, De Moor &
 * Vandewalle 2000; Kolda & Bader 2009, figure 4.3).
 */
export const hosvd = (engine: Engine, x: Tensor, options: TuckerOptions): Promise<Decomposition<TuckerTensor>> =>
  truncatedSvd("hosvd", engine, x, options, false);

/**
 * The sequentially truncated HOSVD: every mode is reduced before the next is looked at, largest reduction first
 * (Vannieuwenhoven, Vandebril & Meerbergen 2012). As good as the HOSVD in practice, and much cheaper.
 */
export const stHosvd = (engine: Engine, x: Tensor, options: TuckerOptions): Promise<Decomposition<TuckerTensor>> =>
  truncatedSvd("stHosvd", engine, x, options, true);

async function truncatedSvd(
  name: string,
  engine: Engine,
  x: Tensor,
  { ranks, seed = 0, ...stopping }: TuckerOptions,
  sequential: boolean,
): Promise<Decomposition<TuckerTensor>> {
  const modes = truncatedModes(name, x, ranks);
  const { factors, ...convergence } = await truncatedFactors(engine, x, modes, ranks, seed, stopping, sequential);
  return finish(engine, x, factors, ranks, convergence);
}

/** Factors of the truncated modes, each by subspace iteration on X or on what earlier modes left of it. */
async function truncatedFactors(
  engine: Engine,
  x: Tensor,
  modes: readonly number[],
  ranks: readonly number[],
  seed: number,
  stopping: StoppingOptions,
  sequential: boolean,
): Promise<{ factors: (Tensor | null)[] } & Convergence> {
  const factors: (Tensor | null)[] = x.shape.map(() => null);
  const total: Convergence = { errors: [], sweeps: 0, converged: true, aborted: false };
  const onIteration = stopping.onIteration;
  let current = x;
  let lost = 0; // squared relative error made by the modes before
  const inOrder = [...modes].sort((a, b) => ranks[a]! / x.shape[a]! - ranks[b]! / x.shape[b]!);
  try {
    for (const mode of inOrder) {
      const scale = Math.sqrt(Math.max(0, 1 - lost));
      const errorSoFar = (error: number) => (sequential ? Math.hypot(Math.sqrt(lost), scale * error) : error);
      const done = total.sweeps;
      const { vectors, errors, sweeps, converged, aborted } = await leadingSubspace(
        engine,
        current,
        mode,
        ranks[mode]!,
        {
          ...stopping,
          seed,
          onIteration: onIteration
            ? ({ sweep, relativeError }) =>
                onIteration({ sweep: done + sweep, relativeError: errorSoFar(relativeError) })
            : undefined,
        },
      );
      factors[mode] = vectors;
      total.errors.push(...errors.map(errorSoFar));
      total.sweeps += sweeps;
      total.converged &&= converged;
      total.aborted ||= aborted;
      if (!sequential) continue;
      lost = errorSoFar(errors.at(-1) ?? 0) ** 2;
      if (mode === inOrder.at(-1)) continue;
      const shape = current.shape.map((extent, k) => (k === mode ? ranks[mode]! : extent));
      const reduced = engine.tensor(shape, null, { label: "truncated tensor" });
      const source = current;
      await engine.run((s) => {
        modeProduct(s, source, vectors, mode, { transpose: true, out: reduced });
      }, "truncate");
      if (current !== x) current.destroy();
      current = reduced;
    }
  } catch (error) {
    for (const factor of factors) factor?.destroy();
    throw error;
  } finally {
    if (current !== x) current.destroy();
  }
  return { factors, ...total };
}

/**
 * The best Tucker approximation of given ranks by higher-order orthogonal iteration (De Lathauwer, De Moor & Vandewalle
 * 2000; Kolda & Bader 2009, figure 4.4), started from the sequentially truncated HOSVD. A mode's update is one step of
 * subspace iteration from where it stands, with a few columns more than its rank. Modes of full rank are left alone.
 */
export async function tuckerHOOI(
  engine: Engine,
  x: Tensor,
  { ranks, seed = 0, ...stopping }: TuckerOptions,
): Promise<Decomposition<TuckerTensor>> {
  const modes = truncatedModes("tuckerHOOI", x, ranks);
  // with one truncated mode (or none) the truncated SVD is the optimum
  if (modes.length < 2) return truncatedSvd("tuckerHOOI", engine, x, { ranks, seed, ...stopping }, true);
  const start = await truncatedFactors(engine, x, modes, ranks, seed, { sweeps: 2, tolerance: 0 }, true);
  const { factors } = start;
  const squaredNorm = await squaredNormOf(engine, x);
  let sweep: HooiSweep | null = null;
  try {
    sweep = await hooiSweep(engine, x, factors, seed);
    const { schedule, trace } = sweep;
    const errorOf = (row: Float32Array) => Math.sqrt(Math.max(0, 1 - row[0]! / squaredNorm));
    const convergence = await converge(engine, { schedule, trace, errorOf, name: "tuckerHOOI" }, stopping);
    return await finish(engine, x, factors, ranks, convergence);
  } catch (error) {
    for (const factor of factors) factor?.destroy();
    throw error;
  } finally {
    sweep?.destroy();
  }
}

/** A recorded sweep of HOOI; its last dispatch appends ‖core‖² to `trace`, a ring of rows. */
export interface HooiSweep {
  schedule: Schedule;
  trace: Tensor;
  destroy(): void;
}

/**
 * Records one HOOI sweep that updates `factors` (I_n×R_n with orthonormal columns; null leaves a mode alone) in place: for
 * those who step it themselves, with `engine.submit` or inside a frame of their own. The factors remain the caller's.
 */
export async function hooiSweep(
  engine: Engine,
  x: Tensor,
  factors: readonly (Tensor | null)[],
  seed = 0,
): Promise<HooiSweep> {
  const modes = x.shape.map((_, mode) => mode).filter((mode) => factors[mode]);
  const rankOf = (mode: number) => factors[mode]?.shape[1] ?? x.shape[mode]!;
  const projectedShape = (mode: number) =>
    x.shape.map((extent, k) => (k === mode ? extent : Math.min(extent, rankOf(k))));
  const owned: { destroy(): void }[] = [];
  const own = (shape: readonly number[], label: string, dtype: "f32" | "u32" = "f32"): Tensor => {
    const tensor = engine.tensor(shape, null, { dtype, label });
    owned.push(tensor);
    return tensor;
  };
  const destroy = () => {
    for (const item of owned.splice(0)) item.destroy();
  };
  try {
    const bases = new Map<number, Tensor>();
    for (const mode of modes) {
      const columns = basisColumns(projectedShape(mode), mode, rankOf(mode));
      bases.set(mode, own([x.shape[mode]!, columns], `basis ${mode}`));
    }
    const trace = own([SWEEPS_A_BATCH, 1], "trace");
    const counter = own([1], "counter", "u32");
    await engine.run((s) => {
      for (const mode of modes) widen(s, factors[mode]!, bases.get(mode)!, seed + mode);
    }, "HOOI start");
    const s = engine.scheduler("HOOI sweep");
    let energy: Tensor | null = null;
    for (const mode of modes) {
      const projected = projectOthers(s, x, factors, modes, mode);
      if (energy) s.release(energy);
      energy = subspaceStep(s, projected, bases.get(mode)!, mode, rankOf(mode));
      if (projected !== x) s.release(projected);
      slice(s, bases.get(mode)!, [0, 0], [x.shape[mode]!, rankOf(mode)], { out: factors[mode]! });
    }
    appendRow(s, energy!, trace, counter);
    const schedule = await s.compile();
    owned.push(schedule);
    return { schedule, trace, destroy };
  } catch (error) {
    destroy();
    throw error;
  }
}

/** Records X times the transposed factors of all truncated modes but one, largest reduction first. */
function projectOthers(
  s: Scheduler,
  x: Tensor,
  factors: readonly (Tensor | null)[],
  modes: readonly number[],
  skip: number,
): Tensor {
  const reduction = (mode: number) => factors[mode]!.shape[1]! / factors[mode]!.shape[0]!;
  const others = modes.filter((mode) => mode !== skip).sort((a, b) => reduction(a) - reduction(b));
  let product = x;
  for (const mode of others) {
    const next = modeProduct(s, product, factors[mode]!, mode, { transpose: true });
    if (product !== x) s.release(product);
    product = next;
  }
  return product;
}

/** Writes an orthonormal basis whose first columns span `factor` and whose others are random. */
function widen(s: Scheduler, factor: Tensor, basis: Tensor, seed: number): void {
  const [rows, columns] = basis.shape as [number, number];
  const wide = normal(s, [rows, columns], { seed, stream: 1 });
  pasteColumns(s, factor, wide);
  const { q, r } = orthogonalise(s, wide);
  copy(s, q, { out: basis });
  s.release(wide, q, r);
}

/**
 * Core, rotation and signs: every factor is rotated so that the core's slices along its mode are orthogonal and fall in
 * norm (the HOSVD's all-orthogonality), and signed so that its entry of largest magnitude in a column is positive.
 */
async function finish(
  engine: Engine,
  x: Tensor,
  factors: (Tensor | null)[],
  ranks: readonly number[],
  convergence: Convergence,
): Promise<Decomposition<TuckerTensor>> {
  const core = engine.tensor(ranks, null, { label: "core" });
  const orders = new Map<number, Tensor>();
  try {
    const modes = ranks.map((_, mode) => mode).filter((mode) => factors[mode]);
    // the order is that of the singular values already
    for (const mode of modes)
      orders.set(
        mode,
        engine.tensor(
          [ranks[mode]!],
          Uint32Array.from({ length: ranks[mode]! }, (_, r) => r),
        ),
      );
    await engine.run((s) => {
      let current = projectOthers(s, x, factors, modes, -1);
      for (const mode of modes) {
        const rank = ranks[mode]!;
        const axes = ranks.map((_, axis) => axis).filter((axis) => axis !== mode);
        const tall = permute(s, current, [...axes, mode]);
        const { u, values, v } = jacobiSvd(s, tall.reshape([-1, rank]));
        s.release(tall, u, values);
        const rotated = matmul(s, factors[mode]!, v);
        const signs = s.tensor([rank], { label: "signs" });
        fill(s, signs, 1);
        canonicalizeColumns(s, rotated, orders.get(mode)!, signs, { out: factors[mode]! });
        const turned = modeProduct(s, current, v, mode, { transpose: true });
        s.release(rotated, v);
        if (current !== x) s.release(current);
        current = multiply(s, turned, signs.reshape(ranks.map((extent, axis) => (axis === mode ? extent : 1))));
        s.release(turned, signs);
      }
      copy(s, current, { out: core });
      if (current !== x) s.release(current);
    }, "Tucker core");
    const tensor = new TuckerTensor(core, factors);
    const relativeError = await residualOf(engine, x, tensor);
    return { tensor, relativeError, fits: convergence.errors.map((error) => 1 - error), ...convergence };
  } catch (error) {
    core.destroy();
    for (const factor of factors) factor?.destroy();
    throw error;
  } finally {
    for (const order of orders.values()) order.destroy();
  }
}

/** ‖X − X̂‖ / ‖X‖ from the difference itself, not from norms that cancel. */
async function residualOf(engine: Engine, x: Tensor, tensor: TuckerTensor): Promise<number> {
  if (tensor.factors.every((factor) => factor === null)) return 0;
  using result = engine.tensor([1], null, { label: "residual" });
  await engine.run((s) => {
    const full = tensor.full(s);
    squaredDistance(s, x, full, { out: result });
    s.release(full);
  }, "Tucker residual");
  const squared = (await engine.read(result))[0]!;
  return Math.sqrt(squared / (await squaredNormOf(engine, x)));
}

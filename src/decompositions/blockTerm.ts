import { type Engine, type Schedule, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import {
  add,
  appendRow,
  cholesky,
  copy,
  matmul,
  modeProduct,
  multiply,
  normal,
  solveSymmetric,
  squaredDistance,
  subtract,
  unfoldedProduct,
} from "../ops/index.js";
import { BlockTermTensor, TuckerTensor } from "../tensors/index.js";
import { type Convergence, converge, type Decomposition, type StoppingOptions, SWEEPS_A_BATCH } from "./converge.js";
import { squaredNormOf } from "./subspace.js";
import { tuckerHOOI } from "./tucker.js";

export interface BlockTermOptions extends StoppingOptions {
  /** G */
  blocks: number;
  /** L, M, N, … of every block; a full rank leaves that mode to the cores, undivided */
  ranks: readonly number[];
  /** the first is from residuals, further ones are random; the best is kept. 1 by default */
  starts?: number;
  seed?: number;
  /** of the proximal term, times the mean of the normal matrix's diagonal; 1e-6 by default */
  ridge?: number;
}

/**
 * The block term decomposition X ≈ Σ_g ⟦G_g; A_g, B_g, …⟧ in G blocks of multilinear rank (L, M, N, …) by alternating least
 * squares over all blocks at once (De Lathauwer & Nion 2008, algorithm 3). Starts from Tucker tensors of the residual, one
 * block after the other, as Wang & Cheng 2016 fit kernels. A proximal term keeps collinear blocks finite, and the error never
 * rises. One block is a Tucker decomposition.
 *
 * Blocks lie side by side: one I_n×(G·R_n) factor a mode and one core with the blocks on its diagonal, so that a sweep is a
 * few products whatever G is.
 */
export async function blockTermALS(
  engine: Engine,
  x: Tensor,
  { blocks, ranks, starts = 1, seed = 0, ridge = 1e-6, ...stopping }: BlockTermOptions,
): Promise<Decomposition<BlockTermTensor>> {
  if (!(Number.isInteger(blocks) && blocks >= 1))
    throw new ShapeError(`blockTermALS: ${blocks} blocks, needs a positive whole number`);
  const squaredNorm = await squaredNormOf(engine, x);
  const owned: { destroy(): void }[] = [];
  const own = <T extends { destroy(): void }>(item: T): T => {
    owned.push(item);
    return item;
  };
  try {
    const start = await residualStart(engine, x, blocks, ranks, seed);
    const modes = start[0]!.factors.map((_, mode) => mode).filter((mode) => start[0]!.factors[mode]);
    const host: HostBlock[] = [];
    for (const block of start) {
      const factors: (Float32Array | null)[] = [];
      for (const factor of block.factors) factors.push(factor && ((await engine.read(factor)) as Float32Array));
      host.push({ core: (await engine.read(block.core)) as Float32Array, factors });
      block.destroy();
    }
    const stacked = stack(x.shape, ranks, modes, host);
    const core = own(engine.tensor(stacked.shape, stacked.core, { label: "block diagonal core" }));
    const factors = x.shape.map((extent, mode) =>
      stacked.factors[mode]
        ? own(engine.tensor([extent, blocks * ranks[mode]!], stacked.factors[mode]!, { label: `factors ${mode}` }))
        : null,
    );
    const masks = modes.length ? masksOf(blocks, ranks, modes) : [];
    const coreMasks = masks.map(({ data, shape }) =>
      own(
        engine.tensor(
          shape.map((extent, mode) => (modes.includes(mode) ? extent : 1)),
          data,
        ),
      ),
    );
    const diagonals = new Map(
      modes.map((mode) => [
        mode,
        own(engine.tensor([blocks * ranks[mode]!, blocks * ranks[mode]!], diagonalOf(blocks, ranks[mode]!))),
      ]),
    );
    const trace = own(engine.tensor([SWEEPS_A_BATCH, 1], null, { label: "trace" }));
    const counter = own(engine.tensor([1], null, { dtype: "u32", label: "counter" }));
    const s = engine.scheduler("BTD sweep");
    for (const mode of modes) {
      updateFactor(s, x, core, factors, modes, mode, ridge);
      orthonormaliseBlocks(s, core, factors[mode]!, mode, diagonals.get(mode)!);
    }
    updateCores(s, x, core, factors, modes, coreMasks);
    const full = expand(s, core, factors, modes);
    const residual = squaredDistance(s, x, full);
    if (full !== core) s.release(full);
    appendRow(s, residual, trace, counter);
    const schedule: Schedule = own(await s.compile());
    const errorOf = (row: Float32Array) => Math.sqrt(Math.max(0, row[0]!) / squaredNorm);
    let best: { convergence: Convergence; core: Float32Array; factors: (Float32Array | null)[] } | null = null;
    for (let attempt = 0; attempt < Math.max(1, starts) && !(attempt && stopping.signal?.aborted); attempt++) {
      if (attempt) {
        await engine.run((r) => {
          const deviation = Math.sqrt(squaredNorm / x.size);
          factors.forEach((factor, mode) => {
            if (factor) normal(r, factor.shape, { seed: seed + attempt, stream: mode, out: factor });
          });
          const random = normal(r, core.shape, { seed: seed + attempt, stream: 99, deviation });
          masks.forEach((_, block) => {
            const own = multiply(r, random, coreMasks[block]!);
            if (block === 0) copy(r, own, { out: core });
            else copy(r, add(r, core, own), { out: core });
          });
        }, "BTD random start");
        engine.write(counter, [0]);
      }
      const convergence = await converge(engine, { schedule, trace, errorOf, name: "blockTermALS" }, stopping);
      if (best && best.convergence.errors.at(-1)! <= convergence.errors.at(-1)!) continue;
      const values: (Float32Array | null)[] = [];
      for (const factor of factors) values.push(factor && ((await engine.read(factor)) as Float32Array));
      best = { convergence, core: (await engine.read(core)) as Float32Array, factors: values };
      if (!modes.length) break;
    }
    const { convergence } = best!;
    const found = unstack(x.shape, ranks, modes, blocks, best!.core, best!.factors);
    const tensor = new BlockTermTensor(
      found.map(
        (block) =>
          new TuckerTensor(
            engine.tensor(ranks, block.core, { label: "core" }),
            block.factors.map((factor, mode) => factor && engine.tensor([x.shape[mode]!, ranks[mode]!], factor)),
          ),
      ),
    );
    using distance = engine.tensor([1], null, { label: "residual" });
    await engine.run((r) => void squaredDistance(r, x, tensor.full(r), { out: distance }), "BTD residual");
    const relativeError = Math.sqrt((await engine.read(distance))[0]! / squaredNorm);
    return { tensor, relativeError, fits: convergence.errors.map((error) => 1 - error), ...convergence };
  } finally {
    for (const item of owned) item.destroy();
  }
}

interface HostBlock {
  core: Float32Array;
  factors: (Float32Array | null)[];
}

/** Tucker tensors of what the blocks before left over. */
async function residualStart(
  engine: Engine,
  x: Tensor,
  blocks: number,
  ranks: readonly number[],
  seed: number,
): Promise<TuckerTensor[]> {
  const found: TuckerTensor[] = [];
  using rest = engine.tensor(x.shape, null, { label: "residual" });
  try {
    for (let block = 0; block < blocks; block++) {
      const from = block ? rest : x;
      const { tensor } = await tuckerHOOI(engine, from, { ranks, seed: seed + block, sweeps: 30, tolerance: 1e-6 });
      found.push(tensor);
      if (block === blocks - 1) break;
      await engine.run((s) => {
        const full = tensor.full(s);
        const left = subtract(s, from, full);
        copy(s, left, { out: rest });
      }, "BTD start");
    }
    return found;
  } catch (error) {
    for (const tensor of found) tensor.destroy();
    throw error;
  }
}

/** Records A ← A + (X − X̂)₍ₙ₎·Z·(ZᵀZ + ρI)⁻¹ for the factors of one mode, all blocks together. */
function updateFactor(
  s: Scheduler,
  x: Tensor,
  core: Tensor,
  factors: readonly (Tensor | null)[],
  modes: readonly number[],
  mode: number,
  ridge: number,
): void {
  const factor = factors[mode]!;
  const z = expand(
    s,
    core,
    factors,
    modes.filter((other) => other !== mode),
  );
  const normals = unfoldedProduct(s, z, z, mode);
  const model = modeProduct(s, z, factor, mode);
  const difference = subtract(s, x, model);
  s.release(model);
  const gradient = unfoldedProduct(s, difference, z, mode);
  s.release(difference);
  if (z !== core) s.release(z);
  const step = solveSymmetric(s, normals, gradient, { ridge });
  s.release(normals, gradient);
  const moved = add(s, factor, step);
  s.release(step);
  copy(s, moved, { out: factor });
  s.release(moved);
}

/** Records A_g ← A_g·R_g⁻¹ and G_g ×ₙ R_g with A_gᵀA_g = R_gᵀR_g, for all blocks at once; X̂ stays. */
function orthonormaliseBlocks(s: Scheduler, core: Tensor, factor: Tensor, mode: number, diagonal: Tensor): void {
  const whole = matmul(s, factor, factor, { transposeA: true });
  const own = multiply(s, whole, diagonal);
  s.release(whole);
  // the ridge keeps a block of lower rank finite: its columns come out shorter than 1
  const { r, inverse } = cholesky(s, own, { ridge: 1e-6 });
  s.release(own);
  const turned = matmul(s, factor, inverse);
  copy(s, turned, { out: factor });
  s.release(inverse, turned);
  const next = modeProduct(s, core, r, mode);
  copy(s, next, { out: core });
  s.release(r, next);
}

/** Records G_g ← G_g + (X − X̂) ×ₙ A_gᵀ for one block after the other, in the space of the cores. */
function updateCores(
  s: Scheduler,
  x: Tensor,
  core: Tensor,
  factors: readonly (Tensor | null)[],
  modes: readonly number[],
  masks: readonly Tensor[],
): void {
  let projected = x;
  for (const mode of modes) {
    const next = modeProduct(s, projected, factors[mode]!, mode, { transpose: true });
    if (projected !== x) s.release(projected);
    projected = next;
  }
  const grams = modes.map((mode) => matmul(s, factors[mode]!, factors[mode]!, { transposeA: true }));
  for (const mask of masks) {
    let seen = core;
    modes.forEach((mode, index) => {
      const next = modeProduct(s, seen, grams[index]!, mode);
      if (seen !== core) s.release(seen);
      seen = next;
    });
    const difference = subtract(s, projected, seen);
    const own = multiply(s, difference, mask);
    const moved = add(s, core, own);
    copy(s, moved, { out: core });
    if (seen !== core) s.release(seen);
    s.release(difference, own, moved);
  }
  if (projected !== x) s.release(projected);
  s.release(...grams);
}

/** Records the core times the factors of some modes. */
function expand(s: Scheduler, core: Tensor, factors: readonly (Tensor | null)[], modes: readonly number[]): Tensor {
  let product = core;
  for (const mode of modes) {
    const next = modeProduct(s, product, factors[mode]!, mode);
    if (product !== core) s.release(product);
    product = next;
  }
  return product;
}

/** Calls back with the flat index in a block, that in the block diagonal core, and the block. */
function eachEntry(
  ranks: readonly number[],
  modes: readonly number[],
  blocks: number,
  visit: (small: number, large: number, block: number) => void,
): number[] {
  const shape = ranks.map((rank, mode) => (modes.includes(mode) ? blocks * rank : rank));
  const size = ranks.reduce((a, b) => a * b, 1);
  for (let block = 0; block < blocks; block++) {
    for (let small = 0; small < size; small++) {
      let [rest, large, stride] = [small, 0, 1];
      for (let mode = ranks.length - 1; mode >= 0; mode--) {
        const at = rest % ranks[mode]!;
        rest = Math.floor(rest / ranks[mode]!);
        large += (at + (modes.includes(mode) ? block * ranks[mode]! : 0)) * stride;
        stride *= shape[mode]!;
      }
      visit(small, large, block);
    }
  }
  return shape;
}

function stack(
  extents: readonly number[],
  ranks: readonly number[],
  modes: readonly number[],
  host: readonly HostBlock[],
) {
  const blocks = host.length;
  const size = ranks.reduce((a, rank, mode) => a * (modes.includes(mode) ? blocks * rank : rank), 1);
  const core = new Float32Array(size);
  const shape = eachEntry(ranks, modes, blocks, (small, large, block) => {
    core[large]! += host[block]!.core[small]!;
  });
  const factors = extents.map((extent, mode) => {
    if (!modes.includes(mode)) return null;
    const rank = ranks[mode]!;
    return Float32Array.from({ length: extent * blocks * rank }, (_, e) => {
      const [i, column] = [Math.floor(e / (blocks * rank)), e % (blocks * rank)];
      return host[Math.floor(column / rank)]!.factors[mode]![i * rank + (column % rank)]!;
    });
  });
  return { core, shape, factors };
}

function unstack(
  extents: readonly number[],
  ranks: readonly number[],
  modes: readonly number[],
  blocks: number,
  core: Float32Array,
  factors: readonly (Float32Array | null)[],
): HostBlock[] {
  const size = ranks.reduce((a, b) => a * b, 1);
  const found: HostBlock[] = Array.from({ length: blocks }, (_, block) => ({
    core: new Float32Array(size),
    factors: extents.map((extent, mode) => {
      const from = factors[mode];
      const rank = ranks[mode]!;
      if (!from) return null;
      return Float32Array.from(
        { length: extent * rank },
        (_, e) => from[Math.floor(e / rank) * blocks * rank + block * rank + (e % rank)]!,
      );
    }),
  }));
  eachEntry(ranks, modes, blocks, (small, large, block) => {
    found[block]!.core[small] = core[large]!;
  });
  return found;
}

/** For each block 1 where its core lies, over the divided modes. */
function masksOf(blocks: number, ranks: readonly number[], modes: readonly number[]) {
  const small = ranks.map((rank, mode) => (modes.includes(mode) ? rank : 1));
  const size = small.reduce((a, rank, mode) => a * (modes.includes(mode) ? blocks * rank : 1), 1);
  return Array.from({ length: blocks }, (_, own) => {
    const data = new Float32Array(size);
    const shape = eachEntry(small, modes, blocks, (_small, large, block) => {
      if (block === own) data[large] = 1;
    });
    return { data, shape };
  });
}

/** 1 within the blocks on the diagonal of a matrix. */
const diagonalOf = (blocks: number, rank: number): Float32Array =>
  Float32Array.from({ length: (blocks * rank) ** 2 }, (_, e) =>
    Math.floor(Math.floor(e / (blocks * rank)) / rank) === Math.floor((e % (blocks * rank)) / rank) ? 1 : 0,
  );

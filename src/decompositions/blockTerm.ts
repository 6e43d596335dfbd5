import { type Engine, type Schedule, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import {
  accumulate,
  appendRow,
  cholesky,
  copy,
  diagonalBlocks,
  fill,
  gram,
  matmul,
  modeProduct,
  normal,
  paste,
  slice,
  solveSymmetric,
  squaredDistance,
  subtract,
  sumOfSquares,
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
 * few products whatever G is. Of X's size there is one tensor besides X, the residual.
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
  let best: { convergence: Convergence; tensor: BlockTermTensor } | null = null;
  try {
    const residual = own(engine.tensor(x.shape, null, { label: "residual" }));
    const start = await residualStart(engine, x, residual, blocks, ranks, seed);
    for (const block of start) own(block);
    const model = sideBySide(x.shape, ranks, blocks, (shape, label) => own(engine.tensor(shape, null, { label })));
    await engine.run((s) => {
      fill(s, model.core, 0);
      for (const [index, block] of start.entries()) placeBlock(s, model, block, index);
      refresh(s, x, model, residual);
    }, "BTD start");
    const trace = own(engine.tensor([SWEEPS_A_BATCH, 1], null, { label: "trace" }));
    const counter = own(engine.tensor([1], null, { dtype: "u32", label: "counter" }));
    const s = engine.scheduler("BTD sweep");
    appendRow(s, recordSweep(s, x, model, residual, ridge), trace, counter);
    const schedule: Schedule = own(await s.compile());
    const errorOf = (row: Float32Array) => Math.sqrt(Math.max(0, row[0]!) / squaredNorm);
    for (let attempt = 0; attempt < Math.max(1, starts) && !(attempt && stopping.signal?.aborted); attempt++) {
      if (attempt) {
        const deviation = Math.sqrt(squaredNorm / x.size);
        await engine.run((r) => {
          model.factors.forEach((factor, mode) => {
            if (factor) normal(r, factor.shape, { seed: seed + attempt, stream: mode, out: factor });
          });
          const random = normal(r, model.core.shape, { seed: seed + attempt, stream: 99, deviation });
          diagonalBlocks(r, random, model.widths, { out: model.core });
          r.release(random);
          refresh(r, x, model, residual);
        }, "BTD random start");
        engine.write(counter, [0]);
      }
      const convergence = await converge(engine, { schedule, trace, errorOf, name: "blockTermALS" }, stopping);
      if (best && best.convergence.errors.at(-1)! <= convergence.errors.at(-1)!) continue;
      best?.tensor.destroy();
      best = { convergence, tensor: await takeBlocks(engine, model, ranks) };
      if (!model.modes.length) break;
    }
    const { convergence, tensor } = best!;
    using distance = engine.tensor([1], null, { label: "residual" });
    await engine.run((r) => void squaredDistance(r, x, tensor.full(r), { out: distance }), "BTD residual");
    const relativeError = Math.sqrt((await engine.read(distance))[0]! / squaredNorm);
    return { tensor, relativeError, fits: convergence.errors.map((error) => 1 - error), ...convergence };
  } catch (error) {
    best?.tensor.destroy();
    throw error;
  } finally {
    for (const item of owned) item.destroy();
  }
}

/** Tucker tensors of what the blocks before left over; `rest` (of X's shape) is overwritten. */
async function residualStart(
  engine: Engine,
  x: Tensor,
  rest: Tensor,
  blocks: number,
  ranks: readonly number[],
  seed: number,
): Promise<TuckerTensor[]> {
  const found: TuckerTensor[] = [];
  try {
    for (let block = 0; block < blocks; block++) {
      const from = block ? rest : x;
      const { tensor } = await tuckerHOOI(engine, from, { ranks, seed: seed + block, sweeps: 30, tolerance: 1e-6 });
      found.push(tensor);
      if (block === blocks - 1) break;
      await engine.run((s) => {
        if (!block) accumulate(s, x, tensor.full(s, rest), { beta: -1 });
        else accumulate(s, tensor.full(s), rest, { alpha: -1 });
      }, "BTD start");
    }
    return found;
  } catch (error) {
    for (const tensor of found) tensor.destroy();
    throw error;
  }
}

/** All blocks as one Tucker tensor whose core has them on its diagonal. */
interface SideBySide {
  blocks: number;
  /** those that are divided among the blocks */
  modes: readonly number[];
  /** G·R_n in a divided mode, I_n in the others */
  core: Tensor;
  /** I_n×(G·R_n); null for a mode that is not divided */
  factors: readonly (Tensor | null)[];
  /** AᵀA of every factor */
  grams: readonly (Tensor | null)[];
  /** R_n; null for a mode that is not divided */
  widths: readonly (number | null)[];
}

function sideBySide(
  shape: readonly number[],
  ranks: readonly number[],
  blocks: number,
  make: (shape: readonly number[], label: string) => Tensor,
): SideBySide {
  const modes = [...shape.keys()].filter((mode) => ranks[mode]! < shape[mode]!);
  const widths = shape.map((_, mode) => (modes.includes(mode) ? ranks[mode]! : null));
  const columns = (mode: number) => blocks * ranks[mode]!;
  return {
    blocks,
    modes,
    widths,
    core: make(
      shape.map((extent, mode) => (widths[mode] ? columns(mode) : extent)),
      "block diagonal core",
    ),
    factors: shape.map((extent, mode) => (widths[mode] ? make([extent, columns(mode)], `factors ${mode}`) : null)),
    grams: shape.map((_, mode) => (widths[mode] ? make([columns(mode), columns(mode)], `gram ${mode}`) : null)),
  };
}

/** Where block `index` begins in the core. */
const beginOf = ({ widths }: SideBySide, index: number): number[] => widths.map((width) => (width ?? 0) * index);

/** Records the writing of one block to its place. */
function placeBlock(s: Scheduler, model: SideBySide, block: TuckerTensor, index: number): void {
  paste(s, block.core, model.core, beginOf(model, index));
  for (const mode of model.modes)
    paste(s, block.factors[mode]!, model.factors[mode]!, [0, index * model.widths[mode]!]);
}

/** The blocks apart from each other, in tensors of their own. */
async function takeBlocks(engine: Engine, model: SideBySide, ranks: readonly number[]): Promise<BlockTermTensor> {
  const tensor = new BlockTermTensor(
    Array.from(
      { length: model.blocks },
      () =>
        new TuckerTensor(
          engine.tensor(ranks, null, { label: "core" }),
          model.factors.map(
            (factor, mode) =>
              factor && engine.tensor([factor.shape[0]!, ranks[mode]!], null, { label: `factor ${mode}` }),
          ),
        ),
    ),
  );
  try {
    await engine.run((s) => {
      tensor.blocks.forEach((block, index) => {
        slice(s, model.core, beginOf(model, index), ranks, { out: block.core });
        for (const mode of model.modes) {
          const out = block.factors[mode]!;
          slice(s, model.factors[mode]!, [0, index * ranks[mode]!], out.shape, { out });
        }
      });
    }, "BTD blocks");
  } catch (error) {
    tensor.destroy();
    throw error;
  }
  return tensor;
}

/** Records the Gram matrices and the residual of a model that was changed from outside. */
function refresh(s: Scheduler, x: Tensor, model: SideBySide, residual: Tensor): void {
  for (const mode of model.modes) gram(s, model.factors[mode]!, { out: model.grams[mode]! });
  leave(s, x, model, residual);
}

/** Records one sweep from a residual that is that of the model, to one that is; gives its ‖X − X̂‖². */
function recordSweep(s: Scheduler, x: Tensor, model: SideBySide, residual: Tensor, ridge: number): Tensor {
  model.modes.forEach((mode, index) => {
    if (index) leave(s, x, model, residual);
    updateFactor(s, residual, model, mode, ridge);
    orthonormaliseBlocks(s, model, mode);
  });
  updateCores(s, x, model);
  leave(s, x, model, residual);
  return sumOfSquares(s, residual);
}

/** Records residual ← X − X̂. */
function leave(s: Scheduler, x: Tensor, { core, factors, modes }: SideBySide, residual: Tensor): void {
  // modes that grow least first: every product but the last is small
  const growth = (mode: number) => factors[mode]!.shape[0]! / factors[mode]!.shape[1]!;
  const order = [...modes].sort((a, b) => growth(a) - growth(b));
  let product = core;
  order.forEach((mode, index) => {
    const out = index === order.length - 1 ? { out: residual } : {};
    const next = modeProduct(s, product, factors[mode]!, mode, out);
    if (product !== core) s.release(product);
    product = next;
  });
  if (!order.length) copy(s, core, { out: residual });
  accumulate(s, x, residual, { beta: -1 });
}

/** Records `from` times the transposed factors of some modes, largest reduction first; `from` itself where there are none. */
function project(s: Scheduler, from: Tensor, { factors }: SideBySide, modes: readonly number[]): Tensor {
  const reduction = (mode: number) => factors[mode]!.shape[1]! / factors[mode]!.shape[0]!;
  let product = from;
  for (const mode of [...modes].sort((a, b) => reduction(a) - reduction(b))) {
    const next = modeProduct(s, product, factors[mode]!, mode, { transpose: true });
    if (product !== from) s.release(product);
    product = next;
  }
  return product;
}

/** Records the core times AᵀA of some modes: what projecting X̂ gives. The core itself where there are none. */
function projectModel(s: Scheduler, { core, grams }: SideBySide, modes: readonly number[]): Tensor {
  let product = core;
  for (const mode of modes) {
    const next = modeProduct(s, product, grams[mode]!, mode);
    if (product !== core) s.release(product);
    product = next;
  }
  return product;
}

/**
 * Records A ← A + (X − X̂)₍ₙ₎·Z·(ZᵀZ + ρI)⁻¹ for the factors of one mode, all blocks together. Z, the core times the other
 * factors, is never formed: both products with it are taken in the space of the cores.
 */
function updateFactor(s: Scheduler, residual: Tensor, model: SideBySide, mode: number, ridge: number): void {
  const { core, factors, modes } = model;
  const others = modes.filter((other) => other !== mode);
  const projected = project(s, residual, model, others);
  const gradient = unfoldedProduct(s, projected, core, mode);
  if (projected !== residual) s.release(projected);
  const weighted = projectModel(s, model, others);
  const normals = unfoldedProduct(s, weighted, core, mode);
  if (weighted !== core) s.release(weighted);
  const step = solveSymmetric(s, normals, gradient, { ridge });
  accumulate(s, step, factors[mode]!);
  s.release(normals, gradient, step);
}

/** Records A_g ← A_g·R_g⁻¹ and G_g ×ₙ R_g with A_gᵀA_g = R_gᵀR_g, for all blocks at once; X̂ stays. */
function orthonormaliseBlocks(s: Scheduler, { core, factors, grams, widths }: SideBySide, mode: number): void {
  const factor = factors[mode]!;
  const whole = gram(s, factor);
  const apart = diagonalBlocks(s, whole, [widths[mode]!, widths[mode]!]);
  s.release(whole);
  // the ridge keeps a block of lower rank finite: its columns come out shorter than 1
  const { r, inverse } = cholesky(s, apart, { ridge: 1e-6, unit: true });
  s.release(apart);
  const turned = matmul(s, factor, inverse);
  copy(s, turned, { out: factor });
  s.release(inverse, turned);
  gram(s, factor, { out: grams[mode]! });
  const next = modeProduct(s, core, r, mode);
  copy(s, next, { out: core });
  s.release(r, next);
}

/** Records G_g ← G_g + (X − X̂) ×ₙ A_gᵀ for one block after the other, in the space of the cores. */
function updateCores(s: Scheduler, x: Tensor, model: SideBySide): void {
  const { core, modes, widths } = model;
  const projected = project(s, x, model, modes);
  for (let block = 0; block < model.blocks; block++) {
    const seen = projectModel(s, model, modes);
    const difference = subtract(s, projected, seen);
    if (seen !== core) s.release(seen);
    diagonalBlocks(s, difference, widths, { only: block, out: core, add: true });
    s.release(difference);
  }
  if (projected !== x) s.release(projected);
}

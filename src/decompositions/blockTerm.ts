import {
  checkOptions,
  type Engine,
  type OptionRules,
  optionRules,
  type Scheduler,
  ShapeError,
  type Tensor,
} from "../gpu/index.js";
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
import {
  type Decomposition,
  iterate,
  type Method,
  type Scope,
  type StoppingOptions,
  seedAt,
  stoppingRules,
} from "./iterate.js";
import { checkCall, restore } from "./prepare.js";
import { multilinearRanks, tuckerHOOI, zeroTucker } from "./tucker.js";

export interface BlockTermOptions extends StoppingOptions {
  /** G */
  blocks: number;
  /**
   * L, M, N, … of every block; a full rank leaves that mode to the cores, undivided. One number stands for all modes, lowered where a
   * mode has no room for it
   */
  ranks: number | readonly number[];
  /** the first is from residuals, further ones are random; the best is kept. 1 by default */
  starts?: number;
  seed?: number;
  /** of the proximal term, times the mean of the normal matrix's diagonal; 1e-6 by default */
  ridge?: number;
}

const rules: OptionRules<BlockTermOptions> = {
  blocks: { ...optionRules.positive, required: true },
  ranks: { ...optionRules.ranks, required: true },
  starts: optionRules.positive,
  seed: optionRules.seed,
  ridge: optionRules.atLeastZero,
  ...stoppingRules,
};

/**
 * The block term decomposition X ≈ Σ_g ⟦G_g; A_g, B_g, …⟧ in G blocks of multilinear rank (L, M, N, …) by alternating least
 * squares over all blocks at once (De Lathauwer & Nion 2008, algorithm 3). Starts from Tucker tensors of the residual, one
 * block after the other, as Wang & Cheng 2016 fit kernels. A proximal term keeps collinear blocks finite, and the error never
 * rises. One block is a Tucker decomposition.
 *
 * Blocks lie side by side: one I_n×(G·R_n) factor a mode and one core with the blocks on its diagonal, so that a sweep is a
 * few products whatever G is. A sweep holds X, the residual of its size, and a few tensors of the core's: that one is dense, zeros
 * included, with G^m·R_1·R_2·… entries where m modes are divided (an undivided one counts as R_n = I_n). With many blocks or
 * modes this can be more than X.
 */
export async function blockTermALS(
  engine: Engine,
  x: Tensor,
  options: BlockTermOptions,
): Promise<Decomposition<BlockTermTensor>> {
  checkCall(engine, "blockTermALS", x);
  const count: unknown = options?.blocks;
  if (typeof count === "number" && !optionRules.positive.is(count))
    throw new ShapeError(`blockTermALS: ${count} blocks, needs a positive whole number`);
  checkOptions("blockTermALS", options, rules);
  const { blocks, ranks: given, starts, seed = 0, ridge = 1e-6, ...stopping } = options;
  const ranks = multilinearRanks("blockTermALS", x, given);
  const isWhole = ranks.every((rank, mode) => rank === x.shape[mode]);
  return await iterate<BlockTermTensor>(engine, x, {
    name: "blockTermALS",
    stopping,
    // where the first block holds X as it is, nothing is left to find
    starts: isWhole ? 1 : starts,
    seed,
    zero: () => blocksOf(blocks, () => zeroTucker(engine, x.shape, ranks)),
    begin: (scope) => blockTermMethod(scope, { blocks, ranks, seed, ridge, signal: stopping.signal }),
  });
}

interface Task {
  blocks: number;
  ranks: readonly number[];
  seed: number;
  ridge: number;
  signal: AbortSignal | undefined;
}

/** Block terms as a method of `iterate`: what a sweep keeps, and its residual. */
async function blockTermMethod(
  { engine, own, given: { x, squaredNorm } }: Scope,
  { blocks, ranks, seed, ridge, signal }: Task,
): Promise<Method<BlockTermTensor>> {
  const residual = own(x.shape, "residual");
  const model = sideBySide(x.shape, ranks, blocks, own);
  // here and not in `start`: what it needs is free again before a sweep allocates its own
  await residualStart(engine, x, model, residual, ranks, seed, signal);
  return {
    columns: 1,
    advice: "a larger ridge",
    async start(index) {
      if (index) await randomStart(engine, x, model, residual, seedAt(seed, index), squaredNorm);
      return undefined;
    },
    record(s, { rows, counter }) {
      const squared = recordSweep(s, x, model, residual, ridge);
      appendRow(s, squared, rows, counter);
      s.release(squared);
    },
    errorOf: (row) => ({ fromResidual: Math.sqrt(row[0]! / squaredNorm) }),
    finish: () => takeBlocks(engine, model, ranks),
    residual: (s, tensor, out) => void squaredDistance(s, x, tensor.full(s, residual), { out }),
    async restore(tensor, exponent) {
      const cores: Tensor[] = [];
      try {
        for (const { core } of tensor.blocks) cores.push(await restore(engine, "blockTermALS", "core", core, exponent));
      } catch (error) {
        for (const core of cores) core.destroy();
        throw error;
      }
      return new BlockTermTensor(tensor.blocks.map(({ factors }, block) => new TuckerTensor(cores[block]!, factors)));
    },
  };
}

/** Makes one block after the other; frees those that there are where one fails. */
function blocksOf(count: number, make: (block: number) => TuckerTensor): BlockTermTensor {
  const made: TuckerTensor[] = [];
  try {
    for (let block = 0; block < count; block++) made.push(make(block));
    return new BlockTermTensor(made);
  } catch (error) {
    for (const block of made) block.destroy();
    throw error;
  }
}

/** Starts from random numbers in every block. */
async function randomStart(
  engine: Engine,
  x: Tensor,
  model: SideBySide,
  residual: Tensor,
  seed: number,
  squaredNorm: number,
): Promise<void> {
  await engine.run((s) => {
    model.factors.forEach((factor, mode) => {
      if (factor) normal(s, factor.shape, { seed, stream: mode, out: factor });
    });
    const random = normal(s, model.core.shape, { seed, stream: 99, deviation: Math.sqrt(squaredNorm / x.size) });
    diagonalBlocks(s, random, model.widths, { out: model.core });
    s.release(random);
    refresh(s, x, model, residual);
  }, "BTD random start");
}

/** Starts from Tucker tensors, each of what the blocks before it left over. */
async function residualStart(
  engine: Engine,
  x: Tensor,
  model: SideBySide,
  residual: Tensor,
  ranks: readonly number[],
  seed: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  await engine.run((s) => void fill(s, model.core, 0), "BTD start");
  for (let block = 0; block < model.blocks; block++) {
    const from = block ? residual : x;
    const { tensor } = await tuckerHOOI(engine, from, { ranks, seed: seedAt(seed, block), sweeps: 30, signal });
    try {
      await engine.run((s) => {
        placeBlock(s, model, tensor, block);
        if (block === model.blocks - 1) refresh(s, x, model, residual);
        else if (!block) accumulate(s, x, tensor.full(s, residual), { beta: -1 });
        else accumulate(s, tensor.full(s), residual, { alpha: -1 });
      }, "BTD start");
    } finally {
      tensor.destroy();
    }
    // with no mode to divide among them the first block is X, and is all of them
    if (!model.modes.length) return;
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
  const make = (shape: readonly number[], label: string): Tensor => engine.tensor(shape, null, { label });
  const tensor = blocksOf(
    model.blocks,
    () =>
      new TuckerTensor(
        make(ranks, "core"),
        model.factors.map((factor, mode) => factor && make([factor.shape[0]!, ranks[mode]!], `factor ${mode}`)),
      ),
  );
  // with no mode to divide the first block holds everything, and the others nothing
  const filled = model.modes.length ? tensor.blocks : tensor.blocks.slice(0, 1);
  try {
    await engine.run((s) => {
      filled.forEach((block, index) => {
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
  for (let block = 0; block < (modes.length ? model.blocks : 1); block++) {
    const seen = projectModel(s, model, modes);
    const difference = subtract(s, projected, seen);
    if (seen !== core) s.release(seen);
    diagonalBlocks(s, difference, widths, { only: block, out: core, add: true });
    s.release(difference);
  }
  if (projected !== x) s.release(projected);
}

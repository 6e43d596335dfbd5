import {
  checkOptions,
  type DType,
  type Engine,
  type OptionRules,
  optionRules,
  Program,
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
  subtract,
  unfoldedProduct,
} from "../ops/index.js";
import {
  checkCall,
  type Difference,
  type Model,
  type Reader,
  restore,
  type Source,
  withSource,
} from "../sources/index.js";
import { BlockTermTensor, TuckerTensor } from "../tensors/index.js";
import { Held } from "./held.js";
import {
  type Decomposition,
  iterate,
  type Scope,
  type StoppingOptions,
  type SweepMethod,
  seedAt,
  stoppingRules,
} from "./iterate.js";
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
  x: Tensor<DType> | Source,
  options: BlockTermOptions,
): Promise<Decomposition<BlockTermTensor>> {
  checkCall(engine, NAME, x);
  const count: unknown = options?.blocks;
  if (typeof count === "number" && !optionRules.positive.is(count))
    throw new ShapeError(`${NAME}: ${count} blocks, needs a positive whole number`);
  checkOptions(NAME, options, rules);
  const { blocks, ranks: asked, starts, seed = 0, ridge = 1e-6, ...stopping } = options;
  const ranks = multilinearRanks(NAME, x, asked);
  const isUndivided = ranks.every((rank, mode) => rank === x.shape[mode]);
  return await withSource(engine, NAME, x, (source) =>
    iterate<BlockTermTensor>(source, {
      name: NAME,
      stopping,
      // where no mode is divided the first block is X itself, from every start
      starts: isUndivided ? 1 : starts,
      seed,
      zero: () => blocksOf(engine, blocks, () => zeroTucker(engine, x.shape, ranks)),
      begin: (scope) => blockTermMethod(scope, { blocks, ranks, seed, ridge, signal: stopping.signal }),
    }),
  );
}

const NAME = "blockTermALS";

interface Task {
  blocks: number;
  ranks: readonly number[];
  seed: number;
  ridge: number;
  signal: AbortSignal | undefined;
}

/** Block terms as a method of `iterate`: a sweep goes on from the model and the residual that the sweep before left. */
async function blockTermMethod(
  { engine, allocate, keep, source }: Scope,
  { blocks, ranks, seed, ridge, signal }: Task,
): Promise<SweepMethod<BlockTermTensor>> {
  const residual = keep(source.difference());
  const model = sideBySide(source.shape, ranks, blocks, allocate);
  // here and not in `start`, so that its memory is free again when the sweep allocates its tensors
  await residualStart(source, model, residual, ranks, seed, signal);
  return {
    columns: 1,
    advice: "a larger ridge",
    async start(index) {
      if (index) await randomStart(source, model, residual, seedAt(seed, index));
      return undefined;
    },
    record(p, { rows, counter }) {
      const squared = recordSweep(p, source, model, residual, ridge);
      appendRow(p.s, squared, rows, counter);
      p.s.release(squared);
    },
    errorOf: (row) => ({ fromResidual: Math.sqrt(row[0]! / source.squaredNorm) }),
    finish: () => takeBlocks(engine, model, ranks),
    residual: (p, tensor, out) => {
      residual.refresh(p, tensor);
      residual.squaredNorm(p, { out });
    },
    async restore(tensor, exponent) {
      using held = new Held(engine);
      const blocks: TuckerTensor[] = [];
      for (const { core, factors } of tensor.blocks)
        blocks.push(new TuckerTensor(held.keep(await restore(engine, NAME, "core", core, exponent)), factors));
      return held.handOut(new BlockTermTensor(blocks));
    },
  };
}

/** Makes one block after the other; frees those that there are where one fails. */
function blocksOf(engine: Engine, count: number, make: (block: number) => TuckerTensor): BlockTermTensor {
  using held = new Held(engine);
  return held.handOut(new BlockTermTensor(Array.from({ length: count }, (_, block) => held.keep(make(block)))));
}

/** Starts from random numbers in every block. */
async function randomStart(source: Source, model: SideBySide, residual: Difference, seed: number): Promise<void> {
  const { engine, size, squaredNorm } = source;
  const record = (p: Program): void => {
    const { s } = p;
    model.factors.forEach((factor, mode) => {
      if (factor) normal(s, factor.shape, { seed, stream: mode, out: factor });
    });
    const random = normal(s, model.core.shape, { seed, stream: 99, deviation: Math.sqrt(squaredNorm / size) });
    diagonalBlocks(s, random, model.widths, { out: model.core });
    s.release(random);
    refresh(p, model, residual);
  };
  await Program.run(engine, record, "BTD random start");
}

/** Starts from Tucker tensors: the first one of X, every other one of the residual of those before it. */
async function residualStart(
  source: Source,
  model: SideBySide,
  residual: Difference,
  ranks: readonly number[],
  seed: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { engine } = source;
  await engine.run((s) => void fill(s, model.core, 0), "BTD start");
  for (let block = 0; block < model.blocks; block++) {
    const from = (block ? residual : source).tensor(NAME);
    const { tensor } = await tuckerHOOI(engine, from, { ranks, seed: seedAt(seed, block), sweeps: 30, signal });
    try {
      const record = (p: Program): void => {
        placeBlock(p.s, model, tensor, block);
        if (block === model.blocks - 1) refresh(p, model, residual);
        else if (!block) residual.refresh(p, tensor);
        else accumulate(p.s, tensor.full(p.s), residual.tensor(NAME), { alpha: -1 });
      };
      await Program.run(engine, record, "BTD start");
    } finally {
      tensor.destroy();
    }
    // where no mode is divided the first block is X itself, and the others are 0
    if (!model.modes.length) return;
  }
}

/** All blocks as one Tucker tensor whose core has them on its diagonal. */
interface SideBySide {
  blocks: number;
  /** the modes that are divided among the blocks */
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

/** Copies the blocks out, one Tucker tensor each. */
async function takeBlocks(engine: Engine, model: SideBySide, ranks: readonly number[]): Promise<BlockTermTensor> {
  using held = new Held(engine);
  const blocks = Array.from({ length: model.blocks }, () => {
    const factors = model.factors.map(
      (factor, mode) => factor && held.allocate([factor.shape[0]!, ranks[mode]!], `factor ${mode}`),
    );
    return new TuckerTensor(held.allocate(ranks, "core"), factors);
  });
  // with no mode to divide the first block holds everything, and the others nothing
  const filled = model.modes.length ? blocks : blocks.slice(0, 1);
  await engine.run((s) => {
    filled.forEach((block, index) => {
      slice(s, model.core, beginOf(model, index), ranks, { out: block.core });
      for (const mode of model.modes) {
        const out = block.factors[mode]!;
        slice(s, model.factors[mode]!, [0, index * ranks[mode]!], out.shape, { out });
      }
    });
  }, "BTD blocks");
  return held.handOut(new BlockTermTensor(blocks));
}

/** Records the Gram matrices and the residual of a model whose blocks were written anew. */
function refresh(p: Program, model: SideBySide, residual: Difference): void {
  for (const mode of model.modes) gram(p.s, model.factors[mode]!, { out: model.grams[mode]! });
  residual.refresh(p, modelOf(residual.shape, model));
}

/** Records one sweep. `residual` is that of the model before and after it; the new ‖X − X̂‖² is returned. */
function recordSweep(p: Program, x: Reader, model: SideBySide, residual: Difference, ridge: number): Tensor {
  const approximation = modelOf(x.shape, model);
  model.modes.forEach((mode, index) => {
    if (index) residual.refresh(p, approximation);
    updateFactor(p, residual, model, mode, ridge);
    orthonormaliseBlocks(p.s, model, mode);
  });
  updateCores(p, x, model);
  residual.refresh(p, approximation);
  return residual.squaredNorm(p);
}

/** X̂, as sources take it. */
const modelOf = (shape: readonly number[], { core, factors, modes }: SideBySide): Model => ({
  shape,
  full(s, out) {
    if (!modes.length) return copy(s, core, { out });
    // modes that grow least first: every product but the last is small
    const growth = (mode: number) => factors[mode]!.shape[0]! / factors[mode]!.shape[1]!;
    const order = [...modes].sort((a, b) => growth(a) - growth(b));
    let product = core;
    for (const mode of order) {
      const next = modeProduct(s, product, factors[mode]!, mode, mode === order.at(-1) ? { out } : {});
      if (product !== core) s.release(product);
      product = next;
    }
    return product;
  },
});

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
function updateFactor(p: Program, residual: Reader, model: SideBySide, mode: number, ridge: number): void {
  const { s } = p;
  const { core, factors, modes } = model;
  const others = modes.filter((other) => other !== mode);
  const projected = others.length ? residual.project(p, factors, { skip: mode }) : null;
  const gradient = projected ? unfoldedProduct(s, projected, core, mode) : residual.unfoldedProduct(p, core, mode);
  if (projected) s.release(projected);
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
  const products = gram(s, factor);
  const apart = diagonalBlocks(s, products, [widths[mode]!, widths[mode]!]);
  s.release(products);
  // a block of lower rank has a singular Gram matrix: the ridge keeps its inverse finite, and its columns become shorter than 1
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
function updateCores(p: Program, x: Reader, model: SideBySide): void {
  const { s } = p;
  const { core, factors, modes, widths } = model;
  const projected = modes.length ? x.project(p, factors) : x.tensor(NAME);
  for (let block = 0; block < (modes.length ? model.blocks : 1); block++) {
    const modelled = projectModel(s, model, modes);
    const difference = subtract(s, projected, modelled);
    if (modelled !== core) s.release(modelled);
    diagonalBlocks(s, difference, widths, { only: block, out: core, add: true });
    s.release(difference);
  }
  if (modes.length) s.release(projected);
}

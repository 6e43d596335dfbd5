import {
  checkOptions,
  type DType,
  type Engine,
  formatShape,
  isList,
  type OptionRules,
  optionRules,
  Program,
  type Scheduler,
  ShapeError,
  TenfoldError,
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
  scaleByPower,
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
import {
  type Decomposition,
  iterate,
  type Scope,
  type StoppingOptions,
  type SweepMethod,
  seedAt,
  stoppingRules,
} from "./iterate.js";
import { Reduced } from "./reduced.js";
import { TensorScope } from "./tensorScope.js";
import { inBases, multilinearRanks, tuckerHOOI, zeroTucker } from "./tucker.js";

export interface BlockTermOptions extends StoppingOptions {
  /** G; may be left out where `ranks` has a list for each block */
  blocks?: number;
  /**
   * L, M, N, … of every block, as [2, 2, 1] for terms of rank (L, L, 1); a full rank leaves that mode to the cores, undivided. One number
   * stands for all modes, lowered where a mode has no room for it. Blocks of different ranks have a list each: [[3, 3, 1], [2, 2, 1]]
   */
  ranks: number | readonly number[] | readonly (readonly number[])[];
  /**
   * where the first start begins. "hosvd" (the default): with Tucker tensors of the residual, one block after the other, each from its HOSVD by
   * iteration (HOOI); "random"; or with blocks of the ranks asked for, those of an earlier result or of a similar tensor
   */
  initialize?: "hosvd" | "random" | BlockTermTensor;
  /** starts after the first are random; the best is kept. 1 by default */
  starts?: number;
  seed?: number;
  /** of the proximal term, times the mean of the normal matrix's diagonal; 1e-6 by default */
  ridge?: number;
}

const rules: OptionRules<BlockTermOptions> = {
  blocks: optionRules.positive,
  ranks: {
    needs: "a whole number, 1 or more, a list of them, or such a list for each block",
    is: (value) =>
      optionRules.ranks.is(value) ||
      (isList(value) && value.length > 0 && value.every((list) => isList(list) && optionRules.ranks.is(list))),
    required: true,
  },
  initialize: {
    needs: '"hosvd", "random" or a BlockTermTensor',
    is: (value) => value === "hosvd" || value === "random" || value instanceof BlockTermTensor,
  },
  starts: optionRules.positive,
  seed: optionRules.seed,
  ridge: optionRules.atLeastZero,
  ...stoppingRules,
};

/**
 * The block term decomposition X ≈ Σ_g ⟦G_g; A_g, B_g, …⟧ in G blocks of multilinear rank (L, M, N, …) by alternating least
 * squares over all blocks at once (De Lathauwer & Nion 2008, algorithm 3). Starts from Tucker tensors of the residual, one
 * block after the other, as Wang & Cheng 2016 fit kernels. A proximal term keeps collinear blocks finite, and the error never
 * rises. One block is a Tucker decomposition. False minima are common, above all where blocks have different ranks: take several
 * starts, and look at the error.
 *
 * Blocks lie side by side: one I_n×(G·R_n) factor a mode and one core with the blocks on its diagonal, so that a sweep is a
 * few products whatever G is. A sweep holds X, the residual of its size, and a few tensors of the core's: that one is dense, zeros
 * included (those of blocks with lower ranks than the largest too), with G^m·R_1·R_2·… entries where m modes are divided (an undivided one counts as R_n = I_n). With many blocks or
 * modes this can be more than X.
 *
 * Of X in slabs the blocks are those of a core in bases of its modes, which four passes find; what these lose is in the errors that are told.
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
  const { starts, seed = 0, ridge = 1e-6, initialize = "hosvd", blocks: _, ranks: asked, ...stopping } = options;
  const ranks = ranksOfBlocks(x, options.blocks, asked);
  if (initialize instanceof BlockTermTensor) checkStart(initialize, x, ranks);
  const isUndivided = ranks.every((list) => list.every((rank, mode) => rank === x.shape[mode]));
  return await withSource(engine, NAME, x, async (source) => {
    const wanted = { ranks: x.shape.map((extent, mode) => Math.min(extent, sumOf(ranks.map((list) => list[mode]!)))) };
    using reduced = await Reduced.create(NAME, source, wanted, { seed, signal: stopping.signal });
    if (!reduced.isWhole && initialize instanceof BlockTermTensor)
      throw new TenfoldError(
        `${NAME}: initialize has blocks, and ${source} is decomposed by way of a core, in which these are not; leave initialize out, or give x as one tensor`,
        { code: "OPTION" },
      );
    const result = await iterate<BlockTermTensor>(reduced.source, {
      name: NAME,
      stopping: reduced.stopping(stopping),
      // where no mode is divided the first block is X itself, from every start
      starts: isUndivided ? 1 : starts,
      seed,
      zero: () => blocksOf(engine, ranks.length, (block) => zeroTucker(engine, x.shape, ranks[block]!)),
      begin: (scope) => blockTermMethod(scope, { ranks, initialize, seed, ridge, signal: stopping.signal }),
    });
    const tensor = reduced.isWhole ? result.tensor : await blocksInBases(result.tensor, reduced.bases);
    return reduced.decomposition({ ...result, tensor });
  });
}

const sumOf = (numbers: readonly number[]): number => numbers.reduce((sum, number) => sum + number, 0);

/** Blocks of a core as those of the tensor that has it in these bases. The blocks of the core are freed. */
async function blocksInBases(tensor: BlockTermTensor, bases: readonly (Tensor | null)[]): Promise<BlockTermTensor> {
  using tensorScope = new TensorScope(tensor.engine);
  const blocks: TuckerTensor[] = [];
  for (const { core, factors } of tensor.blocks) {
    tensorScope.keep(core);
    const wide = [...factors];
    await inBases(wide, bases);
    for (const factor of wide) if (factor) tensorScope.keep(factor);
    blocks.push(new TuckerTensor(core, wide));
  }
  return tensorScope.handOut(new BlockTermTensor(blocks));
}

const NAME = "blockTermALS";

/** Ranks of each block, checked. */
function ranksOfBlocks(
  x: Tensor<DType> | Source,
  blocks: number | undefined,
  ranks: BlockTermOptions["ranks"],
): number[][] {
  const isPerBlock = typeof ranks !== "number" && isList(ranks[0]);
  const count = blocks ?? (isPerBlock ? (ranks as readonly unknown[]).length : undefined);
  if (count === undefined)
    throw new TenfoldError(`${NAME}: option "blocks" is missing, needs ${optionRules.positive.needs}`, {
      code: "OPTION",
    });
  if (!isPerBlock) {
    const list = multilinearRanks(NAME, x, ranks as number | readonly number[]);
    return Array.from({ length: count }, () => list);
  }
  const lists = ranks as readonly (readonly number[])[];
  if (lists.length !== count)
    throw new ShapeError(`${NAME}: ${lists.length} lists of ranks for ${count} blocks, needs one for each`);
  return lists.map((list) => multilinearRanks(NAME, x, list));
}

function checkStart({ blocks, shape }: BlockTermTensor, x: Tensor<DType> | Source, ranks: number[][]): void {
  const [has, needs] = [blocks.map((block) => formatShape(block.ranks)), ranks.map(formatShape)];
  if (formatShape(shape) !== formatShape(x.shape) || has.join() !== needs.join())
    throw new ShapeError(
      `${NAME}: initialize has blocks of ranks ${has.join(", ")} and shape ${formatShape(shape)}, needs ${needs.join(", ")} and ${formatShape(x.shape)}`,
    );
}

interface Task {
  /** of each block */
  ranks: readonly (readonly number[])[];
  initialize: "hosvd" | "random" | BlockTermTensor;
  seed: number;
  ridge: number;
  signal: AbortSignal | undefined;
}

/** Block terms as a method of `iterate`: a sweep goes on from the model and the residual that the sweep before left. */
async function blockTermMethod(
  { engine, allocate, keep, source }: Scope,
  { ranks, initialize, seed, ridge, signal }: Task,
): Promise<SweepMethod<BlockTermTensor>> {
  const residual = keep(source.difference());
  const model = sideBySide(source.shape, ranks, allocate);
  // here and not in `start`, so that its memory is free again when the sweep allocates its tensors
  if (initialize === "hosvd") await residualStart(source, model, residual, seed, signal);
  else if (initialize !== "random") await givenStart(source, model, residual, initialize);
  return {
    columns: 1,
    advice: "a larger ridge",
    async start(index) {
      if (index || initialize === "random") await randomStart(source, model, residual, seedAt(seed, index));
      return undefined;
    },
    record(p, { rows, counter }) {
      const squared = recordSweep(p, source, model, residual, ridge);
      appendRow(p.s, squared, rows, counter);
      p.s.release(squared);
    },
    errorOf: (row) => ({ fromResidual: Math.sqrt(row[0]! / source.squaredNorm) }),
    finish: () => takeBlocks(engine, model),
    residual: (p, tensor, out) => {
      residual.refresh(p, tensor);
      residual.squaredNorm(p, { out });
    },
    async restore(tensor, exponent) {
      using tensorScope = new TensorScope(engine);
      const blocks: TuckerTensor[] = [];
      for (const { core, factors } of tensor.blocks)
        blocks.push(new TuckerTensor(tensorScope.keep(await restore(engine, NAME, "core", core, exponent)), factors));
      return tensorScope.handOut(new BlockTermTensor(blocks));
    },
  };
}

/** Makes one block after the other; frees those that there are where one fails. */
function blocksOf(engine: Engine, count: number, make: (block: number) => TuckerTensor): BlockTermTensor {
  using tensorScope = new TensorScope(engine);
  return tensorScope.handOut(
    new BlockTermTensor(Array.from({ length: count }, (_, block) => tensorScope.keep(make(block)))),
  );
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
    clearPadding(s, model);
    refresh(p, model, residual);
  };
  await Program.run(engine, record, "BTD random start");
}

/** Starts from Tucker tensors: the first one of X, every other one of the residual of those before it. */
async function residualStart(
  source: Source,
  model: SideBySide,
  residual: Difference,
  seed: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { engine } = source;
  await engine.run((s) => clear(s, model), "BTD start");
  for (let block = 0; block < model.blocks; block++) {
    const from = (block ? residual : source).tensor(NAME);
    const options = { ranks: model.ranks[block]!, seed: seedAt(seed, block), sweeps: 30, signal };
    const { tensor } = await tuckerHOOI(engine, from, options);
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

/** Starts from blocks of the caller's. */
async function givenStart(
  source: Source,
  model: SideBySide,
  residual: Difference,
  { blocks }: BlockTermTensor,
): Promise<void> {
  const record = (p: Program): void => {
    clear(p.s, model);
    for (const [block, tensor] of blocks.entries()) placeBlock(p.s, model, tensor, block);
    if (source.exponent) copy(p.s, scaleByPower(p.s, model.core, -source.exponent), { out: model.core });
    refresh(p, model, residual);
  };
  await Program.run(source.engine, record, "BTD start");
}

/** Records zeros wherever the blocks will not be written. */
function clear(s: Scheduler, { core, factors, ranks, widths }: SideBySide): void {
  fill(s, core, 0);
  factors.forEach((factor, mode) => {
    if (factor && ranks.some((list) => list[mode]! < widths[mode]!)) fill(s, factor, 0);
  });
}

/** Records zeros where a block has lower ranks than there is room for. */
function clearPadding(s: Scheduler, model: SideBySide): void {
  for (const [block, ranks] of model.ranks.entries())
    for (const mode of model.modes) {
      const [rank, width] = [ranks[mode]!, model.widths[mode]!];
      if (rank === width) continue;
      const begin = beginOf(model, block);
      const padding = model.core.shape.map((extent, k) => (k === mode ? width - rank : (model.widths[k] ?? extent)));
      for (const [out, starts, shape] of [
        [model.factors[mode]!, [0, block * width + rank], [model.factors[mode]!.shape[0]!, width - rank]],
        [model.core, begin.map((start, k) => (k === mode ? start + rank : start)), padding],
      ] as const) {
        const zeros = s.tensor(shape, { label: "padding" });
        fill(s, zeros, 0);
        paste(s, zeros, out, starts);
        s.release(zeros);
      }
    }
}

/**
 * All blocks as one Tucker tensor whose core has them on its diagonal. All have as much room, that of the largest ranks. Where a block has
 * lower ones, the rest of its room is 0 in the core and in the factors, and every step of a sweep leaves it at 0.
 */
interface SideBySide {
  blocks: number;
  /** of each block */
  ranks: readonly (readonly number[])[];
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
  ranks: readonly (readonly number[])[],
  make: (shape: readonly number[], label: string) => Tensor,
): SideBySide {
  const blocks = ranks.length;
  const modes = [...shape.keys()].filter((mode) => ranks.some((list) => list[mode]! < shape[mode]!));
  const largest = (mode: number) => Math.max(...ranks.map((list) => list[mode]!));
  const widths = shape.map((_, mode) => (modes.includes(mode) ? largest(mode) : null));
  const columns = (mode: number) => blocks * largest(mode);
  return {
    blocks,
    ranks,
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
  let { core } = block;
  block.factors.forEach((factor, mode) => {
    const width = model.widths[mode];
    // a mode that is not divided has no place for a factor, and a mode that a block has in full may lack one
    if (!width) core = factor ? modeProduct(s, core, factor, mode) : core;
    else paste(s, factor ?? identity(s, model.ranks[index]![mode]!), model.factors[mode]!, [0, index * width]);
  });
  paste(s, core, model.core, beginOf(model, index));
}

/** Records the identity matrix. */
function identity(s: Scheduler, size: number): Tensor {
  const ones = s.tensor([size, size], { label: "ones" });
  fill(s, ones, 1);
  return diagonalBlocks(s, ones, [1, 1]);
}

/** Copies the blocks out, one Tucker tensor each. */
async function takeBlocks(engine: Engine, model: SideBySide): Promise<BlockTermTensor> {
  using tensorScope = new TensorScope(engine);
  const blocks = model.ranks.map((ranks) => {
    const factors = model.factors.map(
      (factor, mode) => factor && tensorScope.allocate([factor.shape[0]!, ranks[mode]!], `factor ${mode}`),
    );
    return new TuckerTensor(tensorScope.allocate(ranks, "core"), factors);
  });
  // with no mode to divide the first block holds everything, and the others nothing
  const filled = model.modes.length ? blocks : blocks.slice(0, 1);
  await engine.run((s) => {
    filled.forEach((block, index) => {
      slice(s, model.core, beginOf(model, index), block.ranks, { out: block.core });
      for (const mode of model.modes) {
        const out = block.factors[mode]!;
        slice(s, model.factors[mode]!, [0, index * model.widths[mode]!], out.shape, { out });
      }
    });
  }, "BTD blocks");
  return tensorScope.handOut(new BlockTermTensor(blocks));
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
  // the mean of the diagonal is over the columns that there are, without those of padding
  const columns = model.ranks.reduce((sum, list) => sum + list[mode]!, 0);
  const step = solveSymmetric(s, normals, gradient, { ridge: (ridge * normals.shape[0]!) / columns });
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

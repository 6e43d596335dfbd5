import convolutionRegister from "../../shaders/conv2d_register.wgsl";
import convolutionSubgroup from "../../shaders/conv2d_subgroup.wgsl";
import residualRegister from "../../shaders/kruskal_residual_register.wgsl";
import residualSubgroup from "../../shaders/kruskal_residual_subgroup.wgsl";
import fullRegister from "../../shaders/kruskal_to_tensor_register.wgsl";
import fullSubgroup from "../../shaders/kruskal_to_tensor_subgroup.wgsl";
import matmulRegister from "../../shaders/matmul_register.wgsl";
import matmulSubgroup from "../../shaders/matmul_subgroup.wgsl";
import matmulSubgroupVectors from "../../shaders/matmul_subgroup_vectors.wgsl";
import matmulThin from "../../shaders/matmul_thin.wgsl";
import matmulTiled from "../../shaders/matmul_tiled.wgsl";
import mttkrpRegister from "../../shaders/mttkrp_register.wgsl";
import mttkrpSubgroup from "../../shaders/mttkrp_subgroup.wgsl";
import mttkrpSubgroupVectors from "../../shaders/mttkrp_subgroup_vectors.wgsl";
import mttkrpThin from "../../shaders/mttkrp_thin.wgsl";
import mttkrpTiled from "../../shaders/mttkrp_tiled.wgsl";
import {
  type Constants,
  type Engine,
  type Grid,
  grid1d,
  Kernel,
  type Params,
  type Scheduler,
  Variants,
} from "../gpu/index.js";
import { declareChoice } from "../gpu/variants.js";

type Family = "matmul" | "mttkrp" | "kruskal" | "residual";
/** Choices that a caller may force: `new Engine(device, { variants: { conv2d: "register" } })`. */
export type Choice = Family | "conv2d" | "tucker2" | "lowRank" | "training";

/** Sums that the residual's kernels leave to `total`. */
export const RESIDUAL_PARTS = 1024;

/**
 * Which kernel serves which shape on which adapter: all such choices are in this file. "Software" are adapters with subgroups
 * of exactly 4 (SwiftShader) or 8 (lavapipe), a few cores whose vector units the subgroups are; the others count as GPUs.
 *
 * | choice                | software                                   | GPU                                             | by |
 * |-----------------------|--------------------------------------------|-------------------------------------------------|----|
 * | matmul (gram, mode    | subgroup: ROWS × 4·LANES a subgroup; vec4s | tiled: square tiles, staged, or tall and thin ones | probe, `gpuTile` |
 * |   product)            | where the operand lies so; or register     | from memory; register: 64 invocations of 4×4    |    |
 * | mttkrp                | the same                                   | the same                                        | probe, `gpuTile` |
 * | short runs of mttkrp  | merged below 24 steps                      | merged below 64                                 | `shortestRun` |
 * | kruskal, residual     | subgroup or register                       | register                                        | probe |
 * | conv2d                | subgroup; depthwise: register, 1 output    | register, 8 outputs an invocation (4, 1 of few) | `convolutionKernel` |
 * | tucker2               | lavapipe: one dispatch up to 2¹⁷           | one dispatch up to 2²³ multiplications          | `fusesTucker2` |
 * |                       | multiplications; SwiftShader: never        |                                                 |    |
 * | training (dense nets) | one workgroup up to 2²⁰ multiplications    | one workgroup up to 2¹⁶                         | `fusesTraining` |
 * | lowRank (x·U·V)       | one dispatch up to 4 samples, rank 64, 2¹⁴ | two products                                    | `fusesLowRank` |
 * |                       | weights; else two products                 |                                                 |    |
 * | long sums             | cut for 64 workgroups                      | cut for 256 workgroups                          | `splitSums` |
 * | reduce                | a lane a sum, cut for 256 sums             | a lane a sum (16384) where neighbours or short; | `reductionWay` |
 * |                       |                                            | else a workgroup a sum (512)                    |    |
 * | permute               | plain                                      | 32×32 tiles where both axes have 8 or more      | `permutesByTiles` |
 * | eigen, SVD, Cholesky  | one subgroup                               | 256 invocations; up to 40 rows in their memory  | `soleWorkgroup`, `jacobiTeam`, `factorisesInside` |
 * | QR, reductions        | a subgroup a block or panel; parts of 32   | 256 invocations, 32 of them a column; parts of  | `reflectorTeam`, `qrBlockRows`, `reductionSizes` |
 * |                       | or 64 rows                                 | 32 rows                                         |    |
 * | ALS update            | up to rank 16 one dispatch, 4 workgroups   | up to rank 32 one dispatch, 64 workgroups of    | `fusesAls`, `alsChunk` |
 * |                       | of 64 rows or more at most                 | 16 rows or more at most                         |    |
 *
 * A probe times the families that an adapter has on `sample` and keeps the fastest. On software, the side of a product that
 * wastes least goes to the lanes (`arrange`), and tiled is left out unless forced: it is slower there, and SwiftShader takes
 * seconds to compile kernels with much workgroup memory.
 */
const families: Record<Family, Record<string, Kernel>> = {
  matmul: {
    tiled: new Kernel(matmulTiled, gpuTiles),
    "tiled, thin": new Kernel(matmulThin, thinTiles),
    register: new Kernel(matmulRegister, tiles(4, 4, 64)),
    subgroup: new Kernel(matmulSubgroup, subgroupTiles),
    "subgroup, vectors": new Kernel(matmulSubgroupVectors, subgroupTiles),
  },
  mttkrp: {
    tiled: new Kernel(mttkrpTiled, gpuTiles),
    "tiled, thin": new Kernel(mttkrpThin, thinTiles),
    register: new Kernel(mttkrpRegister, tiles(4, 4, 64)),
    subgroup: new Kernel(mttkrpSubgroup, (params, constants) => subgroupTiles(turned(params), constants)),
    "subgroup, vectors": new Kernel(mttkrpSubgroupVectors, (params, constants) =>
      subgroupTiles(turned(params), constants),
    ),
  },
  kruskal: {
    register: new Kernel(fullRegister, kruskalTiles(4, 4, 64)),
    subgroup: new Kernel(fullSubgroup, (params, { ROWS, LANES }) => kruskalTiles(ROWS!, 4 * LANES!)(params, {})),
  },
  residual: {
    register: new Kernel(residualRegister, () => [RESIDUAL_PARTS]),
    subgroup: new Kernel(residualSubgroup, () => [RESIDUAL_PARTS]),
  },
};

/** What a caller may force of every choice; an engine refuses other names. */
const CHOICES: Record<Choice, readonly string[]> = {
  matmul: ["tiled", "register", "subgroup"],
  mttkrp: ["tiled", "register", "subgroup"],
  kruskal: ["register", "subgroup"],
  residual: ["register", "subgroup"],
  conv2d: ["register", "subgroup"],
  tucker2: ["fused", "chain"],
  lowRank: ["fused", "chain"],
  training: ["fused", "layers"],
};
for (const [name, variants] of Object.entries(CHOICES)) declareChoice(name, variants);

function convolutionTiles(outputs: string, width: string): Grid {
  return ({ batch, out_height, quads, group_outputs, groups }, constants) => {
    const across = Math.ceil((batch! * out_height! * quads!) / constants[width]!);
    return grid1d(groups! * Math.ceil(group_outputs! / constants[outputs]!) * across, 1);
  };
}

const convolution = {
  register: new Kernel(convolutionRegister, convolutionTiles("OUT", "WIDTH")),
  subgroup: new Kernel(convolutionSubgroup, convolutionTiles("ROWS", "LANES")),
};

/**
 * The kernel of conv2d for so many outputs a group: by subgroups where they are fixed (software), else in registers. A depthwise
 * one has a single row for a subgroup's tile of four at least: registers are 1 to 1.5 times as fast on lavapipe, 1.2 to 2 on
 * SwiftShader.
 */
export function convolutionKernel(engine: Engine, outputs: number): Kernel {
  const LANES = lanesOf(engine, "conv2d");
  if (LANES && outputs > 1) return convolution.subgroup.with({ LANES, ROWS: tileRows(outputs) });
  return convolution.register.with({ OUT: outputs === 1 ? 1 : outputs <= 4 ? 4 : 8 });
}

/** Work items of a kernel whose workgroups hold `count` tiles. */
function tiles(height: number, width: number, count = 1): Grid {
  return ({ rows, columns, batch = 1, splits }) =>
    grid1d(Math.ceil(rows! / height) * Math.ceil(columns! / width) * batch * splits!, count);
}

function gpuTiles(params: Parameters<Grid>[0], { HIGH, WIDE }: Parameters<Grid>[1]): number[] {
  return tiles(HIGH!, WIDE!)(params, {});
}

function thinTiles(params: Parameters<Grid>[0], constants: Parameters<Grid>[1]): number[] {
  return tiles(tallOf(constants), constants.THIN!)(params, {});
}

/** Rows of a workgroup's in common/thin.wgsl. */
const tallOf = ({ THIN, SLICES }: Readonly<Record<string, number>>): number => (256 / SLICES!) * (16 / THIN!) * 4;

function kruskalTiles(height: number, width: number, count = 1): Grid {
  return ({ outer, middle, last }) =>
    tiles(height, width, count)({ rows: middle!, columns: last!, splits: outer! }, {});
}

const turned = <T>({ rows, columns, ...rest }: Record<string, T>) => ({ ...rest, rows: columns!, columns: rows! });

function subgroupTiles(params: Parameters<Grid>[0], { ROWS, LANES, RUNS }: Parameters<Grid>[1]): number[] {
  return tiles(ROWS!, 4 * LANES! * RUNS!)(params, {});
}

/**
 * Runs of columns in SwiftShader's lanes: two, for half the loads of the other side, where they lie in vec4s and are many (0.8
 * to 0.9 of the time; where they do not, 1.0 to 1.7).
 */
const runsOf = (LANES: number, vectors: boolean, rows: number, columns: number): number =>
  LANES === 4 && vectors && columns >= 128 && Math.ceil(rows / 16) * Math.ceil(columns / 32) >= 64 ? 2 : 1;

/**
 * Invocations of a subgroup where that is fixed and what the subgroup kernels are made for, else 0; with a family's name, 0
 * too where another variant of it is forced.
 */
export function lanesOf(engine: Engine, name?: Choice): number {
  const { subgroupMinSize: least, subgroupMaxSize: most } = engine.device.adapterInfo;
  const forced = name && engine.forced(name);
  if (forced && forced !== "subgroup") return 0;
  return engine.device.features.has("subgroups") && least === most && (least === 4 || least === 8) ? least : 0;
}

/** Rows of a subgroup's tile: as few as cover `rows` in tiles of at most 16. */
export function tileRows(rows: number): number {
  return Math.ceil(rows / Math.ceil(rows / 16) / 4) * 4;
}

/** What a workgroup of a GPU's product does: its outputs, and the constants of common/tile.wgsl or common/thin.wgsl. */
export interface Tile {
  thin: boolean;
  high: number;
  wide: number;
  constants: Readonly<Record<string, number>>;
}

function tileOf(
  [HIGH, WIDE]: readonly [number, number],
  [ROWS, COLUMNS]: readonly [number, number],
  SLICES: number,
  TILE_K: number,
): Tile {
  return { thin: false, high: HIGH, wide: WIDE, constants: { HIGH, WIDE, ROWS, COLUMNS, SLICES, TILE_K } };
}

function thinOf(THIN: number, SLICES: number): Tile {
  const constants = { THIN, SLICES };
  return { thin: true, high: tallOf(constants), wide: THIN, constants };
}

/** Square tiles, what an output costs in them against one in the largest, and how many keep a GPU busy (H200). */
const TILES: readonly { tile: Tile; cost: number; enough: number }[] = [
  { tile: tileOf([128, 128], [8, 8], 1, 8), cost: 1, enough: 256 },
  { tile: tileOf([64, 64], [8, 8], 4, 16), cost: 1.05, enough: 256 },
  // for so many that nobody need share an output
  { tile: tileOf([32, 32], [4, 4], 1, 16), cost: 1.4, enough: 1024 },
  { tile: tileOf([32, 32], [8, 8], 16, 32), cost: 1.5, enough: 256 },
  { tile: tileOf([16, 16], [4, 4], 16, 64), cost: 3, enough: 256 },
];
/** Workgroups that keep a GPU busy. */
const ENOUGH = 256;
/** what a second dispatch, which adds up parts, costs beside the first */
const SPLITTING = 1.5;

/** Whether a product of so many rows and columns is one with a thin side, the columns, for GPUs. */
const isThin = (rows: number, columns: number): boolean => columns <= 32 && rows >= 128;

export interface Extents {
  rows: number;
  columns: number;
  /** of one sum */
  terms: number;
  batch?: number;
}

/**
 * Which tile serves a product on a GPU: many rows of up to 32 columns straight from memory, or tiles of both sides, as large
 * as leaves enough of them.
 */
export function gpuTile({ rows, columns, terms, batch = 1 }: Extents): Tile {
  if (isThin(rows, columns)) {
    if (columns > 16) return thinOf(32, 4);
    // sharing short sums among fewer costs less at their end
    return terms <= 512 && rows >= 2 ** 16 ? thinOf(16, 4) : thinOf(16, 8);
  }
  const priced = TILES.map(({ tile, cost, enough }) => {
    const count = batch * Math.ceil(rows / tile.high) * Math.ceil(columns / tile.wide);
    const parts = Math.max(1, Math.min(Math.floor(enough / count), Math.floor(terms / SHORTEST)));
    const price = (cost * count * tile.high * tile.wide) / Math.min(1, (count * parts) / enough);
    return { tile, price: parts > 1 ? SPLITTING * price : price };
  });
  return priced.reduce((best, other) => (other.price < best.price ? other : best)).tile;
}

const tiledKernel = (name: "matmul" | "mttkrp", tile: Tile): Kernel =>
  families[name][tile.thin ? "tiled, thin" : "tiled"]!.with(tile.constants);

/** The kernel that a probe times for a family's: the tile is that of the probe's shape, whatever product asks first. */
const probed = (name: "matmul" | "mttkrp", kernel: Kernel, extents: Extents): Kernel =>
  /_(tiled|thin)$/.test(kernel.name) ? tiledKernel(name, gpuTile(extents)) : kernel;

/**
 * The kernels of a family on this adapter, for `columns` in the lanes that lie in vec4s or not, and `rows` against them; with
 * the tile of a product of so many rows and columns.
 */
export function variantsOf(
  engine: Engine,
  name: Family,
  vectors: boolean,
  { rows, columns }: { rows: number; columns: number },
  tile: Tile = TILES[0]!.tile,
): Variants {
  const { subgroup, "subgroup, vectors": subgroupVectors, "tiled, thin": _, ...others } = families[name];
  const LANES = lanesOf(engine, name);
  const ROWS = tileRows(rows);
  if (others.tiled) {
    // which lies in vec4s is its own affair where a subgroup's is not
    const reads: Constants = vectors && !LANES ? { VECTORS: true, scalar: "vec4f" } : {};
    others.tiled = tiledKernel(name as "matmul", tile).with(reads);
  }
  if (!LANES) return new Variants(name, others, samples[name]);
  const { tiled, ...kernels } = others;
  const best = (vectors && subgroupVectors) || subgroup!;
  const RUNS = runsOf(LANES, vectors, rows, columns);
  return new Variants(name, { subgroup: best.with({ LANES, ROWS, RUNS }), ...kernels }, samples[name]);
}

/** How a side of a product lies: whether its neighbours belong to neighbouring outputs, and what its rows begin at multiples of. */
export interface Layout {
  acrossOutputs: boolean;
  extents: readonly number[];
}

/**
 * Whether a side is read as vec4s, that of a subgroup's lanes, of tiled's columns, or of thin's rows: where it lies so, but
 * along the inner sum only with 8 lanes or by thin. SwiftShader, with 4, gains nothing from that and takes three times as
 * long to compile it.
 */
export function readsVectors(lanes: number, { acrossOutputs, extents }: Layout, thin = false): boolean {
  return (acrossOutputs || lanes === 8 || thin) && extents.every((extent) => extent % 4 === 0);
}

/** Multiplications that a subgroup kernel spends on rows×columns outputs, those in its empty corners included. */
function spent(rows: number, columns: number, lanes: number, vectors: boolean): number {
  const high = Math.ceil(rows / tileRows(rows)) * tileRows(rows);
  const wide = Math.ceil(columns / (4 * lanes)) * 4 * lanes;
  // single values instead of vec4s cost a little more, and two runs less
  return high * wide * (vectors ? (runsOf(lanes, vectors, rows, columns) === 2 ? 0.85 : 1) : 1.1);
}

/** Whether to compute the transpose instead, so that the other side of the product lies in the lanes, or on GPUs is the thin one. */
export function arrange(
  lanes: number,
  rows: number,
  columns: number,
  vectors: { natural: boolean; turned: boolean },
): "natural" | "turned" {
  if (!lanes) return isThin(columns, rows) && !isThin(rows, columns) ? "turned" : "natural";
  const natural = spent(rows, columns, lanes, vectors.natural);
  return natural <= spent(columns, rows, lanes, vectors.turned) ? "natural" : "turned";
}

/** The variants of a choice that this device can be made to take, in the order of the table; one where there is no choice. */
export function alternativesOf(engine: Engine, name: Choice): string[] {
  if (name === "conv2d") return lanesOf(engine) ? ["subgroup", "register"] : ["register"];
  if (name === "tucker2" || name === "lowRank") return ["fused", "chain"];
  if (name === "training") return ["fused", "layers"];
  return Object.entries(families[name])
    .filter(([variant, { source }]) => {
      // vec4s are subgroup's own affair
      if (variant.includes(",")) return false;
      return (
        variant !== "subgroup" ||
        (lanesOf(engine) > 0 && source.features.every((each) => engine.device.features.has(each as GPUFeatureName)))
      );
    })
    .map(([variant]) => variant);
}

/** How a sum of `outer` times `inner` terms is cut: so much of each a part, `count` parts. */
export interface Split {
  inner: number;
  outer: number;
  count: number;
}

/** The fewest terms worth a part of their own, and the most that one part may add up before digits are lost. */
const SHORTEST = 128;
const LONGEST = 4096;

/**
 * Workgroups of a product without splits, as a share of what keeps an adapter busy: software has a few cores, a GPU many, and
 * workgroups of 256 invocations there.
 */
export function busyness(
  lanes: number,
  { rows, columns, batch = 1 }: Omit<Extents, "terms">,
  { high, wide }: Pick<Tile, "high" | "wide">,
): number {
  if (lanes) return (Math.ceil((batch * rows) / 16) * Math.ceil(columns / (4 * lanes))) / 64;
  return (batch * Math.ceil(rows / high) * Math.ceil(columns / wide)) / ENOUGH;
}

/**
 * Steps of an inner sum below which MTTKRP merges the contracted mode with the one before, for a tensor of so many elements: a
 * dispatch for the Khatri-Rao product of two factors, for longer runs. With 20 steps a run it takes 0.8 to 0.9 of the time on
 * software adapters, with 28 to 40 between 0.8 and 1.1; a GPU stages anew for each.
 */
export const shortestRun = (engine: Engine, size: number): number => (size < 2 ** 18 ? 0 : lanesOf(engine) ? 24 : 64);

/** Invocations that share a sum of so many terms far apart: one on software; on a GPU more where it would wait for each in turn. */
export function sumTeam(engine: Engine, terms: number): { WIDTH: number; SLICES: number } {
  if (lanesOf(engine) || terms < 16) return { WIDTH: 64, SLICES: 1 };
  return { WIDTH: 256, SLICES: terms < 128 ? 4 : 16 };
}

/**
 * Multiplications of a network's forward pass on one batch up to which one workgroup trains it faster than a dispatch an op
 * does: in software it has one of a few cores (784-10-10 at batch 100 takes 0.4 of the time, 784-128-10 as long), on a GPU one
 * of a hundred. Variants that can be forced: fused, layers.
 */
export function fusesTraining(engine: Engine, multiplications: number): boolean {
  const forced = engine.forced("training" satisfies Choice);
  if (forced) return forced === "fused";
  return multiplications <= (lanesOf(engine) ? 2 ** 20 : 2 ** 16);
}

/**
 * Whether two linear layers in turn are one dispatch: for a few samples and little work that one workgroup does in less than
 * a dispatch costs. Beyond, two products win (2 to 8 times on software adapters at batch 100), and on an H200 always (0.7 of the
 * time for one sample, 0.6 for a hundred). Variants that can be forced: fused, chain.
 */
export function fusesLowRank(engine: Engine, rows: number, inputs: number, rank: number, outputs: number): boolean {
  const forced = engine.forced("lowRank" satisfies Choice);
  if (forced) return forced === "fused";
  return lanesOf(engine) > 0 && rows <= 4 && rank <= 64 && rank * (inputs + outputs) <= 2 ** 14;
}

/**
 * Whether a Tucker-2 convolution is one dispatch, by its multiplications on a batch: where dispatches cost more than the work.
 * With subgroups of 8 (lavapipe) one is 0.5 to 0.7 of three for a single LeNet image; SwiftShader's 4 gain nothing, and for
 * larger work three are 1.5 to 3 times as fast on both, for they keep more sums in registers. For GPUs it is an estimate.
 * Variants that can be forced: fused, chain.
 */
export function fusesTucker2(engine: Engine, multiplications: number): boolean {
  const forced = engine.forced("tucker2" satisfies Choice);
  if (forced) return forced === "fused";
  const lanes = lanesOf(engine);
  return multiplications <= (lanes === 0 ? 2 ** 23 : lanes === 8 ? 2 ** 17 : 0);
}

/**
 * How many sums at once keep an adapter busy that reduces, the fewest terms worth one, and the most of one. Software: a few
 * cores, whose vector units read side by side or not at the same cost, and to whom a barrier is a hundred terms.
 */
export const REDUCTIONS = {
  workgroup: { enough: 512, shortest: 1024, longest: 32768 },
  lane: { enough: 16384, shortest: 64, longest: 4096 },
  software: { enough: 256, shortest: 256, longest: 4096 },
} as const;

export function reductionWay(engine: Engine, extent: number, after: number): keyof typeof REDUCTIONS {
  if (lanesOf(engine)) return "software";
  return after >= 8 || extent <= 32 ? "lane" : "workgroup";
}

/** Whether a permutation goes by tiles, for neighbours in the result (so many) that lie far apart in the source (so many). */
export const permutesByTiles = (engine: Engine, near: number, far: number): boolean =>
  !lanesOf(engine) && near >= 8 && far >= 8;

/**
 * Width of a kernel that is one workgroup, of at most so many invocations: on software adapters one subgroup, because a
 * workgroup runs on one core there and every further subgroup only makes barriers dearer.
 */
export const soleWorkgroup = (engine: Engine, most = 256): number => lanesOf(engine) || most;

/**
 * Whether a factorisation of n rows by one workgroup keeps them in its memory: on GPUs, for whom a step in storage takes ten
 * times as long. SwiftShader compiles that for two seconds.
 */
export const factorisesInside = (engine: Engine, n: number): boolean => !lanesOf(engine) && n <= 40;

/** Whether an update of this rank is `alsUpdate`'s one dispatch; a few lanes of a processor are slower beyond 16. */
export const fusesAls = (engine: Engine, rank: number): boolean => rank <= (lanesOf(engine) ? 16 : 32);

/** Rows that a workgroup of an ALS update solves; each factorises the same small matrix for itself. */
export function alsChunk(engine: Engine, rows: number): number {
  const [least, most] = lanesOf(engine) ? [64, 4] : [16, 64];
  return Math.max(least, Math.ceil(rows / most));
}

/**
 * How many terms of a sum an invocation reads before it adds them, at most so many: a GPU would wait for each in turn, as the
 * loops that WGSL's compilers guard against going on for ever are not unrolled; on software there is nothing to wait for.
 */
export const readsAhead = (engine: Engine, most: number): number => (lanesOf(engine) ? 1 : most);

/** Invocations that rotate one pair of columns together in a Jacobi SVD of n columns. */
export function jacobiTeam(engine: Engine, n: number): number {
  if (lanesOf(engine)) return 1;
  return n <= 32 || n > 128 ? 16 : 8;
}

/**
 * Cuts long sums so that there are enough parts to work on at once (`busy` is the share of the adapter that is at work without
 * that), and none is long enough to lose digits. Parts of the inner sum are multiples of 4 long.
 */
export function splitSums(busy: number, inner: number, outer = 1): Split {
  const terms = inner * outer;
  const wanted = Math.max(Math.floor(1 / busy), Math.ceil(terms / LONGEST));
  const parts = Math.max(1, Math.min(wanted, Math.floor(terms / SHORTEST)));
  if (parts === 1) return { inner, outer, count: 1 };
  const outerChunk = Math.ceil(outer / Math.min(parts, outer));
  const innerParts = Math.max(1, Math.round(parts / Math.ceil(outer / outerChunk)));
  const innerChunk = Math.min(inner, Math.ceil(inner / innerParts / 4) * 4);
  return {
    inner: innerChunk,
    outer: outerChunk,
    count: Math.ceil(inner / innerChunk) * Math.ceil(outer / outerChunk),
  };
}

/** Runs that a careful sum is cut into at most: more cost memory, and √inner of them round only 1.2 times less at a thousand terms. */
const RUNS = 16;

/** Cuts a sum into about as many runs as each has terms, but into few; at most so many. */
export function evenRuns(inner: number, most: number): Split {
  const runs = Math.max(1, Math.min(Math.ceil(Math.sqrt(inner)), RUNS, most));
  const length = Math.min(inner, Math.ceil(inner / runs / 4) * 4);
  return { inner: length, outer: 1, count: Math.ceil(inner / length) };
}

/** Small typical problems for the probe. A GPU needs a larger one before kernels differ. */
const samples: Record<Family, (s: Scheduler, kernel: Kernel, size: number) => void> = {
  matmul(s, kernel, size) {
    const n = 128 * size;
    const params: Params = { rows: n, columns: n, inner: n, outer: 1, batch: 1, batch_a: 0, batch_b: 0, alpha: 1 };
    s.run(
      probed("matmul", kernel, { rows: n, columns: n, terms: n }),
      { a: s.tensor([n, n]), b: s.tensor([n, n]), bias: s.tensor([1]), out: s.tensor([n, n]) },
      { ...params, outer_a: 0, outer_b: 0, inner_chunk: n, outer_chunk: 1, splits: 1 },
    );
  },
  mttkrp(s, kernel, size) {
    const n = 32 * size;
    const columns = 16;
    const factor = s.tensor([n, columns]);
    const unused = s.tensor([1]);
    const outer_chunk = n / 16;
    s.run(
      probed("mttkrp", kernel, { rows: n, columns, terms: n * n }),
      {
        x: s.tensor([n, n, n]),
        factor,
        weight0: factor,
        weight1: unused,
        weight2: unused,
        weight3: unused,
        weight4: unused,
        out: s.tensor([16, n, columns]),
      },
      {
        rows: n,
        columns,
        inner: n,
        outer: n,
        middle: n,
        inner_chunk: n,
        outer_chunk,
        splits: 16,
        extents: [n, 1, 1, 1, 1, 1, 1, 1],
      },
    );
  },
  kruskal(s, kernel, size) {
    const { bindings, params } = kruskalSample(s, size);
    const out = s.tensor([params.outer, params.middle, params.last]);
    s.run(kernel, { ...bindings, x: bindings.weights, out }, params);
  },
  residual(s, kernel, size) {
    const { bindings, params } = kruskalSample(s, size);
    const x = s.tensor([params.outer, params.middle, params.last]);
    s.run(kernel, { ...bindings, x, out: s.tensor([RESIDUAL_PARTS]) }, params);
  },
};

function kruskalSample(s: Scheduler, size: number) {
  const n = 32 * size;
  const [factor, unused] = [s.tensor([n, 16]), s.tensor([1])];
  const factors = { outer0: factor, outer1: unused, outer2: unused, middle_factor: factor, last_factor: factor };
  const params = { rank: 16, outer: n, middle: n, last: n, extents: [n, 1, 1, 1] };
  return { bindings: { weights: unused, ...factors }, params };
}

/** Invocations of a workgroup of reflections, and how many share a column. */
export const reflectorTeam = (engine: Engine): { WIDTH: number; ACROSS: number } => {
  const lanes = lanesOf(engine);
  return lanes ? { WIDTH: lanes, ACROSS: lanes } : { WIDTH: 256, ACROSS: 32 };
};

/** Rows of the blocks that the QR factorisation of a matrix begins with: few, but not more blocks than a grid has room for. */
export const qrBlockRows = (rows: number, columns: number): number =>
  Math.max(256, 4 * columns, Math.ceil(rows / 60_000));

/**
 * Sizes of a step that reduces a matrix to tridiagonal or bidiagonal form: rows of a part of its product, invocations that go
 * along the columns, and of its other product rows a workgroup and invocations.
 */
export function reductionSizes(
  engine: Engine,
  n: number,
): { chunk: number; WIDTH: number; ROWS: number; PRODUCT: number } {
  const lanes = lanesOf(engine);
  if (lanes) return { chunk: n <= 256 ? 32 : 64, WIDTH: lanes, ROWS: 16, PRODUCT: lanes };
  return { chunk: 32, WIDTH: 64, ROWS: 4, PRODUCT: 64 };
}

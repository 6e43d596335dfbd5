/** Arithmetic of tiles and of cut sums. It knows shapes alone: no adapter and no kernel. */

/** vec4s that hold a row of this extent. */
export const quadsOf = (extent: number): number => Math.ceil(extent / 4);

/** Extents of a matrix product. */
export interface Extents {
  rows: number;
  columns: number;
  /** terms of one sum */
  terms: number;
  /** products of these extents, 1 by default */
  batch?: number;
}

/** A subgroup as the kernels of subgroups use it. */
export interface Lanes {
  /** invocations of the subgroup */
  count: number;
  /** runs of columns that a lane works on at most */
  mostRuns: number;
  /** whether an operand whose neighbours are terms of one sum is read as vec4s */
  vectorsAlongSum: boolean;
  /** tiles of 16 rows and 4 columns a lane that keep the adapter busy */
  enough: number;
}

/** What a workgroup of a GPU's product does: its outputs, and the constants of common/tile.wgsl or common/thin.wgsl. */
export interface Tile {
  thin: boolean;
  high: number;
  wide: number;
  constants: Readonly<Record<string, number>>;
}

/** A tile of both operands, staged in workgroup memory: its extents, an invocation's share, and who shares a sum. */
export function tileOf(
  [HIGH, WIDE]: readonly [number, number],
  [ROWS, COLUMNS]: readonly [number, number],
  SLICES: number,
  TILE_K: number,
): Tile {
  return { thin: false, high: HIGH, wide: WIDE, constants: { HIGH, WIDE, ROWS, COLUMNS, SLICES, TILE_K } };
}

/** A tile of a tall matrix times one of few columns, read straight from memory. */
export function thinOf(THIN: number, SLICES: number): Tile {
  const constants = { THIN, SLICES };
  return { thin: true, high: tallOf(constants), wide: THIN, constants };
}

/** Rows of a workgroup's tile in common/thin.wgsl. */
export const tallOf = ({ THIN, SLICES }: Readonly<Record<string, number>>): number =>
  (256 / SLICES!) * (16 / THIN!) * 4;

/**
 * Square tiles; what an output costs in them, in costs of an output in the largest (H200); and how many of them keep a GPU as
 * busy as one workgroup of 256 invocations.
 */
export const TILES: readonly { tile: Tile; cost: number; crowd: number }[] = [
  { tile: tileOf([128, 128], [8, 8], 1, 8), cost: 1, crowd: 1 },
  { tile: tileOf([64, 64], [8, 8], 4, 16), cost: 1.05, crowd: 1 },
  // for products of so many tiles that no invocations need to share a sum
  { tile: tileOf([32, 32], [4, 4], 1, 16), cost: 1.4, crowd: 4 },
  { tile: tileOf([32, 32], [8, 8], 16, 32), cost: 1.5, crowd: 1 },
  { tile: tileOf([16, 16], [4, 4], 16, 64), cost: 3, crowd: 1 },
];
/** What a cut product costs, in costs of an uncut one: a second dispatch adds up the parts. */
const SPLITTING = 1.5;

/** The fewest terms worth a part of a cut sum, and the most that one part may add up before digits are lost. */
const SHORTEST = 128;
const LONGEST = 4096;

/** Whether a GPU takes a product of so many rows and columns as one with a thin side, the columns. */
const isThin = (rows: number, columns: number): boolean => columns <= 32 && rows >= 128;

/**
 * Which tile serves a product on a GPU that `enough` workgroups keep busy: many rows of up to 32 columns straight from memory,
 * or tiles of both sides, as large as leaves enough of them.
 */
export function gpuTile({ rows, columns, terms, batch = 1 }: Extents, enough: number): Tile {
  if (isThin(rows, columns)) {
    if (columns > 16) return thinOf(32, 4);
    // sharing short sums among fewer invocations costs less at their end
    return terms <= 512 && rows >= 2 ** 16 ? thinOf(16, 4) : thinOf(16, 8);
  }
  const priced = TILES.map(({ tile, cost, crowd }) => {
    const needed = crowd * enough;
    const count = batch * Math.ceil(rows / tile.high) * Math.ceil(columns / tile.wide);
    const parts = Math.max(1, Math.min(Math.floor(needed / count), Math.floor(terms / SHORTEST)));
    const price = (cost * count * tile.high * tile.wide) / Math.min(1, (count * parts) / needed);
    return { tile, price: parts > 1 ? SPLITTING * price : price };
  });
  return priced.reduce((best, other) => (other.price < best.price ? other : best)).tile;
}

/** Rows of a subgroup's tile: as few as cover `rows` in tiles of at most 16. */
export function tileRows(rows: number): number {
  return Math.ceil(rows / Math.ceil(rows / 16) / 4) * 4;
}

/** Runs of columns that a lane works on: as many as it may where the columns lie in vec4s and are many, else one. */
export const runsOf = ({ mostRuns }: Lanes, vectors: boolean, rows: number, columns: number): number =>
  vectors && columns >= 128 && Math.ceil(rows / 16) * Math.ceil(columns / 32) >= 64 ? mostRuns : 1;

/** How an operand lies: whether its neighbours belong to neighbouring outputs, and what its rows begin at multiples of. */
export interface Layout {
  acrossOutputs: boolean;
  extents: readonly number[];
  /** whether several elements lie in a word of 32 bits */
  isPacked?: boolean;
}

/**
 * Whether an operand is read as vec4s (that of a subgroup's lanes, of the columns of square tiles, or of the rows of a thin
 * tile): where it lies so; and along the inner sum only by thin tiles, or by lanes that gain from it.
 */
export function readsVectors(lanes: Lanes | null, { acrossOutputs, extents }: Layout, thin = false): boolean {
  return (acrossOutputs || lanes?.vectorsAlongSum || thin) && extents.every((extent) => extent % 4 === 0);
}

/** Multiplications that a subgroup kernel spends on rows×columns outputs, those in its empty corners included. */
function spent(rows: number, columns: number, lanes: Lanes, vectors: boolean): number {
  const high = Math.ceil(rows / tileRows(rows)) * tileRows(rows);
  const wide = Math.ceil(columns / (4 * lanes.count)) * 4 * lanes.count;
  // single values instead of vec4s cost a little more, and two runs less
  return high * wide * (vectors ? (runsOf(lanes, vectors, rows, columns) > 1 ? 0.85 : 1) : 1.1);
}

/**
 * Whether to compute the transpose of a product instead, so that its other operand lies in the lanes; or, on GPUs (`lanes` null),
 * so that its columns are the thin side.
 */
export function arrange(
  lanes: Lanes | null,
  rows: number,
  columns: number,
  vectors: { natural: boolean; turned: boolean },
): "natural" | "turned" {
  if (!lanes) return isThin(columns, rows) && !isThin(rows, columns) ? "turned" : "natural";
  const natural = spent(rows, columns, lanes, vectors.natural);
  return natural <= spent(columns, rows, lanes, vectors.turned) ? "natural" : "turned";
}

/** Tiles of a product that a subgroup computes, as a share of those that keep the adapter busy. */
export const laneBusyness = (
  { count, enough }: Pick<Lanes, "count" | "enough">,
  { rows, columns, batch = 1 }: Omit<Extents, "terms">,
): number => (Math.ceil((batch * rows) / 16) * Math.ceil(columns / (4 * count))) / enough;

/** Tiles of a product that a workgroup computes, as a share of the workgroups that keep the adapter busy. */
export const tileBusyness = (
  { high, wide }: Pick<Tile, "high" | "wide">,
  { rows, columns, batch = 1 }: Omit<Extents, "terms">,
  enough: number,
): number => (batch * Math.ceil(rows / high) * Math.ceil(columns / wide)) / enough;

/** How a sum of `outer` times `inner` terms is cut: so many of each in a part, `count` parts. */
export interface Split {
  inner: number;
  outer: number;
  count: number;
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

/** Invocations that share a sum of so many terms that lie far apart, at most so many, and those of their workgroup. */
export function sumTeam(terms: number, most: number): { WIDTH: number; SLICES: number } {
  const SLICES = Math.min(most, terms < 16 ? 1 : terms < 128 ? 4 : 16);
  return { WIDTH: SLICES > 1 ? 256 : 64, SLICES };
}

/** Invocations that share a row of so many terms, where a workgroup has 64: a power of two. */
export const lanesOfRow = (extent: number): number => 2 ** Math.min(6, Math.max(0, Math.floor(Math.log2(extent / 16))));

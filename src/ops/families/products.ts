/** What the families of matmul and MTTKRP share: grids, the tile that a product takes, and its kernels specialised for it. */
import { type Engine, type Grid, grid1d, type Kernel, type Scheduler, Variants } from "../../gpu/index.js";
import { candidatesOf, lanesOf, setting } from "../adapter.js";
import { vectorsOf } from "../bits.js";
import {
  type Extents,
  gpuTile,
  type Lanes,
  type Layout,
  laneBusyness,
  readsVectors,
  runsOf,
  type Split,
  type Tile,
  tallOf,
  tileBusyness,
  tileRows,
} from "../tiles.js";

type GridParams = Parameters<Grid>[0];

/** Workgroups of a kernel of which one computes `count` tiles of this size. */
export function tiles(height: number, width: number, count = 1): Grid {
  return ({ rows, columns, batch = 1, splits }) =>
    grid1d(Math.ceil(rows! / height) * Math.ceil(columns! / width) * batch * splits!, count);
}

/** Workgroups of a kernel with common/tile.wgsl. */
export const squareTiles: Grid = (params, { HIGH, WIDE }) => tiles(HIGH!, WIDE!)(params, {});

/** Workgroups of a kernel with common/thin.wgsl. */
export const thinTiles: Grid = (params, constants) => tiles(tallOf(constants), constants.THIN!)(params, {});

/** Workgroups of a kernel of one subgroup, whose lanes lie along the columns. */
export const subgroupTiles: Grid = (params, { ROWS, LANES, RUNS }) => tiles(ROWS!, 4 * LANES! * RUNS!)(params, {});

/** The same for a kernel whose lanes lie along the rows. */
export const turnedSubgroupTiles: Grid = ({ rows, columns, ...rest }: GridParams, constants) =>
  subgroupTiles({ ...rest, rows: columns!, columns: rows! }, constants);

/** Kernels of a family that computes products. */
export interface ProductKernels extends Record<string, Kernel> {
  tiled: Kernel;
  "tiled, thin": Kernel;
  register: Kernel;
  subgroup: Kernel;
}

/** The subgroup that a product's kernel has on this engine, or null where it has none. */
export function subgroupOf(engine: Engine, family: string): Lanes | null {
  const count = lanesOf(engine, family);
  if (!count) return null;
  return {
    count,
    mostRuns: setting(engine, "laneRuns"),
    vectorsAlongSum: setting(engine, "vectorsAlongSum") === 1,
    enough: setting(engine, "splitTiles"),
  };
}

const square = (kernels: ProductKernels, tile: Tile): Kernel =>
  kernels[tile.thin ? "tiled, thin" : "tiled"].with(tile.constants);

/** Kernels among which an adapter chooses. */
interface Family {
  name: string;
  kernels: ProductKernels;
  sample: Variants["sample"];
  /** the variants that products were made of, by their kernels' keys: recorders make many products of few variants */
  made: Map<string, Variants>;
}

/** How a product is computed. */
export interface ProductPlan {
  kernels: Variants;
  split: Split;
}

/**
 * The kernels of a product of these extents, and how its sums are cut. The columns are what lies in a subgroup's lanes. `layouts`
 * are those of the operands that lanes, square tiles and thin tiles read as vec4s; `cut` cuts the sums, by the share of the
 * adapter that is at work where they are not cut.
 */
export function planProduct(
  engine: Engine,
  family: Family,
  extents: Extents,
  layouts: { columns: Layout; thin: Layout },
  cut: (busy: number) => Split,
): ProductPlan {
  const { name, kernels, sample, made } = family;
  const lanes = subgroupOf(engine, name);
  const workgroups = setting(engine, "splitWorkgroups");
  const tile = gpuTile(extents, workgroups);
  const split = cut(lanes ? laneBusyness(lanes, extents) : tileBusyness(tile, extents, workgroups));
  const thin = !lanes && tile.thin;
  const layout = thin ? layouts.thin : layouts.columns;
  const vectors = readsVectors(lanes, layout, thin);
  const reads = vectors ? vectorsOf(layout.isPacked === true) : {};
  const { rows, columns } = extents;
  const specialised = (candidate: string): Kernel => {
    if (candidate === "subgroup") {
      const tile = { LANES: lanes!.count, ROWS: tileRows(rows), RUNS: runsOf(lanes!, vectors, rows, columns) };
      return kernels.subgroup.with({ ...tile, ...reads });
    }
    if (candidate !== "tiled") return kernels[candidate]!;
    return square(kernels, tile).with(reads);
  };
  const candidates = candidatesOf(engine, name).map((candidate) => [candidate, specialised(candidate)] as const);
  const key = candidates.map(([, kernel]) => kernel.key).join();
  let variants = made.get(key);
  if (!variants) made.set(key, (variants = new Variants(name, Object.fromEntries(candidates), sample)));
  return { kernels: variants, split };
}

/** The kernel that a probe times for a family's: with the tile of the probe's shape, whichever product asks first. */
export function probed(s: Scheduler, kernels: ProductKernels, kernel: Kernel, extents: Extents): Kernel {
  const isTiled = kernel.source === kernels.tiled.source || kernel.source === kernels["tiled, thin"].source;
  return isTiled ? square(kernels, gpuTile(extents, setting(s.engine, "splitWorkgroups"))) : kernel;
}

/** Kernels of MTTKRP. */
import registerShader from "../../../shaders/mttkrp_register.wgsl?late";
import subgroupShader from "../../../shaders/mttkrp_subgroup.wgsl?late";
import thinShader from "../../../shaders/mttkrp_thin.wgsl?late";
import tiledShader from "../../../shaders/mttkrp_tiled.wgsl?late";
import { type Engine, Kernel, type Scheduler } from "../../gpu/index.js";
import { declareFamily, setting } from "../adapter.js";
import { bitsOf } from "../bits.js";
import { splitSums } from "../tiles.js";
import {
  type ProductPlan,
  planProduct,
  probed,
  squareTiles,
  subgroupOf,
  thinTiles,
  tiles,
  turnedSubgroupTiles,
} from "./products.js";

const kernels = declareFamily("mttkrp", {
  tiled: new Kernel(tiledShader, squareTiles),
  "tiled, thin": new Kernel(thinShader, thinTiles),
  register: new Kernel(registerShader, tiles(4, 4, 64)),
  subgroup: new Kernel(subgroupShader, turnedSubgroupTiles),
});

/** The first mode of a cube with an edge of 32, times `size`, at rank 16, its sum cut into 16 parts. */
function sample(s: Scheduler, kernel: Kernel, size: number): void {
  const n = 32 * size;
  const columns = 16;
  const factor = s.tensor([n, columns]);
  const unused = s.tensor([1]);
  s.run(
    probed(s, kernels, kernel, { rows: n, columns, terms: n * n }),
    {
      x: bitsOf(s.tensor([n, n, n])),
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
      outer_chunk: n / 16,
      splits: 16,
      extents: [n, 1, 1, 1, 1, 1, 1, 1],
    },
  );
}

const family = { name: "mttkrp", kernels, sample, made: new Map() };

/** The kernels of an MTTKRP of so many rows and columns, and how its sums are cut; `transposed` where X has the rows last. */
export function planMttkrp(
  engine: Engine,
  { rows, columns, inner, outer }: { rows: number; columns: number; inner: number; outer: number },
  { transposed, isPacked }: { transposed: boolean; isPacked: boolean },
): ProductPlan {
  const terms = inner * outer;
  // a subgroup's lanes lie along the rows
  const extents = subgroupOf(engine, "mttkrp") ? { rows: columns, columns: rows, terms } : { rows, columns, terms };
  const x = { acrossOutputs: transposed, extents: [transposed ? rows : inner], isPacked };
  return planProduct(engine, family, extents, { columns: x, thin: x }, (busy) => splitSums(busy, inner, outer));
}

/** Steps of an inner sum below which MTTKRP merges the contracted mode with its neighbour, for a tensor of so many elements. */
export const shortestRun = (engine: Engine, size: number): number =>
  size < setting(engine, "mergeFrom") ? 0 : setting(engine, "mergeBelow");

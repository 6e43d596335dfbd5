/** Kernels of batched matrix products. */
import registerShader from "../../../shaders/matmul_register.wgsl?late";
import subgroupShader from "../../../shaders/matmul_subgroup.wgsl?late";
import thinShader from "../../../shaders/matmul_thin.wgsl?late";
import tiledShader from "../../../shaders/matmul_tiled.wgsl?late";
import { type Engine, Kernel, type Params, type Scheduler } from "../../gpu/index.js";
import { declareFamily } from "../adapter.js";
import { bitsOf } from "../bits.js";
import { arrange, type Extents, evenRuns, type Layout, readsVectors, splitSums } from "../tiles.js";
import {
  type ProductPlan,
  planProduct,
  probed,
  squareTiles,
  subgroupOf,
  subgroupTiles,
  thinTiles,
  tiles,
} from "./products.js";

const kernels = declareFamily("matmul", {
  tiled: new Kernel(tiledShader, squareTiles),
  "tiled, thin": new Kernel(thinShader, thinTiles),
  register: new Kernel(registerShader, tiles(4, 4, 64)),
  subgroup: new Kernel(subgroupShader, subgroupTiles),
});

/** A square product: 128×128, times `size`. */
function sample(s: Scheduler, kernel: Kernel, size: number): void {
  const n = 128 * size;
  const params: Params = { rows: n, columns: n, inner: n, outer: 1, batch: 1, batch_a: 0, batch_b: 0, alpha: 1 };
  s.run(
    probed(s, kernels, kernel, { rows: n, columns: n, terms: n }),
    { a: bitsOf(s.tensor([n, n])), b: bitsOf(s.tensor([n, n])), bias: s.tensor([1]), out: s.tensor([n, n]) },
    { ...params, outer_a: 0, outer_b: 0, inner_chunk: n, outer_chunk: 1, splits: 1 },
  );
}

const family = { name: "matmul", kernels, sample, made: new Map() };

/** Whether the transpose of a product is computed instead: where more of a kernel's tiles is then filled. */
export function isTurned(engine: Engine, rows: number, columns: number, layouts: { a: Layout; b: Layout }): boolean {
  const lanes = subgroupOf(engine, "matmul");
  const vectors = { natural: readsVectors(lanes, layouts.b), turned: readsVectors(lanes, layouts.a) };
  return arrange(lanes, rows, columns, vectors) === "turned";
}

/**
 * The kernels of a product A·B, and how its sums of `outer` times `inner` terms are cut; with `mostRuns`, into runs of even
 * length, at most so many, which round less.
 */
export function planMatmul(
  engine: Engine,
  { rows, columns, batch }: Omit<Extents, "terms">,
  { inner, outer, mostRuns }: { inner: number; outer: number; mostRuns?: number | undefined },
  layouts: { a: Layout; b: Layout },
): ProductPlan {
  const extents = { rows, columns, terms: inner * outer, ...(batch !== undefined && { batch }) };
  return planProduct(engine, family, extents, { columns: layouts.b, thin: layouts.a }, (busy) =>
    mostRuns === undefined ? splitSums(busy, inner, outer) : evenRuns(inner, mostRuns),
  );
}

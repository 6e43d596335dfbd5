/** Kernels that write a Kruskal tensor in full, or a tensor less it. */
import registerShader from "../../../shaders/kruskal_to_tensor_register.wgsl?late";
import subgroupShader from "../../../shaders/kruskal_to_tensor_subgroup.wgsl?late";
import { type Engine, type Grid, Kernel, type Params, type Scheduler, type Tensor, Variants } from "../../gpu/index.js";
import { candidatesOf, declareFamily, lanesOf } from "../adapter.js";
import { bitsOf } from "../bits.js";
import { tileRows } from "../tiles.js";
import { tiles } from "./products.js";

function modelTiles(height: number, width: number, count = 1): Grid {
  return ({ outer, middle, last }) =>
    tiles(height, width, count)({ rows: middle!, columns: last!, splits: outer! }, {});
}

const kernels: Record<string, Kernel> = declareFamily("kruskal", {
  register: new Kernel(registerShader, modelTiles(4, 4, 64)),
  subgroup: new Kernel(subgroupShader, (params, { ROWS, LANES }) => modelTiles(ROWS!, 4 * LANES!)(params, {})),
});

function sample(s: Scheduler, kernel: Kernel, size: number): void {
  const { bindings, params } = sampleModel(s, size);
  const out = s.tensor([params.outer, params.middle, params.last]);
  s.run(kernel, { ...bindings, x: bitsOf(bindings.weights), out }, params);
}

/** The kernels that write a Kruskal tensor whose last mode but one has this extent. */
export const kruskalKernels = (engine: Engine, middle: number): Variants =>
  modelKernels(engine, { name: "kruskal", kernels, sample }, middle);

/** Rows of the last factor below which most of a kernel's tile is empty. */
export const shortestLast = (engine: Engine): number => 2 * Math.max(1, lanesOf(engine, "residual"));

/** The kernels of a family that goes through a Kruskal tensor, with its subgroups' tiles. */
export function modelKernels(
  engine: Engine,
  family: { name: string; kernels: Readonly<Record<string, Kernel>>; sample: Variants["sample"] },
  middle: number,
): Variants {
  const { name, sample } = family;
  const candidates = candidatesOf(engine, name).map((candidate) => {
    const kernel = family.kernels[candidate]!;
    const tile = { LANES: lanesOf(engine, name), ROWS: tileRows(middle) };
    return [candidate, candidate === "subgroup" ? kernel.with(tile) : kernel] as const;
  });
  return new Variants(name, Object.fromEntries(candidates), sample);
}

/** A cube with an edge of 32, times `size`, of rank 16, as a Kruskal tensor. */
export function sampleModel(
  s: Scheduler,
  size: number,
): {
  bindings: Record<"weights" | "outer0" | "outer1" | "middle_factor" | "last_factor", Tensor>;
  params: Params & Record<"outer" | "middle" | "last", number>;
} {
  const n = 32 * size;
  const [factor, unused] = [s.tensor([n, 16]), s.tensor([1])];
  const factors = { outer0: factor, outer1: unused, middle_factor: factor, last_factor: factor };
  const params = { rank: 16, outer: n, middle: n, last: n, extents: [n, 1], scale: 1 };
  return { bindings: { weights: unused, ...factors }, params };
}

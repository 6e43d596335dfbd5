/** Kernels of the squared residual of a Kruskal tensor, in parts. */
import registerShader from "../../../shaders/kruskal_residual_register.wgsl?late";
import subgroupShader from "../../../shaders/kruskal_residual_subgroup.wgsl?late";
import { type Engine, type Grid, Kernel, type Scheduler, type Variants } from "../../gpu/index.js";
import { declareFamily } from "../adapter.js";
import { bitsOf } from "../bits.js";
import { modelKernels, sampleModel } from "./kruskal.js";

const MOST_PARTS = 1024;
/** about the entries of the smallest tile: with more workgroups than tiles, some would have nothing to do */
const TILE_ENTRIES = 256;

/** Sums that the kernels leave to be added up, of a tensor with so many entries: one a workgroup. */
export const residualParts = (entries: number): number => Math.min(MOST_PARTS, Math.ceil(entries / TILE_ENTRIES));

const grid: Grid = ({ outer, middle, last }) => [residualParts(outer! * middle! * last!)];
const kernels = declareFamily("residual", {
  register: new Kernel(registerShader, grid),
  subgroup: new Kernel(subgroupShader, grid),
});

function sample(s: Scheduler, kernel: Kernel, size: number): void {
  const { bindings, params } = sampleModel(s, size);
  const x = bitsOf(s.tensor([params.outer, params.middle, params.last]));
  const [out, difference] = [s.tensor([residualParts(x.size)]), s.tensor([1])];
  s.run(kernel, { ...bindings, x, out, difference }, params);
}

/** The kernels for a Kruskal tensor whose last mode but one has this extent. */
export const residualKernels = (engine: Engine, middle: number): Variants =>
  modelKernels(engine, { name: "residual", kernels, sample }, middle);

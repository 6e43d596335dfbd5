/** Kernels of the squared residual of a Kruskal tensor, in parts. */
import registerShader from "../../../shaders/kruskal_residual_register.wgsl?late";
import subgroupShader from "../../../shaders/kruskal_residual_subgroup.wgsl?late";
import { type Engine, Kernel, type Scheduler, type Variants } from "../../gpu/index.js";
import { declareFamily } from "../adapter.js";
import { modelKernels, sampleModel } from "./kruskal.js";

/** Sums that the kernels leave to be added up. */
export const RESIDUAL_PARTS = 1024;

const kernels = declareFamily("residual", {
  register: new Kernel(registerShader, () => [RESIDUAL_PARTS]),
  subgroup: new Kernel(subgroupShader, () => [RESIDUAL_PARTS]),
});

function sample(s: Scheduler, kernel: Kernel, size: number): void {
  const { bindings, params } = sampleModel(s, size);
  const x = s.tensor([params.outer, params.middle, params.last]);
  const [out, difference] = [s.tensor([RESIDUAL_PARTS]), s.tensor([1])];
  s.run(kernel, { ...bindings, x, out, difference }, params);
}

/** The kernels for a Kruskal tensor whose last mode but one has this extent. */
export const residualKernels = (engine: Engine, middle: number): Variants =>
  modelKernels(engine, { name: "residual", kernels, sample }, middle);

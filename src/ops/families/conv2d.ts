/** Kernels of two-dimensional convolutions and of their weights' gradients. */

import registerShader from "../../../shaders/conv2d_register.wgsl?late";
import subgroupShader from "../../../shaders/conv2d_subgroup.wgsl?late";
import gradientShader from "../../../shaders/conv2d_weight_gradient.wgsl";
import { type Engine, type Grid, grid1d, Kernel } from "../../gpu/index.js";
import { candidatesOf, declareFamily, lanesOf, setting } from "../adapter.js";
import { tileRows } from "../tiles.js";

function convolutionTiles(outputs: string, width: string): Grid {
  return ({ batch, out_height, quads, group_outputs, groups }, constants) => {
    const across = Math.ceil((batch! * out_height! * quads!) / constants[width]!);
    return grid1d(groups! * Math.ceil(group_outputs! / constants[outputs]!) * across, 1);
  };
}

const kernels = declareFamily("conv2d", {
  register: new Kernel(registerShader, convolutionTiles("OUT", "WIDTH")),
  subgroup: new Kernel(subgroupShader, convolutionTiles("ROWS", "LANES")),
});
const weightGradient = new Kernel(gradientShader, ({ tiles, blocks, parts, groups }) =>
  grid1d(tiles! * blocks! * parts! * groups!, 1),
);

/** The kernel of conv2d for so many outputs a group; one output alone is always computed in registers. */
export function convolutionKernel(engine: Engine, outputs: number): Kernel {
  if (candidatesOf(engine, "conv2d")[0] === "subgroup" && outputs > 1)
    return kernels.subgroup.with({ LANES: lanesOf(engine, "conv2d"), ROWS: tileRows(outputs) });
  return kernels.register.with({ OUT: outputs === 1 ? 1 : outputs <= 4 ? 4 : 8 });
}

/** Terms that one sum of a gradient may have before digits are lost. */
const LONGEST = 4096;

/** How the gradient of a weight is computed: the kernel, and its params that say who does what. */
export interface GradientPlan {
  kernel: Kernel;
  params: Record<"runs" | "tasks" | "tiles" | "blocks" | "parts" | "share", number>;
}

/** The kernel of the gradient of a weight, and how its sums over batch and positions are cut. */
export function planWeightGradient(
  engine: Engine,
  {
    batch,
    groups,
    groupChannels,
    groupOutputs,
    kernel,
    outSize,
    isDense,
  }: {
    batch: number;
    groups: number;
    groupChannels: number;
    groupOutputs: number;
    kernel: readonly [number, number];
    outSize: readonly [number, number];
    /** whether neighbouring taps and outputs are neighbours in the samples, too: no stride and no dilation along a row */
    isDense: boolean;
  },
): GradientPlan {
  const TAPS = isDense ? Math.min(5, kernel[1]) : 1;
  const OUT = groupOutputs === 1 ? 1 : 4;
  const runs = Math.ceil(kernel[1] / TAPS);
  const tasks = groupChannels * kernel[0] * runs;
  const WIDTH = tasks <= 8 ? 8 : tasks <= 16 ? 16 : 32;
  const tiles = Math.ceil(groupOutputs / OUT);
  const blocks = Math.ceil(tasks / WIDTH);
  const rows = batch * outSize[0];
  const enough = setting(engine, "gradientWorkgroups");
  const wanted = Math.max(Math.ceil(enough / (groups * tiles * blocks)), Math.ceil((rows * outSize[1]) / LONGEST));
  const share = Math.ceil(rows / Math.min(wanted, rows));
  const parts = Math.ceil(rows / share);
  return {
    kernel: weightGradient.with({ WIDTH, OUT, FAST: isDense, TAPS, TAIL: outSize[1] % 4 !== 0 }),
    params: { runs, tasks, tiles, blocks, parts, share },
  };
}

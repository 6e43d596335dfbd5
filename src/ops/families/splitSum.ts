/** The kernel that adds up the parts of cut sums. */
import shader from "../../../shaders/split_sum.wgsl?late";
import { type Engine, grid1d, Kernel } from "../../gpu/index.js";
import { setting } from "../adapter.js";
import { sumTeam } from "../tiles.js";

const kernel = new Kernel(shader, ({ size }, { WIDTH, SLICES }) => grid1d(size!, WIDTH! / SLICES!));

/** The kernel for sums of so many parts. */
export const splitSumKernel = (engine: Engine, splits: number): Kernel =>
  kernel.with({ ...sumTeam(splits, setting(engine, "sumTeam")), AHEAD: Math.min(setting(engine, "readAhead"), 8) });

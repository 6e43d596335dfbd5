/** Kernels of reductions over an axis. */
import shader from "../../../shaders/reduce.wgsl?late";
import lanesShader from "../../../shaders/reduce_lanes.wgsl?late";
import { type Engine, grid1d, Kernel } from "../../gpu/index.js";
import { setting } from "../adapter.js";

const byWorkgroup = new Kernel(shader, ({ before, after, parts }) => grid1d(before! * after! * parts!, 1));
const byLane = new Kernel(lanesShader, ({ before, after, parts }, { WIDTH }) =>
  grid1d(before! * after! * parts!, WIDTH!),
);

/** Neighbouring sums from which on invocations that make one each read side by side. */
const NEIGHBOURS = 8;
/** Terms that an invocation or a workgroup may add up before digits are lost. */
const LONGEST = { lane: 4096, workgroup: 32768 };

/** The kernel of a reduction over the middle axis of before×extent×after, and into how many parts of what length it cuts it. */
export function planReduction(
  engine: Engine,
  [before, extent, after]: readonly [number, number, number],
): { kernel: Kernel; chunk: number; parts: number } {
  const lane = after >= NEIGHBOURS || extent <= setting(engine, "reduceByLane");
  const enough = setting(engine, lane ? "reduceLaneSums" : "reduceGroupSums");
  const shortest = setting(engine, lane ? "reduceLaneTerms" : "reduceGroupTerms");
  const longest = lane ? LONGEST.lane : LONGEST.workgroup;
  const outputs = before * after;
  const wanted = Math.max(Math.min(Math.floor(enough / outputs), Math.floor(extent / shortest)), extent / longest, 1);
  const chunk = Math.ceil(extent / wanted);
  const AHEAD = Math.min(setting(engine, "readAhead"), 8);
  return { kernel: (lane ? byLane : byWorkgroup).with({ AHEAD }), chunk, parts: Math.ceil(extent / chunk) };
}

/** The kernel that goes on from a partial MTTKRP. */
import shader from "../../../shaders/mttkrp_from_partial.wgsl?late";
import { type Engine, grid1d, Kernel } from "../../gpu/index.js";
import { adapterOf, setting } from "../adapter.js";
import { laneBusyness, type Split, splitSums, sumTeam, tileBusyness } from "../tiles.js";

const kernel = new Kernel(shader, ({ rows, columns, splits }, { WIDTH, SLICES }) =>
  grid1d(rows! * columns! * splits!, WIDTH! / SLICES!),
);

/** The kernel for rows×columns sums of `terms` terms, and how they are cut. */
export function planFromPartial(
  engine: Engine,
  extents: { rows: number; columns: number },
  terms: number,
): { kernel: Kernel; split: Split } {
  const team = sumTeam(terms, setting(engine, "sumTeam"));
  const { lanes } = adapterOf(engine).facts;
  const busy = lanes
    ? laneBusyness({ count: lanes, enough: setting(engine, "splitTiles") }, extents)
    : tileBusyness({ high: 1, wide: team.WIDTH / team.SLICES }, extents, setting(engine, "splitWorkgroups"));
  const AHEAD = Math.min(setting(engine, "readAhead"), 4);
  return { kernel: kernel.with({ ...team, AHEAD }), split: splitSums(busy, 1, terms) };
}

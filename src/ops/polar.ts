import shader from "../../shaders/polar.wgsl?late";
import lanesShader from "../../shaders/polar_lanes.wgsl?late";
import { grid1d, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { setting } from "./adapter.js";
import { batchMatmul } from "./batchMatmul.js";
import { assertCall, assertShape } from "./shapes.js";

const kernel = new Kernel(shader, ({ count }) => grid1d(count!, 1));
const lanes = new Kernel(lanesShader, ({ count }, { WIDTH }) => grid1d(count!, WIDTH!));

export interface PolarOptions {
  /**
   * K×R×R, zeros at first: the right singular vectors as this op leaves them, from which it begins at the next call. Matrices that have
   * changed little are done sooner
   */
  rotation: Tensor;
  out?: Tensor | undefined;
}

/**
 * The orthonormal polar factors of K matrices (K×I×R, R ≤ I): P_k = U_k·V_kᵀ of Z_k = U_k·Σ_k·V_kᵀ, the matrices with orthonormal columns
 * nearest to them, by one-sided Jacobi rotations. No Gram matrix squares a condition number; columns are orthonormal also
 * where Z_k lacks rank. `heights` ([K], u32, R to I each) says how many rows of each matrix are in use, rows below are 0 and stay 0; null
 * stands for all rows.
 */
export function polar(s: Scheduler, z: Tensor, heights: Tensor<"u32"> | null, { rotation, out }: PolarOptions): Tensor {
  assertCall("polar", s, heights ? { z, heights } : { z });
  const [count, rows, rank] = z.shape as [number, number, number];
  if (z.order !== 3 || rank > rows) throw new ShapeError(`polar: ${z}, needs K×I×R with R at most I`);
  if (heights) assertShape("polar", "heights", heights, [count]);
  assertShape("polar", "rotation", rotation, [count, rank, rank]);
  if (out) assertShape("polar", "out", out, z.shape);
  const result = out ?? s.tensor(z.shape, { label: "polar factors" });
  const counts = heights ?? s.tensor([1], { dtype: "u32", label: "no heights" });
  const WIDTH = Math.min(64, setting(s.engine, "soleWorkgroup"));
  const TEAM = Math.min(WIDTH, setting(s.engine, "jacobiTeam"));
  const FULL = heights === null;
  // lanes that have no team take a matrix each, where there are enough
  if (TEAM === 1 && count > 1) {
    const turned = batchMatmul(s, z, rotation, { transposeB: true });
    const u = s.tensor(z.shape, { label: "left singular vectors" });
    const work = s.tensor([Math.ceil(count / WIDTH) * WIDTH, rank * (rows + rank)], { label: "polar work" });
    s.run(lanes.with({ WIDTH, FULL }), { z, turned, heights: counts, work, rotation, out: u }, { count, rows, rank });
    batchMatmul(s, u, rotation, { out: result });
    s.release(work, turned, u);
  } else {
    const work = s.tensor(z.shape, { label: "polar work" });
    s.run(
      kernel.with({ WIDTH, TEAM, FULL }),
      { z, heights: counts, work, rotation, out: result },
      { count, rows, rank },
    );
    s.release(work);
  }
  if (!heights) s.release(counts);
  return result;
}

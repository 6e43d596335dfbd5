import type { Engine, Schedule, Tensor } from "../gpu/index.js";
import { type Convergence, converge as replay, type StoppingOptions } from "./iterate.js";

export {
  type Convergence,
  ConvergenceError,
  type Decomposition,
  type Iteration,
  type StoppingOptions,
  SWEEPS_A_BATCH,
} from "./iterate.js";

/** Replays a sweep that its solver recorded by itself, its error from the residual: for solvers not yet driven by `iterate`. */
export async function converge(
  engine: Engine,
  {
    schedule,
    trace,
    errorOf,
    name,
  }: { schedule: Schedule; trace: Tensor; errorOf: (row: Float32Array) => number; name: string },
  stopping: StoppingOptions = {},
): Promise<Convergence> {
  using counter = engine.tensor([1], null, { dtype: "u32", label: "counter" });
  const told = (row: Float32Array) => ({ fromResidual: errorOf(row) });
  return await replay(engine, { name, precise: schedule, trace: { rows: trace, counter }, errorOf: told }, stopping);
}

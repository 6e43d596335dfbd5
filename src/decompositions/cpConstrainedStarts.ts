/** The starts of a CP model with constrained factors. */
import { TenfoldError, type TensorData } from "../gpu/index.js";
import type { Source } from "../sources/index.js";
import type { KruskalTensor } from "../tensors/index.js";
import { type CpOptions, cpConstrained } from "./cp.js";
import type { CpConstraint } from "./cpConstraints.js";
import { agreeing, type Model } from "./cpStarts.js";
import { ConvergenceError, type Decomposition, minimised, seedAt } from "./iterate.js";
import { TensorScope } from "./tensorScope.js";

/** What is asked of the starts. */
export interface ConstrainedStarts extends Omit<CpOptions, "initialize" | "solver" | "ridge"> {
  /** of the first start; the others are random */
  initialize: "random" | "hosvd" | readonly TensorData[];
  starts: number;
  seed: number;
}

/** Runs one start after the other. The best result by what is minimised (with a penalty, that too), the errors of all, best first, and how many found the best one's model. */
export async function runConstrained(
  name: string,
  source: Source,
  { starts, seed, initialize, ...options }: ConstrainedStarts,
  fixed: ReadonlyMap<number, Float32Array>,
): Promise<Decomposition<KruskalTensor> & { starts: { errors: number[]; agreeing: number } }> {
  const { engine } = source;
  const { rank, sweeps, tolerance, onIteration, signal, sweepsPerSubmit, nonnegative } = options;
  const constraints: Record<number, CpConstraint> = { ...options.constraints };
  for (const [mode, factor] of fixed) {
    if (constraints[mode])
      throw new TenfoldError(`${name}: mode ${mode} is in fixed and in constraints; leave one of them out`);
    constraints[mode] = { fixed: factor };
  }
  const shared = { rank, sweeps, tolerance, onIteration, signal, sweepsPerSubmit, nonnegative, constraints };
  const models: (Model & { relativeError: number })[] = [];
  using winner = new TensorScope(engine);
  let best: Decomposition<KruskalTensor> | null = null;
  let isCut = false;
  let failure: ConvergenceError | null = null;
  for (let start = 0; start < (source.isZero ? 1 : starts) && !isCut; start++) {
    if (start && signal?.aborted) {
      isCut = true;
      break;
    }
    try {
      using scope = new TensorScope(engine);
      const how = start ? "random" : initialize;
      const result = await cpConstrained(name, source, { ...shared, initialize: how, seed: seedAt(seed, start) });
      scope.keep(result.tensor);
      isCut = result.aborted;
      const loss = minimised(result);
      const { relativeError } = result;
      models.push({ start, factors: await engine.read([...result.tensor.factors]), loss, relativeError });
      if (best && minimised(best) <= loss) continue;
      winner.destroy();
      winner.keep(scope.handOut(result.tensor));
      best = result;
    } catch (error) {
      // a start that collapses is not the best one; the others may be good
      if (!(error instanceof ConvergenceError)) throw error;
      failure ??= error;
    }
  }
  if (!best) throw failure;
  models.sort((a, b) => a.loss - b.loss);
  const cut = isCut && { aborted: true, converged: false, stalled: false };
  const told = { errors: models.map(({ relativeError }) => relativeError), agreeing: agreeing(models, rank) };
  return winner.handOut({ ...best, seed: seedAt(seed, models[0]!.start), ...cut, starts: told });
}

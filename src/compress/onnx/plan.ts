/** Which candidate each layer takes: rules, and the budget that they keep. */
import type { OnnxSite } from "../../onnx/index.js";
import { type Candidate, type Cost, selectRanks } from "../select.js";
import type { FitCandidate } from "./fits.js";

/** The candidate that a layer takes, by its id; a layer that is not here stays. */
export type Plan = ReadonlyMap<string, FitCandidate>;

/** A layer with what it can become. */
export interface Choice {
  site: OnnxSite;
  candidates: readonly FitCandidate[];
  /** squared error of the network's outputs for each unit of the layer's error */
  weight: number;
  /** milliseconds of the layer in the runtime, where time is the cost */
  time?: number;
}

/** The cost of a candidate, or of the layer as it is. */
export function priceOf(choice: Choice, candidate: FitCandidate | null, cost: Cost): number {
  if (cost === "weights") return candidate ? candidate.weights : choice.site.counts.weights;
  if (cost === "time") return (candidate ? candidate.time : choice.time) ?? Number.POSITIVE_INFINITY;
  return (candidate ? candidate.multiplications : choice.site.counts.multiplications) ?? Number.POSITIVE_INFINITY;
}

/** How a plan is made. */
export interface PlanRule {
  name: string;
  /** the same share of its cost for every layer, or the least sum of errors, weighted or not */
  kind: "uniform" | "lagrangian" | "measured";
  /** layers that stay as they are */
  spared: ReadonlySet<string>;
}

/** The smallest cost that the layers can have together. */
export const leastCost = (choices: readonly Choice[], cost: Cost): number =>
  choices.reduce(
    (sum, choice) =>
      sum + Math.min(priceOf(choice, null, cost), ...choice.candidates.map((one) => priceOf(choice, one, cost))),
    0,
  );

/**
 * A plan whose layers cost at most `budget` together; null where the rule finds none.
 *
 * @param budget in the unit of `cost`, for the layers of `choices`
 */
export function makePlan(choices: readonly Choice[], rule: PlanRule, cost: Cost, budget: number): Plan | null {
  const before = choices.reduce((sum, choice) => sum + priceOf(choice, null, cost), 0);
  if (budget >= before) return new Map();
  if (budget <= 0) return null;
  const open = choices.map((choice) => (rule.spared.has(choice.site.id) ? { ...choice, candidates: [] } : choice));
  const plan =
    rule.kind === "uniform" ? uniform(open, cost, budget) : lagrangian(open, rule.kind, cost, budget, before);
  return plan;
}

function lagrangian(
  choices: readonly Choice[],
  kind: "lagrangian" | "measured",
  cost: Cost,
  budget: number,
  before: number,
): Plan | null {
  const lists = choices.map((choice): Candidate[] => {
    const { weights, multiplications } = choice.site.counts;
    const as = (one: FitCandidate | null): Candidate => ({
      weights: one ? one.weights : weights,
      multiplications: (one ? one.multiplications : multiplications) ?? 0,
      time: priceOf(choice, one, "time"),
      loss: one ? one.error * (kind === "measured" ? choice.weight : 1) : 0,
    });
    return [as(null), ...choice.candidates.map(as)];
  });
  const { choice, reached } = selectRanks(lists, { cost, ratio: before / budget });
  if (!reached) return null;
  const plan = new Map<string, FitCandidate>();
  for (const [at, index] of choice.entries())
    if (index > 0) plan.set(choices[at]!.site.id, choices[at]!.candidates[index - 1]!);
  return plan;
}

/** The same share for every layer, as large as the budget allows. */
function uniform(choices: readonly Choice[], cost: Cost, budget: number): Plan | null {
  const at = (share: number): Plan => {
    const plan = new Map<string, FitCandidate>();
    for (const choice of choices) {
      const limit = share * priceOf(choice, null, cost);
      const fitting = choice.candidates.filter((one) => priceOf(choice, one, cost) <= limit);
      const cheapest = [...choice.candidates].sort((a, b) => priceOf(choice, a, cost) - priceOf(choice, b, cost))[0];
      const taken = fitting.length ? fitting.reduce((a, b) => (b.error < a.error ? b : a)) : cheapest;
      if (taken) plan.set(choice.site.id, taken);
    }
    return plan;
  };
  if (planCost(choices, at(0), cost) > budget) return null;
  let [low, high] = [0, 1];
  for (let step = 0; step < 40; step++) {
    const middle = (low + high) / 2;
    if (planCost(choices, at(middle), cost) > budget) high = middle;
    else low = middle;
  }
  return at(low);
}

/** What the layers cost with a plan. */
export const planCost = (choices: readonly Choice[], plan: Plan, cost: Cost): number =>
  choices.reduce((sum, choice) => sum + priceOf(choice, plan.get(choice.site.id) ?? null, cost), 0);

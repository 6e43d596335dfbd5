import { checkOption, oneOf, TenfoldError } from "../gpu/index.js";

/** One way to have a layer: as it is, or decomposed with certain ranks. */
export interface Candidate {
  /** weights and biases */
  weights: number;
  /** for one sample */
  multiplications: number;
  /** milliseconds of the layer, where they were measured */
  time?: number;
  /** what the network's outputs lose by it, on calibration data: relative, squared, so that losses of layers add up */
  loss: number;
}

export type Cost = "weights" | "multiplications" | "time";

export interface Target {
  cost: Cost;
  /** how many times less than the network has now */
  ratio: number;
}

const costOf = (candidate: Candidate, cost: Cost): number => {
  const value = candidate[cost];
  if (value === undefined) throw new TenfoldError(`selectRanks: a candidate has no ${cost}`);
  return value;
};

/** Those that no mixture of two others beats, from the dearest to the cheapest: the lower hull of loss against cost. */
function hull(candidates: readonly Candidate[], cost: Cost): number[] {
  const order = candidates
    .map((_, index) => index)
    .sort((a, b) => {
      const [x, y] = [candidates[a]!, candidates[b]!];
      return costOf(y, cost) - costOf(x, cost) || y.loss - x.loss;
    });
  const kept: number[] = [];
  const slope = (from: number, to: number): number => {
    const [x, y] = [candidates[from]!, candidates[to]!];
    return (y.loss - x.loss) / Math.max(costOf(x, cost) - costOf(y, cost), Number.MIN_VALUE);
  };
  for (const index of order) {
    // cheaper and no worse: what was kept is of no use
    while (kept.length && candidates[kept.at(-1)!]!.loss >= candidates[index]!.loss) kept.pop();
    while (kept.length > 1 && slope(kept.at(-2)!, kept.at(-1)!) >= slope(kept.at(-2)!, index)) kept.pop();
    kept.push(index);
  }
  return kept;
}

/** how much more than the least possible is spent where a target is beyond it: the last percents cost whole layers */
const BEYOND = 1.05;

/**
 * Chooses a candidate a layer so that the costs add up to at most 1/ratio of those of the first candidates (the layers as
 * they are) at the least sum of losses: from everything dearest, always the step that loses least for what it saves
 * (Lagrangian relaxation on each layer's convex hull; exact up to one step). What the last step left over then buys back what
 * it can.
 *
 * @returns the place of the choice of every layer; where the target is beyond all choices, `reached` is false and they add up
 * to at most 5 % more than the cheapest
 */
export function selectRanks(
  layers: readonly (readonly Candidate[])[],
  { cost, ratio }: Target,
): { choice: number[]; reached: boolean } {
  checkOption("selectRanks", "cost", cost, oneOf("weights", "multiplications", "time"));
  if (!(ratio >= 1)) throw new TenfoldError(`selectRanks: ${cost} ×${ratio}, needs at least 1`);
  const before = layers.reduce((sum, [asItIs]) => sum + costOf(asItIs!, cost), 0);
  const cheapest = layers.reduce((sum, list) => sum + Math.min(...list.map((each) => costOf(each, cost))), 0);
  // costs are sums of floats: a budget met to rounding is met
  const wanted = (before / ratio) * (1 + 1e-12);
  const reached = cheapest <= wanted;
  const budget = reached ? wanted : BEYOND * cheapest;
  const hulls = layers.map((candidates) => hull(candidates, cost));
  const at = hulls.map(() => 0);
  const onHull = (layer: number, step = 0): Candidate => layers[layer]![hulls[layer]![at[layer]! + step]!]!;
  let spent = layers.reduce((sum, _, layer) => sum + costOf(onHull(layer), cost), 0);
  while (spent > budget) {
    let best = -1;
    let least = Number.POSITIVE_INFINITY;
    for (const [layer, { length }] of hulls.entries()) {
      if (at[layer]! + 1 >= length) continue;
      const [now, next] = [onHull(layer), onHull(layer, 1)];
      const price = (next.loss - now.loss) / (costOf(now, cost) - costOf(next, cost));
      if (price < least) [best, least] = [layer, price];
    }
    // the sum of the cheapest came out larger, by rounding
    if (best < 0) break;
    spent -= costOf(onHull(best), cost);
    at[best]!++;
    spent += costOf(onHull(best), cost);
  }
  const choice = at.map((step, layer) => hulls[layer]![step]!);
  for (;;) {
    let [best, better, most] = [-1, -1, 0];
    for (const [layer, candidates] of layers.entries()) {
      const now = candidates[choice[layer]!]!;
      const room = budget - spent + costOf(now, cost);
      for (const [index, each] of candidates.entries())
        if (costOf(each, cost) <= room && now.loss - each.loss > most)
          [best, better, most] = [layer, index, now.loss - each.loss];
    }
    if (best < 0) return { choice, reached };
    spent += costOf(layers[best]![better]!, cost) - costOf(layers[best]![choice[best]!]!, cost);
    choice[best] = better;
  }
}

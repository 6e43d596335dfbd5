import { checkOption, oneOf, TenfoldError } from "../gpu/index.js";

/** A layer as it is, or a decomposition of it with certain ranks. */
export interface Candidate {
  /** weights and biases */
  weights: number;
  /** multiplications of a forward pass for one sample */
  multiplications: number;
  /** milliseconds of the layer's forward pass, where they were measured */
  time?: number;
  /** ‖y − ŷ‖² ÷ ‖y‖² of the network's outputs on calibration samples; squared, so that losses of several layers add up */
  loss: number;
}

export type Cost = "weights" | "multiplications" | "time";

/** A cost that the network shall have. */
export interface Target {
  cost: Cost;
  /** the network's cost now ÷ the cost that it shall have, 1 or more */
  ratio: number;
}

const costOf = (candidate: Candidate, cost: Cost): number => {
  const value = candidate[cost];
  if (value === undefined) throw new TenfoldError(`selectRanks: a candidate has no ${cost}`);
  return value;
};

/**
 * The lower convex hull of loss against cost: the candidates that no mixture of two others beats. They come as indices, from the
 * most expensive to the cheapest.
 */
function hull(candidates: readonly Candidate[], cost: Cost): number[] {
  const order = candidates
    .map((_, index) => index)
    .sort((a, b) => {
      const [x, y] = [candidates[a]!, candidates[b]!];
      return costOf(y, cost) - costOf(x, cost) || y.loss - x.loss;
    });
  const onHull: number[] = [];
  const slope = (from: number, to: number): number => {
    const [x, y] = [candidates[from]!, candidates[to]!];
    return (y.loss - x.loss) / Math.max(costOf(x, cost) - costOf(y, cost), Number.MIN_VALUE);
  };
  for (const index of order) {
    // a candidate that costs no less and loses no less than this one is not on the hull
    while (onHull.length && candidates[onHull.at(-1)!]!.loss >= candidates[index]!.loss) onHull.pop();
    while (onHull.length > 1 && slope(onHull.at(-2)!, onHull.at(-1)!) >= slope(onHull.at(-2)!, index)) onHull.pop();
    onHull.push(index);
  }
  return onHull;
}

/**
 * Where the cheapest candidates do not reach the target, the budget is their cost times this factor, because saving the last
 * 5 % would take large losses.
 */
const BEYOND = 1.05;

/**
 * Chooses one candidate a layer with a small sum of losses, such that their costs add up to at most 1/ratio of the cost of the
 * layers as they are. It begins with the most expensive candidates on every layer's convex hull, and takes the step along a hull
 * with the least loss for its saving until the budget is met: Lagrangian relaxation, exact up to one step. Then it spends what is
 * left of the budget on the candidates that win back most.
 *
 * @param layers the candidates of every layer, first the layer as it is
 * @returns the index of the candidate for every layer. Where no candidates reach the target, `reached` is false, and the costs
 * add up to at most 5 % more than those of the cheapest candidates
 * @throws TenfoldError unless the target is valid and every candidate has the cost
 */
export function selectRanks(
  layers: readonly (readonly Candidate[])[],
  { cost, ratio }: Target,
): { choice: number[]; reached: boolean } {
  checkOption("selectRanks", "cost", cost, oneOf("weights", "multiplications", "time"));
  if (!(ratio >= 1)) throw new TenfoldError(`selectRanks: ${cost} ×${ratio}, needs at least 1`);
  const before = layers.reduce((sum, [asItIs]) => sum + costOf(asItIs!, cost), 0);
  const cheapest = layers.reduce((sum, list) => sum + Math.min(...list.map((candidate) => costOf(candidate, cost))), 0);
  // costs are sums of floats, so the budget allows for their rounding
  const wanted = (before / ratio) * (1 + 1e-12);
  const reached = cheapest <= wanted;
  const budget = reached ? wanted : BEYOND * cheapest;
  const hulls = layers.map((candidates) => hull(candidates, cost));
  const at = hulls.map(() => 0);
  const current = (layer: number, step = 0): Candidate => layers[layer]![hulls[layer]![at[layer]! + step]!]!;
  let spent = layers.reduce((sum, _, layer) => sum + costOf(current(layer), cost), 0);
  while (spent > budget) {
    let best = -1;
    let least = Number.POSITIVE_INFINITY;
    for (const [layer, { length }] of hulls.entries()) {
      if (at[layer]! + 1 >= length) continue;
      const [now, next] = [current(layer), current(layer, 1)];
      const price = (next.loss - now.loss) / (costOf(now, cost) - costOf(next, cost));
      if (price < least) [best, least] = [layer, price];
    }
    // only rounding can leave the cost of the cheapest candidates above the budget
    if (best < 0) break;
    spent -= costOf(current(best), cost);
    at[best]!++;
    spent += costOf(current(best), cost);
  }
  const choice = at.map((step, layer) => hulls[layer]![step]!);
  for (;;) {
    let [best, better, most] = [-1, -1, 0];
    for (const [layer, candidates] of layers.entries()) {
      const now = candidates[choice[layer]!]!;
      const room = budget - spent + costOf(now, cost);
      for (const [index, candidate] of candidates.entries())
        if (costOf(candidate, cost) <= room && now.loss - candidate.loss > most)
          [best, better, most] = [layer, index, now.loss - candidate.loss];
    }
    if (best < 0) return { choice, reached };
    spent += costOf(layers[best]![better]!, cost) - costOf(layers[best]![choice[best]!]!, cost);
    choice[best] = better;
  }
}

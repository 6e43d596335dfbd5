import { TenfoldError } from "../gpu/index.js";

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

/**
 * Chooses a candidate a layer so that the costs add up to at most 1/ratio of those of the first candidates (the layers as
 * they are) at the least sum of losses: from everything dearest, always the step that loses least for what it saves
 * (Lagrangian relaxation on each layer's convex hull; exact up to one step).
 *
 * @param fixed cost of what has no choice, on both sides of the ratio
 * @returns the place of the choice of every layer; the cheapest of all, with `reached` false, where the target is beyond it
 */
export function selectRanks(
  layers: readonly (readonly Candidate[])[],
  { cost, ratio }: Target,
  fixed = 0,
): { choice: number[]; reached: boolean } {
  if (!(ratio >= 1)) throw new TenfoldError(`selectRanks: ${cost} ×${ratio}, needs at least 1`);
  const before = layers.reduce((sum, [asItIs]) => sum + costOf(asItIs!, cost), fixed);
  const budget = before / ratio;
  const hulls = layers.map((candidates) => hull(candidates, cost));
  const at = hulls.map(() => 0);
  const chosen = (layer: number, step = 0): Candidate => layers[layer]![hulls[layer]![at[layer]! + step]!]!;
  let spent = layers.reduce((sum, _, layer) => sum + costOf(chosen(layer), cost), fixed);
  // costs are sums of floats: a budget met to rounding is met
  while (spent > budget * (1 + 1e-12)) {
    let best = -1;
    let least = Number.POSITIVE_INFINITY;
    for (const [layer, { length }] of hulls.entries()) {
      if (at[layer]! + 1 >= length) continue;
      const [now, next] = [chosen(layer), chosen(layer, 1)];
      const price = (next.loss - now.loss) / (costOf(now, cost) - costOf(next, cost));
      if (price < least) [best, least] = [layer, price];
    }
    if (best < 0) return { choice: at.map((step, layer) => hulls[layer]![step]!), reached: false };
    spent -= costOf(chosen(best), cost);
    at[best]!++;
    spent += costOf(chosen(best), cost);
  }
  return { choice: at.map((step, layer) => hulls[layer]![step]!), reached: true };
}

import { canonicalizeColumns, copy, fill } from "../ops/index.js";
import { KruskalTensor } from "../tensors/index.js";
import { TensorScope } from "./tensorScope.js";

/**
 * A copy of a model whose columns have norm 1, in canonical order and signs: weights fall, and in every factor but the last a column's entry of
 * largest magnitude is positive. Only the R weights are looked at by the host. Factors of `fixed` modes stay as they are: where there are some, so do
 * the places of the terms, and the last of the other factors makes up for signs. Columns of `oneSigned` modes have no negative entry.
 */
export async function canonicalKruskal(
  model: KruskalTensor,
  { fixed = new Set(), oneSigned = new Set() }: { fixed?: ReadonlySet<number>; oneSigned?: ReadonlySet<number> } = {},
): Promise<KruskalTensor> {
  const { engine, factors, rank } = model;
  const weights = await engine.read(model.weights);
  const order = Uint32Array.from(weights.keys());
  if (!fixed.size) order.sort((a, b) => weights[b]! - weights[a]! || a - b);
  const free = [...factors.keys()].filter((mode) => !fixed.has(mode));
  const signed = free.filter((mode) => !oneSigned.has(mode));
  const last = Math.max(...(signed.length ? signed : free));
  using scope = new TensorScope(engine);
  const sorted = scope.allocate([rank], "weights");
  engine.write(
    sorted,
    Float32Array.from(order, (r) => weights[r]!),
  );
  const results = factors.map((factor, mode) => scope.allocate(factor.shape, `factor ${mode}`));
  using orderTensor = engine.tensor([rank], order, { label: "order" });
  await engine.run((s) => {
    const flips = s.tensor([rank], { label: "flips" });
    fill(s, flips, 1);
    factors.forEach((factor, mode) => {
      if (fixed.has(mode)) copy(s, factor, { out: results[mode]! });
      else if (mode !== last) canonicalizeColumns(s, factor, orderTensor, flips, { out: results[mode]! });
    });
    canonicalizeColumns(s, factors[last]!, orderTensor, flips, { apply: true, out: results[last]! });
  }, "CP result");
  return scope.handOut(new KruskalTensor(sorted, results));
}

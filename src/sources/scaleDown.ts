/** Scaling of very large and very small tensors: in a file that `resident` alone imports, when it is needed. */
import type { Tensor } from "../gpu/index.js";
import { inspect, scaleByPower } from "../ops/index.js";
import { timesPower } from "./scale.js";
import type { Facts } from "./source.js";

/** Writes x = 2^−exponent · X into `scaled`, and tells the facts of it from the largest magnitude in X. */
export async function scaleDown(
  operation: string,
  x: Tensor,
  scaled: Tensor,
  { exponent, largest }: Pick<Facts, "exponent" | "largest">,
): Promise<Facts> {
  const { engine } = x;
  using norm = engine.tensor([1], null, { label: "squared norm" });
  using findings = engine.tensor([4], new Uint32Array(4), { label: "findings" });
  await engine.run((s) => {
    scaleByPower(s, x, -exponent, { out: scaled });
    // sums as `look` does, so that the facts of 2^k·X are those of X
    inspect(s, scaled, findings, { squaredNorm: norm });
  }, `${operation} scaling`);
  const squaredNorm = (await engine.read(norm))[0]!;
  return { exponent, squaredNorm, largest: timesPower(largest, -exponent), isZero: false };
}

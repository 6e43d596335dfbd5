import { dispose, type Engine, ShapeError, type Tensor } from "../gpu/index.js";
import { permute, slice, svd } from "../ops/index.js";

/** longest side of an unfolding whose singular values are all found */
const LONGEST = 1024;

/** All singular values of an unfolding, and its left singular vectors. */
export interface UnfoldingSvd {
  /** falling */
  values: ArrayLike<number>;
  /** The leading left singular vectors, I_n×rank: a tensor of the caller's. */
  leading(rank: number): Promise<Tensor>;
  [dispose](): void;
}

/** The singular value decomposition of the mode-n unfolding: the one place where ranks are chosen from. */
export async function unfoldingSvd(engine: Engine, x: Tensor, mode: number): Promise<UnfoldingSvd> {
  const extent = x.shape[mode]!;
  const rest = x.size / extent;
  const count = Math.min(extent, rest);
  if (count > LONGEST)
    throw new ShapeError(
      `relativeError: the unfolding of ${x} along mode ${mode} is ${extent}×${rest}, needs a side of at most ${LONGEST}; give ranks instead`,
    );
  const u = engine.tensor([extent, count], null, { label: `vectors ${mode}` });
  using sigma = engine.tensor([count], null, { label: "singular values" });
  try {
    await engine.run((s) => {
      const axes = x.shape.map((_, axis) => axis).filter((axis) => axis !== mode);
      // the long side down, as the vectors of the short one are orthonormal also where singular values are zero
      if (extent > rest) {
        const tall = permute(s, x, [mode, ...axes]);
        const found = svd(s, tall.reshape([extent, rest]));
        slice(s, found.u, [0, 0], [extent, count], { out: u });
        slice(s, found.values, [0], [count], { out: sigma });
      } else {
        const tall = permute(s, x, [...axes, mode]);
        const found = svd(s, tall.reshape([rest, extent]));
        slice(s, found.v, [0, 0], [extent, count], { out: u });
        slice(s, found.values, [0], [count], { out: sigma });
      }
    }, "unfolding SVD");
    const values = await engine.read(sigma);
    return {
      values,
      async leading(rank) {
        const vectors = engine.tensor([extent, rank], null, { label: `factor ${mode}` });
        await engine.run((s) => {
          slice(s, u, [0, 0], [extent, rank], { out: vectors });
        }, "leading vectors");
        return vectors;
      },
      [dispose]: () => u.destroy(),
    };
  } catch (error) {
    u.destroy();
    throw error;
  }
}

/** Below this part of ‖X‖² the tail of singular values from f32 is mostly rounding, and losses are measured instead. */
const MEASURED = 1e-8;

/**
 * The fewest leading singular values whose others lose at most `budget` in square. Where the budget is small beside ‖X‖², by the loss
 * itself (`lossOf` measures ‖Y − Y ×ₙ UUᵀ‖² for a rank), as f32 knows singular values to 1e-7 of the largest only.
 */
export async function keptWithin(
  values: ArrayLike<number>,
  budget: number,
  squaredNorm: number,
  lossOf: (rank: number) => Promise<number>,
): Promise<number> {
  let kept = values.length;
  let cut = 0;
  while (kept > 1 && cut + values[kept - 1]! ** 2 <= budget) cut += values[--kept]! ** 2;
  if (budget > MEASURED * squaredNorm) return kept;
  let [low, high] = [0, kept];
  // the tail of rounding errors is no less than the loss: fewer may do
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((await lossOf(middle)) <= budget) high = middle;
    else low = middle;
  }
  return high;
}

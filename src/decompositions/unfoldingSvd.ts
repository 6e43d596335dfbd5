import { dispose, type Engine, type Tensor } from "../gpu/index.js";
import { permute, slice } from "../ops/index.js";
import { svd } from "./linalg.js";
import { TensorScope } from "./tensorScope.js";

/** All singular values of an unfolding, and its left singular vectors. */
export interface UnfoldingSvd {
  /** falling */
  values: ArrayLike<number>;
  /** all left singular vectors, freed with this */
  vectors: Tensor;
  /** The leading left singular vectors, I_n×rank: a tensor of the caller's. */
  leading(rank: number): Promise<Tensor>;
  [dispose](): void;
}

/** The singular value decomposition of the mode-n unfolding, from which ranks are chosen. */
export async function unfoldingSvd(
  engine: Engine,
  x: Tensor,
  mode: number,
  signal?: AbortSignal,
): Promise<UnfoldingSvd> {
  const extent = x.shape[mode]!;
  const axes = x.shape.map((_, axis) => axis).filter((axis) => axis !== mode);
  using unfolded = engine.tensor([extent, x.size / extent], null, { label: `unfolding ${mode}` });
  await engine.run((s) => {
    permute(s, x, [mode, ...axes], { out: unfolded.reshape([mode, ...axes].map((axis) => x.shape[axis]!)) });
  }, "unfold");
  using scope = new TensorScope(engine);
  const factors = scope.keep(await svd(engine, unfolded, { signal }));
  const values = await engine.read(factors.values);
  return scope.handOut({
    values,
    vectors: factors.u,
    async leading(rank) {
      using leading = new TensorScope(engine);
      const vectors = leading.allocate([extent, rank], `factor ${mode}`);
      await engine.run((s) => void slice(s, factors.u, [0, 0], [extent, rank], { out: vectors }), "leading vectors");
      return leading.handOut(vectors);
    },
    [dispose]: () => factors.destroy(),
  });
}

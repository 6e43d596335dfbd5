import { dispose, type Engine, type Tensor } from "../../gpu/index.js";
import { matmul } from "../../ops/index.js";
import { rowProducts, type Values } from "./hostMatrices.js";

/** Multiplications from which a product is taken on the GPU: the host needs 0.1 s for them. */
const LARGE = 2 ** 27;

/**
 * Products of matrices that a fit takes on the host, in f64. Large ones are computed on the GPU in f32, which rounds them by about
 * 1e-7 of the norms of their rows: no more than the second moments do, which are summed there.
 */
export class Products {
  readonly #kept = new Map<Values, Tensor>();

  /** @param large multiplications from which a product is taken on the GPU */
  constructor(
    private readonly engine: Engine,
    private readonly large: number = LARGE,
  ) {}

  /**
   * A·Bᵀ of an m×k and an n×k matrix.
   *
   * @param options.keepB whether B stays on the GPU for further products, because it is multiplied with several matrices
   */
  async rows(
    a: Values,
    b: Values,
    [m, n, k]: readonly [number, number, number],
    { keepB = false }: { keepB?: boolean } = {},
  ): Promise<Values> {
    const { engine } = this;
    const most = engine.device.limits.maxStorageBufferBindingSize / 4;
    if (m * n * k < this.large || Math.max(m * k, n * k, m * n) > most) return rowProducts(a, b, m, n, k);
    const x = engine.tensor([m, k], a, { label: "product" });
    const y = this.#kept.get(b) ?? engine.tensor([n, k], b, { label: "product" });
    if (keepB) this.#kept.set(b, y);
    try {
      using out = engine.tensor([m, n]);
      await engine.run((s) => void matmul(s, x, y, { transposeB: true, careful: true, out }), "product");
      return await out.read();
    } finally {
      x.destroy();
      if (!this.#kept.has(b)) y.destroy();
    }
  }

  [dispose](): void {
    for (const tensor of this.#kept.values()) tensor.destroy();
    this.#kept.clear();
  }
}

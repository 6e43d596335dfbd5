import { type DType, dispose, type Engine, type Tensor } from "../gpu/index.js";

/**
 * What a computation holds until it is over: `using` frees it on every path. A result is made of held tensors and handed out at the end, so
 * that nothing is left of one that fails halfway.
 */
export class TensorScope {
  readonly #items: { destroy(): void }[] = [];

  constructor(readonly engine: Engine) {}

  /** A new tensor, held. */
  readonly allocate = <D extends DType = "f32">(shape: readonly number[], label: string, dtype?: D): Tensor<D> =>
    this.keep(this.engine.tensor<D>(shape, null, { ...(dtype && { dtype }), label }));

  /** Holds this, too. */
  readonly keep = <T extends { destroy(): void }>(item: T): T => {
    this.#items.push(item);
    return item;
  };

  /** Everything that is held moves to a new holder, which is returned. */
  move(): TensorScope {
    const scope = new TensorScope(this.engine);
    scope.#items.push(...this.#items.splice(0));
    return scope;
  }

  /** The result: all that is held is the caller's from here on. */
  handOut<T>(result: T): T {
    this.#items.length = 0;
    return result;
  }

  destroy(): void {
    for (const item of this.#items.splice(0).reverse()) item.destroy();
  }

  [dispose](): void {
    this.destroy();
  }
}

/** The results of all tasks; where one fails its error, once all are over: nothing is allocated afterwards. */
export async function together<T extends readonly unknown[]>(
  tasks: readonly [...T],
): Promise<{
  -readonly [K in keyof T]: Awaited<T[K]>;
}> {
  await Promise.allSettled(tasks);
  return await Promise.all(tasks);
}

/**
 * What fits of one layer have in common: it is computed for the first of them, and kept for the others. All of them are of the same
 * weight and, where they know the inputs, of the same covariance.
 */
export class FitMemory {
  readonly #results = new Map<string, Promise<unknown>>();

  /** @param key says how the result is made of the layer's numbers */
  of<T>(key: string, make: () => Promise<T>): Promise<T> {
    let result = this.#results.get(key);
    if (!result) {
      result = make();
      this.#results.set(key, result);
      result.catch(() => this.#results.delete(key));
    }
    return result as Promise<T>;
  }
}

/** A result that is taken from a memory where there is one. @param fit settings that it depends on, beside the layer's numbers */
export function remembered<T>(
  memory: FitMemory | undefined,
  name: string,
  fit: object,
  make: () => Promise<T>,
): Promise<T> {
  const { covariance: _, memory: __, ...settings } = fit as { covariance?: unknown; memory?: unknown };
  return memory ? memory.of(`${name} ${JSON.stringify(settings)}`, make) : make();
}
